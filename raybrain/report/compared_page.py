"""Compared page: a comparison of models as one HTML file that needs no other, with its pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raybrain.report.compared import ALL, MEASURES, ModelComparison, PairTest, StudyScores
from raybrain.report.compared_curves import AXES, size_curves, size_picture
from raybrain.report.compared_words import (
    SCORE_HEAD,
    SHORT,
    TEST_HEAD,
    doubt_lines,
    score_cells,
    tested_cells,
    verdicts,
)
from raybrain.report.pictures import LINE, MOST, ROW, mark_chance, row_axes, wrapped
from raybrain.report.render import render
from raybrain.report.style import LIGHT, SERIES, Picture, canvas, picture, styled
from raybrain.storage import content_digest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "comparisons"  # in a home


def comparison_path(home: Path, comparison: ModelComparison) -> Path:
    """Where the page of a comparison lies: one page for the same runs."""
    runs = [[run.name for run in model.runs] for model in comparison.models]
    return home / FOLDER / f"{content_digest(runs)[:12]}.html"


def comparison_page(comparison: ModelComparison) -> str:
    """The comparison as HTML: ``templates/compare.html``, in which every text is escaped."""
    return render("compare.html", **_context(comparison))


def _context(comparison: ModelComparison) -> dict[str, Any]:
    """Everything on the page, as plain texts and pictures."""
    names = [model.name for model in comparison.models]
    return {
        "names": names,
        "verdicts": [line for measure in reversed(MEASURES) for line in verdicts(comparison, measure)],
        "notes": comparison.notes,
        "marks": doubt_lines(comparison),
        "score_head": SCORE_HEAD,
        "scores": [_score_row(cells) for cells in _score_cells(comparison)],
        "pictures": _pictures(comparison),
        "curves": _curves(comparison),
        "test_head": TEST_HEAD,
        "tests": [_test_row(test) for test in comparison.tests],
        "settings": [[name, *values] for name, values in comparison.settings],
        "subjects": [_subjects(study, measure) for study in comparison.studies for measure in reversed(MEASURES)],
        "runs": [[model.name, ", ".join(run.name for run in model.runs)] for model in comparison.models],
    }


def _score_cells(comparison: ModelComparison) -> list[list[str]]:
    return [score_cells(score) for study in comparison.studies for score in study.scores]


def _score_row(cells: Sequence[str]) -> list[Any]:
    return [{"text": cell, "mark": "odd", "note": ""} if cell.startswith("below") else cell for cell in cells]


def _test_row(test: PairTest) -> list[Any]:
    cells: list[Any] = list(tested_cells(test))
    return [*cells[:-1], {"text": cells[-1], "mark": "good", "note": ""} if test.significant else cells[-1]]


def _subjects(study: StudyScores, measure: str) -> dict[str, Any]:
    """The accuracy of every subject, in percent."""
    table = study.subjects(measure)
    rows = [
        [str(subject), *(f"{100 * value:.1f}" for value in row)]
        for subject, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    return {
        "caption": f"{study.study}: {SHORT[measure]} accuracy of every subject, in percent",
        "head": ["subject", *table],
        "rows": rows,
    }


def _pictures(comparison: ModelComparison) -> "list[Picture]":
    drawn = []
    for measure in reversed(MEASURES):
        tests = [test for test in comparison.tests if test.measure == measure]
        what = f"{SHORT[measure]}: how far one model is ahead of another; 95 % over subjects (thick) and over segments (thin)"
        drawn.append(picture(differences_picture(tests), what))
    for study in comparison.studies:
        chance = {score.model: score.chance["top10"] for score in study.scores}
        table = study.subjects("top10")
        what = f"{study.study}: top-10 accuracy of every subject, a line for each; chance is {100 * min(chance.values()):.1f} %"
        drawn.append(picture(pairs_picture({str(name): dict(table[name]) for name in table}, min(chance.values())), what))
    return drawn


def _curves(comparison: ModelComparison) -> "list[Picture]":
    drawn = []
    for study in comparison.studies:
        for axis, words in AXES.items():
            if curves := size_curves(comparison, study, axis):
                what = f"{study.study}: top-10 accuracy over {words}, with 95 % intervals over the subjects that are tested"
                drawn.append(picture(size_picture(curves, axis), what))
    return drawn


@styled()
def differences_picture(tests: Sequence[PairTest]) -> "Figure":
    """Differences of every two models in points: dots; thick lines are intervals over subjects, thin ones over segments."""
    several = len({test.study for test in tests}) > 1
    names, lines = wrapped([_pair(test, several) for test in tests])
    figure, (axes,) = canvas(height=90 + sum(ROW + LINE * (count - 1) for count in lines))
    for place, test in zip(row_axes(axes, names, lines), tests, strict=True):
        colour = LIGHT["model"] if test.significant else LIGHT["chance"]
        difference = test.difference
        axes.plot([100 * value for value in difference.over_segments], [place] * 2, color=colour, linewidth=1.2)
        if difference.over_subjects:
            axes.plot([100 * value for value in difference.over_subjects], [place] * 2, color=colour, linewidth=4, alpha=0.45)
        axes.plot([100 * difference.mean], [place], "o", color=colour, markersize=7)
    axes.axvline(0, color=LIGHT["chance"], linestyle=(0, (4, 3)), linewidth=1.4)
    axes.margins(x=0.08)
    axes.set_xlabel("difference, points (coloured: Holm p < 0.05)")
    axes.grid(axis="x")
    return figure


def _pair(test: PairTest, several: bool) -> str:
    where = f"{test.study}: " if several or test.study == ALL else ""
    return f"{where}{test.second} over {test.first}"


@styled()
def pairs_picture(models: Mapping[str, Mapping[str, float]], chance: float) -> "Figure":
    """The accuracy of every subject with every model: a column of dots for each model, and a line for each subject.

    Args:
        models: by name, the accuracies of subjects.
        chance: of the study.
    """
    names, lines = wrapped(models)
    figure, (axes,) = canvas(height=80 + sum(ROW + LINE * (count - 1) for count in lines))
    places = row_axes(axes, names, lines)
    mark_chance(axes, chance)
    values = 100 * np.array([[subjects[who] for who in sorted(subjects)] for subjects in models.values()])
    for column in values.T:
        axes.plot(column, places, color=LIGHT["rule"], linewidth=1.2, zorder=1)
    for number, (place, row) in enumerate(zip(places, values, strict=True)):
        colour = SERIES[number % len(SERIES)] if len(models) <= MOST else SERIES[0]
        axes.plot(row, [place] * len(row), "o", color=colour, markersize=6, alpha=0.65, markeredgewidth=0, zorder=2)
        axes.plot([row.mean()] * 2, [place - 11, place + 11], color=colour, linewidth=2.5, solid_capstyle="round", zorder=3)
    axes.set_xlim(0, 100)
    axes.set_xlabel("top-10 accuracy, %")
    axes.grid(axis="x")
    return figure
