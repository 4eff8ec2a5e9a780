"""Step: the family of what is done to continuous signal. To add one, add a file beside this one; it is found by being there.

``data.signal.steps`` names steps in the order in which they are applied. The smallest complete step:

>>> class Gain(Step, name="doc_gain", shorthand="factor"):
...     '''Every value times a number.'''
...     factor: float = 2.0
...     def apply(self, raw, fitted, context):
...         return raw.apply_function(lambda channel: self.factor * channel)
>>> import mne, numpy as np
>>> raw = mne.io.RawArray(np.ones((1, 3)), mne.create_info(["Cz"], 100.0, "eeg", verbose=False), verbose=False)
>>> Step.parse("doc_gain:3").apply(raw, None, Context(rate_hz=100.0)).get_data()
array([[3., 3., 3.]])

That one has the whole recording in memory. With ``in_chunks = True`` a step gets and gives one that is read a few seconds at a
time; see :mod:`raybrain.signal.chunked` for what helps with that::

    in_chunks = True
    def apply(self, raw, fitted, context):
        return mapped(raw, lambda values: self.factor * values)  # [channels samples]

A step that learns something from a recording learns it in ``fit``, from windows of the train split alone::

    def fit(self, raw, context):
        windows = stretches(raw.get_data().T, context.starts(raw), context.window(raw).samples)
        return windows.mean(axis=(0, 1))
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from raybrain.config import Choice, Config, InputError
from raybrain.signal.window import Scaling, SegmentConfig, Window

if TYPE_CHECKING:
    import mne


def _no_starts(rate_hz: float, samples: int) -> np.ndarray:
    return np.array([], dtype=int)


@dataclass(frozen=True)
class Context:
    """What a step may know besides the recording itself.

    Attributes:
        rate_hz: of the signal when all steps are done.
        seed: of whatever a step draws.
        segments: how windows lie around their anchors.
        train_starts: the first samples of the train windows of this recording, in order, given its rate in Hz and its samples.
        files: that the recording is read from, beside which steps look for files of their own (:meth:`Step.files`).
    """

    rate_hz: float
    seed: int = 0
    segments: SegmentConfig = field(default_factory=SegmentConfig)
    train_starts: Callable[[float, int], np.ndarray] = _no_starts
    files: tuple[Path, ...] = ()

    def starts(self, raw: "mne.io.BaseRaw") -> np.ndarray:
        """The first samples of the train windows, at the rate the recording has now."""
        return self.train_starts(float(raw.info["sfreq"]), raw.n_times)

    def train_stretches(self, raw: "mne.io.BaseRaw") -> list[tuple[int, int]]:
        """From which sample to which train windows cover the recording, at the rate it has now; overlapping ones are one."""
        length, stretches = self.window(raw).samples, list[tuple[int, int]]()
        for start in map(int, self.starts(raw)):
            stop = min(start + length, raw.n_times)
            if stretches and start <= stretches[-1][1]:
                stretches[-1] = (stretches[-1][0], stop)
            else:
                stretches.append((start, stop))
        return stretches

    def window(self, raw: "mne.io.BaseRaw") -> Window:
        """How long these windows are, at the rate the recording has now."""
        return Window.of(self.segments, float(raw.info["sfreq"]))


@dataclass(frozen=True)
class Removed:
    """A component of a recording that a step took off.

    Attributes:
        name: of it, like "ica 3".
        reason: what it is.
        weights: how much of it each channel saw, in its own unit, by name.
    """

    name: str
    reason: str
    weights: dict[str, float]


class Step(Choice):
    """Something done to the continuous signal of a recording. Its settings are the fields of a kind.

    The recording holds its MEG channels, or its EEG channels where it has no MEG, and is the step's own: it may be changed in
    place. Time must stay as it is, since words and sounds are placed in it. It is loaded for a step that does not say
    ``in_chunks``, whatever its length: such a step comes best after ``resample``. Channels of other kinds lie beside the
    others until the last step that names their kind in ``beside`` is done.
    """

    repeats: ClassVar[bool] = False  # makes sense several times, with other settings
    beside: ClassVar[tuple[str, ...]] = ()  # kinds of channels it looks at besides, as mne calls them: "eog", "ref_meg"
    takes_gaps: ClassVar[bool] = False  # is not disturbed by values that are not numbers; the signal need not be loaded yet
    in_chunks: ClassVar[bool] = False  # gives a recording that is computed when it is read; the signal need not be loaded

    def check(self, before: "tuple[Step, ...]", rate_hz: float) -> None:
        """See to it that this step makes sense after those ``before`` it, for signal that is kept at ``rate_hz``.

        Raises:
            InputError: if it does not; what to type instead.
        """

    def channels(self, count: int) -> int:
        """How many of ``count`` channels it leaves."""
        return count

    def files(self, recorded: Sequence[Path]) -> list[Path]:
        """The files it reads beside those that a recording is read from; a change of any of them makes the recording anew.

        Cheap, and never fails, as :meth:`~raybrain.studies.base.Study.sources`.
        """
        return []

    def fit(self, raw: "mne.io.BaseRaw", context: Context) -> Any:
        """What is learned from the train windows of a recording, for :meth:`apply`.

        Raises:
            InputError: if there is too little to learn from.
        """
        return None

    @abstractmethod
    def apply(self, raw: "mne.io.BaseRaw", fitted: Any, context: Context) -> "mne.io.BaseRaw":
        """The recording after this step.

        Args:
            raw: the recording.
            fitted: what :meth:`fit` returned for it.
            context: what else there is to know.

        Raises:
            InputError: if the step cannot be done to this recording.
        """

    def remarks(self, raw: "mne.io.BaseRaw", fitted: Any) -> list[str]:
        """What people should know of how it went, given the recording before it; a line each."""
        return []

    def removed(self, fitted: Any) -> list[Removed]:
        """The components it takes off, for people to look at."""
        return []


class SignalConfig(Config):
    """What is done to the continuous signal.

    Attributes:
        rate_hz: of the prepared signal, when all steps are done.
        steps: what is done, in the order given.
        scaling: what each channel is divided by before training: "robust", the distance of its quartiles, or "standard", its
            standard deviation, both in up to 200 train windows. ``window.instance`` scales each window by itself.
    """

    rate_hz: PositiveFloat = 120.0
    steps: tuple[Step, ...] = Field(default_factory=lambda: (Step.kind("resample")(),))
    scaling: Scaling = "robust"

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        for number, step in enumerate(self.steps):
            before = self.steps[:number]
            if step in before or (not step.repeats and any(type(other) is type(step) for other in before)):
                names = ",".join(other.name for other in self.steps)
                settings = ", or with other settings" if step.repeats else ""
                raise InputError(f"step {step.name} is there twice in steps={names}; type it once{settings}")
            step.check(before, self.rate_hz)
        return self

    def channels(self, count: int) -> int:
        """How many of ``count`` channels are left."""
        for step in self.steps:
            count = step.channels(count)
        return count
