"""Segments: the windows of a recording that are trained on or tested, as rows that point into signal and stimuli."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raybrain.events import EDGE_S, Event, Phoneme, Sound, Word
from raybrain.prepare.plan import PlannedBlock
from raybrain.store import EVENTS, SEGMENTS

if TYPE_CHECKING:
    from raybrain.signal.window import SegmentConfig


def make_segments(
    events: Sequence[Event], blocks: Sequence[PlannedBlock], config: "SegmentConfig", rate_hz: float, samples: int
) -> pa.Table:
    """All windows that lie inside one block and inside the recording (Défossez et al. 2023, Methods).

    Train and valid windows are anchored on a regular grid from the start of the recording; test windows at word onsets.
    The valid split has windows at word onsets too, so that models can be chosen by the very measure they are tested with.

    Returns:
        A table with the schema SEGMENTS, in order of time.
    """
    words = [event for event in events if isinstance(event, Word)]
    grid = np.arange(0.0, samples / rate_hz, config.stride_s)
    rows: list[dict[str, Any]] = []
    for planned in blocks:
        anchors: list[tuple[float, Word | None]] = []
        if planned.split in ("train", "valid"):
            anchors += [(float(time), None) for time in grid]
        if planned.split in ("valid", "test"):
            anchors += [(word.start, word) for word in words]
        first = planned.block.start - config.tmin_s - EDGE_S
        last = planned.block.stop - config.tmax_s + EDGE_S
        for anchor, word in anchors:
            start = round((anchor + config.tmin_s) * rate_hz)
            if first <= anchor <= last and 0 <= start <= samples - config.samples(rate_hz):
                rows.append(_segment(start, word, planned, rate_hz))
    return pa.Table.from_pylist(rows, schema=SEGMENTS)


def _segment(start: int, word: Word | None, planned: PlannedBlock, rate_hz: float) -> dict[str, Any]:
    return {
        "split": planned.split,
        "anchor": "word" if word else "grid",
        "start_sample": start,
        "stimulus": planned.stimulus,
        "stimulus_s": start / rate_hz - planned.origin_s,
        "sentence": word.sequence if word else "",
        "word_index": word.word_index if word else -1,
        "word": word.word if word else "",
    }


def events_table(events: Sequence[Event]) -> pa.Table:
    """Events as rows, for people and other tools."""
    rows = []
    for event in sorted(events, key=lambda event: event.start):
        row: dict[str, Any] = {"kind": type(event).__name__.lower(), "start_s": event.start, "duration_s": event.duration}
        if isinstance(event, Sound):
            row |= {"text": event.filepath, "offset_s": event.offset, "speed": event.speed}
        elif isinstance(event, Word):
            row |= {"text": event.word, "sentence": event.sequence, "word_index": event.word_index}
        elif isinstance(event, Phoneme):
            row |= {"text": event.phoneme}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=EVENTS)
