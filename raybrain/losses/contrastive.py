"""Contrastive: the loss of Défossez et al. 2023, Methods: which of many candidates was heard."""

from pydantic import PositiveFloat
from torch import Tensor
from torch.nn import functional as F

from raybrain.batch import Shapes
from raybrain.losses.base import ALONE, LossGroup, inner_products
from raybrain.losses.ranking import RankingModule, RankingSettings


class Contrastive(RankingSettings, name="contrastive"):
    """Find the right candidate among others: cross-entropy over normalised inner products, from brain to speech.

    Attributes:
        temperature: what scores are divided by.
    """

    temperature: PositiveFloat = 1.0

    def build(self, shapes: Shapes) -> "ContrastiveLoss":
        """The loss, with its part of the window in samples."""
        return ContrastiveLoss(self, shapes)


class ContrastiveLoss(RankingModule):
    """The module of Contrastive."""

    def __init__(self, config: Contrastive, shapes: Shapes) -> None:
        super().__init__(config, shapes)
        self.temperature = config.temperature

    def forward(self, estimates: Tensor, candidates: Tensor, targets: Tensor, group: LossGroup = ALONE) -> Tensor:
        """Cross-entropy of each row."""
        scores = self.scores(estimates, candidates)
        if self.ranking.plain:
            return F.cross_entropy(scores, targets, reduction="none")
        kinship = self.kinship(candidates, group)
        distinct = kinship.distinct
        return kinship.entropy(scores[:, distinct], targets, distinct)

    def scores(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """The logits of the cross-entropy."""
        return inner_products(*self.sides(estimates, candidates)) / self.temperature
