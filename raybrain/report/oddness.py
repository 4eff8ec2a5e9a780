"""Oddness: which recordings of a study are unlike the others, by the numbers that their preparation keeps of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from raybrain.store import Part, Prepared

if TYPE_CHECKING:
    from rich.table import Table

FEWEST = 5  # recordings from which one can tell what is usual
FAR = 3.0  # robust standard deviations from the median that are odd
ROBUST = 1.4826  # the standard deviation of a normal distribution, in medians of absolute deviations
LOST_SHARE = 20.0  # percent of the windows
UNITS = {"eeg": (1e6, "µV"), "mag": (1e15, "fT"), "grad": (1e13, "fT/cm")}  # what people write, by kind of channel


@dataclass(frozen=True)
class Judged:
    """The quality of one recording.

    Attributes:
        part: what is prepared of it.
        row: of the store's table QUALITY.
        numbers: those by which recordings are compared, by name; NaN where there is none.
        deviations: how far each lies from the median of its study, in robust standard deviations; NaN where nobody can tell.
        marks: what is odd, a line each.
        score: how odd it is; 0 if nothing is.
    """

    part: Part
    row: Mapping[str, Any]
    numbers: Mapping[str, float]
    deviations: Mapping[str, float] = field(default_factory=dict)
    marks: Sequence[str] = ()
    score: float = 0.0

    def result(self) -> dict[str, Any]:
        """As plain data; None where there is no number."""
        numbers = {name: None if np.isnan(value) else round(value, 4) for name, value in self.numbers.items()}
        deviations = {name: None if np.isnan(value) else round(value, 2) for name, value in self.deviations.items()}
        return {
            "recording": self.part.uid,
            "study": self.part.study,
            "subject": self.part.subject,
            "score": round(self.score, 2),
            "marks": list(self.marks),
            "numbers": numbers,
            "deviations": deviations,
        }


@dataclass(frozen=True)
class Measure:
    """A number by which recordings are compared.

    Attributes:
        unit: of it.
        of: takes it from a row of the table QUALITY.
        least: the smallest deviation from the median that is taken for a usual one.
        side: which side is odd: 1 above, -1 below, 0 both.
        digits: after the point.
    """

    unit: str
    of: Callable[[Mapping[str, Any]], float]
    least: float
    side: int = 1
    digits: int = 1

    def distance(self, deviations: Any) -> Any:
        """How far deviations, a number or an array, lie towards the side that is odd."""
        return self.side * deviations if self.side else np.abs(deviations)


def response_of(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """How the brain follows what is heard, if that could be told."""
    return next((one for one in row["alignment"] if one["what"].startswith("the brain")), None)


def _share(row: Mapping[str, Any], state: str) -> float:
    return 100 * float(np.mean([channel["state"] == state for channel in row["channels"]]))


def _amplitude(row: Mapping[str, Any]) -> float:
    """The decimal logarithm, so that ten times and a tenth are equally far."""
    kind = row["channels"][0]["kind"]
    values = [
        one["deviation"] for one in row["channels"] if one["kind"] == kind and one["state"] == "good" and one["deviation"]
    ]
    return float(np.log10(np.median(values) * UNITS.get(kind, (1.0, ""))[0])) if values else float("nan")


def _lost(row: Mapping[str, Any]) -> float:
    return 100 * len(row["lost_windows_s"]) / max(int(row["windows"]), 1)


def _follows(row: Mapping[str, Any]) -> float:
    response = response_of(row)
    return float(response["deviations"]) if response else float("nan")


def _lag(row: Mapping[str, Any]) -> float:
    response = response_of(row)
    return 1000 * float(response["peak_s"]) if response and response["peak"] > response["limit"] else float("nan")


MEASURES = {
    "bad channels": Measure("%", lambda row: _share(row, "bad"), 2.0),
    "odd channels": Measure("%", lambda row: _share(row, "odd"), 2.0),
    "power line": Measure("dB", lambda row: float(row["line_db_before"]), 3.0),
    "power line left": Measure("dB", lambda row: float(row["line_db_after"]), 3.0),
    "lost windows": Measure("%", _lost, 2.0),
    "amplitude": Measure("log10", _amplitude, 0.1, 0, 2),
    "response": Measure("deviations above chance", _follows, 1.0, -1),
    "lag": Measure("ms", _lag, 50.0, 0, 0),
}


def judged(prepared: Prepared) -> list[Judged]:
    """The recordings of all studies that are prepared, the oddest first.

    Raises:
        InputError: if a table is damaged.
    """
    store = prepared.store
    parts = [part for uid in prepared.recordings if (part := store.part(uid))]
    rows = [store.quality(part.uid) for part in parts]
    return compared([Judged(part, row, numbers_of(row)) for part, row in zip(parts, rows, strict=True)])


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row of the table QUALITY, by name."""
    return {name: one.of(row) for name, one in MEASURES.items()}


