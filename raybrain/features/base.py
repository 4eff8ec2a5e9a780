"""Feature: the family of descriptions of what was heard. To add one, add a file beside this one; it is found by being there.

A feature is computed once per stimulus, whoever heard it. The smallest complete feature:

>>> class WordLength(Feature, name="doc_word_length"):
...     '''Letters of the word being spoken.'''
...     rate_hz: float = 50.0
...     def extract(self, stimulus):
...         frames = self.frames(stimulus)
...         for word in stimulus.words:
...             frames[self.span(word, len(frames))] = len(word.word)
...         return frames
>>> stimulus = Stimulus(duration=1.0, words=(Word(start=0.2, duration=0.4, word="hello"),))
>>> WordLength().extract(stimulus)[::10, 0]
array([0., 5., 5., 0., 0., 0.], dtype=float32)
"""

import importlib.util
import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from raybrain.config import Choice, InputError
from raybrain.events import Event, Phoneme, Sound, Word


@dataclass(frozen=True)
class Stimulus:
    """What was heard during one block: pieces of sound, words and phonemes, in seconds from the first of them."""

    duration: float
    sounds: tuple[Sound, ...] = ()
    words: tuple[Word, ...] = ()
    phonemes: tuple[Phoneme, ...] = ()


class Feature(Choice):
    """A description of a stimulus at a fixed frame rate. Its settings are the fields of a kind.

    Attributes:
        rate_hz: of frames, as they are stored.
        scale: how frames are z-scored on the train split: with one mean and deviation, one for each dimension, or not.
            Classes never are.
        stored_as: the type of frames on disk. Half precision keeps three digits, at half the room; training reads float32.
    """

    unit: ClassVar[str] = ""
    continuous: ClassVar[bool] = False  # frames in a row are a wave, cut at the samples of the brain: at its rate
    needs: ClassVar[tuple[str, ...]] = ("words",)
    packages: ClassVar[tuple[str, ...]] = ()  # that it imports and raybrain does not bring along
    extra: ClassVar[str] = ""  # of raybrain's, that brings them
    model: ClassVar[bool] = False  # runs a large model, which wants a GPU and is loaded once a process
    rate_hz: float = Field(default=120.0, gt=0)
    scale: Literal["all", "dimension", "none"] = "all"
    stored_as: Literal["float32", "float16"] = "float32"

    @property
    def size(self) -> int:
        """Dimensions of a frame."""
        return 1

    @property
    def silence(self) -> float:
        """The value of a frame in which nothing is heard."""
        return 0.0

    @property
    def categories(self) -> int:
        """How many classes the frames' one dimension numbers, from 0 on; 0 for a feature of quantities.

        Training sees a class as that many dimensions, one of which is 1.
        """
        return 0

    def identity(self) -> dict[str, str]:
        """What else the frames depend on besides settings and stimulus: the revision of a model, say. Asked often: be quick.

        Raises:
            InputError: if that is not there.
        """
        return {}

    @abstractmethod
    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """The frames of a whole stimulus, [frames size] float32; frame i describes the time i / rate_hz."""

    def extract_many(self, stimuli: Sequence[Stimulus], device: str = "cpu") -> Iterable[np.ndarray]:
        """The frames of some stimuli, in order; a feature with a model computes them on ``device``, in batches.

        What is handed over is written at once, so that a generator loses least when it is killed.
        """
        return (self.extract(stimulus) for stimulus in stimuli)

    def check(self) -> None:
        """See to it that all packages are there.

        Raises:
            InputError: with the pip line that brings them.
        """
        missing = self.missing_packages()
        if missing:
            raise InputError(f"feature {self.name} needs {' and '.join(missing)}, not installed; type {self.install()}")

    @classmethod
    def missing_packages(cls) -> list[str]:
        """Those of ``packages`` that are not installed."""
        return [name for name in cls.packages if importlib.util.find_spec(name) is None]

    @classmethod
    def install(cls) -> str:
        """The pip line that brings all packages."""
        return f"pip install 'raybrain[{cls.extra}]'" if cls.extra else f"pip install {' '.join(cls.packages)}"

    def frames(self, stimulus: Stimulus) -> np.ndarray:
        """Frames of silence for a whole stimulus, [frames size]."""
        return np.full((math.ceil(stimulus.duration * self.rate_hz) + 1, self.size), self.silence, dtype=np.float32)

    def span(self, event: Event, count: int) -> slice:
        """Which of ``count`` frames lie in ``event``; at least one, unless the event lies outside."""
        first = max(0, round(event.start * self.rate_hz))
        return slice(first, min(count, max(first + 1, round(event.stop * self.rate_hz))))
