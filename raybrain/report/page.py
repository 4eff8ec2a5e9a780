"""Page: a sweep's report as one HTML file that needs no other."""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from raybrain.evaluate.controls import SEGMENTS, WHAT
from raybrain.report.pictures import curves_picture, embedded, subjects_picture
from raybrain.report.results import TOLERANCE, Cell, Result, cells, comparisons, shown
from raybrain.report.terminal import audit_line
from raybrain.tune.space import SearchSpace

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 }
th, td { padding: .25em .8em; border-bottom: 1px solid #ddd; text-align: right }
th { background: #f4f4f4 } th:first-child, td:first-child { text-align: left } small { color: #666 } img { max-width: 100% }
.pass { background: #e3f4e3 } .fail { background: #fbe3e0 } .odd { background: #fff3cd }
"""


@dataclass(frozen=True)
class SweepReport:
    """What is said about a sweep.

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
    space: SearchSpace | None = None

    @property
    def cells(self) -> list[Cell]:
        """The table."""
        return cells(self.tested, self.space.published if self.space else {})

    def rows(self) -> list[dict[str, Any]]:
        """The table as flat rows, for a CSV file."""
        return [
            {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in cell.result().items()}
            for cell in self.cells
        ]

    def result(self) -> dict[str, Any]:
        """For --json."""
        found = self.cells
        told = {"sweep": self.name, "table": [cell.result() for cell in found], "comparisons": comparisons(found)}
        return told | {"missing": self.missing, "tolerance": TOLERANCE}


def page(report: SweepReport) -> str:
    """The report as HTML."""
    found, space = report.cells, report.space
    parts = [
        f"<h1>{html.escape(report.name)}</h1>",
        f"<p>{html.escape(space.question)}</p>" if space else "",
        "<h2>Top-10 segment accuracy on the test split</h2>",
        _results(found),
        f"<p><small>Mean ± standard deviation over seeds, in percent. {html.escape(TOLERANCE[0].upper() + TOLERANCE[1:])}; "
        "published numbers are shown only for experiments that ask exactly what was published.</small></p>",
        *(f"<p class=fail>{html.escape(line)}</p>" for line in report.missing),
        "<h2>Subjects</h2>",
        _subjects(found),
        _comparisons(comparisons(found)),
        "<h2>Controls</h2>",
        _controls(report.tested),
        "<h2>Curves</h2>",
        _curves(report.tested),
    ]
    if report.trials:
        parts += ["<h2>Search</h2>", _trials(report.trials)]
    parts += [f"<h3>{html.escape(name)}</h3>{embedded(drawn, html.escape(name))}" for name, drawn in report.figures.items()]
    body = "\n".join(part for part in parts if part)
    title = f"<title>{html.escape(report.name)}</title>"
    return f'<!doctype html>\n<meta charset="utf-8">{title}<style>{STYLE}</style>\n{body}\n'


def _table(head: Iterable[str], rows: Iterable[Sequence[tuple[str, str]]]) -> str:
    """Cells are HTML and a class."""
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    lines = ["".join(f"<td{f' class={kind}' if kind else ''}>{content}</td>" for content, kind in row) for row in rows]
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _results(found: Sequence[Cell]) -> str:
    columns = list(dict.fromkeys(cell.column for cell in found))
    known = {(cell.row, cell.column): cell for cell in found}
    sizes = {cell.column: f"{cell.column} ({cell.candidates} candidates, chance {cell.chance:.1%})" for cell in found}
    rows = [
        [(html.escape(row), ""), *(_result(known.get((row, column))) for column in columns)]
        for row in dict.fromkeys(cell.row for cell in found)
    ]
    return _table(["", *(sizes[column] for column in columns)], rows)


def _result(cell: Cell | None) -> tuple[str, str]:
    if cell is None:
        return "not run", ""
    text = f"<b>{cell.percent}</b>"
    if cell.published is None:
        return text, ""
    span = f"{max(cell.published.low, 0):.1f} to {cell.published.high:.1f}"
    verdict = "pass" if cell.passed else "fail"
    return f"{text}<br><small>published {cell.published}; {verdict}: {span}</small>", verdict


def _subjects(found: Sequence[Cell]) -> str:
    groups: dict[str, dict[str, Mapping[tuple[str, str], float]]] = {}
    for cell in found:
        if cell.subjects:
            groups.setdefault(cell.column, {})[cell.row] = cell.subjects
    chance = {cell.column: cell.chance for cell in found}
    return embedded(subjects_picture(groups, chance), "accuracy of every subject") if groups else ""


def _comparisons(found: Sequence[Mapping[str, Any]]) -> str:
    if not found:
        return ""
    rows = [
        [(html.escape(str(one[key])), "") for key in ("row", "against", "study", "subjects")]
        + [(f"{100 * one['difference']:+.1f}", ""), (f"{one['p']:.2g}", "")]
        for one in found
    ]
    head = ["row", "against", "study", "subjects", "difference, points", "p, Wilcoxon signed-rank over subjects"]
    return _table(head, rows)


def _controls(tested: Sequence[Result]) -> str:
    """The mean of every control over all trainings, and those trainings of which one lies outside of chance."""
    parts = [one.evaluation.controls.assign(row=one.row, seed=one.seed) for one in tested]
    every = pd.concat(parts, ignore_index=True)
    every = every[every["control"] != "model"]
    odd = every[~every["top10"].between(every["low10"], every["high10"])]
    means = [
        [(html.escape(text), "") for text in (str(study), WHAT[str(name)], f"{group['top10'].mean():.1%}", f"{chance:.1%}")]
        for (study, name), group in every.groupby(["study", "control"], sort=False)
        for chance in [group["chance10"].mean()]
    ]
    strays = [
        [(html.escape(text), "odd") for text in (row["row"], row["seed"], row["study"], WHAT[row["control"]])]
        + [(f"{row['top10']:.1%}", "odd"), (f"{row['low10']:.1%} to {row['high10']:.1%}", "odd")]
        for _, row in odd.iterrows()
    ]
    head = ["", "seed", "study", "estimates", "top-10", "99.9 % of independent guesses"]
    note = f"On up to {SEGMENTS} segments of each study. {len(odd)} of {len(every)} controls lie outside of chance"
    told = _table(["study", "estimates", "top-10, mean over trainings", "chance"], means)
    told += f"<p>{note}{':' if strays else '.'}</p>" + (_table(head, strays) if strays else "")
    leaks = sorted({audit_line(one.evaluation.leaks) for one in tested})
    return told + "".join(f"<p>{html.escape(line)}</p>" for line in leaks)


def _trials(trials: Sequence[Mapping[str, Any]]) -> str:
    """Every trial, best first, by the valid split, and what became of it."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial["params"]))
    rows = []
    for trial in trials:
        score = "" if trial["score"] is None else f"{trial['score']:.3f}"
        words = [shown("", trial["params"].get(key, "")) for key in keys] + [str(trial["epochs"]), score, trial["state"]]
        copied = f"copy of trial {trial['copy_of']}, {' '.join(trial['schedule'])}" if trial.get("schedule") else ""
        why = "; ".join(text for text in ("the recipe" if trial.get("recipe") else "", copied, trial.get("reason")) if text)
        rows.append([(html.escape(text), "") for text in (str(trial["trial"]), *words, why)])
    head = ["trial", *(key.rpartition(".")[2] for key in keys), "epochs", trials[0].get("metric", "score"), "", "why"]
    return _table(head, rows)


def _curves(tested: Sequence[Result]) -> str:
    groups: dict[str, dict[str, list[Sequence[Mapping[str, float]]]]] = {}
    for one in tested:
        for column in one.columns():
            groups.setdefault(column, {}).setdefault(one.row, []).append(one.history)
    return embedded(curves_picture(groups), "valid accuracy after each epoch") if groups else ""
