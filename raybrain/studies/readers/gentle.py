"""Gentle: the words and phonemes that this forced aligner located in a sound, from its JSON. Not a study itself."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raybrain.config import InputError
from raybrain.studies.readers.textgrids import Interval

SUCCESS = "success"
UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Aligned:
    """The result of aligning a text with a sound.

    Attributes:
        words: the located words, spelled as in the text.
        phones: the phonemes of the located words whose pronunciation is known, such as ``hh_B``; the ending is B, I, E or S for
            the first, an inner, the last or the only phoneme of a word.
        missed: words of the text that were not located in the sound.
        unknown: located words that are not in the aligner's dictionary, and so have no phonemes.
    """

    words: list[Interval]
    phones: list[Interval]
    missed: list[str]
    unknown: list[str]


def read_gentle(path: Path) -> Aligned:
    """Read Gentle's JSON. It gives phonemes only a duration; they follow one another from the start of their word.

    Raises:
        InputError: if the file cannot be read, has another form, or contains no located word.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from None
    words = content.get("words") if isinstance(content, dict) else None
    if not isinstance(words, list) or not all(isinstance(word, dict) and "word" in word for word in words):
        raise InputError(f"{path} is not an output of Gentle: it has no list 'words' of objects with a 'word'")
    aligned = Aligned([], [], [], [])
    for number, word in enumerate(words):
        if word.get("case") != SUCCESS:
            aligned.missed.append(str(word["word"]))
            continue
        try:
            _add(aligned, word)
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"{path}: word {number} ({word['word']!r}) was aligned but has no valid start, end or phones"
            ) from None
    if not aligned.words:
        raise InputError(f"{path}: none of {len(words)} words was located in the sound")
    return aligned


def _add(aligned: Aligned, word: dict[str, Any]) -> None:
    start, stop = float(word["start"]), float(word["end"])
    if not (math.isfinite(start) and 0 <= start <= stop < math.inf):
        raise ValueError
    aligned.words.append(Interval(start, stop, str(word["word"])))
    if word.get("alignedWord") == UNKNOWN:
        aligned.unknown.append(str(word["word"]))
        return
    for phone in word.get("phones", ()):
        duration = float(phone["duration"])
        if not 0 <= duration < math.inf:
            raise ValueError
        aligned.phones.append(Interval(start, start + duration, str(phone["phone"])))
        start += duration
