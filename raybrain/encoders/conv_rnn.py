"""ConvRNN: strided convolutions, an LSTM at the low rate, transposed convolutions back.

Dimension letters: B batch, C channels, T time samples.
"""

import math

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.batch import Batch, Keys, Shapes
from raybrain.config import Config, InputError
from raybrain.encoders.draws import Dropout
from raybrain.encoders.front import Front, FrontEncoder
from raybrain.encoders.layers import Activation, BatchNorm, DropoutConfig, activation


class RecurrentConfig(Config):
    """The LSTM at the low rate.

    Attributes:
        layers: that lie on one another.
        bidirectional: read time in both directions.
        dropout: of what goes in, and of what comes out before its residual, while training.
    """

    layers: int = Field(2, gt=0)
    bidirectional: bool = True
    dropout: DropoutConfig = DropoutConfig()


class LocalConfig(Config):
    """Attention over neighbouring moments, after the LSTM and at its rate.

    Attributes:
        on: whether there is any.
        heads: that attend; they must divide ``hidden``.
        context: moments to each side that are attended to.
        dropout: of what is added to the residual, while training.
    """

    on: bool = False
    heads: int = Field(4, gt=0)
    context: int = Field(10, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)


class ConvRNN(FrontEncoder, name="conv_rnn"):
    """The usual front, strided convolutions, an LSTM, transposed convolutions back to the samples.

    Attributes:
        depth: number of strided convolutions, and of transposed ones.
        hidden: channels of all of them and of the LSTM.
        kernel: samples each convolution sees.
        stride: by how much each one lowers the rate.
        batch_norm: whether each convolution is followed by batch norm.
        activation: the non-linearity after each of them.
        lstm: the recurrent part.
        local: attention over neighbouring moments.
    """

    depth: int = Field(2, gt=0)
    hidden: int = Field(320, gt=0)
    kernel: int = Field(4, gt=0)
    stride: int = Field(2, gt=0)
    batch_norm: bool = True
    activation: Activation = "gelu"
    lstm: RecurrentConfig = RecurrentConfig()
    local: LocalConfig = LocalConfig()

    @model_validator(mode="after")
    def _agree(self) -> "ConvRNN":
        if self.kernel < self.stride or (self.kernel - self.stride) % 2:
            allowed = ", ".join(str(self.stride + 2 * more) for more in range(3))
            raise InputError(f"kernel must be stride plus an even number, found {self.kernel}; type one of {allowed}, ...")
        if self.local.on and self.hidden % self.local.heads:
            divisors = [size for size in range(1, self.hidden + 1) if self.hidden % size == 0]
            near = min(divisors, key=lambda size: abs(size - self.local.heads))
            raise InputError(f"local.heads={self.local.heads} must divide hidden={self.hidden}; type local.heads={near}")
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
        self.dropped_before = Dropout(lstm.dropout.input, "lstm input")
        self.dropped_after = Dropout(lstm.dropout.layers, "lstm output")
        self.joined = nn.Linear((1 + lstm.bidirectional) * config.hidden, config.hidden)
        self.local = LocalAttention(config.hidden, config.local) if config.local.on else None
        self.up = nn.Sequential(*(_resample(config, config.hidden, up=True) for _ in range(config.depth)))
        self.final = nn.Conv1d(config.hidden, shapes.features, 1)

    def forward(self, batch: Batch) -> Tensor:
        """[batch features time]."""
        times = batch.signal.shape[-1]
        low = self.down(F.pad(self.front(batch), (0, -times % self.multiple)))
        keys = batch.keys if self.training else None
        rows = low.transpose(1, 2)
        recurrent, _ = self.lstm(rows if keys is None else self.dropped_before(rows, keys))
        joined = self.joined(recurrent)
        low = low + (joined if keys is None else self.dropped_after(joined, keys)).transpose(1, 2)
        if self.local is not None:
            low = self.local(low, keys)
        x = self.up(low)
        out: Tensor = self.final(x[..., :times])
        return out


class LocalAttention(nn.Module):
    """Each moment attends to its neighbours, with a trained preference for each distance, and adds what it gets.

    Vaswani et al. 2017, "Attention is all you need", within a window; the preference is that of Raffel et al. 2020 (T5).
    """

    def __init__(self, channels: int, config: LocalConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(channels)
        self.mixed = nn.Linear(channels, 3 * channels)
        # a bias of keys adds the same to the score of each, so that its gradient would be rounding (as in ConvLayer)
        self.used: Tensor
        self.register_buffer("used", torch.tensor([True, False, True]).repeat_interleave(channels), persistent=False)
        self.out = nn.Linear(channels, channels)
        self.near = nn.Parameter(torch.zeros(config.heads, 2 * config.context + 1))
        self.dropout = Dropout(config.dropout, "local attention")

    def forward(self, x: Tensor, keys: Keys | None = None) -> Tensor:
        """[batch channels steps] to the same; ``keys`` are what dropout needs."""
        rows, heads, context = x.transpose(1, 2), self.config.heads, self.config.context
        mixed = F.linear(self.norm(rows), self.mixed.weight, self.mixed.bias * self.used)
        query, key, value = torch.unflatten(mixed, -1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        steps = torch.arange(rows.shape[1], device=x.device)
        distance = steps - steps[:, None]
        bias = self.near[:, distance.clamp(-context, context) + context]
        bias = bias.masked_fill(distance.abs() > context, -math.inf).to(query.dtype)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out: Tensor = self.out(seen.transpose(1, 2).flatten(-2))
        if keys is not None:
            out = self.dropout(out, keys)
        return x + out.transpose(1, 2)


def _resample(config: ConvRNN, channels: int, *, up: bool) -> nn.Module:
    """A convolution that divides or multiplies the samples by the stride exactly."""
    kind = nn.ConvTranspose1d if up else nn.Conv1d
    padding = (config.kernel - config.stride) // 2
    conv = kind(channels, config.hidden, config.kernel, stride=config.stride, padding=padding)
    norm = BatchNorm(config.hidden) if config.batch_norm else nn.Identity()
    if config.batch_norm:  # which takes this bias off again, so that its gradient is rounding (as in ConvLayer)
        assert conv.bias is not None
        conv.bias.requires_grad_(False)
    return nn.Sequential(conv, norm, activation(config.activation))
