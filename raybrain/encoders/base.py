"""Encoder: the family of networks that estimate what was heard from the brain. To add one, add a file beside this one.

The smallest complete encoder:

>>> import torch
>>> from raybrain.batch import Batch, Shapes, step_draws
>>> class Linear(Encoder, name="doc_linear"):
...     '''One matrix for everybody.'''
...     bias: bool = True
...     def build(self, shapes):
...         return LinearModule(self, shapes)
>>> class LinearModule(torch.nn.Module):
...     def __init__(self, config, shapes):
...         super().__init__()
...         self.map = torch.nn.Conv1d(shapes.channels, shapes.features, 1, bias=config.bias)
...     def forward(self, batch):
...         return self.map(batch.signal)
>>> shapes = Shapes(channels=4, subjects=("study/01",), features=3, times=50, rate_hz=120.0)
>>> batch = Batch(signal=torch.randn(2, 4, 50), subject=torch.zeros(2, dtype=torch.long),
...     layout=torch.zeros(2, dtype=torch.long), positions=torch.rand(1, 4, 2), valid=torch.ones(1, 4, dtype=torch.bool),
...     draws=step_draws(seed=0, step=0), segment=torch.arange(2))
>>> Linear().build(shapes)(batch).shape
torch.Size([2, 3, 50])
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from raybrain.batch import Batch, Keys, Shapes
from raybrain.config import Choice

Pair = tuple[Tensor, Tensor]  # windows of what goes in [batch channels time], and of what is aimed at [batch features time]


class Encoder(Choice):
    """A network that estimates what a task aims at from what goes in. Its settings are the fields of a kind."""

    @abstractmethod
    def build(self, shapes: Shapes) -> nn.Module:
        """The network: called with a Batch, it returns [batch features time]."""

    def without_sensors(self) -> str:
        """The setting to type so that it does without sensors and where they are; empty if it does."""
        return ""

    def without_subjects(self) -> str:
        """The setting to type so that it learns nothing of single subjects; empty if it does not, or is ready for new ones."""
        return ""

    @property
    def mixes(self) -> bool:
        """Whether it mixes segments with others in which the same is heard while training, and so asks for partners."""
        return False

    @property
    def line(self) -> "FittedEncoder | None":
        """What is fitted in closed form beside its network, for training to start from; None for nothing."""
        return None

    @property
    def origin(self) -> str:
        """What some of its weights were trained as before, for people; empty where all are drawn."""
        return ""

    def pretrained(self, network: nn.Module) -> dict[str, Tensor]:
        """The weights that its network begins with, by their names in it; the others are as they were drawn.

        Args:
            network: that :meth:`build` gave.

        Raises:
            InputError: if they are not there, or another network's.
        """
        return {}


class Penalised(nn.Module, ABC):
    """A part of a network that asks for something to be added to the loss, whatever the segments are."""

    @abstractmethod
    def penalty(self, batch: Batch) -> Tensor | None:
        """What is added to the loss of a step; None for nothing.

        Args:
            batch: some segments of the step. The penalty must depend on ``positions`` and ``valid`` at most, of all layouts:
                one worker alone computes it.
        """


class NewRows(ABC):
    """A part of a network with a row for each subject, of which somebody new has one as it is made, not the mean of all."""

    @abstractmethod
    def new_rows(self) -> frozenset[str]:
        """The names of its parameters of which that is true."""


class FittedEncoder(Encoder):
    """An encoder that is fitted in closed form, rather than trained by steps. Not a kind by itself.

    Its fit is one epoch, which reads nothing of the optimiser; the losses beside it are of groups as large as in training.
    It is the same for any number of workers, as each map is fitted by one of them alone.

    Attributes:
        per_subject: whether each subject has a fit of its own.
    """

    per_subject: bool = True

    @abstractmethod
    def build(self, shapes: Shapes) -> "FittedModule":
        """The network before it is fitted."""


class FittedModule(nn.Module, ABC):
    """A network that is fitted. Each of its parameters has a row for each subject, in the order of ``Shapes.subjects``."""

    @abstractmethod
    def fit(self, subjects: Sequence[int], train: Iterable[Pair], valid: Iterable[Pair]) -> None:
        """Set the parameters of some subjects, all to the same.

        Args:
            subjects: whose.
            train: windows to fit, some at a time; may be gone through once.
            valid: windows to choose settings of the fit by; there may be none.
        """

    def adapt(self, subject: int, train: Iterable[Pair], valid: Iterable[Pair]) -> None:
        """Fit the parameters of somebody new of whom there is little, around what they are; here as if there were enough.

        Args:
            subject: whose.
            train: windows to fit, some at a time; may be gone through once.
            valid: windows to choose settings of the fit by, among them how far to leave what the parameters are.
        """
        self.fit([subject], train, valid)


class SpeechModule(nn.Module, ABC):
    """A network on the side of speech."""

    @abstractmethod
    def forward(self, x: Tensor, keys: Keys | None = None) -> Tensor:
        """[batch features time] to [batch size time].

        Args:
            x: the features of some segments.
            keys: what random numbers of these segments are drawn for; None where none are.
        """


class SpeechEncoder(Choice):
    """What is done to stored features before estimates are compared with them."""

    def size(self, features: int) -> int:
        """How many dimensions come out where ``features`` go in."""
        return features

    @abstractmethod
    def build(self, features: int) -> SpeechModule | None:
        """A network from [batch features time] to [batch size time], trained together with the encoder; None for none."""


class Stored(SpeechEncoder, name="stored"):
    """The features as they are: nothing is trained on that side."""

    def build(self, features: int) -> SpeechModule | None:
        """None."""
        return None
