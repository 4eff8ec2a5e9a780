"""Segments: the windows of a recording that are trained on or tested, as rows that point into signal and stimuli."""

import bisect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raybrain.events import EDGE_S, Block, Event, Phoneme, Sound, Word
from raybrain.prepare.plan import SAME_S, PlannedBlock
from raybrain.signal.bad_stretches import BadStretch
from raybrain.store import EVENTS, SEGMENTS

if TYPE_CHECKING:
    from raybrain.signal.window import SegmentConfig


def without_bad(segments: pa.Table, bad: Sequence[BadStretch], config: "SegmentConfig", rate_hz: float) -> pa.Table:
    """The windows that hold no sample of a bad stretch, and span no boundary; all of them if that is asked for."""
    if config.over_bad or not bad:
        return segments
    starts = segments["start_sample"].to_numpy() / rate_hz
    stops = starts + (config.samples(rate_hz) - 1) / rate_hz
    kept = np.ones(len(starts), dtype=bool)
    for stretch in bad:
        kept &= (stops < stretch.start) | (starts > stretch.stop) | ((starts == stretch.stop) & (stretch.stop == stretch.start))
    return segments.filter(pa.array(kept))


def make_segments(
    events: Sequence[Event], blocks: Sequence[PlannedBlock], config: "SegmentConfig", rate_hz: float, samples: int
) -> pa.Table:
    """All windows that lie inside one block and inside the recording (Défossez et al. 2023, Methods).

    Train and valid windows are anchored on a regular grid from the start of the recording; test windows at word onsets.
    The valid split has windows at word onsets too, so that models can be chosen by the very measure they are tested with.

    Returns:
        A table with the schema SEGMENTS, in order of time.
    """
    words = sorted((event for event in events if isinstance(event, Word)), key=lambda word: word.start)
    onsets = [word.start for word in words]
    grid = np.arange(0.0, samples / rate_hz, config.stride_s).tolist()
    rows: list[dict[str, Any]] = []
    for planned in blocks:
        slack_s = planned.slack / rate_hz - EDGE_S if planned.slack else EDGE_S
        first = planned.block.start - config.tmin_s - EDGE_S
        last = planned.block.stop - config.tmax_s + slack_s
        anchors: list[tuple[float, Word | None, int]] = []
        if planned.split in ("train", "valid"):
            anchors += [(grid[number], None, -1) for number in _within(grid, first, last)]
        if planned.split in ("valid", "test"):
            earlier = bisect.bisect_left(onsets, planned.block.start - SAME_S / 2)
            anchors += [(onsets[number], words[number], number - earlier) for number in _within(onsets, first, last)]
        for anchor, word, place in anchors:
            start = round((anchor + config.tmin_s) * rate_hz)
            if 0 <= start <= samples - config.samples(rate_hz):
                rows.append(_segment(start, planned, rate_hz) | _named(word, place, planned.block))
    return pa.Table.from_pylist(rows, schema=SEGMENTS)


def _within(times: Sequence[float], first: float, last: float) -> range:
    """The numbers of those sorted ``times`` that are neither before ``first`` nor after ``last``."""
    return range(bisect.bisect_left(times, first), bisect.bisect_right(times, last))


def _segment(start: int, planned: PlannedBlock, rate_hz: float) -> dict[str, Any]:
    return {
        "split": planned.split,
        "start_sample": start,
        "stimulus": planned.stimulus,
        "stimulus_s": start / rate_hz - planned.origin_s,
    }


def _named(word: Word | None, place: int, block: Block) -> dict[str, Any]:
    """What names the candidate at a word: its sentence and its place there.

    A word of which no sentence is known stands at its ``place`` among all words of its block: else all would be one.
    """
    if word is None:
        return {"anchor": "grid", "sentence": "", "word_index": -1, "word": ""}
    sentence, index = (word.sequence, word.word_index) if word.sequence else (block.uid, place)
    return {"anchor": "word", "sentence": sentence, "word_index": index, "word": word.word}


def events_table(events: Sequence[Event]) -> pa.Table:
    """Events as rows, for people and other tools."""
    rows = []
    for event in sorted(events, key=lambda event: event.start):
        row: dict[str, Any] = {"kind": type(event).__name__.lower(), "start_s": event.start, "duration_s": event.duration}
        row |= {"language": event.language}
        if isinstance(event, Sound):
            row |= {"text": event.filepath, "offset_s": event.offset, "speed": event.speed}
        elif isinstance(event, Word):
            row |= {"text": event.word, "sentence": event.sequence, "word_index": event.word_index}
        elif isinstance(event, Phoneme):
            row |= {"text": event.phoneme}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=EVENTS)
