"""Sentences: which sentence each word of a sound belongs to, from its text or from pauses. Not a study itself.

Both depend only on the stimulus, so everybody who heard it has the same sentences.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from raybrain.config import InputError
from raybrain.studies.readers.textgrids import Interval

PAUSE_S = 0.5  # readers of audiobooks pause longer than this at most full stops, and rarely at commas
LEAST_SHARE = 0.5
END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+|\n\s*\n")
NO_END = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|etc)\.$")


@dataclass(frozen=True)
class WordPlace:
    """A word's position in its sentence, counted from 0, and the sentence's text."""

    word_index: int
    sentence: str


def split_text(text: str) -> list[str]:
    """The sentences of a text. A sentence ends at a full stop, question or exclamation mark, or an empty line.

    >>> split_text('He was old. "Who?" asked Mr. Smith.')
    ['He was old.', '"Who?"', 'asked Mr. Smith.']
    """
    sentences: list[str] = []
    start = 0
    for end in [*END.finditer(text), None]:
        stop = len(text) if end is None else end.end()
        sentence = " ".join(text[start:stop].split())
        if end is not None and NO_END.search(sentence):
            continue
        if sentence:
            sentences.append(sentence)
        start = stop
    return sentences


def places_by_text(words: Sequence[str], text: str) -> list[WordPlace]:
    """The place of each word, by aligning all words with the text (Levenshtein edits over whole words).

    A word that is not in the text belongs to the sentence of the word before it.

    Raises:
        InputError: if fewer than half of the words match, so that it must be another text.
    """
    from rapidfuzz.distance import Levenshtein

    sentences = split_text(text)
    spelled = [(_plain(word), number) for number, sentence in enumerate(sentences) for word in sentence.split() if _plain(word)]
    blocks = Levenshtein.opcodes([_plain(word) for word in words], [word for word, _ in spelled]).as_matching_blocks()
    of_word = {block.a + step: spelled[block.b + step][1] for block in blocks for step in range(block.size)}
    if len(of_word) < LEAST_SHARE * len(words) or not of_word:
        raise InputError(f"only {len(of_word)} of {len(words)} words match the text")
    number = of_word[min(of_word)]
    numbers = [number := of_word.get(place, number) for place in range(len(words))]
    return _places(numbers, sentences)


def places_by_pauses(words: Sequence[Interval], pause_s: float = PAUSE_S) -> list[WordPlace]:
    """The place of each word where no text is known: a sentence ends at a pause of ``pause_s`` or longer."""
    numbers = [0] * len(words)
    for place in range(1, len(words)):
        numbers[place] = numbers[place - 1] + (words[place].start - words[place - 1].stop >= pause_s)
    sentences = [""] * (numbers[-1] + 1 if numbers else 0)
    for number, word in zip(numbers, words, strict=True):
        sentences[number] = f"{sentences[number]} {word.label}".strip()
    return _places(numbers, sentences)


def _places(numbers: Sequence[int], sentences: Sequence[str]) -> list[WordPlace]:
    counts = [0] * len(sentences)
    places = []
    for number in numbers:
        places.append(WordPlace(counts[number], sentences[number]))
        counts[number] += 1
    return places


def _plain(word: str) -> str:
    return re.sub(r"[\W_]+", "", word.replace("’", "'")).casefold()
