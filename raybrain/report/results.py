"""Results: the cells of a sweep's table, each beside what was published, and tests of differences between its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import pandas as pd

from raybrain.evaluate.rank import Evaluation
from raybrain.evaluate.statistics import compare, holm, over_seeds

if TYPE_CHECKING:
    from raybrain.report.run_page import RunReport

STUDY = "study"
POINTS = 2.0  # a mean this close to the published one is the same, however small the published deviation
DEVIATIONS = 2.0
ROUNDING = 0.05  # published numbers have one decimal
TOLERANCE = (
    f"a mean passes within {POINTS:g} points or {DEVIATIONS:g} published standard deviations of the published one, whichever "
    f"is more; chance within {DEVIATIONS:g} standard deviations and rounding"
)


@dataclass(frozen=True)
class Result:
    """One training of a sweep and its results on the test split.

    Attributes:
        trial: its number.
        names: of the variants it is made of, by dimension; settings and their values where these were searched.
        seed: which repetition.
        evaluation: the results.
        published: whether it asks what was published, with nothing changed.
        history: a row an epoch.
        left_out: recordings that are not in its data, and the reason for each.
        run: the training itself, for a page of its own.
    """

    trial: int
    names: Mapping[str, Any]
    seed: str
    evaluation: Evaluation
    published: bool
    history: Sequence[Mapping[str, float]]
    left_out: Mapping[str, str] = field(default_factory=dict)
    run: "RunReport | None" = None

    @property
    def row(self) -> str:
        """What the row of the table is called: everything but the study."""
        return row_name(self.names)

    def columns(self) -> dict[str, pd.DataFrame]:
        """The studies of the evaluation by what their column is called: the variant's name where studies are a dimension."""
        studies = self.evaluation.studies
        if STUDY in self.names:
            return {str(self.names[STUDY]): studies}
        return {str(name): studies[studies["study"] == name] for name in studies["study"]}

    def subjects(self, column: str) -> pd.DataFrame:
        """The subjects of a column."""
        table = self.evaluation.subjects
        return table if STUDY in self.names else table[table["study"] == column]


@dataclass(frozen=True)
class Published:
    """What was published for a cell, in percent, and which means count as the same."""

    values: tuple[tuple[float, float], ...]

    @property
    def low(self) -> float:
        """The smallest mean that passes."""
        return min(mean - _tolerance(sd) for mean, sd in self.values)

    @property
    def high(self) -> float:
        """The largest mean that passes."""
        return max(mean + _tolerance(sd) for mean, sd in self.values)

    def __str__(self) -> str:
        return " or ".join(f"{mean:g} ± {sd:g}" if sd else f"{mean:g}" for mean, sd in self.values)


@dataclass(frozen=True)
class Cell:
    """A row of the table in one of its columns, over seeds; accuracies as shares.

    Attributes:
        row: what was varied.
        column: the study.
        top10: top-10 segment accuracy of each seed.
        top1: top-1 accuracy of each seed.
        chance: of top-10.
        candidates: that every estimate was ranked against.
        subjects: accuracy of each (study, subject), the mean over seeds.
        published: if it was, for these settings.
        baseline: top-10 accuracy of ridge regression on the same data; None for what is no model.
        marks: the controls that mark the result of any seed (:mod:`raybrain.evaluate.marks`).
    """

    row: str
    column: str
    top10: tuple[float, ...]
    top1: tuple[float, ...]
    chance: float
    candidates: int
    subjects: Mapping[tuple[str, str], float]
    published: Published | None = None
    baseline: float | None = None
    marks: tuple[str, ...] = ()

    @property
    def below(self) -> bool:
        """Whether the mean is below the baseline."""
        return self.baseline is not None and self.mean < self.baseline

    @property
    def mean(self) -> float:
        """Over seeds."""
        return fmean(self.top10)

    @property
    def sd(self) -> float | None:
        """Over seeds; None for one seed."""
        return stdev(self.top10) if len(self.top10) > 1 else None

    @property
    def percent(self) -> str:
        """Mean and deviation over seeds, for people."""
        return f"{100 * self.mean:.1f}" + (f" ± {100 * self.sd:.1f}" if self.sd is not None else "")

    @property
    def passed(self) -> bool | None:
        """Whether the mean is the published one; None if nothing was published for these settings."""
        if self.published is None:
            return None
        return self.published.low <= 100 * self.mean <= self.published.high

    def result(self) -> dict[str, Any]:
        """For --json."""
        known: dict[str, Any] = {"row": self.row, "study": self.column, "top10": list(self.top10), "top1": list(self.top1)}
        known |= {"mean": self.mean, "sd": self.sd, "chance10": self.chance, "candidates": self.candidates}
        known |= {"baseline10": self.baseline, "below_baseline": self.below, "marks": list(self.marks)}
        if self.published:
            spans = {"published": [list(value) for value in self.published.values], "passed": self.passed}
            known |= spans | {"accepted": [self.published.low, self.published.high]}
        return known


