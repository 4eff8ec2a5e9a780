"""Run page: one training and its test as one HTML file that needs no other, for somebody who was not there."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from raybrain.encoders.base import FittedEncoder
from raybrain.evaluate.rank import Evaluation
from raybrain.evaluate.statistics import records
from raybrain.experiment import Experiment
from raybrain.model_folder import read_card
from raybrain.plain import flat
from raybrain.predict.model import load
from raybrain.report.again import changed, command_of
from raybrain.report.data_card import HEAD, data_card
from raybrain.report.examples import examples
from raybrain.report.newcomer_curves import newcomers_pictures
from raybrain.report.render import render
from raybrain.report.run_pictures import accuracies_picture, losses_picture
from raybrain.report.study_section import study_section
from raybrain.report.style import Picture, picture
from raybrain.report.terminal import (
    absent_lines,
    baseline_line,
    channel_lines,
    context_lines,
    control_lines,
    lag_lines,
    mark_lines,
)
from raybrain.report.topography import channel_topographies, head_picture, topographies
from raybrain.store import Store
from raybrain.train.record import RunRecord, best_epoch


@dataclass(frozen=True)
class RunReport:
    """What is reported about one training.

    Attributes:
        record: its folder.
        experiment: what was asked.
        evaluation: its test.
        store: its data; None if they are there no more.
    """

    record: RunRecord
    experiment: Experiment
    evaluation: Evaluation
    store: Store | None

    @cached_property
    def title(self) -> str:
        """What was asked, as a name for people."""
        return title_of(self.experiment, sorted(self.evaluation.studies["study"]))

    def result(self) -> dict[str, Any]:
        """For --json."""
        evaluation = self.evaluation
        tables = {"test": evaluation.studies, "subjects": evaluation.subjects, "controls": evaluation.controls}
        tables |= {"errors": evaluation.errors, "context": evaluation.context, "breakdown": evaluation.breakdown}
        further = {"channels": evaluation.channels, "newcomers": evaluation.newcomers}
        tables |= {name: rows for name, rows in further.items() if len(rows)}
        known: dict[str, Any] = {"run": str(self.record.path), "signature": self.experiment.signature, "title": self.title}
        return known | {name: records(table) for name, table in tables.items()} | {"marks": evaluation.marks}


def run_page(report: RunReport) -> str:
    """The report as HTML: ``templates/run.html``, in which every text is escaped."""
    return render("run.html", name=report.title, run=run_sections(report))


def run_sections(report: RunReport) -> dict[str, Any]:
    """Everything that ``templates/run_sections.html`` shows, as plain texts and pictures."""
    evaluation, experiment = report.evaluation, report.experiment
    studies = [str(study) for study in evaluation.studies["study"]]
    return {
        "signature": experiment.signature,
        "asked": question(report),
        "parts": _parts(experiment),
        "marks": mark_lines(evaluation.marks),
        "lines": _lines(evaluation, experiment.train.control),
        "baseline": {"line": baseline_line(evaluation.studies), "below": bool(evaluation.studies["below_baseline"].any())},
        "studies": [study_section(evaluation, study, experiment.task.measures) for study in studies],
        "newcomers": newcomers_pictures({experiment.encoder.name: evaluation.newcomers}),
        "context": _context(evaluation.context),
        "curves": _curves(report),
        "heads": _heads(report),
        "channels": _channels(evaluation.channels),
        "examples": list(examples(evaluation.ranks, report.store)),
        "data": data_card(report.store, evaluation.audit) if report.store else None,
        "data_head": HEAD,
        "settings": _settings(experiment),
        "made": _made(report),
    }


def _lines(evaluation: Evaluation, control: str) -> list[str]:
    """What else there is to say of a result, be it good or bad."""
    lines = [*control_lines(control, evaluation.controls), *channel_lines(evaluation.channels), *lag_lines(evaluation.lags)]
    return [*lines, *absent_lines(evaluation.absent)]


def title_of(experiment: Experiment, studies: Sequence[str]) -> str:
    """An experiment as a name for people: ``simple_conv, mel from synthetic-meg``, or the other way round."""
    task, features = experiment.task, "+".join(feature.name for feature in experiment.data.features)
    what = [", ".join(studies), features] if task.aims_at_brain else [features, ", ".join(studies)]
    named = "" if task.name in ("decode", "encode") else f" ({task.name})"
    control = "" if experiment.train.control == "none" else f", trained on {experiment.train.control}"
    return f"{experiment.encoder.name}, {' from '.join(what)}{named}{control}"


def question(report: RunReport) -> str:
    """What was asked, in a sentence."""
    experiment, studies = report.experiment, report.evaluation.studies
    window, names, encoder = experiment.data.segments.length_s, ", ".join(studies["study"]), experiment.encoder.name
    people = f"{len(report.evaluation.subjects)} {'people' if len(report.evaluation.subjects) > 1 else 'person'}"
    if experiment.task.name == "encode":
        return (
            f"What did the brains of {people} of {names} do, judged from {_names(experiment.data.features)} of what they heard?"
        )
    if experiment.task.name != "decode":
        return f"Task {experiment.task.name}: which of many stretches is the right one, for {people} of {names}?"
    return (
        f"Which stretch of speech did {people} of {names} hear, judged from {window:g} s of recording? {encoder} estimates"
        f" {_names(experiment.data.features)} of the speech; the stretch that fits best is its answer."
    )


def _names(features: Sequence[Any]) -> str:
    return " and ".join(str(feature.name) for feature in features)


def _parts(experiment: Experiment) -> list[list[str]]:
    """What the experiment is made of, each part with the first line of its documentation."""
    parts = [("encoder", experiment.encoder), ("loss", experiment.loss), ("task", experiment.task)]
    if isinstance(experiment.encoder, FittedEncoder):
        parts.remove(("loss", experiment.loss))
    parts += [("feature", feature) for feature in experiment.data.features]
    return [[kind, part.name, (type(part).__doc__ or "").strip().splitlines()[0]] for kind, part in parts]


def _context(context: pd.DataFrame) -> dict[str, Any]:
    rows = [
        [
            row["study"],
            row["of"] if row["weight"] else "nothing",
            *(f"{row[f'{way}1']:.1%}" for way in ("plain", "context")),
            {"text": f"{row['random1']:.1%}", "mark": "bad" if row["odd"] else "", "note": ""},
        ]
        for row in context.to_dict("records")
    ]
    return {"rows": rows, "lines": context_lines(context)}


def _curves(report: RunReport) -> dict[str, Any]:
    history = report.record.history()
    if isinstance(report.experiment.encoder, FittedEncoder):
        return {"pictures": [], "line": f"{report.experiment.encoder.name} is fitted in closed form: there are no curves."}
    kept = int(best_epoch(history)["epoch"])
    line = f"{len(history)} epochs; the weights of epoch {kept} are kept, which has the lowest valid loss."
    if len(history) < 2:
        return {"pictures": [], "line": f"One epoch, so there are no curves: valid loss {history[0]['valid_loss']:.3f}."}
    drawn = [
        picture(losses_picture(history), "loss after each epoch; dot: the epoch whose weights are kept"),
        picture(accuracies_picture(history), "accuracy on the valid split after each epoch; dashed: chance of top-10"),
    ]
    return {"pictures": drawn, "line": line}


def _heads(report: RunReport) -> dict[str, Any]:
    shown = topographies(load(report.record.model))
    drawn: list[Picture] = []
    for one in shown:
        low, high = one.strength.min(), one.strength.max()
        what = f"{one.study}: {one.what}; from {low:.1f} to {high:.1f} times the mean; most: {', '.join(one.strongest)}"
        drawn.append(picture(head_picture(one), what))
    name = report.experiment.encoder.name
    nothing = f"No map: {name} has no weights that belong to one sensor each, or it is not known where the sensors are."
    return {"pictures": drawn, "line": "" if drawn else nothing}


def _channels(channels: pd.DataFrame) -> list[Picture]:
    """The head for each study, where the brain is aimed at: how well each channel is estimated."""
    drawn = []
    for one in channel_topographies(channels) if len(channels) else ():
        what = f"{one.study}: {one.what}; up to {one.strength.max():.3f}; highest: {', '.join(one.strongest)}"
        drawn.append(picture(head_picture(one), what))
    return drawn


def _settings(experiment: Experiment) -> dict[str, Any]:
    """All settings by dotted name, and those that differ from the defaults beside these."""
    rows = [[key, now or "none", before or "none"] for key, before, now in changed(Experiment(), experiment)]
    keys = {row[0] for row in rows}
    return {"changed": rows, "all": [[key, _value(value), key in keys] for key, value in flat(experiment).items()]}


def _value(value: Any) -> str:
    return ", ".join(map(_value, value)) if isinstance(value, list) else "none" if value is None else str(value)


def _made(report: RunReport) -> dict[str, Any]:
    """Signature, versions, when and where, and the command that makes it again."""
    result, sizes, tracking = report.record.result(), report.record.sizes(), report.record.tracking()
    rows = [["signature of the question", report.experiment.signature]]
    if result:
        ended = datetime.datetime.fromtimestamp(result.ended).strftime("%Y-%m-%d %H:%M")
        rows += [["digest of the data", result.digest], ["trained", ended]]
    if sizes:
        rows += [["trained parameters", f"{sizes.parameters:,}"], ["steps", sizes.describe()]]
    card = read_card(report.record.model)
    rows.append(["versions", ", ".join(f"{name} {number}" for name, number in card.versions.items())])
    rows.append(["folder", str(report.record.path)])
    if tracking:
        rows.append(["tracked as", f"run {tracking.id} in {tracking.address}"])
    return {"rows": rows, "command": command_of(report.experiment)}
