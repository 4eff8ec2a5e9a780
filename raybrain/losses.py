"""Losses: how far estimates are from the speech that was heard. To add one, add a kind of Loss here or in a plug-in.

Dimension letters: R rows (estimates), N candidates, F features, T time samples.
"""

from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.batch import FeatureSlice, Shapes
from raybrain.config import Choice, InputError

TINY = 1e-8


class Loss(Choice):
    """What training makes small. Its settings are the fields of a kind."""

    def build(self, shapes: Shapes) -> "LossModule":
        """The loss for estimates of these shapes."""
        raise NotImplementedError


class LossModule(nn.Module):
    """A loss that can also score: the scores rank candidates, the same way for every loss, so that tables compare."""

    def forward(self, estimates: Tensor, candidates: Tensor, targets: Tensor) -> Tensor:
        """The loss of each row, not reduced.

        Args:
            estimates: [rows features time].
            candidates: [candidates features time]; those no row aims at serve as further negatives.
            targets: [rows], which candidate each row should give.

        Returns:
            [rows], at least float32.
        """
        raise NotImplementedError

    def scores(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """How well each candidate fits each estimate, [rows candidates], at least float32."""
        return inner_products(estimates, candidates)


def inner_products(estimates: Tensor, candidates: Tensor) -> Tensor:
    """Inner products over features and time, divided by the norm of the candidate, [rows candidates].

    Estimates are not normalised: their length is how sure the encoder is. Computed in float32 or better whatever autocast
    says, since a softmax of scores with eight bits is coarse.
    """
    dtype = torch.promote_types(torch.promote_types(estimates.dtype, candidates.dtype), torch.float32)
    with torch.autocast(estimates.device.type, enabled=False):
        rows, pool = estimates.flatten(1).to(dtype), candidates.flatten(1).to(dtype)
        # the result is divided and not the candidates: they are a thousand times larger
        scores: Tensor = rows @ pool.T / (TINY + torch.linalg.vector_norm(pool, dim=1))
        return scores


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


class L1(Loss, name="l1"):
    """Mean absolute difference from the features that were heard."""

    def build(self, shapes: Shapes) -> LossModule:
        """The loss."""
        return RegressionLoss(F.l1_loss)


class MSE(Loss, name="mse"):
    """Mean squared difference from the features that were heard."""

    def build(self, shapes: Shapes) -> LossModule:
        """The loss."""
        return RegressionLoss(F.mse_loss)


class RegressionLoss(LossModule):
    """A difference of each value, averaged over features and time. Candidates no row aims at play no part."""

    def __init__(self, difference: Callable[..., Tensor]) -> None:
        super().__init__()
        self.difference = difference

    def forward(self, estimates: Tensor, candidates: Tensor, targets: Tensor) -> Tensor:
        """The mean difference of each row."""
        wanted = candidates[targets]
        dtype = torch.promote_types(torch.promote_types(estimates.dtype, wanted.dtype), torch.float32)
        return self.difference(estimates.to(dtype), wanted.to(dtype), reduction="none").mean(dim=(1, 2))


class Mixed(Loss, name="mixed"):
    """Regression and classification side by side: mean squared difference, and cross-entropy where a feature has classes.

    Classes weigh by the inverse of their frequency in the train split. Each feature counts the same, whatever its size.
    """

    def build(self, shapes: Shapes) -> LossModule:
        """The loss.

        Raises:
            InputError: if it is not known which feature each dimension is.
        """
        if not shapes.slices:
            raise InputError(
                "loss=mixed compares with features as they are stored; type speech_encoder=stored, or another loss"
            )
        return MixedLoss(shapes.slices)


class MixedLoss(LossModule):
    """The module of Mixed. Estimates of classes are logits. Candidates no row aims at play no part."""

    def __init__(self, slices: tuple[FeatureSlice, ...]) -> None:
        super().__init__()
        self.slices = slices
        for number, part in enumerate(slices):
            self.register_buffer(f"weights{number}", torch.tensor(part.weights), persistent=False)

    def forward(self, estimates: Tensor, candidates: Tensor, targets: Tensor) -> Tensor:
        """The mean over features of each row's mean difference, or mean cross-entropy over time."""
        wanted = candidates[targets]
        dtype = torch.promote_types(torch.promote_types(estimates.dtype, wanted.dtype), torch.float32)
        estimates, wanted = estimates.to(dtype), wanted.to(dtype)
        losses = []
        for number, part in enumerate(self.slices):
            guess, truth = estimates[:, part.slice], wanted[:, part.slice]
            if part.weights:
                weights: Tensor = getattr(self, f"weights{number}").to(dtype)
                # torch would divide by the weights of a row: then rare classes would not count more in a row of their own
                loss = F.cross_entropy(guess, truth.argmax(dim=1), weights, reduction="none").mean(dim=1)
            else:
                loss = F.mse_loss(guess, truth, reduction="none").mean(dim=(1, 2))
            losses.append(loss)
        return torch.stack(losses).mean(dim=0)

    def scores(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """As for every loss, of the features that are expected: for classes, their probabilities."""
        dtype = torch.promote_types(estimates.dtype, torch.float32)
        parts = [
            estimates[:, part.slice].to(dtype).softmax(dim=1) if part.weights else estimates[:, part.slice].to(dtype)
            for part in self.slices
        ]
        return inner_products(torch.cat(parts, dim=1), candidates)
