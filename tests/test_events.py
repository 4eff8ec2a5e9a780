"""Blocks, splits and cut sounds against the golden story, and the promises of the clean mode."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from raybrain.config import InputError
from raybrain.events import (
    Block,
    BlockStart,
    Event,
    Sound,
    SplitConfig,
    SplitMode,
    Word,
    assign_splits,
    audit_splits,
    cut_sounds,
    merge_blocks,
    sentence_blocks,
    uid_split,
)

STORY = json.loads((Path(__file__).parent / "golden" / "split_story.json").read_text())
PAPER = SplitConfig(mode="paper", seed=STORY["seed"], min_block_s=STORY["min_block_duration_s"])
MODES: tuple[SplitMode, ...] = ("clean", "paper")


def story() -> list[Event]:
    events: list[Event] = []
    for row in STORY["events"]:
        when = {"start": row["start"], "duration": row["duration"], "language": row["language"]}
        if row["kind"] == "sound":
            events.append(Sound(filepath=row["filepath"], offset=row["offset"], **when))
        else:
            events.append(Word(word=row["word"], word_index=int(row["word_index"]), sequence=row["word_sequence"], **when))
    return events


def assert_same(blocks: list[Block], golden: list[dict[str, Any]], mode: SplitMode) -> None:
    """In the published splits the last block goes on to the end of the recording."""
    assert [block.uid for block in blocks] == [row["uid"] for row in golden]
    assert [block.start for block in blocks] == pytest.approx([row["start"] for row in golden])
    durations = [row["duration"] for row in golden]
    if mode == "paper":
        durations[-1] = math.inf
    assert [block.duration for block in blocks] == pytest.approx(durations)


@pytest.mark.parametrize("mode", MODES)
def test_blocks_and_splits_of_the_golden_story(mode: SplitMode) -> None:
    blocks = sentence_blocks(story(), mode=mode)
    assert_same(blocks, STORY["sentence_blocks"], mode)
    assert [uid_split(block.uid, PAPER) for block in blocks] == STORY["sentence_assignment"]
    merged = merge_blocks(blocks, PAPER.min_block_s, mode)
    assert_same(merged, STORY["merged_blocks"], mode)
    splits = assign_splits([merged], PAPER)
    assert [splits[block.uid] for block in merged] == STORY["merged_assignment"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_sounds_are_cut_at_the_borders_of_a_split(split: str, mode: SplitMode) -> None:
    merged = merge_blocks(sentence_blocks(story(), mode=mode), PAPER.min_block_s, mode)
    splits = assign_splits([merged], PAPER)
    pieces = cut_sounds(story(), [block for block in merged if splits[block.uid] == split])
    golden = STORY["sounds_per_split"][split]
    assert [piece.filepath for piece in pieces] == [row["filepath"] for row in golden]
    for key in ("start", "duration", "offset"):
        assert [getattr(piece, key) for piece in pieces] == pytest.approx([row[key] for row in golden])


def sentences(*starts: float, words: int = 2, said_s: float = 0.5) -> list[Event]:
    """A sentence of ``words`` words from each start on: a0 a1, b0 b1, ..."""
    return [
        Word(start=start + index, duration=said_s, word=f"{letter}{index}", word_index=index)
        for letter, start in zip("abcdefgh", starts, strict=False)
        for index in range(words)
    ]


def spans(blocks: list[Block]) -> list[tuple[float, float]]:
    return [(block.start, block.stop) for block in blocks]


def merged_spans(events: list[Event], mode: SplitMode, by: BlockStart = "sentence") -> list[tuple[float, float]]:
    return spans(merge_blocks(sentence_blocks(events, by, mode), 6.0, mode))


def test_the_published_splits_count_the_first_block_from_zero() -> None:
    """The first sentence ends 7 s after the start of the recording, 4 s after its own."""
    events = sentences(3.0, 7.0, 12.0, 15.0, 20.0)
    assert merged_spans(events, "clean") == [(0.0, 12.0), (12.0, 20.0), (20.0, 21.5)]
    assert merged_spans(events, "paper") == [(0.0, 7.0), (7.0, 15.0), (15.0, math.inf)]


def test_published_blocks_last_longer_than_the_least_there_is() -> None:
    """One of 6 s, as exactly as times in milliseconds can be told apart, is joined with the next."""
    tenths = 0.1 + 0.2  # a little more than 0.3
    events = sentences(0.0, 7.0, 13.0 + tenths - 0.3, 19.5, 25.501)
    assert merged_spans(events, "clean")[:3] == [(0.0, 7.0), (7.0, 13.0 + tenths - 0.3), (13.0 + tenths - 0.3, 19.5)]
    assert merged_spans(events, "paper") == [(0.0, 7.0), (7.0, 19.5), (19.5, 25.501), (25.501, math.inf)]


def test_the_last_published_block_ends_with_the_recording() -> None:
    events = sentences(0.0, 7.0, 14.0)
    assert merged_spans(events, "clean") == [(0.0, 7.0), (7.0, 14.0), (14.0, 15.5)]
    assert merged_spans(events, "paper") == [(0.0, 7.0), (7.0, 14.0), (14.0, math.inf)]
    assert spans(sentence_blocks(sentences(0.0), mode="paper")) == [(0.0, math.inf)]


def test_published_names_leave_out_pseudo_words() -> None:
    """They start blocks and stand in sentences like any other word."""
    events = sentences(0.0, 7.0, 14.0, words=3)
    events[1:1] = [Word(start=0.5, duration=0.3, word="cas", word_index=1, pseudo=True)]
    events += [Word(start=21.0 + i, duration=0.5, word="ro", word_index=i, pseudo=True) for i in range(2)]
    events += [Sound(start=21.0, duration=2.0, filepath="ro.wav")]
    clean, paper = (sentence_blocks(events, mode=mode) for mode in MODES)
    assert [block.uid for block in clean] == ["a0 cas a1 a2", "b0 b1 b2", "c0 c1 c2", "ro ro"]
    assert [block.uid for block in paper] == ["a0 a1 a2", "b0 b1 b2", "c0 c1 c2", "ro.wav@21.0"]
    assert spans(paper)[:3] == spans(clean)[:3]


def test_words_count_where_they_end() -> None:
    """A word that goes on into the next block is in the name of neither; in the last one there is no end to go beyond."""
    events = sentences(0.0, 2.0, said_s=1.2)
    assert [block.uid for block in sentence_blocks(events)] == ["a0", "b0 b1"]
    assert [block.uid for block in sentence_blocks(events, mode="paper")] == ["a0", "b0 b1"]


def test_blocks_by_sound_end_after_a_long_pause_but_for_the_published_ones() -> None:
    sounds = [Sound(start=start, duration=3.0, filepath=f"{start}.wav") for start in (0.0, 8.0, 60.0)]
    assert spans(sentence_blocks(sounds, "sound")) == [(0.0, 8.0), (8.0, 16.0), (60.0, 63.0)]
    assert spans(sentence_blocks(sounds, "sound", "paper")) == [(0.0, 8.0), (8.0, 60.0), (60.0, math.inf)]


@pytest.mark.parametrize("mode", MODES)
def test_a_sequence_uid_names_a_block(mode: SplitMode) -> None:
    """By sentence only where no other block has it; by sound in any case."""
    names = ("one", "two", "two", "")
    words = [
        Word(start=8.0 * number + index, duration=0.5, word=f"w{index}", word_index=index, sequence_uid=name)
        for number, name in enumerate(names)
        for index in range(2)
    ]
    sounds = [Sound(start=8.0 * number, duration=3.0, filepath=f"{number}.wav") for number in range(len(names))]
    assert [block.uid for block in sentence_blocks(words, mode=mode)] == ["one", "w0 w1", "w0 w1", "w0 w1"]
    assert [block.uid for block in sentence_blocks([*sounds, *words], "sound", mode)] == ["one", "two", "two", "w0 w1"]


def test_two_words_of_one_place_are_refused() -> None:
    """Else both would be one candidate in the ranking; a sentence of one word may be repeated."""
    said = [("Roy", 0, "Roy"), ("roy", 0, "Roy"), ("the", 0, "the cat"), ("cat", 1, "the cat"), ("The", 0, "the cat")]
    events = [Word(start=i, duration=0.5, word=w, word_index=n, sequence=s) for i, (w, n, s) in enumerate(said)]
    assert len(sentence_blocks(events)) == 4
    events += [
        Word(start=9.25, duration=0.5, word="sat", sequence="it sat"),
        Word(start=9.0, duration=0.2, word="it", sequence="it sat"),
    ]
    with pytest.raises(
        InputError, match=r"^'it' at 9.000 s and 'sat' at 9.250 s both have word_index 0 in .*'it sat'; number"
    ) as caught:
        sentence_blocks(events)
    assert "\n" not in str(caught.value)


def repeated(count: int, shared: str) -> list[list[Block]]:
    """``count`` recordings of one long block each, every second of which also holds the sentence ``shared``."""
    return [[Block(0.0, 7.0, (f"sentence number {i}", *([shared] if i % 2 else [])))] for i in range(count)]


def test_clean_mode_keeps_repeated_sentences_on_one_side() -> None:
    stories = repeated(40, "Roy")
    paper = assign_splits(stories, SplitConfig(mode="paper"))
    clean = assign_splits(stories, SplitConfig(mode="clean"))
    assert audit_splits((block, paper[block.uid]) for story in stories for block in story) == ["roy"]
    assert audit_splits((block, clean[block.uid]) for story in stories for block in story) == []
    assert set(clean.values()) == {"train", "valid", "test"}


def test_clean_mode_does_not_see_case() -> None:
    lower, upper = [Block(0.0, 7.0, ("it was true",))], [Block(0.0, 7.0, ("it was TRUE",))]
    splits = assign_splits([lower, upper], SplitConfig(seed=3))
    assert splits["it was true"] == splits["it was TRUE"]


def test_a_comma_in_a_sentence_ties_nothing_together() -> None:
    stories = [[Block(0.0, 7.0, (f"well, this is number {i}",))] for i in range(60)]
    assert assign_splits(stories, SplitConfig()) == assign_splits(stories, SplitConfig(mode="paper"))


def test_ratios_are_kept() -> None:
    config = SplitConfig(test_ratio=0.2, valid_ratio=0.1, remove_ratio=0.3)
    found = [uid_split(f"sentence {i}", config) for i in range(4000)]
    for name, ratio in (("test", 0.2), ("valid", 0.1), ("removed", 0.3), ("train", 0.4)):
        assert found.count(name) / 4000 == pytest.approx(ratio, abs=0.03)  # type: ignore[arg-type]


def test_no_words_and_negative_durations_are_refused() -> None:
    with pytest.raises(InputError, match="no word with word_index 0"):
        sentence_blocks([Sound(start=0.0, duration=3.0, filepath="a.wav")])
    with pytest.raises(InputError, match="below zero"):
        Word(start=1.0, duration=-0.2, word="a")