def compared(every: Sequence[Judged]) -> list[Judged]:
    """Recordings, each beside all those of its study, the oddest first."""
    studies: dict[str, list[Judged]] = {}
    for one in every:
        studies.setdefault(one.part.study, []).append(one)
    beside = [_compared(one, group) for group in studies.values() for one in group]
    return sorted(beside, key=lambda one: (-one.score, one.part.uid))


def _compared(one: Judged, group: Sequence[Judged]) -> Judged:
    """A recording beside all those of its study."""
    deviations, marks, score = {}, _by_itself(one), 0.0
    score += FAR * len(marks)
    for name, measure in MEASURES.items():
        far = _deviations(one.numbers[name], [other.numbers[name] for other in group], measure.least)
        deviations[name] = far
        if measure.distance(far) > FAR:
            marks.append(f"{name}: {shown(one, name)} is {far:+.1f} deviations from the median recording")
            score += abs(far)
    return Judged(one.part, one.row, one.numbers, deviations, marks, score)


def _deviations(value: float, values: Sequence[float], least: float) -> float:
    known = np.array([other for other in values if not np.isnan(other)])
    if len(known) < FEWEST:
        return float("nan")
    middle = np.median(known)
    return float((value - middle) / max(ROBUST * np.median(np.abs(known - middle)), least))


def _by_itself(one: Judged) -> list[str]:
    """What is odd about a recording, whatever the others are like."""
    row, marks = one.row, list[str]()
    odd = [f"{channel['name']} ({channel['reason']})" for channel in row["channels"] if channel["state"] == "odd"]
    if odd:
        more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        marks.append(f"used though odd: {', '.join(odd[:5])}{more}; mark them bad, or add bad_channels to data.signal.steps")
    if one.numbers["lost windows"] > LOST_SHARE:
        marks.append(f"lost windows: {one.numbers['lost windows']:.0f} % of {row['windows']}")
    response = response_of(row)
    if response and response["peak"] <= response["limit"]:
        marks.append("the brain does not follow what is heard more than by chance: are its times right?")
    elif response and response["peak_s"] <= 0:
        marks.append(f"the brain is ahead of what is heard, by {-1000 * response['peak_s']:.0f} ms: are its times right?")
    return marks


def shown(one: Judged, name: str) -> str:
    """A number of a recording with its unit."""
    measure, value = MEASURES[name], one.numbers[name]
    if np.isnan(value):
        return "–"
    if name == "amplitude":
        return f"{10**value:.3g} {UNITS.get(one.row['channels'][0]['kind'], (1.0, ''))[1]}"
    if name == "response":
        return f"{value:.{measure.digits}f}"
    return f"{value:.{measure.digits}f} {measure.unit}"


def odd_table(odd: Sequence[Judged]) -> "Table":
    """What is odd about recordings, for a terminal."""
    from rich.table import Table

    table = Table(title="odd recordings")
    table.add_column("recording", overflow="fold")
    table.add_column("oddness", justify="right")
    table.add_column("what", overflow="fold", min_width=40)
    for one in odd:
        table.add_row(one.part.uid, f"{one.score:.1f}", "\n".join(one.marks))
    return table
