"""Presentation logs: what the stimulus computer did and when, and how its clock maps to the recording's.

Presentation (Neurobehavioral Systems) counts time in units of 0.1 ms from its own start. The triggers it sent are in the
recording too, so both lists of triggers are matched, and times are mapped from one matched trigger to the next. Not a study
itself.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raybrain.config import InputError

TICK_S = 1e-4
SLACK_S = 0.25  # how far two clocks drift apart within an hour, with a margin
NEAR_S = 0.05  # the largest distance of a matched trigger from the line through all of them
BIN_S = 2.0  # triggers of the same value are further apart than this
LEAST_SHARE = 0.5
LEAST_ANCHORS = 5
LEAST_CORRELATION = 0.9999
COLUMNS = ("Event Type", "Code", "Time")


@dataclass(frozen=True)
class Logged:
    """An event in a log: its ``kind`` (Picture, Sound, Nothing, Response, ...), its ``code`` and its start in seconds."""

    start: float
    kind: str
    code: str


@dataclass(frozen=True)
class Trigger:
    """A trigger's value and its time in seconds, on the clock of the log or of the recording."""

    start: float
    value: int


@dataclass(frozen=True)
class LogClock:
    """Maps seconds of the log to seconds of the recording.

    Attributes:
        anchors: the times of matched triggers as (log, recording), sorted.
        rate: seconds of the recording per second of the log, used between anchors.
    """

    anchors: tuple[tuple[float, float], ...]
    rate: float = 1.0

    def __call__(self, seconds: float) -> float:
        """The recording's time: that of the last anchor before it (else of the first), plus the scaled time since then."""
        number = int(np.searchsorted([log for log, _ in self.anchors], seconds, side="right"))
        log, recording = self.anchors[max(number - 1, 0)]
        return recording + (seconds - log) * self.rate


def read_log(path: Path) -> list[Logged]:
    """The events of a Presentation log, in its order.

    Only the first scenario is read, since some logs contain a session twice; and of it only the first table, not the summary by
    stimulus. A row that was split by a line break after a word's full stop is joined again.

    Raises:
        InputError: if it is not such a log, or a row cannot be read.
    """
    scenarios = _text(path).split("Scenario -")
    if len(scenarios) < 2:
        raise InputError(f"{path} is not a Presentation log: it names no scenario")
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


def align(logged: Sequence[Trigger], recorded: Sequence[Trigger]) -> LogClock:
    """Match the triggers of a log with those of a recording, even if some are missing, spurious or doubled on either side.

    The shift between the clocks is the one at which most triggers of equal value coincide: sessions repeat themselves, so the
    order of values alone would fit in many places. Then the two series, with each trigger represented by its value and its time
    on a coarse grid, are aligned by Levenshtein edits; triggers that are in both and near the line through all pairs become
    anchors.

    As a check, the intervals between successive matched triggers of the most frequent value must have nearly the same ranks in
    both (Spearman's r > 0.9999). Intervals are compared, since any two increasing series of times correlate perfectly.

    Args:
        logged: the triggers in the log, in seconds of its clock.
        recorded: the triggers in the recording, in seconds from its start.

    Raises:
        InputError: if fewer than half of the recording's triggers have a match, or the intervals differ: another session.
    """
    from rapidfuzz.distance import Levenshtein

    shift = _shift(logged, recorded)
    ours = [(trigger.value, round((trigger.start + shift) / BIN_S)) for trigger in logged]
    theirs = [(trigger.value, round(trigger.start / BIN_S)) for trigger in recorded]
    pairs = [
        (logged[block.a + step], recorded[block.b + step])
        for block in Levenshtein.opcodes(ours, theirs).as_matching_blocks()
        for step in range(block.size)
    ]
    pairs = [(log, recording) for log, recording in pairs if abs(recording.start - log.start - shift) <= SLACK_S]
    rate, offset = _line(pairs)
    pairs = [(log, recording) for log, recording in pairs if abs(recording.start - rate * log.start - offset) <= NEAR_S]
    if len(pairs) < max(LEAST_ANCHORS, LEAST_SHARE * len(recorded)):
        raise InputError(
            f"only {len(pairs)} of {len(recorded)} triggers in the recording match the log; is it the log of another session?"
        )
    correlation = _correlation(pairs)
    if not correlation > LEAST_CORRELATION:
        raise InputError(
            f"intervals between triggers in recording and log correlate with r = {correlation:.5f}, "
            f"not above {LEAST_CORRELATION}; is it the log of another session?"
        )
    return LogClock(tuple((log.start, recording.start) for log, recording in pairs), rate)


def _shift(logged: Sequence[Trigger], recorded: Sequence[Trigger]) -> float:
    """Recording time minus log time, in seconds: the centre of the densest range of differences between equal values."""
    differences = np.sort([r.start - log.start for log in logged for r in recorded if log.value == r.value])
    if not len(differences):
        return 0.0
    inside = np.searchsorted(differences, differences + 2 * SLACK_S, side="right") - np.arange(len(differences))
    first = int(inside.argmax())
    return float(np.median(differences[first : first + inside[first]]))


def _line(pairs: Sequence[tuple[Trigger, Trigger]]) -> tuple[float, float]:
    """Rate and offset of the recording's clock against the log's, by the Theil-Sen estimator (robust to wrong pairs)."""
    from scipy.stats import theilslopes

    if len(pairs) < LEAST_ANCHORS:
        return 1.0, 0.0
    log, recording = np.array([(log.start, recording.start) for log, recording in pairs]).T
    rate, offset, *_ = theilslopes(recording, log)
    return float(rate), float(offset)


def _correlation(pairs: Sequence[tuple[Trigger, Trigger]]) -> float:
    """Spearman's r of the intervals between successive matched triggers of the most frequent value; nan if too few."""
    from scipy.stats import spearmanr

    value = Counter(log.value for log, _ in pairs).most_common(1)[0][0]
    times = np.array([(log.start, recording.start) for log, recording in pairs if log.value == value])
    if len(times) < LEAST_ANCHORS:
        return float("nan")
    log, recording = np.diff(times, axis=0).T
    return float(spearmanr(log, recording).statistic)
