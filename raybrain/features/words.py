"""Features of words and phonemes that follow from their labels alone, constant while they are spoken."""

import hashlib
from typing import ClassVar

import numpy as np
from pydantic import Field

from raybrain.config import InputError
from raybrain.events import Event, Word
from raybrain.features.base import Feature, Stimulus


class WordValue(Feature):
    """One number per word, 0 between words."""

    def value(self, word: Word) -> float:
        """The number of a word."""
        raise NotImplementedError

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """The number of the word being spoken."""
        frames = self.frames(stimulus)
        for word in stimulus.words:
            frames[self.span(word, len(frames))] = self.value(word)
        return frames


class WordLength(WordValue, name="word_length"):
    """The number of letters of the word."""

    unit: ClassVar[str] = "letters"

    def value(self, word: Word) -> float:
        """The number of letters."""
        return len(word.word)


class WordPosition(WordValue, name="word_position"):
    """The position of the word in its sentence, counted from 1."""

    unit: ClassVar[str] = "place"

    def value(self, word: Word) -> float:
        """The position, counted from 1."""
        return word.word_index + 1


class WordFrequency(WordValue, name="word_frequency"):
    """How common the word is: 3 is once in a million words, 6 once in a thousand. Events without a language count as English.

    wordfreq uses the nearest language it has, and warns if that is another one.
    """

    unit: ClassVar[str] = "Zipf"

    def value(self, word: Word) -> float:
        """The Zipf frequency in the word's language."""
        import wordfreq

        try:
            return float(wordfreq.zipf_frequency(word.word, word.language or "en"))
        except LookupError:
            known = ", ".join(sorted(wordfreq.available_languages()))
            raise InputError(f"no word frequencies for the language {word.language!r}. Allowed: {known}") from None


class WordSegment(WordValue, name="word_segment"):
    """1 while a word is spoken."""

    def value(self, word: Word) -> float:
        """Always 1."""
        return 1.0


MODALITIES = ("audio", "visual")


class Modality(WordValue, name="modality"):
    """How the word is presented: 1 heard, 2 read, 0 between words."""

    @property
    def categories(self) -> int:
        """None, heard and read."""
        return 1 + len(MODALITIES)

    def value(self, word: Word) -> float:
        """The class of its modality."""
        if word.modality not in MODALITIES:
            raise InputError(f"a word at {word.start:.3f} s has modality {word.modality!r}. Allowed: {', '.join(MODALITIES)}")
        return 1 + MODALITIES.index(word.modality)


class WordHash(Feature, name="word_hash", shorthand="buckets"):
    """The hash bucket of the word, one-hot; all zero between words. Case is ignored.

    Attributes:
        buckets: the number of buckets.
    """

    buckets: int = Field(64, ge=1)

    @property
    def size(self) -> int:
        """One dimension per bucket."""
        return self.buckets

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """A one in the bucket of the word being spoken."""
        frames = self.frames(stimulus)
        for word in stimulus.words:
            digest = hashlib.sha256(word.word.casefold().encode()).digest()
            span = self.span(word, len(frames))
            frames[span] = 0.0
            frames[span, int.from_bytes(digest[:8]) % self.buckets] = 1.0
        return frames


class WordPulse(Feature, name="word_pulse"):
    """1 for 50 ms from the onset of each word."""

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """A pulse for each word."""
        frames = self.frames(stimulus)
        for word in stimulus.words:
            frames[self.span(Event(start=word.start, duration=0.050), len(frames))] = 1.0
        return frames


class PhonemePulse(Feature, name="phoneme_pulse"):
    """1 for 16 ms wherever a phoneme is followed by another one or by silence."""

    needs: ClassVar[tuple[str, ...]] = ("phonemes",)

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """A pulse at each change; where phonemes touch, an end and an onset are one change."""
        frames = self.frames(stimulus)
        for time in {time for phoneme in stimulus.phonemes for time in (phoneme.start, phoneme.stop)}:
            frames[self.span(Event(start=time, duration=0.016), len(frames))] = 1.0
        return frames
