"""Times that cannot be what they are said to be are told with numbers; speech as it is goes without a word."""

import pytest

from raybrain.events import Event, Phoneme, Word
from raybrain.prepare.plausible import odd_times


def words(scale: float = 1.0, gap: float = 0.4, lasts: float = 0.3) -> list[Event]:
    return [Word(start=scale * gap * number, duration=lasts, word=f"w{number}", word_index=number) for number in range(20)]


TIMES: dict[str, tuple[list[Event], str]] = {
    "durations in milliseconds": (
        words(lasts=300.0),
        "half of 20 words last 300 s or more: durations are seconds; are these milli",
    ),
    "durations in samples": (words(lasts=150.0), "half of 20 words last 150 s or more"),
    "phonemes in milliseconds": (
        [*words(), *(Phoneme(start=float(number), duration=80.0, phoneme="a") for number in range(9))],
        "half of 9 phonemes last 80 s or more",
    ),
    "durations a thousand times too short": (words(lasts=0.0003), "the longest of 20 words lasts 0.0003 s"),
    "onsets a thousand times too short": (words(scale=0.001), "half of 20 words follow each other within 0.0004 s"),
    "a row twice": ([*words(), words()[3]], "1 words start at the very time of another word"),
}


@pytest.mark.parametrize("case", TIMES)
def test_odd_times(case: str) -> None:
    events, expected = TIMES[case]
    (line,) = odd_times(events)
    assert line.startswith(expected)


@pytest.mark.parametrize("events", [words(), words(lasts=0.0), words(gap=30.0), words(lasts=4.0, gap=5.0), words()[:2], []])
def test_ordinary_times(events: list[Event]) -> None:
    assert odd_times(events) == []
