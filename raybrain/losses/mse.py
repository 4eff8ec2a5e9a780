"""MSE: mean squared difference."""

from torch.nn import functional as F

from raybrain.batch import Shapes
from raybrain.losses.base import Loss, LossModule, RegressionLoss


class MSE(Loss, name="mse"):
    """Mean squared difference from the features that were heard."""

    def build(self, shapes: Shapes) -> LossModule:
        """The loss."""
        return RegressionLoss(F.mse_loss)
