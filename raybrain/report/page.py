"""Page: a sweep's report as one HTML file that needs no other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from raybrain.evaluate.controls import SEGMENTS, WHAT
from raybrain.report.newcomer_curves import newcomers_pictures
from raybrain.report.pictures import curves_picture, subjects_picture
from raybrain.report.render import render
from raybrain.report.results import TOLERANCE, Cell, Result, cells, comparisons, row_name, shown, shown_p
from raybrain.report.run_page import run_sections
from raybrain.report.style import Picture, data_uri, picture
from raybrain.report.terminal import audit_line, mark_lines
from raybrain.tune.space_record import SpaceRecord

FIGURES = {
    "epochs": "epochs: the score of every trial after each epoch",
    "history": "history: how the best score grew, trial by trial",
    "importance": "importance: which settings the score depends on",
    "parallel coordinates": "parallel coordinates: which settings go with good scores; a line for each trial",
    "pareto front": "Pareto front: the trials that no other one beats in everything that is to be good",
    "population": "population: the settings of each trial over its epochs, from where it was copied",
}


@dataclass(frozen=True)
class SweepReport:
    """What is reported about a sweep.

    Attributes:
        name: of the sweep.
        tested: its trainings on the test split.
        missing: trials that ended otherwise, and why.
        trials: all trials as the sweep left them, where the best one was chosen among them by the valid split.
        figures: pictures of that search as PNG, by name.
        space: what was asked, if it is known.
    """

    name: str
    tested: list[Result]
    missing: list[str] = field(default_factory=list)
    trials: list[dict[str, Any]] = field(default_factory=list)
    figures: Mapping[str, bytes] = field(default_factory=dict)
    space: SpaceRecord | None = None

    @property
    def cells(self) -> list[Cell]:
        """The table."""
        return cells(self.tested, self.space.published if self.space else {})

    @property
    def left_out(self) -> dict[str, str]:
        """Recordings that at least one training was done without, and the reason for each."""
        return dict(sorted({name: reason for one in self.tested for name, reason in one.left_out.items()}.items()))

    def rows(self) -> list[dict[str, Any]]:
        """The table as flat rows, for a CSV file."""
        return [
            {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in cell.result().items()}
            for cell in self.cells
        ]

    def result(self) -> dict[str, Any]:
        """For --json."""
        table = self.cells
        known = {"sweep": self.name, "table": [cell.result() for cell in table], "comparisons": comparisons(table)}
        return known | {"missing": self.missing, "left_out": self.left_out, "tolerance": TOLERANCE}


def page(report: SweepReport) -> str:
    """The report as HTML: ``templates/sweep.html``, in which every text is escaped."""
    return render("sweep.html", **_context(report))


def _context(report: SweepReport) -> dict[str, Any]:
    """Everything on the page, as plain texts."""
    table = report.cells
    return {
        "name": report.name,
        "question": report.space.question if report.space else "",
        "studies": _studies(table),
        "results": _results(table),
        "tolerance": TOLERANCE[0].upper() + TOLERANCE[1:] if any(cell.published for cell in table) else "",
        "missing": report.missing,
        "left_out": [[name, reason] for name, reason in report.left_out.items()],
        "subjects_pictures": _subjects(table),
        "newcomers_pictures": _newcomers(report),
        "comparisons": [_comparison(one) for one in comparisons(table)],
        "controls": _controls(report.tested),
        "marks": list(dict.fromkeys(line for one in report.tested for line in mark_lines(one.evaluation.marks))),
        "audits": sorted({audit_line(one.evaluation.audit) for one in report.tested}),
        "curves_pictures": _curves(report.tested),
        "trials": _trials(report.trials),
        "best": _best(report),
        "figures": [{"name": FIGURES.get(name, name), "source": data_uri(png)} for name, png in report.figures.items()],
    }


def _best(report: SweepReport) -> dict[str, Any] | None:
    """The sections about the best trial of a search, its first repetition; a grid has no best one."""
    run = report.tested[0].run if report.trials and report.tested else None
    return None if run is None else {"name": report.tested[0].row, "run": run_sections(run)}


def _studies(table: Sequence[Cell]) -> list[dict[str, str]]:
    sizes = {cell.column: (str(cell.candidates), f"{cell.chance:.1%}") for cell in table}
    return [{"name": name, "candidates": candidates, "chance": chance} for name, (candidates, chance) in sizes.items()]


def _results(table: Sequence[Cell]) -> list[dict[str, Any]]:
    """One entry per row of the table, with one cell per study; None for what was not run."""
    columns = list(dict.fromkeys(cell.column for cell in table))
    known = {(cell.row, cell.column): _result(cell) for cell in table}
    rows = dict.fromkeys(cell.row for cell in table)
    return [{"name": row, "cells": [known.get((row, column)) for column in columns]} for row in rows]


def _result(cell: Cell) -> dict[str, str]:
    shown = {"accuracy": cell.percent, "baseline": "", "mark": "odd" if cell.below or cell.marks else ""}
    shown["doubts"] = f"marked by {', '.join(cell.marks)}" if cell.marks else ""
    if cell.baseline is not None:
        shown["baseline"] = f"{'below ' if cell.below else ''}ridge regression: {100 * cell.baseline:.1f}"
    if cell.published is None:
        return shown | {"verdict": ""}
    accepted = f"{max(cell.published.low, 0):.1f} to {cell.published.high:.1f}"
    verdict = "pass" if cell.passed else "fail"
    mark = "good" if cell.passed else "bad"
    return shown | {"verdict": verdict, "published": str(cell.published), "accepted": accepted, "mark": mark}


def _subjects(table: Sequence[Cell]) -> list[Picture]:
    """One picture for each study."""
    groups: dict[str, dict[str, Mapping[tuple[str, str], float]]] = {}
    for cell in table:
        if cell.subjects:
            groups.setdefault(cell.column, {})[cell.row] = cell.subjects
    chance = {cell.column: cell.chance for cell in table}
    what = "top-10 accuracy of every subject (dots), their mean (bar) and chance (dashed)"
    return [picture(subjects_picture(rows, chance[study]), f"{study}: {what}") for study, rows in groups.items()]


def _newcomers(report: SweepReport) -> list[Picture]:
    """One picture for each study, if people were left out; what is repeated over, such as whom, is one curve."""
    over = report.space.over if report.space else ()
    rows: dict[str, list[pd.DataFrame]] = {}
    for one in report.tested:
        name = row_name({dimension: variant for dimension, variant in one.names.items() if dimension not in over})
        rows.setdefault(name, []).append(one.evaluation.newcomers)
    return newcomers_pictures({name: pd.concat(parts, ignore_index=True) for name, parts in rows.items()})


def _comparison(one: Mapping[str, Any]) -> list[str]:
    names = [str(one[key]) for key in ("row", "against", "study", "subjects")]
    return [*names, f"{100 * one['difference']:+.1f}", shown_p(one["p"]), shown_p(one["holm"])]


def _controls(tested: Sequence[Result]) -> dict[str, Any]:
    """The mean of every control over all trainings, and those trainings of which one is marked."""
    parts = [one.evaluation.controls.assign(row=one.row, seed=one.seed) for one in tested]
    every = pd.concat(parts, ignore_index=True)
    every = every[every["control"] != "model"]
    odd = every[every["marked"]]
    means = [
        [str(study), WHAT[str(name)], f"{group['top10'].mean():.1%}", f"{group['chance10'].mean():.1%}"]
        for (study, name), group in every.groupby(["study", "control"], sort=False)
    ]
    strays = [
        [*(row["row"], row["seed"], row["study"], WHAT[row["control"]]), *_outside(row)] for row in odd.to_dict("records")
    ]
    return {"segments": SEGMENTS, "count": len(every), "means": means, "odd": strays}


def _outside(row: Mapping[Any, Any]) -> list[str]:
    return [f"{row['top10']:.1%}", f"{row['band_low10']:.1%} to {row['band_high10']:.1%}"]


def _trials(trials: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Every trial, best first, by the valid split, and what became of it."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial["params"]))
    rows = []
    for trial in trials:
        score = "" if trial["score"] is None else f"{trial['score']:.3f}"
        values = [shown("", trial["params"].get(key, "")) for key in keys]
        copied = f"copy of trial {trial['copy_of']}, {' '.join(trial['schedule'])}" if trial.get("schedule") else ""
        why = "; ".join(text for text in ("the recipe" if trial.get("recipe") else "", copied, trial.get("reason")) if text)
        rows.append([str(trial["trial"]), *values, str(trial["epochs"]), score, trial["state"], why])
    metric = trials[0].get("metric", "score") if trials else ""
    return {"head": ["trial", *(key.rpartition(".")[2] for key in keys), "epochs", metric, "state", "why"], "rows": rows}


def _curves(tested: Sequence[Result]) -> list[Picture]:
    """One picture for each study."""
    groups: dict[str, dict[str, list[Sequence[Mapping[str, float]]]]] = {}
    for one in tested:
        for column in one.columns():
            groups.setdefault(column, {}).setdefault(one.row, []).append(one.history)
    what = "top-10 accuracy on the valid split after each epoch"
    return [picture(curves_picture(rows), f"{study}: {what}") for study, rows in groups.items()]
