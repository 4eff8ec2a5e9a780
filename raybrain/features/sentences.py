"""Sentences of a stimulus, for features that read words in context. Not a feature itself.

Context never extends beyond the stimulus, and so never crosses from one split to another: if a sentence starts or ends outside
of the stimulus, only the part from its first to its last word in the stimulus is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from raybrain.events import Word
from raybrain.features.base import Stimulus


@dataclass(frozen=True)
class Sentence:
    """A text, its words, and for each word its first character in the text and the one after its last."""

    text: str
    words: tuple[Word, ...]
    places: tuple[tuple[int, int], ...]


def sentences(stimulus: Stimulus) -> list[Sentence]:
    """The sentences, or parts of sentences, of a stimulus.

    The text is taken from ``Word.sequence`` if each word is there at its ``word_index``; it may include punctuation, and words
    that were not located in the sound. Otherwise it consists of the words, joined by spaces.

    >>> cat = Word(start=1, duration=1, word="cat", word_index=1, sequence="The cat, the mouse.")
    >>> the = Word(start=2, duration=1, word="the", word_index=2, sequence="The cat, the mouse.")
    >>> sentences(Stimulus(duration=3, words=(cat, the)))[0].text
    'cat, the'
    """
    groups: list[list[Word]] = []
    for word in sorted(stimulus.words, key=lambda word: word.start):
        last = groups[-1][-1] if groups else None
        if last is None or _key(last) != _key(word) or word.word_index <= last.word_index:
            groups.append([])
        groups[-1].append(word)
    return [_sentence(group) for group in groups]


def _key(word: Word) -> tuple[str, str, str]:
    """What identifies the sentence of a word."""
    return word.sequence_uid, word.sequence, word.language


def _sentence(words: Sequence[Word]) -> Sentence:
    written = words[0].sequence.split()
    if all(word.word_index < len(written) and _bare(written[word.word_index]) == _bare(word.word) for word in words):
        first = words[0].word_index
        parts = written[first : words[-1].word_index + 1]
        slots = [word.word_index - first for word in words]
    else:
        parts = [word.word for word in words]
        slots = list(range(len(words)))
    starts = [0]
    for text in parts:
        starts.append(starts[-1] + len(text) + 1)
    places = tuple((starts[slot], starts[slot] + len(parts[slot])) for slot in slots)
    return Sentence(" ".join(parts), tuple(words), places)


def _bare(word: str) -> str:
    return "".join(letter for letter in word.casefold() if letter.isalnum())
