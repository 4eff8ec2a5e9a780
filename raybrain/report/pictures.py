"""Pictures: accuracies of subjects against chance, and curves of training."""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from raybrain.evaluate.rank import Evaluation
from raybrain.report.log_report import log_picture
from raybrain.report.style import LIGHT, SERIES, canvas, png, styled
from raybrain.storage import aside
from raybrain.train.fit import Trained

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, LINE, LETTERS = 44, 15, 44  # pixels of a row with its name above it and of a further line; letters of a line
MOST = 6  # curves that can be told apart by their colours
Subjects = Mapping[tuple[str, str], float]


@styled()
def subjects_picture(rows: Mapping[str, Subjects], chance: float) -> "Figure":
    """Top-10 accuracy of every subject of a study: a line of dots for each row of a table, its mean as a bar, chance dashed.

    Args:
        rows: the accuracies of the subjects, by row.
        chance: of the study.
    """
    _, lines = wrapped(rows)
    figure, (axes,) = canvas(height=80 + sum(ROW + LINE * (count - 1) for count in lines))
    draw_subjects(axes, rows, chance)
    return figure


def draw_subjects(axes: "Axes", rows: Mapping[str, Subjects], chance: float) -> None:
    """Draw the subjects of a study, in percent."""
    names, lines = wrapped(rows)
    places = row_axes(axes, names, lines)
    mark_chance(axes, chance)
    for number, (place, subjects) in enumerate(zip(places, rows.values(), strict=True)):
        values = 100 * np.array([subjects[who] for who in sorted(subjects)])
        spread = place + 6 * (np.arange(len(values)) % 5 - 2) / 2 * (len(values) > 1)
        colour = SERIES[number % len(SERIES)] if len(rows) <= MOST else SERIES[0]
        axes.plot(values, spread, "o", markersize=5, alpha=0.55, color=colour, markeredgewidth=0)
        axes.plot([values.mean()] * 2, [place - 11, place + 11], color=colour, linewidth=2.5, solid_capstyle="round")
    axes.set_xlim(0, 100)
    axes.set_xlabel("top-10 accuracy, %")
    axes.grid(axis="x")


def mark_chance(axes: "Axes", chance: float) -> None:
    """A dashed line where guesses end up, named above the rows."""
    axes.axvline(100 * chance, color=LIGHT["chance"], linestyle=(0, (4, 3)), linewidth=1.4)
    right: dict[str, Any] = {
        "xytext": (0, 3),
        "textcoords": "offset points",
        "ha": "left" if chance < 0.6 else "right",
        "va": "bottom",
    }
    axes.annotate(
        f"chance {100 * chance:.1f} %", (100 * chance, 1), xycoords=("data", "axes fraction"), color=LIGHT["quiet"], **right
    )


def wrapped(names: "Sequence[str] | Mapping[str, object]") -> tuple[list[str], list[int]]:
    """Names broken into lines that fit, and how many lines each has."""
    broken = [wrap(name, LETTERS, max_lines=3, placeholder=" …") or [" "] for name in names]
    return ["\n".join(lines) for lines in broken], [len(lines) for lines in broken]


def row_axes(axes: "Axes", names: Sequence[str], lines: Sequence[int]) -> list[float]:
    """Rows from top to bottom, each with its name above it; where each row lies, in pixels downwards."""
    places, top = [], 0.0
    for name, count in zip(names, lines, strict=True):
        behind: dict[str, Any] = {"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 1}  # of what lies under a name
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "ha": "left", "va": "top", "linespacing": 1.2}
        axes.annotate(name, (0, top + 2), color=LIGHT["ink"], bbox=behind, **place)
        places.append(top + LINE * count + 14)
        top += ROW + LINE * (count - 1)
    axes.set_ylim(top, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    return places


@styled()
def answer_picture(trained: Trained, evaluation: Evaluation) -> "Figure":
    """Top-10 accuracy of every subject of one experiment, a panel for each study."""
    row = trained.job.experiment.encoder.name
    groups = list(evaluation.subjects.groupby("study"))
    chance = dict(zip(evaluation.studies["study"], evaluation.studies["chance10"], strict=True))
    figure, panels = canvas(height=140 * len(groups), down=len(groups))
    for axes, (study, table) in zip(panels, groups, strict=True):
        subjects = {(str(study), who): value for who, value in zip(table["subject"], table["top10"], strict=True)}
        draw_subjects(axes, {row: subjects}, chance[study])
        axes.set_title(str(study))
    return figure


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


@styled()
def curves_picture(rows: Mapping[str, Sequence[Sequence[Mapping[str, float]]]]) -> "Figure":
    """Valid top-10 accuracy after each epoch: a colour for each row of a table, a line for each training.

    Args:
        rows: the histories of the trainings, by row.
    """
    from matplotlib.ticker import MaxNLocator

    few = len(rows) <= MOST
    names, lines = wrapped(rows)
    figure, (axes,) = canvas(height=230 + (15 * sum(lines) if few else 0))
    for place, (name, histories) in enumerate(zip(names, rows.values(), strict=True)):
        for number, history in enumerate(histories):
            shown = [(epoch["epoch"], 100 * epoch["valid_top10"]) for epoch in history if "valid_top10" in epoch]
            if shown:
                colour = SERIES[place] if few else SERIES[0]
                epochs, values = zip(*shown, strict=True)
                label, marker = name if number == 0 else None, "o" if len(shown) == 1 else ""
                axes.plot(epochs, values, color=colour, alpha=0.85 if few else 0.35, label=label, marker=marker)
    axes.set(xlabel="epoch", ylabel="top-10 accuracy, %", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    if few and axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower left", borderaxespad=0)
    return figure
