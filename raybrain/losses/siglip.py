"""SigLIP: of each pair of an estimate and a candidate, do they belong together?

Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training".
"""

import math
from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.batch import Shapes
from raybrain.config import InputError
from raybrain.losses.base import ALONE, LossGroup
from raybrain.losses.ranking import RankingModule, RankingSettings, cosines


class SigLIP(RankingSettings, name="siglip"):
    """A sigmoid for each pair, whose temperature and bias are learned. Pairs that are alike are not negatives.

    Attributes:
        equal: as for every loss of this sort; one by default.
        alike: likewise; left out by default.
        temperature: what similarities are divided by at first; it is learned.
        bias: what is added at first; it is learned. Most pairs are negatives, so it begins far below zero.
    """

    equal: Literal["several", "one"] = "one"
    alike: Literal["negative", "left_out"] = "left_out"
    temperature: PositiveFloat = 0.1
    bias: float = -10.0

    def build(self, shapes: Shapes) -> "SigLIPLoss":
        """The loss.

        Raises:
            InputError: if targets are to be soft, which this loss has no use for.
        """
        if self.soft.weight:
            raise InputError("loss=siglip asks of each pair yes or no; type loss.soft.weight=0, or loss=info_nce")
        return SigLIPLoss(self, shapes)


class SigLIPLoss(RankingModule):
    """The module of SigLIP."""

    def __init__(self, config: SigLIP, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))
        self.bias = nn.Parameter(torch.tensor(config.bias))

    def forward(self, estimates: Tensor, candidates: Tensor, targets: Tensor, group: LossGroup = ALONE) -> Tensor:
        """The sum over candidates of each row's losses."""
        kinship = self.kinship(candidates, group)
        distinct = kinship.distinct
        logits = self.scores(estimates, candidates)[:, distinct]
        right, out = kinship.right(targets, distinct), kinship.left_out(targets, distinct)
        return -F.logsigmoid(torch.where(right, logits, -logits)).masked_fill(out, 0.0).sum(dim=1)

    def scores(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """The logits of the pairs."""
        return cosines(*self.sides(estimates, candidates)) * self.log_scale.exp() + self.bias
