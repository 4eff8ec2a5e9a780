"""Index page: every run and every sweep of a home in one HTML file, the broken and unfinished ones with their reason."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raybrain.config import InputError
from raybrain.download.unpack import amount
from raybrain.evaluate.marks import names_of
from raybrain.evaluate.rank import Evaluation, recall
from raybrain.experiment import Experiment
from raybrain.housekeeping import size
from raybrain.report.again import command_of
from raybrain.report.gather import outdated
from raybrain.report.render import render
from raybrain.report.run_page import title_of
from raybrain.train.record import RunRecord, run_records
from raybrain.tune.sweep_record import SweepRecord, sweep_records

KS = (1, 10)  # the top-k accuracies that are shown


@dataclass(frozen=True)
class TestedEntry:
    """A run that was trained and tested.

    Attributes:
        record: its folder.
        experiment: what was asked.
        evaluation: the result.
        ended: when training ended, in seconds since 1970.
    """

    record: RunRecord
    experiment: Experiment
    evaluation: Evaluation
    ended: float

    @property
    def title(self) -> str:
        """For people."""
        return title_of(self.experiment, sorted(self.evaluation.studies["study"]))

    def accuracy(self, name: str) -> float:
        """The mean over studies."""
        return float(self.evaluation.studies[name].mean())


@dataclass(frozen=True)
class OpenEntry:
    """A run or a sweep without a result.

    Attributes:
        folder: of it.
        what: "run" or "sweep".
        reason: why there is none, and what to type.
    """

    folder: Path
    what: str
    reason: str


@dataclass(frozen=True)
class HomeIndex:
    """What a home holds.

    Attributes:
        home: which.
        runs: with results, the best of each set of studies first.
        sweeps: that were run to the end.
        unfinished: runs and sweeps without a result.
    """

    home: Path
    runs: list[TestedEntry] = field(default_factory=list)
    sweeps: list[SweepRecord] = field(default_factory=list)
    unfinished: list[OpenEntry] = field(default_factory=list)

    def result(self) -> dict[str, Any]:
        """For --json."""
        runs = [
            {"run": str(one.record.path), "signature": one.experiment.signature, "title": one.title, "ended": one.ended}
            | {f"{kind}{k}": one.accuracy(f"{kind}{k}") for k in KS for kind in ("top", "chance", "baseline")}
            | {"marks": names_of(one.evaluation.marks)}
            for one in self.runs
        ]
        unfinished = [{"folder": str(one.folder), "what": one.what, "reason": one.reason} for one in self.unfinished]
        return {
            "home": str(self.home),
            "runs": runs,
            "sweeps": [one.path.name for one in self.sweeps],
            "unfinished": unfinished,
        }


def index_of(home: Path) -> HomeIndex:
    """Look at all runs and sweeps of a home. Nothing is trained, tested or changed."""
    index = HomeIndex(home)
    for run in run_records(home):
        entry = _run(run)
        if isinstance(entry, TestedEntry):
            index.runs.append(entry)
        else:
            index.unfinished.append(entry)
    index.runs.sort(key=lambda one: (sorted(one.evaluation.studies["study"]), -one.accuracy("top10"), -one.accuracy("top1")))
    for sweep in sweep_records(home):
        if sweep.trials() is not None and sweep.space() is not None:
            index.sweeps.append(sweep)
        else:
            index.unfinished.append(OpenEntry(sweep.path, "sweep", _unfinished_sweep(sweep)))
    return index


def _run(record: RunRecord) -> TestedEntry | OpenEntry:
    try:
        experiment, result = record.experiment(), record.result()
        if experiment is None:
            return OpenEntry(record.path, "run", "it does not say what was asked; train it again")
        if result is None:
            return OpenEntry(record.path, "run", _unfinished_run(record, experiment))
        evaluation = recall(record, record.home)
    except (InputError, ImportError, OSError) as error:  # of another version, damaged, or of a plug-in that is not there
        return OpenEntry(record.path, "run", str(error))
    if evaluation is None:
        again = f"trained, not tested; type raybrain report {experiment.signature}"
        return OpenEntry(record.path, "run", outdated(record, experiment) or again)
    return TestedEntry(record, experiment, evaluation, result.ended)


def _unfinished_run(record: RunRecord, experiment: Experiment) -> str:
    again = command_of(experiment) or "train it again"
    if reason := record.failure():
        return f"failed: {reason}; {again}"
    return f"{len(record.history())} of {experiment.train.epochs} epochs; {again}"


def _unfinished_sweep(sweep: SweepRecord) -> str:
    name = sweep.path.name.rpartition("-")[0]
    lost = "what it asked is lost" if sweep.is_finished else "not run to the end"
    return f"{lost}; type raybrain tune {name}"


def index_page(index: HomeIndex) -> str:
    """The index as HTML: ``templates/index.html``, in which every text is escaped."""
    return render(
        "index.html",
        home=str(index.home),
        head=["run", *(f"top-{k}" for k in KS), "candidates", "marked by", "trained", "size"],
        runs=[_run_row(one, index.home) for one in index.runs],
        sweep_head=["sweep", "trials", "finished", "best on valid", "ended", "size"],
        sweeps=[_sweep_row(one, index.home) for one in index.sweeps],
        unfinished=[[one.folder.name, one.what, one.reason, _size(one.folder)] for one in index.unfinished],
    )


def _run_row(one: TestedEntry, home: Path) -> list[Any]:
    asked = (command_of(one.experiment) or "").removeprefix("raybrain train ")
    name = f"{one.experiment.signature}{f': {asked}' if asked else ''}"
    accuracies = [
        {
            "text": f"{one.accuracy(f'top{k}'):.1%}",
            "note": f"chance {100 * one.accuracy(f'chance{k}'):.1f}, ridge {100 * one.accuracy(f'baseline{k}'):.1f}",
            "mark": "odd" if one.accuracy(f"top{k}") < one.accuracy(f"baseline{k}") else "",
        }
        for k in KS
    ]
    marks = names_of(one.evaluation.marks)
    marked = {"text": ", ".join(marks) or "nothing", "note": "", "mark": "bad" if marks else "good"}
    further = [f"{one.accuracy('candidates'):g}", marked, _date(one.ended), _size(one.record.path)]
    return [_linked(one.record.page, home, one.title, name), *accuracies, *further]


def _sweep_row(sweep: SweepRecord, home: Path) -> list[Any]:
    trials, space = sweep.trials() or [], sweep.space()
    finished = [trial for trial in trials if trial["state"] == "finished"]
    question = space.question.splitlines()[0] if space and space.question else ""
    best = f"{finished[0]['metric']} {finished[0]['score']:.3f}" if finished and finished[0]["score"] is not None else ""
    ended = _date(max((path.stat().st_mtime for path in sweep.files if path.exists()), default=0.0))
    cells = [str(len(trials)), str(len(finished)), best, ended, _size(sweep.path)]
    return [_linked(sweep.page, home, sweep.path.name, question), *cells]


def _linked(page: Path, home: Path, text: str, note: str) -> Mapping[str, str]:
    """A cell that leads to a page, if that was written."""
    link = page.relative_to(home).as_posix() if page.exists() else ""
    return {"text": text, "note": note, "mark": "", "link": link}


def _date(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M") if seconds else ""


def _size(folder: Path) -> str:
    return amount(size(folder))


def without_page(index: HomeIndex) -> Sequence[str]:
    """The runs and sweeps with results of which no page is written."""
    runs = [one.experiment.signature for one in index.runs if not one.record.page.exists()]
    return [*runs, *(sweep.path.name for sweep in index.sweeps if not sweep.page.exists())]
