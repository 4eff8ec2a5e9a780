"""Start from ridge: a line beside the network, fitted in closed form before the first step, so that training can only gain.

The estimate is ``gain * line + network``. The last layer of the network starts at zero, so that before the first step the
estimate is that of ridge regression; the gain gives it the scale that the loss asks for. The line is kept as it was fitted,
but where training starts from another model: there it is fitted around that model's, beside the network that the model has.

Dimension letters: B batch, D dimensions that are estimated, T time samples.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from raybrain.batch import Batch, Shapes
from raybrain.config import Config
from raybrain.encoders.draws import chance
from raybrain.encoders.ridge import Ridge


class RidgeStartConfig(Config):
    """A line beside the network, from which training starts. The first epoch is its fit, and takes no step.

    Attributes:
        on: whether there is one.
        trained: train the line as well; else it is kept as it was fitted.
        dropout: while training, the network must do without the line in this share of the segments. What the line has
            learned by heart of the train split would leave the network little to learn.
        line: which regression.
    """

    on: bool = False
    trained: bool = False
    dropout: float = Field(0.5, ge=0, lt=1)
    line: Ridge = Ridge()


class RidgeStart(nn.Module):
    """A network with a line beside it.

    Args:
        config: its settings.
        network: called with a Batch, it gives [B D T]; its last layer is set to zero.
        shapes: that it was built for.
    """

    def __init__(self, config: RidgeStartConfig, network: nn.Module, shapes: Shapes) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.network = network
        self.line = config.line.build(shapes).requires_grad_(config.trained)
        self.log_gain = nn.Parameter(torch.zeros(()))
        with torch.no_grad():
            for parameter in last_layer(network).parameters(recurse=False):
                parameter.zero_()

    def forward(self, batch: Batch) -> Tensor:
        """[batch features time]."""
        gain = self.log_gain.exp()
        if self.training and self.dropout:
            gain = gain * ~chance(batch.keys, "ridge start", (1, 1), self.dropout)
        with torch.autocast(batch.signal.device.type, enabled=False):
            line: Tensor = self.line(batch)
        out: Tensor = gain * line + self.network(batch)
        return out


def last_layer(network: nn.Module) -> nn.Module:
    """The layer that gives the estimate: the last one with weights of its own, in the order in which they were made."""
    return [module for module in network.modules() if any(True for _ in module.parameters(recurse=False))][-1]
