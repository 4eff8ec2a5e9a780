"""Sentences of a stimulus, for features that read words in their context. Not a feature itself.

Context never leaves the stimulus, and so never crosses from one split to another: of a sentence whose beginning or end lies
outside of the stimulus, only what is between the first and the last word heard in it is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from raybrain.events import Word
from raybrain.features.base import Stimulus


@dataclass(frozen=True)
class Sentence:
    """A text and its words, with the characters of the text that each of them is: from the first to before the second."""

    text: str
    words: tuple[Word, ...]
    places: tuple[tuple[int, int], ...]


def sentences(stimulus: Stimulus) -> list[Sentence]:
    """The sentences, or parts of sentences, of a stimulus.

    The text is that of ``Word.sequence`` where each word stands there at its ``word_index``; it may hold words that were not
    found in the sound, and punctuation. Else it is the words, with spaces between them.

    >>> cat = Word(start=1, duration=1, word="cat", word_index=1, sequence="The cat, the mouse.")
    >>> the = Word(start=2, duration=1, word="the", word_index=2, sequence="The cat, the mouse.")
    >>> sentences(Stimulus(duration=3, words=(cat, the)))[0].text
    'cat, the'
    """
    groups: list[list[Word]] = []
    for word in sorted(stimulus.words, key=lambda word: word.start):
        last = groups[-1][-1] if groups else None
        if last is None or _named(last) != _named(word) or word.word_index <= last.word_index:
            groups.append([])
        groups[-1].append(word)
    return [_sentence(group) for group in groups]


def _named(word: Word) -> tuple[str, str, str]:
    return word.sequence_uid, word.sequence, word.language


def _sentence(words: Sequence[Word]) -> Sentence:
    written = words[0].sequence.split()
    if all(word.word_index < len(written) and _bare(written[word.word_index]) == _bare(word.word) for word in words):
        first = words[0].word_index
        heard = written[first : words[-1].word_index + 1]
        slots = [word.word_index - first for word in words]
    else:
        heard = [word.word for word in words]
        slots = list(range(len(words)))
    starts = [0]
    for text in heard:
        starts.append(starts[-1] + len(text) + 1)
    places = tuple((starts[slot], starts[slot] + len(heard[slot])) for slot in slots)
    return Sentence(" ".join(heard), tuple(words), places)


def _bare(word: str) -> str:
    return "".join(letter for letter in word.casefold() if letter.isalnum())
