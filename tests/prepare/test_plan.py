"""Splits that cannot be say what ties the blocks together, and what is offered makes splits that can."""

import random
import re
from collections.abc import Sequence

import pytest

from raybrain.events import Event, Sound, SplitConfig, Word
from raybrain.prepare.plan import Heard, make_plan, why_empty
from raybrain.recording import Recording

WINDOW_S = 3.0


def heard(sentences: Sequence[str], files: Sequence[str], gap_s: float = 8.0) -> list[Heard]:
    """One subject who hears a sentence every ``gap_s`` seconds, each in a sound."""
    events: list[Event] = []
    for number, (sentence, file) in enumerate(zip(sentences, files, strict=True)):
        start = 1.0 + gap_s * number
        events.append(Sound(start=start, duration=0.9 * gap_s, filepath=file))
        texts = sentence.split()
        events += [
            Word(start=start + 0.4 * place, duration=0.3, word=text, word_index=place, sequence=sentence)
            for place, text in enumerate(texts)
        ]
    return [Heard(Recording("made", "01"), tuple(events))]


def why(story: list[Heard], config: SplitConfig | None = None, window_s: float = WINDOW_S) -> str:
    config = config or SplitConfig()
    digests = {event.filepath: event.filepath for event in story[0].events if isinstance(event, Sound)}
    return why_empty(make_plan(story, digests, config), story, digests, config, window_s)


def files(count: int) -> list[str]:
    return [f"/s/{number}.wav" for number in range(count)]


SPEECH = [f"here is sentence number {number}" for number in range(40)]
ITEMS = random.Random(0).sample([f"item{number % 60}" for number in range(240)], 240)
TIED: dict[str, tuple[list[Heard], str]] = {
    "all sounds are one": (
        heard(SPEECH, ["/s/a.wav"] * 40),
        r"40 of 40 blocks are tied together \(/s/a\.wav is heard in 40 of them\)",
    ),
    "all sentences are one": (heard(["yes we do"] * 40, files(40)), "no train and no .*there are only 1 blocks|'yes we do'"),
    "one refrain": (
        heard([s if n % 2 else "all join in" for n, s in enumerate(SPEECH)], files(40), 4.0),
        r"tied together \('all join in' is said in \d+ of them\)",
    ),
    "all words equal": (
        heard(["yes"] * 60, files(60), 2.0),
        r"groups of blocks to split: 1; more different speech",
    ),
    "isolated words, repeated": (heard(ITEMS, files(240), 1.5), r"isolated words: split by item, each of the 60 words"),
    "one sentence": (heard(SPEECH[:1], files(1)), "there are only 1 blocks"),
}


@pytest.mark.parametrize("case", TIED)
def test_what_ties_blocks_is_named(case: str) -> None:
    story, expected = TIED[case]
    line = why(story)
    assert line.startswith("no ")
    assert re.search(expected, line), line


def test_ordinary_speech_can_be_split() -> None:
    assert why(heard(SPEECH, files(40))) == ""


def test_splits_by_item_are_as_offered() -> None:
    story = heard(ITEMS, [f"/s/{text}.wav" for text in ITEMS], 1.5)
    line = why(story)
    (window_s,) = re.findall(r"data\.splits\.min_block_s=0 data\.segments\.tmin_s=0 data\.segments\.tmax_s=(\S+)", line)
    by_item = SplitConfig(min_block_s=0)
    assert why(story, by_item, float(window_s)) == ""
    digests = {event.filepath: event.filepath for event in story[0].events if isinstance(event, Sound)}
    plan = make_plan(story, digests, by_item)
    assert plan.sentences_in_two_splits == plan.audio_in_two_splits == []
