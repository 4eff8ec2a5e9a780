"""Segments: every window that lies in a block, at its anchor, with a name of its own; in a time that grows with the words."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from raybrain.events import Block, Event, Sound, Split, SplitConfig, SplitMode, Word, cut_sounds, sentence_blocks
from raybrain.prepare.plan import Heard, PlannedBlock, make_plan
from raybrain.prepare.segments import make_segments
from raybrain.recording import Recording
from raybrain.signal.window import SegmentConfig

SPLITS: tuple[Split, ...] = get_args(Split)
MODES: tuple[SplitMode, ...] = ("clean", "paper")


def test_windows_by_hand() -> None:
    """Blocks of 10, 6 and 6 s of a recording of 22 s at 120 Hz."""
    blocks = [
        PlannedBlock(Block(0.0, 10.0, ("a",)), "train", "A", 1.0),
        PlannedBlock(Block(10.0, 6.0, ("b",)), "valid", "B", 10.0),
        PlannedBlock(Block(16.0, 6.0, ("c",)), "test", "C", 15.95),
    ]
    onsets = [1.0, 10.2, 12.0, 13.5, 13.51, 16.4, 16.5, 18.004, 19.49, 19.5]
    words = [Word(start=t, duration=0.1, word=f"w{t}", word_index=i, sequence="s") for i, t in enumerate(onsets)]
    config = SegmentConfig()
    assert config.samples(120.0) == 361
    rows = make_segments(words, blocks, config, 120.0, samples=22 * 120).to_pylist()

    def starts(split: str, anchor: str) -> list[int]:
        return [row["start_sample"] for row in rows if (row["split"], row["anchor"]) == (split, anchor)]

    assert starts("train", "grid") == [60 * n for n in range(15)]  # anchors 0.5, 1.0, ... 7.5 s
    assert starts("valid", "grid") == [1200 + 60 * n for n in range(7)]  # anchors 10.5 ... 13.5 s
    assert starts("valid", "word") == [1380, 1560]  # not 10.2, not 13.51: their windows leave the block
    assert starts("test", "word") == [1920, 2100, 2279]  # not 19.5: its last sample would be the 2641st
    assert len(rows) == 15 + 7 + 2 + 3
    window = next(row for row in rows if row["word"] == "w16.5")
    assert window == {
        **{"split": "test", "anchor": "word", "start_sample": 1920, "stimulus": "C"},
        **{"sentence": "s", "word_index": 6, "word": "w16.5", "stimulus_s": pytest.approx(0.05)},
    }
    for row in rows:
        block = {"train": blocks[0], "valid": blocks[1], "test": blocks[2]}[row["split"]].block
        assert block.start * 120 <= row["start_sample"]
        assert row["start_sample"] + 360 <= block.stop * 120


def test_removed_blocks_and_other_strides() -> None:
    block = PlannedBlock(Block(0.0, 10.0, ("a",)), "removed", "A", 0.0)
    assert make_segments([], [block], SegmentConfig(), 120.0, 1200).num_rows == 0
    config = SegmentConfig(tmin_s=0.0, tmax_s=1.0, stride_s=3.0)
    rows = make_segments([], [replace(block, split="train")], config, 100.0, 1000).to_pylist()
    assert [row["start_sample"] for row in rows] == [0, 300, 600]


def test_published_windows_may_outlast_their_block_by_half_a_sample() -> None:
    """By 4.166 ms at 120 Hz; and one that has no end goes on as long as the recording."""
    onsets = [2.0, 7.5, 7.504, 7.505, 12.0]
    words = [Word(start=t, duration=0.1, word=f"w{t}", word_index=i, sequence="s") for i, t in enumerate(onsets)]
    one, last = PlannedBlock(Block(0.0, 10.0, ("a",)), "test", "A", 1.0), Block(10.0, math.inf, ("b",))

    def said(*blocks: PlannedBlock, samples: int = 16 * 120) -> list[str]:
        return make_segments(words, blocks, SegmentConfig(), 120.0, samples)["word"].to_pylist()

    assert said(one) == ["w2.0", "w7.5"]
    assert said(replace(one, slack=0.5)) == ["w2.0", "w7.5", "w7.504"]
    assert said(PlannedBlock(last, "test", "B", 10.0)) == ["w12.0"]
    assert said(PlannedBlock(last, "test", "B", 10.0), samples=14 * 120) == []
    rows = make_segments(words, [PlannedBlock(last, "train", "B", 10.0)], SegmentConfig(), 120.0, 16 * 120 + 1)
    assert rows["start_sample"].to_pylist() == [1200 + 60 * n for n in range(7)]  # anchors 10.5 ... 13.5 s


def test_only_published_windows_outlast_their_block() -> None:
    """In a story whose sentences last 7 s, with words 4.504 s after the start of each, and so 2.496 s before the next."""
    events = [
        Word(start=7.0 * number + at, duration=0.2, word=f"w{number}", word_index=index, sequence=f"s{number}")
        for number in range(60)
        for index, at in enumerate((0.0, 4.504))
    ]
    recording = Recording("made-up", "01")
    late = {}
    for mode in MODES:
        blocks = make_plan([Heard(recording, tuple(events))], {}, SplitConfig(mode=mode)).blocks[recording.uid]
        rows = make_segments(events, blocks[:-1], SegmentConfig(), 120.0, 430 * 120).to_pylist()
        late[mode] = [row["split"] for row in rows if row["word_index"] == 1]
        wanted = [block.split for block in blocks[:-1] if block.split in ("valid", "test")]
    assert late == {"clean": [], "paper": wanted}
    assert set(wanted) == {"valid", "test"}


def window_by_window(
    events: Sequence[Event], blocks: Sequence[PlannedBlock], config: SegmentConfig, rate_hz: float, samples: int
) -> list[tuple[str, str, int, str, str]]:
    """What ``make_segments`` is to give: all windows and all blocks, looked at one by one."""
    found = []
    for planned in blocks:
        kinds = {"train": ["grid"], "valid": ["grid", "word"], "test": ["word"], "removed": []}[planned.split]
        words = [(event.start, "word", event.word) for event in events if isinstance(event, Word)]
        grid = [(float(time), "grid", "") for time in np.arange(0.0, samples / rate_hz, config.stride_s)]
        for anchor, kind, word in [*grid, *words]:
            start = round((anchor + config.tmin_s) * rate_hz)
            ends = anchor + config.tmax_s - planned.block.stop
            fits = ends < planned.slack / rate_hz - 1e-6 if planned.slack else ends <= 1e-6
            begins = anchor + config.tmin_s >= planned.block.start - 1e-6
            if kind in kinds and begins and fits and start >= 0 and start + config.samples(rate_hz) <= samples:
                found.append((planned.split, kind, start, planned.stimulus, word))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_every_window_that_lies_in_a_block_is_there(seed: int) -> None:
    rng = np.random.default_rng(seed)
    onsets = np.sort(rng.uniform(0, 118, 200).round(rng.integers(1, 4)))
    events = [Word(start=float(t), duration=0.1, word=str(n), word_index=n, sequence="s") for n, t in enumerate(onsets)]
    borders = np.unique(np.concatenate([[0.0], rng.choice(onsets, 14, replace=False)])).tolist()
    ends = [*borders[1:], math.inf if seed % 2 else 120.0]
    blocks = [
        PlannedBlock(Block(a, b - a, ("",)), SPLITS[rng.integers(len(SPLITS))], f"{n}", a, 0.5 * (seed % 2))
        for n, (a, b) in enumerate(zip(borders, ends, strict=True))
    ]
    tmin_s, tmax_s, stride_s = rng.choice([(-0.5, 2.5, 0.5), (0.0, 1.0, 0.3), (-0.3, 0.5, 0.1)])
    config, rate_hz = SegmentConfig(tmin_s=tmin_s, tmax_s=tmax_s, stride_s=stride_s), float(rng.choice([100.0, 120.0]))
    table = make_segments(events, blocks, config, rate_hz, round(121 * rate_hz))
    columns = [table[name].to_pylist() for name in ("split", "anchor", "start_sample", "stimulus", "word")]
    wanted = window_by_window(events, blocks, config, rate_hz, round(121 * rate_hz))
    assert list(zip(*columns, strict=True)) == wanted
    assert len(wanted) > 40


def test_the_time_that_blocks_and_windows_take_grows_with_the_words() -> None:
    """Eleven hours of words in well under a second; looking at all words for each block takes a minute."""
    events: list[Event] = [
        Word(start=float(n), duration=0.3, word=f"w{n}", word_index=n % 8, sequence=f"s{n // 8}") for n in range(40_000)
    ]
    events += [Sound(start=100.0 * n, duration=100.0, filepath=f"{n}.wav") for n in range(400)]
    began = time.process_time()
    blocks = sentence_blocks(events)
    pieces = cut_sounds(events, blocks)
    planned = [PlannedBlock(block, "test", "A", block.start) for block in blocks]
    rows = make_segments(events, planned, SegmentConfig(), 120.0, 40_000 * 120)
    assert time.process_time() - began < 10
    assert (len(blocks), len(pieces), rows.num_rows) == (5000, 5200, 5 * 5000)


def unmarked(lead: float, sentence_words: int) -> tuple[Event, ...]:
    """Words that come every 0.8 s and name no sentence; 8 of them fill a block, in which each is said twice in a row.

    Some were said before the recording begins, if ``lead`` is below zero.
    """
    starts = [(n, lead + 0.8 * n) for n in range(400)]
    return tuple(
        Word(start=start, duration=0.4, word=f"w{n - n % 2}", word_index=n % sentence_words)
        for n, start in starts
        if start >= 0
    )


@pytest.mark.parametrize("sentence_words", [1, 4])
def test_words_without_a_sentence_have_places_of_their_own(sentence_words: int) -> None:
    """Each is a candidate of its own, the same one for all who heard it; not one candidate for all of them."""
    stories = [unmarked(1.0, sentence_words), unmarked(0.5 - 16 * 0.8, sentence_words)]
    recordings = [Recording("made-up", subject) for subject in ("01", "02")]
    plan = make_plan([Heard(*both) for both in zip(recordings, stories, strict=True)], {}, SplitConfig())
    tables = [
        make_segments(story, plan.blocks[recording.uid], SegmentConfig(), 120.0, 400 * 120)
        for recording, story in zip(recordings, stories, strict=True)
    ]
    for split in ("valid", "test"):
        rows = [[row for row in t.to_pylist() if (row["split"], row["anchor"]) == (split, "word")] for t in tables]
        first, second = ([(row["sentence"], row["word_index"], row["word"]) for row in some] for some in rows)
        assert len(set(first)) == len(first) > 10
        assert first == second
    grid = [row for row in tables[0].to_pylist() if row["anchor"] == "grid"]
    assert {(row["sentence"], row["word_index"], row["word"]) for row in grid} == {("", -1, "")}
