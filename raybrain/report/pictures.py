"""Pictures: accuracies of subjects against chance, and curves of training."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from raybrain.evaluate.rank import Evaluation
from raybrain.report.log_report import log_picture
from raybrain.storage import aside
from raybrain.train.fit import Trained

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, HIGH = 7.0, 3.5  # inches of one panel
Subjects = Mapping[tuple[str, str], float]


@contextmanager
def _no_formulas() -> Iterator[None]:
    """A dollar in the name of a study or a subject is a dollar."""
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False}):
        yield


@_no_formulas()
def subjects_picture(by_study: Mapping[str, Mapping[str, Subjects]], chance: Mapping[str, float]) -> "Figure":
    """Top-10 accuracy of every subject: a panel a study, a line of dots a row of the table, chance dashed.

    Args:
        by_study: by study and row, the accuracies of its subjects.
        chance: of each study.
    """
    tallest = max(len(rows) for rows in by_study.values())
    figure, panels = _panels(len(by_study), max(HIGH, 1.2 + 0.35 * tallest))
    for axes, (study, rows) in zip(panels, by_study.items(), strict=True):
        for place, subjects in enumerate(rows.values()):
            values = 100 * np.array([subjects[who] for who in sorted(subjects)])
            spread = place + 0.25 * (np.arange(len(values)) % 7 - 3) / 3 * (len(values) > 1)
            axes.plot(values, spread, "o", markersize=4, alpha=0.6, color=f"C{place % 10}")
            axes.plot([values.mean()] * 2, [place - 0.4, place + 0.4], color=f"C{place % 10}", linewidth=2)
        axes.axvline(100 * chance[study], color="black", linestyle="--", linewidth=1, label=f"chance {chance[study]:.1%}")
        axes.set(
            title=study, xlabel="top-10 accuracy of a subject, % (bar: mean)", xlim=(0, None), ylim=(len(rows) - 0.5, -0.5)
        )
        axes.set_yticks(range(len(rows)), list(rows))
        axes.legend(loc="best", fontsize="small")
    return figure


def answer_picture(trained: Trained, evaluation: Evaluation) -> "Figure":
    """Top-10 accuracy of every subject of one experiment."""
    row = trained.job.experiment.encoder.name
    accuracies: dict[str, dict[str, Subjects]] = {}
    for study, table in evaluation.subjects.groupby("study"):
        by_subject = zip(table["subject"], table["top10"], strict=True)
        accuracies[str(study)] = {row: {(str(study), who): value for who, value in by_subject}}
    chance = dict(zip(evaluation.studies["study"], evaluation.studies["chance10"], strict=True))
    return subjects_picture(accuracies, chance)


def keep_subjects(trained: Trained, evaluation: Evaluation) -> None:
    """Keep the picture of one experiment's subjects in its folder, and log it, if that is not done."""
    job, run = trained.job, trained.tracking
    if job.record.logged("pictured", run.key):
        return
    path = job.record.picture
    with aside(path) as temporary:
        temporary.write_bytes(png(answer_picture(trained, evaluation)))
    log_picture(run, path)
    job.record.keep_logged("pictured", run.key)


@_no_formulas()
def curves_picture(by_study: Mapping[str, Mapping[str, Sequence[Sequence[Mapping[str, float]]]]]) -> "Figure":
    """Valid top-10 accuracy after each epoch: a panel a study, a colour a row of the table, a line a training.

    Args:
        by_study: by study and row, the histories of its trainings.
    """
    figure, panels = _panels(len(by_study), HIGH)
    for axes, (study, rows) in zip(panels, by_study.items(), strict=True):
        for place, (row, histories) in enumerate(rows.items()):
            for number, history in enumerate(histories):
                shown = [(epoch["epoch"], 100 * epoch["valid_top10"]) for epoch in history if "valid_top10" in epoch]
                if shown:
                    label = row if number == 0 else None
                    axes.plot(*zip(*shown, strict=True), color=f"C{place % 10}", alpha=0.7, label=label)
        axes.set(title=study, xlabel="epoch", ylabel="valid top-10, %", ylim=(0, None))
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="x-small")
    return figure


def _panels(count: int, height: float) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    across = min(count, 2)
    down = -(-count // across)
    figure = Figure(figsize=(WIDE * across, height * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure, list(panels[:count])


def png(figure: "Figure") -> bytes:
    """A figure as a PNG file."""
    content = io.BytesIO()
    with _no_formulas():
        figure.savefig(content, format="png")
    return content.getvalue()


def data_uri(figure: "Figure | bytes") -> str:
    """A figure, or a PNG file, as an address that holds all of it, so that a page needs no other file."""
    content = figure if isinstance(figure, bytes) else png(figure)
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
