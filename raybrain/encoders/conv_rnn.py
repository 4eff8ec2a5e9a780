"""ConvRNN: strided convolutions, an LSTM at the low rate, transposed convolutions back.

Dimension letters: B batch, C channels, T time samples.
"""

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.batch import Batch, Shapes
from raybrain.config import Config, InputError
from raybrain.encoders.front import Front, FrontEncoder
from raybrain.encoders.layers import BatchNorm


class RecurrentConfig(Config):
    """The LSTM at the low rate.

    Attributes:
        layers: that lie on one another.
        bidirectional: read time in both directions.
    """

    layers: int = Field(2, gt=0)
    bidirectional: bool = True


class ConvRNN(FrontEncoder, name="conv_rnn"):
    """The usual front, strided convolutions, an LSTM, transposed convolutions back to the samples.

    Attributes:
        depth: number of strided convolutions, and of transposed ones.
        hidden: channels of all of them and of the LSTM.
        kernel: samples each convolution sees.
        stride: by how much each one lowers the rate.
        batch_norm: whether each convolution is followed by batch norm.
        lstm: the recurrent part.
    """

    depth: int = Field(2, gt=0)
    hidden: int = Field(320, gt=0)
    kernel: int = Field(4, gt=0)
    stride: int = Field(2, gt=0)
    batch_norm: bool = True
    lstm: RecurrentConfig = RecurrentConfig()

    @model_validator(mode="after")
    def _agree(self) -> "ConvRNN":
        if self.kernel < self.stride or (self.kernel - self.stride) % 2:
            allowed = ", ".join(str(self.stride + 2 * more) for more in range(3))
            raise InputError(f"kernel must be stride plus an even number, found {self.kernel}; type one of {allowed}, ...")
        return self

    def build(self, shapes: Shapes) -> nn.Module:
        """The network."""
        return ConvRNNNet(self, shapes)


class ConvRNNNet(nn.Module):
    """The network of a ConvRNN."""

    def __init__(self, config: ConvRNN, shapes: Shapes) -> None:
        super().__init__()
        self.multiple = config.stride**config.depth
        self.front = Front(config, shapes)
        sizes = [self.front.channels, *[config.hidden] * config.depth]
        self.down = nn.Sequential(*(_resample(config, sizes[k], up=False) for k in range(config.depth)))
        lstm = config.lstm
        self.lstm = nn.LSTM(config.hidden, config.hidden, lstm.layers, batch_first=True, bidirectional=lstm.bidirectional)
        self.joined = nn.Linear((1 + lstm.bidirectional) * config.hidden, config.hidden)
        self.up = nn.Sequential(*(_resample(config, config.hidden, up=True) for _ in range(config.depth)))
        self.final = nn.Conv1d(config.hidden, shapes.features, 1)

    def forward(self, batch: Batch) -> Tensor:
        """[batch features time]."""
        times = batch.signal.shape[-1]
        low = self.down(F.pad(self.front(batch), (0, -times % self.multiple)))
        recurrent, _ = self.lstm(low.transpose(1, 2))
        x = self.up(low + self.joined(recurrent).transpose(1, 2))
        out: Tensor = self.final(x[..., :times])
        return out


def _resample(config: ConvRNN, channels: int, *, up: bool) -> nn.Module:
    """A convolution that divides or multiplies the samples by the stride exactly."""
    kind = nn.ConvTranspose1d if up else nn.Conv1d
    padding = (config.kernel - config.stride) // 2
    conv = kind(channels, config.hidden, config.kernel, stride=config.stride, padding=padding)
    norm = BatchNorm(config.hidden) if config.batch_norm else nn.Identity()
    return nn.Sequential(conv, norm, nn.GELU())
