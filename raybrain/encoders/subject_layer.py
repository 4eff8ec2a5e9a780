"""Subject layer: a matrix for each subject; of its own, or one that all share with a small part of each subject's own.

Dimension letters: S subjects, B segments, C channels that go in, D channels that come out, R rank, T time samples.
"""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from raybrain.batch import Keys
from raybrain.config import Config
from raybrain.encoders.base import NewRows
from raybrain.encoders.draws import chance


class SharedConfig(Config):
    """A matrix that all subjects share. Somebody new has it alone, so nothing need be known of them.

    Attributes:
        on: whether there is one; else each subject has a matrix of its own and nothing else.
        own: what each subject has beside it: a matrix of low rank that is added ("low_rank"; Hu et al. 2021, "LoRA"), or a
            factor for each channel that goes in and each that comes out ("channels").
        rank: of the former.
        dropout: while training, the share of segments for which the shared matrix must do alone. Without it nothing says that
            it is of use alone.
    """

    on: bool = False
    own: Literal["low_rank", "channels"] = "low_rank"
    rank: int = Field(4, gt=0)
    dropout: float = Field(0.25, ge=0, lt=1)


class SubjectLayerConfig(Config):
    """The matrix of each subject.

    Attributes:
        channels: that come out; None for as many as go in.
        identity: start as a matrix that changes nothing, rather than a random one.
        shared: what is the same for all subjects.
    """

    channels: int | None = Field(None, gt=0)
    identity: bool = False
    shared: SharedConfig = SharedConfig()


class SubjectLayer(nn.Module):
    """A matrix for each subject; square unless ``after`` says how many channels come out.

    With ``identity`` each begins as a matrix that changes nothing, rather than a random one.
    """

    def __init__(self, channels: int, subjects: int, after: int | None = None, *, identity: bool = False) -> None:
        super().__init__()
        self.weights = nn.Parameter(_first(channels, after or channels, subjects, identity))

    def forward(self, x: Tensor, subject: Tensor, keys: Keys) -> Tensor:
        """``out_d = sum_c x_c W_cd`` with each segment's own W."""
        return self.weights[subject].transpose(1, 2) @ x

    def matrices(self) -> Tensor:
        """That of each subject, [S C D]."""
        return self.weights


class SharedSubjectLayer(nn.Module, NewRows):
    """A matrix that all share, and what each subject has of its own, which starts as if it were not there.

    With ``identity`` the shared matrix begins as one that changes nothing, rather than a random one.
    """

    def __init__(self, config: SubjectLayerConfig, channels: int, subjects: int) -> None:
        super().__init__()
        after, shared = config.channels or channels, config.shared
        self.dropout = shared.dropout
        self.shared = nn.Parameter(_first(channels, after, 1, config.identity)[0])
        self.down: nn.Parameter | None = None
        if shared.own == "low_rank":
            self.down = nn.Parameter(torch.randn(subjects, channels, shared.rank) / math.sqrt(channels))
            self.up = nn.Parameter(torch.zeros(subjects, shared.rank, after))
        else:
            self.given = nn.Parameter(torch.zeros(subjects, channels))
            self.out = nn.Parameter(torch.zeros(subjects, after))

    def forward(self, x: Tensor, subject: Tensor, keys: Keys) -> Tensor:
        """``out_d = sum_c x_c W_cd`` with each segment's W, which is the shared one plus, or times, what the subject has."""
        own = x.new_ones(len(x), 1, 1)
        if self.training and self.dropout:
            own = (~chance(keys, "subject layer", (1, 1), self.dropout)).to(x.dtype)
        if self.down is None:
            x = x * (1 + own * self.given[subject][..., None])
            return (self.shared.T @ x) * (1 + own * self.out[subject][..., None])
        added = self.up[subject].transpose(1, 2) @ (self.down[subject].transpose(1, 2) @ x)
        return self.shared.T @ x + own * added

    def matrices(self) -> Tensor:
        """That of each subject, [S C D]."""
        if self.down is not None:
            return self.shared + self.down @ self.up
        return self.shared * (1 + self.given[:, :, None]) * (1 + self.out[:, None])

    def new_rows(self) -> frozenset[str]:
        """All that subjects have of their own: somebody new begins with the shared matrix alone."""
        return frozenset({"given", "out"} if self.down is None else {"down", "up"})


def subject_layer(config: SubjectLayerConfig, channels: int, subjects: int) -> SubjectLayer | SharedSubjectLayer:
    """The layer of these settings, for signals of so many channels."""
    if config.shared.on:
        return SharedSubjectLayer(config, channels, subjects)
    return SubjectLayer(channels, subjects, config.channels, identity=config.identity)


def _first(channels: int, after: int, count: int, identity: bool) -> Tensor:
    """What ``count`` matrices begin as, [count C D]."""
    if identity:
        return torch.eye(channels, after).repeat(count, 1, 1)
    return torch.randn(count, channels, after) / math.sqrt(channels)
