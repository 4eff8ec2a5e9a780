"""The words of the Alice story, and when each of its twelve sounds was played. Not a study itself.

A table gives each word its place in its sound; a recording's own table says when some of the words were heard. Together they
tell when each sound started, and from that all words follow: one offset a sound, no drift (both clocks agree to 1 ppm).
"""

import csv
import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raybrain.config import InputError
from raybrain.events import Event, Sound, Word

COLUMNS = ("Word", "Segment", "onset", "offset", "Order", "Sentence", "Position")
AGREE_S = 0.004  # words of one sound place it this differently at most: two samples
PAUSE_S = 0.5  # the longest pause between two sounds; there are 0.04 to 0.1 s


@dataclass(frozen=True)
class ScriptWord:
    """A word of the story, in seconds from the start of the sound it is in; ``position`` in its sentence is 0-based."""

    sound: int
    start: float
    stop: float
    word: str
    sentence: int
    position: int


def read_script(file: Path) -> dict[int, ScriptWord]:
    """The words by their ``Order``, which counts from 1 and has gaps.

    Raises:
        InputError: the table is not there or is another one.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            table = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as a table: {error}") from None
    words = {}
    for line, row in enumerate(table, start=2):
        try:
            word = ScriptWord(
                sound=int(row["Segment"]),
                start=float(row["onset"]),
                stop=float(row["offset"]),
                word=row["Word"],
                sentence=int(row["Sentence"]),
                position=int(row["Position"]) - 1,
            )
            if not word.stop >= word.start >= 0:
                raise ValueError
            words[int(row["Order"])] = word
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{file}, line {line}: no word of the story. Wanted: {', '.join(COLUMNS)}") from None
    if not words:
        raise InputError(f"{file} has no words")
    return words


def place_sounds(
    heard: Mapping[int, float], script: Mapping[int, ScriptWord], lengths: Mapping[int, float], as_numbered: bool = False
) -> dict[int, float]:
    """When each sound started, in seconds; before 0 if it was playing already when the recording began.

    In some recordings the mark of the first sound is missing, and the tables count the marks from the first one there is:
    the words of each sound stand at the next one's time, and the last ones after the end of the recording are left out.
    The time from one mark to the next tells: sounds follow each other at once, and no two are equally long.

    Args:
        heard: when words were heard, by Order.
        script: all words.
        lengths: of the sounds.
        as_numbered: take the tables at their word.

    Raises:
        InputError: no word was heard, the words of a sound contradict each other, or the sounds do not follow each other.
    """
    if not heard:
        raise InputError("no word was heard")
    starts: dict[int, list[float]] = {}
    for order, time in heard.items():
        if order not in script:
            raise InputError(f"a word of Order {order} was heard, which is not in the story (1 to {max(script)})")
        starts.setdefault(script[order].sound, []).append(time - script[order].start)
    marks = {}
    for number, times in sorted(starts.items()):
        marks[number] = float(np.median(times))
        apart = max(abs(time - marks[number]) for time in times)
        if apart > AGREE_S:
            raise InputError(f"words of sound {number} place its start {apart:.3f} s apart; they do not belong together")
    if as_numbered:
        return marks
    for missed in range(len(lengths)):
        pauses = [
            then - now - lengths.get(number + missed, math.inf)
            for (number, now), (after, then) in itertools.pairwise(marks.items())
            if after == number + 1
        ]
        if max(marks) + missed in lengths and all(-AGREE_S <= pause <= PAUSE_S for pause in pauses):
            return _before({number + missed: time for number, time in marks.items()}, pauses, lengths)
    raise InputError("the sounds do not follow each other as they are long; are these the sounds that were played?")


def _before(marks: dict[int, float], pauses: list[float], lengths: Mapping[int, float]) -> dict[int, float]:
    """The marks, and before them those of sounds that were playing in the recording without one."""
    pause = float(np.median(pauses)) if pauses else 0.0
    first = min(marks)
    while first - 1 in lengths and marks[first] - pause > 0:
        marks = {first - 1: marks[first] - pause - lengths[first - 1]} | marks
        first -= 1
    return marks


def story_events(
    starts: Mapping[int, float], script: Mapping[int, ScriptWord], sounds: Mapping[int, Path], lengths: Mapping[int, float]
) -> list[Event]:
    """The sounds that started at ``starts`` and their words, sorted; what was before the recording is left out."""
    sentences: dict[int, list[str]] = {}
    for word in script.values():
        sentences.setdefault(word.sentence, []).append(word.word)
    events: list[Event] = []
    for number, start in starts.items():
        missed = max(0.0, -start)
        events.append(
            Sound(
                start=start + missed,
                duration=lengths[number] - missed,
                language="en",
                filepath=str(sounds[number]),
                offset=missed,
            )
        )
    for word in script.values():
        start = starts.get(word.sound, -math.inf) + word.start
        if start >= 0:
            text = " ".join(sentences[word.sentence])
            events.append(
                Word(
                    start=start,
                    duration=word.stop - word.start,
                    language="en",
                    word=word.word,
                    word_index=word.position,
                    sequence=text,
                )
            )
    return sorted(events, key=lambda event: event.start)


def sound_files(files: Mapping[str, Path]) -> dict[int, Path]:
    """The sounds among some files, by number."""
    found = {}
    for name, path in files.items():
        match = re.fullmatch(r"DownTheRabbitHoleFinal_SoundFile(\d+)\.wav", name)
        if match:
            found[int(match[1])] = path
    return dict(sorted(found.items()))
