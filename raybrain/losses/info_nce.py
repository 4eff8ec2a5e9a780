"""InfoNCE: the loss of CLIP, in both directions, with a temperature that is learned.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision".
"""

import math

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from raybrain.batch import Shapes
from raybrain.losses.base import ALONE, LossGroup
from raybrain.losses.ranking import RankingModule, RankingSettings, cosines

LARGEST_SCALE = 100.0  # of cosines, as in CLIP


class InfoNCE(RankingSettings, name="info_nce"):
    """Cross-entropy over cosine similarities: of candidates for each estimate, and of the group's estimates for each candidate.

    Attributes:
        temperature: what similarities are divided by at first; it is learned.
        symmetric: both directions, averaged; else candidates for each estimate only.
    """

    temperature: PositiveFloat = 0.07
    symmetric: bool = True

    def build(self, shapes: Shapes) -> "InfoNCELoss":
        """The loss."""
        return InfoNCELoss(self, shapes)


class InfoNCELoss(RankingModule):
    """The module of InfoNCE. Further negatives, at which no row aims, are candidates for an estimate only."""

    def __init__(self, config: InfoNCE, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.needs_shared = config.symmetric
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))

    def forward(self, estimates: Tensor, candidates: Tensor, targets: Tensor, group: LossGroup = ALONE) -> Tensor:
        """Cross-entropy of each row; averaged with that of its candidate over the estimates of the group."""
        kinship = self.kinship(candidates, group)
        distinct = kinship.distinct
        if group.shared is None:
            every, aims = self.scores(estimates, candidates), targets
            rows = every
        else:
            every, aims = group.shared, torch.arange(len(group.shared), device=targets.device)
            rows = every[targets]
        losses = kinship.entropy(rows[:, distinct], targets, distinct)
        if not self.needs_shared:
            return losses
        return (losses + kinship.entropy(every[:, targets].T, targets, aims)) / 2

    def scores(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """The logits: cosine similarities over the temperature."""
        return cosines(*self.sides(estimates, candidates)) * self.log_scale.exp().clamp(max=LARGEST_SCALE)