def row_name(names: Mapping[str, Any]) -> str:
    """What a row of a table is called: the variants and settings it is made of, but the study."""
    return ", ".join(shown(name, value) for name, value in names.items() if name != STUDY) or "recipe"


def shown(name: str, value: Any) -> str:
    """A variant by its name, a setting with its value: ``DeepMel``, ``lr=0.0003``."""
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return f"{name.rpartition('.')[2]}={text}" if "." in name else text


def cells(tested: Sequence[Result], published: Mapping[tuple[str, ...], tuple[float, float]]) -> list[Cell]:
    """The cells of a table, in the order of what was tested; and a cell of chance where that was published.

    Published numbers are looked up by the names of variants; a longer key that starts with them gives the cell a further
    published number, and what lies between both passes too. ``(study, "random")`` is chance.
    """
    groups: dict[tuple[str, str], list[Result]] = {}
    for one in tested:
        for column in one.columns():
            groups.setdefault((one.row, column), []).append(one)
    made = [_cell(row, column, members, published) for (row, column), members in groups.items()]
    for column in dict.fromkeys(cell.column for cell in made):
        same = next(cell for cell in made if cell.column == column)
        if same.published and (known := published.get((column, "random"))):
            made.append(_chance(same, known))
    return made


def _cell(row: str, column: str, members: Sequence[Result], published: Mapping[tuple[str, ...], tuple[float, float]]) -> Cell:
    tables = [one.columns()[column] for one in members]
    key = tuple(str(value) for name, value in members[0].names.items() if "." not in name)
    values = tuple(value for known, value in published.items() if key and known[: len(key)] == key)
    return Cell(
        row,
        column,
        tuple(float(table["top10"].mean()) for table in tables),
        tuple(float(table["top1"].mean()) for table in tables),
        float(tables[0]["chance10"].mean()),
        int(tables[0]["candidates"].max()),
        over_seeds([one.subjects(column) for one in members]),
        Published(values) if values and all(one.published for one in members) else None,
        fmean(float(table["baseline10"].mean()) for table in tables),
        _marks(members, tables[0]["study"].tolist()),
    )


def _marks(members: Sequence[Result], studies: Sequence[str]) -> tuple[str, ...]:
    """The controls that mark one of these studies, or all, in any repetition."""
    marks = [mark for one in members for mark in one.evaluation.marks if mark["study"] in ("", *studies)]
    return tuple(dict.fromkeys(str(mark["control"]) for mark in marks))


def _chance(cell: Cell, known: tuple[float, float]) -> Cell:
    return Cell(
        "random", cell.column, (cell.chance,), (1 / cell.candidates,), cell.chance, cell.candidates, {}, Chance((known,))
    )


class Chance(Published):
    """Published chance, which is known exactly: it is a check on the candidates."""

    @property
    def low(self) -> float:
        """The smallest chance that passes."""
        return min(mean - DEVIATIONS * sd - ROUNDING for mean, sd in self.values)

    @property
    def high(self) -> float:
        """The largest chance that passes."""
        return max(mean + DEVIATIONS * sd + ROUNDING for mean, sd in self.values)


def _tolerance(sd: float) -> float:
    return max(POINTS, DEVIATIONS * sd)


def comparisons(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Every row against the first one: Wilcoxon signed-rank tests over subjects, in each column and pooled over them.

    ``holm`` is the p-value corrected for all of these tests.
    """
    rows = list(dict.fromkeys(cell.row for cell in cells if cell.subjects))
    by_place = {(cell.row, cell.column): cell.subjects for cell in cells if cell.subjects}
    columns = list(dict.fromkeys(column for _, column in by_place))
    tests = []
    for row in rows[1:]:
        pairs = {
            column: (by_place[rows[0], column], by_place[row, column])
            for column in columns
            if (rows[0], column) in by_place and (row, column) in by_place
        }
        if len(pairs) > 1:
            sides = [_pooled({column: pair[side] for column, pair in pairs.items()}) for side in (0, 1)]
            pairs["all"] = (sides[0], sides[1])
        for column, (first, second) in pairs.items():
            if set(first) & set(second):
                test = compare(first, second)
                tests.append({"row": row, "against": rows[0], "study": column, **vars(test)})
    return [{**test, "holm": p} for test, p in zip(tests, holm([test["p"] for test in tests]), strict=True)]


def shown_p(p: float | None) -> str:
    """A p-value; None is that of one subject, of whom no test is possible."""
    return "one subject" if p is None else f"{p:.2g}"


def _pooled(parts: Mapping[str, Mapping[tuple[str, str], float]]) -> dict[tuple[str, str], float]:
    """The subjects of all columns together."""
    return {(f"{column} {study}", subject): value for column, part in parts.items() for (study, subject), value in part.items()}
