"""By feature: several features, each with a loss of its own."""

from dataclasses import replace

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from raybrain.batch import FeatureSlice, Shapes
from raybrain.config import InputError
from raybrain.losses.base import ALONE, Loss, LossGroup, LossModule


class ByFeature(Loss, name="by_feature"):
    """The weighted sum of one loss for each feature, so that a feature of a thousand dimensions does not drown one of ten.

    Each feature is estimated by rows of its own of the encoder's last layer: its head. Scores are the same sum.

    Attributes:
        of: the loss of each feature.
        weights: of the features, in the order of ``data.features``, relative to each other; none if they count the same.
    """

    of: Loss = Field(default_factory=lambda: Loss.kind("contrastive")())
    weights: tuple[PositiveFloat, ...] = ()

    def build(self, shapes: Shapes) -> "ByFeatureLoss":
        """The loss.

        Raises:
            InputError: if it is not known which feature each dimension is, or there are more or fewer weights than features.
        """
        if not shapes.slices:
            raise InputError(
                "loss=by_feature compares with features of speech as they are stored; type task=decode speech_encoder=stored,"
                " or another loss"
            )
        names = ", ".join(part.name for part in shapes.slices)
        if self.weights and len(self.weights) != len(shapes.slices):
            raise InputError(
                f"loss.weights has {len(self.weights)} numbers for {len(shapes.slices)} features ({names}); type one for each"
            )
        weights = torch.tensor(self.weights or [1.0] * len(shapes.slices))
        return ByFeatureLoss([self.of.build(_alone(shapes, part)) for part in shapes.slices], shapes.slices, weights)


def _alone(shapes: Shapes, part: FeatureSlice) -> Shapes:
    size = part.stop - part.start
    return replace(shapes, features=size, slices=(replace(part, start=0, stop=size),))


class ByFeatureLoss(LossModule):
    """The module of ByFeature."""

    weights: Tensor

    def __init__(self, losses: list[LossModule], slices: tuple[FeatureSlice, ...], weights: Tensor) -> None:
        super().__init__()
        self.losses, self.slices = nn.ModuleList(losses), slices
        self.register_buffer("weights", weights / weights.sum(), persistent=False)
        self.needs_shared = losses[0].needs_shared
        self.needs_estimates = losses[0].needs_estimates

    def shared(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """What each loss shares, stacked last."""
        parts = [loss.shared(estimates[:, own], candidates[:, own]) for loss, own in self._each()]
        return torch.stack(parts, dim=-1)

    def forward(self, estimates: Tensor, candidates: Tensor, targets: Tensor, group: LossGroup = ALONE) -> Tensor:
        """The weighted sum of the losses of each row."""
        losses = []
        for number, (loss, own) in enumerate(self._each()):
            shared = None if group.shared is None else group.shared[..., number]
            others = None if group.estimates is None else group.estimates[:, own]
            losses.append(loss(estimates[:, own], candidates[:, own], targets, replace(group, shared=shared, estimates=others)))
        return self._summed(losses)

    def scores(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """The weighted sum of the scores by each feature."""
        return self._summed([loss.scores(estimates[:, own], candidates[:, own]) for loss, own in self._each()])

    def _each(self) -> list[tuple[LossModule, slice]]:
        losses = [loss for loss in self.losses if isinstance(loss, LossModule)]
        return [(loss, part.slice) for loss, part in zip(losses, self.slices, strict=True)]

    def _summed(self, values: list[Tensor]) -> Tensor:
        stacked = torch.stack(values, dim=-1)
        total: Tensor = (stacked * self.weights.to(stacked.dtype)).sum(dim=-1)
        return total
