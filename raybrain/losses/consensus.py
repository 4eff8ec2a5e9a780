"""Consensus: subjects who hear the same should be estimated alike, as a further aim beside any loss."""

import itertools
from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor

from raybrain.batch import Shapes
from raybrain.excerpts import Excerpts
from raybrain.losses.base import ALONE, TINY, Loss, LossGroup, LossModule


class Consensus(Loss, name="consensus"):
    """Another loss, and a pull of each estimate towards the mean over the subjects of its group who hear the same.

    Where windows overlap in part, that part is compared. The pull, one minus the cosine similarity to the mean, is felt in
    training only: the valid loss is that of ``of``, so that both compare with trainings without it.

    Attributes:
        of: the loss.
        weight: of the pull.
    """

    version: ClassVar[int] = 2  # the mean is over subjects, not over windows

    of: Loss = Field(default_factory=lambda: Loss.kind("contrastive")())
    weight: PositiveFloat = 0.1

    def build(self, shapes: Shapes) -> "ConsensusLoss":
        """The loss."""
        return ConsensusLoss(self.of.build(shapes), self.weight)


class ConsensusLoss(LossModule):
    """The module of Consensus."""

    needs_estimates = True

    def __init__(self, of: LossModule, weight: float) -> None:
        super().__init__()
        self.of, self.weight = of, weight
        self.needs_shared = of.needs_shared

    def shared(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """What the other loss shares."""
        return self.of.shared(estimates, candidates)

    def scores(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """The scores of the other loss."""
        return self.of.scores(estimates, candidates)

    def forward(self, estimates: Tensor, candidates: Tensor, targets: Tensor, group: LossGroup = ALONE) -> Tensor:
        """The other loss of each row, and how far it is from the mean over subjects where others hear the same."""
        losses: Tensor = self.of(estimates, candidates, targets, group)
        if not self.training or group.excerpts is None:
            return losses
        everyone, aims = estimates.detach(), targets
        if group.estimates is not None:
            everyone, aims = group.estimates, torch.arange(len(group.estimates), device=targets.device)
        return losses + self.weight * distances(estimates, group.excerpts.at(targets), everyone, group.excerpts.at(aims))


def distances(estimates: Tensor, mine: Excerpts, everyone: Tensor, all_: Excerpts) -> Tensor:
    """One minus the cosine similarity of each estimate to the mean over subjects of what was heard; 0 where one is alone.

    Args:
        estimates: [rows features time].
        mine: where they lie in what was heard.
        everyone: [group features time], the estimates of all rows, without gradients.
        all_: where those lie.
    """
    dtype = torch.promote_types(estimates.dtype, torch.float32)
    own, times = estimates.to(dtype), estimates.shape[-1]
    total, count = own.detach().clone(), torch.ones(len(own), times, dtype=dtype, device=own.device)
    for (row, _), theirs in itertools.groupby(overlaps(mine, all_, times), key=lambda overlap: overlap[:2]):
        total_of, count_of = torch.zeros_like(total[row]), torch.zeros_like(count[row])
        for _, _, other, shift in theirs:
            here = slice(max(0, -shift), min(times, times - shift))
            there = slice(here.start + shift, here.stop + shift)
            total_of[:, here] += everyone[other, :, there]
            count_of[here] += 1
        total[row] += total_of / count_of.clamp(min=1)  # however many windows of theirs overlap
        count[row] += count_of > 0
    several = (count > 1)[:, None]
    own, mean = own * several, total / count[:, None] * several
    lengths = torch.linalg.vector_norm(own, dim=(1, 2)) * torch.linalg.vector_norm(mean, dim=(1, 2))
    cosine = torch.where(lengths > 0, (own * mean).sum(dim=(1, 2)) / (TINY + lengths), 0.0)  # zeros have no direction
    return torch.where(several.any(dim=2)[:, 0], 1 - cosine, 0.0)


def overlaps(mine: Excerpts, all_: Excerpts, times: int) -> Iterator[tuple[int, int, int, int]]:
    """Pairs of a row and one of another subject who hears part of the same, by row and subject.

    Yields:
        Row, subject, the other row, and how many samples later in the latter it is.
    """
    shift = ((mine.start_s[:, None] - all_.start_s) * mine.rate_hz).round()
    pairs = (mine.stimulus[:, None] == all_.stimulus) & (mine.subject[:, None] != all_.subject) & (shift.abs() < times)
    rows, others = torch.nonzero(pairs, as_tuple=True)
    columns = rows, all_.subject[others], others, shift[rows, others].long()
    yield from sorted(zip(*(column.tolist() for column in columns), strict=True))
