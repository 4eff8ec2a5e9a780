"""Mixed: regression on quantities and cross-entropy on classes, side by side."""

import torch
from torch import Tensor
from torch.nn import functional as F

from raybrain.batch import FeatureSlice, Shapes
from raybrain.config import InputError
from raybrain.losses.base import ALONE, Loss, LossGroup, LossModule, inner_products


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
                "loss=mixed compares with features of speech as they are stored; type task=decode speech_encoder=stored, or"
                " another loss"
            )
        return MixedLoss(shapes.slices)


class MixedLoss(LossModule):
    """The module of Mixed. Estimates of classes are logits. Candidates no row aims at play no part."""

    def __init__(self, slices: tuple[FeatureSlice, ...]) -> None:
        super().__init__()
        self.slices = slices
        for number, part in enumerate(slices):
            self.register_buffer(f"weights{number}", torch.tensor(part.weights), persistent=False)

    def forward(self, estimates: Tensor, candidates: Tensor, targets: Tensor, group: LossGroup = ALONE) -> Tensor:
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
