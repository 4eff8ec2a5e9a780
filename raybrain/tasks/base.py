"""Task: the family of directions a network can be trained in. To add one, add a file beside this one.

The smallest complete task, from what was heard to the brain; each recording is ranked against its own windows:

>>> import torch
>>> from dataclasses import replace
>>> from raybrain.batch import Batch, Layout, Shapes, step_draws
>>> from raybrain.tasks.candidates import pools
>>> class Follow(Task, name="doc_follow"):
...     '''The brain from the features of what is heard.'''
...     def shapes(self, data):
...         names = [f"feature {number}" for number in range(data.features)]
...         return replace(data, channels=data.features, features=data.channels, layouts=(Layout.unknown(names),), slices=())
...     def window(self, brain):
...         return Window(brain.rate_hz, brain.tmin_s, brain.times, baseline_samples=0)
...     def scaler(self, brain, speech):
...         return speech
...     def given(self, data, rows, draws):
...         brain, heard = data.brain(rows, draws), data.speech(rows)
...         nowhere = torch.zeros(1, heard.shape[1], 2)
...         return replace(brain, signal=heard, layout=torch.zeros_like(brain.layout), positions=nowhere,
...             valid=torch.zeros(nowhere.shape[:2], dtype=torch.bool))
...     def aimed(self, data, rows):
...         return data.brain(rows, step_draws(seed=0, step=0)).signal
...     def pools(self, segments):
...         return pools(segments, segments.recording.tolist())
>>> shapes = Shapes(channels=4, subjects=("study/01",), features=3, times=50, rate_hz=120.0)
>>> turned = Follow().shapes(shapes)
>>> turned.channels, turned.features, turned.layouts[0].channels
(3, 4, ('feature 0', 'feature 1', 'feature 2'))
"""

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar, Protocol

from torch import Tensor

from raybrain.batch import Batch, Shapes
from raybrain.config import Choice
from raybrain.metrics import TOP
from raybrain.signal.window import Scaler, Window
from raybrain.tasks.candidates import Pool, WordSegments

REPLACED = ("random", "untrained", "other segment", "noise", "shifted")
EXPLAINED = ("place", "length", "envelope")
CONTROLS = REPLACED + EXPLAINED
BRAIN_CONTROLS = (*REPLACED, "flat", "silence", *EXPLAINED)  # of a task in which the brain goes in


class Data(Protocol):
    """Prepared segments, as a task sees them. Rows are numbers of segments, on the device of the data."""

    @property
    def shapes(self) -> Shapes:
        """With the channels of the brain, and the stored features of speech."""

    def brain(self, rows: Tensor, draws: Tensor) -> Batch:
        """The brain during some segments, [batch channels time], with the random numbers of a step."""

    def speech(self, rows: Tensor) -> Tensor:
        """The features of what was heard in some segments, [batch features time]."""


class Task(Choice):
    """What goes into the network, what it aims at, how that is ranked. Its settings are the fields of a kind.

    Attributes:
        measures: names of further measures of an estimate, beside its rank; of each, higher is better.
        lags_s: from when to when what goes in tells of a moment that is aimed at, in seconds after it, with ``window.offset_s``
            on top. What a baseline regresses on.
        controls: what replaces the estimates, to see whether accuracy is chance then, and what might explain it
            (:mod:`raybrain.evaluate.controls`).
        has_sensors: whether what goes in has sensors at places on the head.
        aims_at_brain: whether it is the brain's channels that are aimed at, which are judged one by one then.
    """

    measures: ClassVar[tuple[str, ...]] = ()
    lags_s: ClassVar[tuple[float, float]] = (-0.15, 0.25)
    controls: ClassVar[tuple[str, ...]] = CONTROLS
    has_sensors: ClassVar[bool] = True
    aims_at_brain: ClassVar[bool] = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is known of a training after each epoch, and may choose among trainings: the loss, and what should be high."""
        return ("valid_loss", *(f"valid_top{k}" for k in TOP), *(f"valid_{name}" for name in self.measures))

    def built_for(self, data: Shapes) -> Shapes:
        """What the network is built for: :meth:`shapes`, and the lags."""
        return replace(self.shapes(data), lags_s=self.lags_s)

    @abstractmethod
    def shapes(self, data: Shapes) -> Shapes:
        """What the network is built for.

        Args:
            data: with the channels of the brain, and the stored features of speech.

        Returns:
            With the channels that go in, and as ``features`` those that are aimed at.
        """

    def window(self, brain: Window) -> Window:
        """How what goes in is cut from a continuous signal, for use after training; ``brain`` says it of the brain."""
        return brain

    def scaler(self, brain: Scaler, speech: Scaler) -> Scaler:
        """How what goes in is scaled, for use after training; the arguments say it of a recording's brain, and of features."""
        return brain

    @abstractmethod
    def given(self, data: Data, rows: Tensor, draws: Tensor) -> Batch:
        """What goes in."""

    @abstractmethod
    def aimed(self, data: Data, rows: Tensor) -> Tensor:
        """What is aimed at, [batch features time]."""

    @abstractmethod
    def pools(self, segments: WordSegments) -> list[Pool]:
        """Which segments are ranked against which candidates."""

    def measure(self, estimates: Tensor, aimed: Tensor) -> dict[str, Tensor]:
        """The further ``measures`` of some estimates, [batch] each; both arguments are [batch features time]."""
        assert not self.measures, f"{self.name} has {self.measures} and does not say what they are"
        return {}
