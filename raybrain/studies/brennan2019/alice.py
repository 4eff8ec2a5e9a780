"""The words of the Alice story, and when each of its twelve sounds was played. Not a study itself.

The script gives the position of each word in its sound; a recording's own table says when some of the words were heard.
Together they give the start of each sound, and from that the times of all words: one offset per sound, without drift (the two
clocks agree to 1 ppm).
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
AGREE_S = 0.004  # start times derived from different words of a sound may differ this much: two samples
PAUSE_S = 0.5  # an upper bound for the pause between two sounds; actual ones are 0.04 to 0.1 s


@dataclass(frozen=True)
class ScriptWord:
    """A word of the story, in seconds from the start of its sound; ``position`` counts from 0 in its sentence."""

    sound: int
    start: float
    stop: float
    word: str
    sentence: int
    position: int


def read_script(file: Path) -> dict[int, ScriptWord]:
    """The words by their ``Order``, which counts from 1 and has gaps.

    Raises:
        InputError: if the table does not exist or is another one.
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
            raise InputError(f"{file}, line {line}: not a word of the story; expected columns {', '.join(COLUMNS)}") from None
    if not words:
        raise InputError(f"{file} has no words")
    return words


def place_sounds(
    heard: Mapping[int, float], script: Mapping[int, ScriptWord], lengths: Mapping[int, float], as_numbered: bool = False
) -> dict[int, float]:
    """When each sound started, in seconds; negative if it was already playing when the recording began.

    In some recordings the mark of the first sound is missing, and the tables count from the first mark there is: the words of
        each
    sound have the times of the next one, and the last words, after the end of the recording, are left out. The intervals
    between marks reveal this, since sounds follow each other immediately and no two are equally long.

    Args:
        heard: when words were heard, in seconds, by Order.
        script: all words by Order.
        lengths: the duration of each sound in seconds.
        as_numbered: trust the numbering of the tables.

    Raises:
        InputError: if no word was heard, words of one sound disagree about its start, or the intervals fit no numbering.
    """
    if not heard:
        raise InputError("no word was heard")
    starts: dict[int, list[float]] = {}
    for order, time in heard.items():
        if order not in script:
            raise InputError(f"a word with Order {order} was heard, but the story has only 1 to {max(script)}")
        starts.setdefault(script[order].sound, []).append(time - script[order].start)
    marks = {}
    for number, times in sorted(starts.items()):
        marks[number] = float(np.median(times))
        apart = max(abs(time - marks[number]) for time in times)
        if apart > AGREE_S:
            raise InputError(f"words of sound {number} disagree by {apart:.3f} s about its start; they do not belong together")
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
    raise InputError("intervals between sounds do not match their durations; are these the sounds that were played?")


def _before(marks: dict[int, float], pauses: list[float], lengths: Mapping[int, float]) -> dict[int, float]:
    """Add, before the marks, the sounds that were already playing in the recording but have no mark."""
    pause = float(np.median(pauses)) if pauses else 0.0
    first = min(marks)
    while first - 1 in lengths and marks[first] - pause > 0:
        marks = {first - 1: marks[first] - pause - lengths[first - 1]} | marks
        first -= 1
    return marks


def story_events(
    starts: Mapping[int, float], script: Mapping[int, ScriptWord], sounds: Mapping[int, Path], lengths: Mapping[int, float]
) -> list[Event]:
    """The sounds that started at ``starts`` and their words, sorted; without those before the start of the recording."""
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
    sounds = {}
    for name, path in files.items():
        match = re.fullmatch(r"DownTheRabbitHoleFinal_SoundFile(\d+)\.wav", name)
        if match:
            sounds[int(match[1])] = path
    return dict(sorted(sounds.items()))
