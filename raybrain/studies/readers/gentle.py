"""Gentle: words and phonemes that this aligner found in a sound, from its JSON. Not a study itself."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raybrain.config import InputError
from raybrain.studies.readers.textgrids import Interval

FOUND = "success"
UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Aligned:
    """What was found in a sound.

    Attributes:
        words: as the text spells them, with their times.
        phones: of the words whose pronunciation is known, as ``hh_B`` (B, I, E, S: first, inner, last, only one of a word).
        missed: words of the text that were not found.
        unknown: words that were found, but are not in the aligner's dictionary; they have no phonemes.
    """

    words: list[Interval]
    phones: list[Interval]
    missed: list[str]
    unknown: list[str]


def read_gentle(path: Path) -> Aligned:
    """Read Gentle's JSON; phonemes have durations only, which add up from the start of their word.

    Raises:
        InputError: it cannot be read, is not of that form, or holds no word that was found.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from None
    words = content.get("words") if isinstance(content, dict) else None
    if not isinstance(words, list) or not all(isinstance(word, dict) and "word" in word for word in words):
        raise InputError(f"{path} is not Gentle's: it has no list 'words' of objects with a 'word'")
    found = Aligned([], [], [], [])
    for number, word in enumerate(words):
        if word.get("case") != FOUND:
            found.missed.append(str(word["word"]))
            continue
        try:
            _add(found, word)
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"{path}: word {number} ({word['word']!r}) was found but has no proper start, end or phones"
            ) from None
    if not found.words:
        raise InputError(f"{path}: none of {len(words)} words was found in the sound")
    return found


def _add(found: Aligned, word: dict[str, Any]) -> None:
    start, stop = float(word["start"]), float(word["end"])
    if not (math.isfinite(start) and 0 <= start <= stop < math.inf):
        raise ValueError
    found.words.append(Interval(start, stop, str(word["word"])))
    if word.get("alignedWord") == UNKNOWN:
        found.unknown.append(str(word["word"]))
        return
    for phone in word.get("phones", ()):
        duration = float(phone["duration"])
        if not 0 <= duration < math.inf:
            raise ValueError
        found.phones.append(Interval(start, start + duration, str(phone["phone"])))
        start += duration
