"""Blocks, splits and cut sounds against the golden story, and the promises of the clean mode."""

import json
from pathlib import Path

import pytest

from raybrain.config import InputError
from raybrain.events import (
    Block,
    Event,
    Sound,
    SplitConfig,
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


def story() -> list[Event]:
    events: list[Event] = []
    for row in STORY["events"]:
        when = {"start": row["start"], "duration": row["duration"], "language": row["language"]}
        if row["kind"] == "sound":
            events.append(Sound(filepath=row["filepath"], offset=row["offset"], **when))
        else:
            events.append(Word(word=row["word"], word_index=int(row["word_index"]), sequence=row["word_sequence"], **when))
    return events


def assert_same(blocks: list[Block], golden: list[dict[str, object]]) -> None:
    assert [block.uid for block in blocks] == [row["uid"] for row in golden]
    assert [block.start for block in blocks] == pytest.approx([row["start"] for row in golden])
    assert [block.duration for block in blocks] == pytest.approx([row["duration"] for row in golden])


def test_blocks_and_paper_splits_are_the_published_ones() -> None:
    blocks = sentence_blocks(story())
    assert_same(blocks, STORY["sentence_blocks"])
    assert [uid_split(block.uid, PAPER) for block in blocks] == STORY["sentence_assignment"]
    merged = merge_blocks(blocks, PAPER.min_block_s)
    assert_same(merged, STORY["merged_blocks"])
    splits = assign_splits([merged], PAPER)
    assert [splits[block.uid] for block in merged] == STORY["merged_assignment"]


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_sounds_are_cut_at_the_borders_of_a_split(split: str) -> None:
    merged = merge_blocks(sentence_blocks(story()), PAPER.min_block_s)
    splits = assign_splits([merged], PAPER)
    pieces = cut_sounds(story(), [block for block in merged if splits[block.uid] == split])
    golden = STORY["sounds_per_split"][split]
    assert [piece.filepath for piece in pieces] == [row["filepath"] for row in golden]
    for key in ("start", "duration", "offset"):
        assert [getattr(piece, key) for piece in pieces] == pytest.approx([row[key] for row in golden])


def repeated(count: int, shared: str) -> list[list[Block]]:
    """``count`` recordings of one long block each, every second of which also holds the sentence ``shared``."""
    return [[Block(0.0, 7.0, (f"sentence number {i}", *([shared] if i % 2 else [])))] for i in range(count)]


def test_clean_mode_keeps_repeated_sentences_on_one_side() -> None:
    stories = repeated(40, "Roy")
    paper = assign_splits(stories, SplitConfig(mode="paper"))
    clean = assign_splits(stories, SplitConfig(mode="clean"))
    assert audit_splits(stories, paper) == ["roy"]
    assert audit_splits(stories, clean) == []
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
