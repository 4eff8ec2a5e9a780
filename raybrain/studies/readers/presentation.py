"""Presentation logs: what the computer that ran an experiment did and when; and how its clock maps to a recording's.

Presentation (Neurobehavioral Systems) counts 0.1 ms from its own start. The triggers it sent stand in the recording too, so
both lists are matched and the clock is carried from one matched trigger to the next. Not a study itself.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raybrain.config import InputError

TICK_S = 1e-4
SLACK_S = 0.25  # how far two clocks drift apart during an hour, with some to spare
NEAR_S = 0.05  # how far a trigger may be from where the line through all of them has it
BIN_S = 2.0  # triggers of one value follow one another more slowly than this
LEAST_SHARE = 0.5
LEAST_ANCHORS = 5
LEAST_CORRELATION = 0.9999
COLUMNS = ("Event Type", "Code", "Time")


@dataclass(frozen=True)
class Logged:
    """Something the computer did: ``kind`` (Picture, Sound, Nothing, Response, ...), its ``code``, and when, in seconds."""

    start: float
    kind: str
    code: str


@dataclass(frozen=True)
class Trigger:
    """A value that was sent to the recording, in seconds of whichever clock."""

    start: float
    value: int


@dataclass(frozen=True)
class LogClock:
    """From the log's seconds to the recording's: ``anchors`` are matched triggers as (log, recording), sorted.

    Between anchors the log's clock is carried on, corrected by ``rate``: seconds of the recording in one of the log.
    """

    anchors: tuple[tuple[float, float], ...]
    rate: float = 1.0

    def __call__(self, seconds: float) -> float:
        """The time of the last anchor before, plus what passed since then in the log; before the first: the same backwards."""
        number = int(np.searchsorted([log for log, _ in self.anchors], seconds, side="right"))
        log, recording = self.anchors[max(number - 1, 0)]
        return recording + (seconds - log) * self.rate


def read_log(path: Path) -> list[Logged]:
    """The events of a Presentation log, in its order.

    Only the first scenario counts, since some logs hold a session twice. A word that was shown with a line break after its
    full stop, which cuts its row in two, is joined again. The second table (a summary by stimulus) is not read.

    Raises:
        InputError: it is no such log, or a row cannot be read.
    """
    scenarios = _text(path).split("Scenario -")
    if len(scenarios) < 2:
        raise InputError(f"{path} is no Presentation log: it names no scenario")
    tables = re.split(r"\n{3,}", scenarios[1].replace(".\n", "."))
    lines = [line.split("\t") for line in tables[0].split("\n") if line.strip()]
    start = next((number for number, cells in enumerate(lines) if set(COLUMNS) <= set(cells)), None)
    if start is None:
        raise InputError(f"{path} has no table with the columns {', '.join(COLUMNS)}")
    kind, code, time = (lines[start].index(column) for column in COLUMNS)
    events = []
    for cells in lines[start + 1 :]:
        try:
            events.append(Logged(int(cells[time]) * TICK_S, cells[kind].strip(), cells[code].strip()))
        except (IndexError, ValueError):
            raise InputError(f"{path}: no time in the row {' '.join(cells)[:80]!r}; is the log cut off?") from None
    return events


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    return re.sub(r"\r+\n", "\n", text).replace("\r", "")


def align(logged: Sequence[Trigger], seen: Sequence[Trigger]) -> LogClock:
    """Match the triggers of a log to those of the recording, whatever is missing, spurious or doubled on either side.

    The shift between the clocks is the one at which most triggers of equal value coincide: sessions repeat themselves, so the
    order of values alone would fit at many places. Then the two series, each trigger told by its value and its time on a
    coarse grid, are matched by Levenshtein's edits; what is in place in both, near the line through all of it, is an anchor.

    The times from one matched trigger to the next of its value must rank alike in both (Spearman's r > 0.9999). They are
    compared rather than the times themselves, since any two series that rise correlate perfectly.

    Raises:
        InputError: fewer than half of the recording's triggers have a partner, or the intervals differ: another session.
    """
    from rapidfuzz.distance import Levenshtein

    shift = _shift(logged, seen)
    ours = [(trigger.value, round((trigger.start + shift) / BIN_S)) for trigger in logged]
    theirs = [(trigger.value, round(trigger.start / BIN_S)) for trigger in seen]
    pairs = [
        (logged[block.a + step], seen[block.b + step])
        for block in Levenshtein.opcodes(ours, theirs).as_matching_blocks()
        for step in range(block.size)
    ]
    pairs = [(log, recording) for log, recording in pairs if abs(recording.start - log.start - shift) <= SLACK_S]
    rate, offset = _line(pairs)
    pairs = [(log, recording) for log, recording in pairs if abs(recording.start - rate * log.start - offset) <= NEAR_S]
    if len(pairs) < max(LEAST_ANCHORS, LEAST_SHARE * len(seen)):
        raise InputError(
            f"only {len(pairs)} of the {len(seen)} triggers in the recording match those in the log: is it of another session?"
        )
    correlation = _correlation(pairs)
    if not correlation > LEAST_CORRELATION:
        raise InputError(
            f"times between triggers in recording and log correlate with r = {correlation:.5f}, "
            f"which is not above {LEAST_CORRELATION}: is the log of another session?"
        )
    return LogClock(tuple((log.start, recording.start) for log, recording in pairs), rate)


def _shift(logged: Sequence[Trigger], seen: Sequence[Trigger]) -> float:
    """Recording minus log, in seconds: the middle of the densest stretch of all differences between equal values."""
    differences = np.sort([r.start - log.start for log in logged for r in seen if log.value == r.value])
    if not len(differences):
        return 0.0
    inside = np.searchsorted(differences, differences + 2 * SLACK_S, side="right") - np.arange(len(differences))
    first = int(inside.argmax())
    return float(np.median(differences[first : first + inside[first]]))


def _line(pairs: Sequence[tuple[Trigger, Trigger]]) -> tuple[float, float]:
    """Rate and offset of the recording's clock against the log's, whatever a few wrong pairs say (Theil and Sen's estimate)."""
    from scipy.stats import theilslopes

    if len(pairs) < LEAST_ANCHORS:
        return 1.0, 0.0
    log, recording = np.array([(log.start, recording.start) for log, recording in pairs]).T
    rate, offset, *_ = theilslopes(recording, log)
    return float(rate), float(offset)


def _correlation(pairs: Sequence[tuple[Trigger, Trigger]]) -> float:
    """Spearman's r of the times between successive matched triggers of the most frequent value; nan if there are too few."""
    from scipy.stats import spearmanr

    value = Counter(log.value for log, _ in pairs).most_common(1)[0][0]
    times = np.array([(log.start, recording.start) for log, recording in pairs if log.value == value])
    if len(times) < LEAST_ANCHORS:
        return float("nan")
    log, recording = np.diff(times, axis=0).T
    return float(spearmanr(log, recording).statistic)
