"""Contrastive: the loss of Défossez et al. 2023, Methods: which of many candidates was heard."""

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.batch import Shapes
from raybrain.config import InputError
from raybrain.losses.base import Loss, LossModule, inner_products


class Contrastive(Loss, name="contrastive"):
    """Find the right candidate among others: cross-entropy over normalised inner products, from brain to speech.

    Attributes:
        pool: average over time first.
        center: subtract from each estimate and each candidate its mean over features and time.
        tmin_s: start of the part of the window to use, relative to the anchor; None for all.
        tmax_s: its end.
        linear: compare after a trained linear map of the features to this size, one for each side; None for none.
    """

    pool: bool = False
    center: bool = False
    tmin_s: float | None = None
    tmax_s: float | None = None
    linear: int | None = Field(None, gt=0)

    def build(self, shapes: Shapes) -> "ContrastiveLoss":
        """The loss, with its part of the window in samples."""
        return ContrastiveLoss(self, shapes)

    def window(self, shapes: Shapes) -> slice:
        """The samples to use."""

        def sample(seconds: float) -> int:
            return int((seconds - shapes.tmin_s) * shapes.rate_hz)

        start = 0 if self.tmin_s is None else sample(self.tmin_s)
        stop = shapes.times if self.tmax_s is None else sample(self.tmax_s)
        if not 0 <= start < stop <= shapes.times:
            end = shapes.tmin_s + shapes.times / shapes.rate_hz
            raise InputError(
                f"the loss is to use {self.tmin_s} to {self.tmax_s} s of a window from {shapes.tmin_s:g} to {end:g} s;"
                " type tmin_s and tmax_s within it, tmin_s first"
            )
        return slice(start, stop)


class ContrastiveLoss(LossModule):
    """The module of Contrastive."""

    def __init__(self, config: Contrastive, shapes: Shapes) -> None:
        super().__init__()
        self.config = config
        self.window = config.window(shapes)
        self.estimate_map = nn.Linear(shapes.features, config.linear) if config.linear else None
        self.candidate_map = nn.Linear(shapes.features, config.linear) if config.linear else None

    def forward(self, estimates: Tensor, candidates: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each row."""
        return F.cross_entropy(self.scores(estimates, candidates), targets, reduction="none")

    def scores(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """The logits of the cross-entropy."""
        return inner_products(self._compared(estimates, self.estimate_map), self._compared(candidates, self.candidate_map))

    def _compared(self, x: Tensor, linear: nn.Linear | None) -> Tensor:
        x = x[..., self.window]
        if self.config.pool:
            x = x.mean(dim=-1, keepdim=True)
        if linear is not None:
            x = linear(x.transpose(1, 2)).transpose(1, 2)
        return x - x.mean(dim=(1, 2), keepdim=True) if self.config.center else x
