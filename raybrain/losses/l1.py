"""L1: mean absolute difference."""

from torch.nn import functional as F

from raybrain.batch import Shapes
from raybrain.losses.base import Loss, LossModule, RegressionLoss


class L1(Loss, name="l1"):
    """Mean absolute difference from the features that were heard."""

    def build(self, shapes: Shapes) -> LossModule:
        """The loss."""
        return RegressionLoss(F.l1_loss)
