"""ConvRNN: strided convolutions, an LSTM at the low rate, transposed convolutions back.

Dimension letters: B batch, C channels, T time samples.
"""

import itertools
import math
from typing import ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.batch import Batch, Keys, Shapes
from raybrain.config import Config, InputError
from raybrain.encoders.draws import Dropout
from raybrain.encoders.front import Front, FrontEncoder
from raybrain.encoders.layers import Activation, BatchNorm, DropoutConfig, activation, widening


class RecurrentConfig(Config):
    """The LSTM at the low rate.

    Attributes:
        layers: that lie on one another; 0 for no LSTM.
        bidirectional: read time in both directions.
        dropout: of what goes in, and of what comes out before its residual, while training.
    """

    layers: int = Field(2, ge=0)
    bidirectional: bool = True
    dropout: DropoutConfig = DropoutConfig()


class LocalConfig(Config):
    """Attention over neighbouring moments, after the LSTM and at its rate.

    Attributes:
        on: whether there is any.
        layers: one after the other.
        heads: that attend; they must divide the channels at the low rate.
        context: moments to each side that are attended to.
        dropout: of what is added to the residual, while training.
    """

    on: bool = False
    layers: int = Field(1, gt=0)
    heads: int = Field(4, gt=0)
    context: int = Field(10, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)


class ConvRNN(FrontEncoder, name="conv_rnn"):
    """The usual front, strided convolutions, an LSTM, transposed convolutions back to the samples.

    Attributes:
        depth: number of strided convolutions, and of transposed ones.
        hidden: channels of all of them and of the LSTM (those of the outer ones if ``growth`` is not 1).
        kernel: samples each convolution sees.
        stride: by how much each one lowers the rate.
        growth: by how much the channels grow from one strided convolution to the next, and shrink on the way back.
        batch_norm: whether each convolution is followed by batch norm.
        activation: the non-linearity after each of them.
        dropout: of what goes into the first of them, and of what comes out of each, while training.
        lstm: the recurrent part.
        local: attention over neighbouring moments.
        final_depth: of the final 1 x 1 convolutions: 1 for a linear map; of more, all but the last are twice as wide.
    """

    version: ClassVar[int] = 2  # biases that batch norm takes off again are not trained

    depth: int = Field(2, gt=0)
    hidden: int = Field(320, gt=0)
    kernel: int = Field(4, gt=0)
    stride: int = Field(2, gt=0)
    growth: float = Field(1.0, gt=0)
    batch_norm: bool = True
    activation: Activation = "gelu"
    dropout: DropoutConfig = DropoutConfig()
    lstm: RecurrentConfig = RecurrentConfig()
    local: LocalConfig = LocalConfig()
    final_depth: int = Field(1, gt=0)

    @model_validator(mode="after")
    def _agree(self) -> "ConvRNN":
        if self.kernel < self.stride or (self.kernel - self.stride) % 2:
            allowed = ", ".join(str(self.stride + 2 * more) for more in range(3))
            raise InputError(f"kernel must be stride plus an even number, found {self.kernel}; type one of {allowed}, ...")
        low = self.sizes[-1]
        if self.local.on and low % self.local.heads:
            divisors = [size for size in range(1, low + 1) if low % size == 0]
            near = min(divisors, key=lambda size: abs(size - self.local.heads))
            raise InputError(f"local.heads={self.local.heads} must divide {low} channels; type local.heads={near}")
        return self

    @property
    def sizes(self) -> list[int]:
        """Channels after each strided convolution."""
        return [max(1, round(self.hidden * self.growth**layer)) for layer in range(self.depth)]

    def build(self, shapes: Shapes) -> nn.Module:
        """The network."""
        return ConvRNNNet(self, shapes)


class ConvRNNNet(nn.Module):
    """The network of a ConvRNN."""

    def __init__(self, config: ConvRNN, shapes: Shapes) -> None:
        super().__init__()
        self.multiple = config.stride**config.depth
        self.front = Front(config, shapes)
        down, up = [self.front.channels, *config.sizes], [*reversed(config.sizes), config.hidden]
        self.dropped_signal = Dropout(config.dropout.input, "strided input")
        self.down = nn.ModuleList(_resample(config, pair, up=False) for pair in itertools.pairwise(down))
        self.dropped_down = nn.ModuleList(Dropout(config.dropout.layers, f"strided {k}") for k in range(config.depth))
        lstm, low = config.lstm, down[-1]
        self.lstm: nn.LSTM | None = None
        if lstm.layers:
            self.lstm = nn.LSTM(low, low, lstm.layers, batch_first=True, bidirectional=lstm.bidirectional)
            self.dropped_before = Dropout(lstm.dropout.input, "lstm input")
            self.dropped_after = Dropout(lstm.dropout.layers, "lstm output")
            self.joined = nn.Linear((1 + lstm.bidirectional) * low, low)
        layers = config.local.layers if config.local.on else 0
        self.local = nn.ModuleList(LocalAttention(low, config.local, f"local attention {k}") for k in range(layers))
        self.up = nn.ModuleList(_resample(config, pair, up=True) for pair in itertools.pairwise(up))
        self.dropped_up = nn.ModuleList(Dropout(config.dropout.layers, f"transposed {k}") for k in range(config.depth))
        wide, before = widening(config.hidden, config.final_depth - 1, config.activation)
        self.wide = nn.Sequential(*wide)
        self.final = nn.Conv1d(before, shapes.features, 1)

    def forward(self, batch: Batch) -> Tensor:
        """[batch features time]."""
        times = batch.signal.shape[-1]
        keys = batch.keys
        x = F.pad(self.dropped_signal(self.front(batch), keys), (0, -times % self.multiple))
        for layer, dropout in zip(self.down, self.dropped_down, strict=True):
            x = dropout(layer(x), keys)
        if self.lstm is not None:
            recurrent, _ = self.lstm(self.dropped_before(x.transpose(1, 2), keys))
            x = x + self.dropped_after(self.joined(recurrent), keys).transpose(1, 2)
        for attention in self.local:
            x = attention(x, keys)
        for layer, dropout in zip(self.up, self.dropped_up, strict=True):
            x = dropout(layer(x), keys)
        out: Tensor = self.final(self.wide(x[..., :times]))
        return out


class LocalAttention(nn.Module):
    """Each moment attends to its neighbours, with a trained preference for each distance, and adds what it gets.

    Vaswani et al. 2017, "Attention is all you need", within a window; the preference is that of Raffel et al. 2020 (T5).
    """

    def __init__(self, channels: int, config: LocalConfig, where: str) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(channels)
        self.mixed = nn.Linear(channels, 3 * channels)
        # a bias of keys adds the same to the score of each, so that its gradient would be rounding (as in ConvLayer)
        self.used: Tensor
        self.register_buffer("used", torch.tensor([True, False, True]).repeat_interleave(channels), persistent=False)
        self.out = nn.Linear(channels, channels)
        self.near = nn.Parameter(torch.zeros(config.heads, 2 * config.context + 1))
        self.dropout = Dropout(config.dropout, where)

    def forward(self, x: Tensor, keys: Keys) -> Tensor:
        """[batch channels steps] to the same; ``keys`` are what dropout needs."""
        rows, heads, context = x.transpose(1, 2), self.config.heads, self.config.context
        mixed = F.linear(self.norm(rows), self.mixed.weight, self.mixed.bias * self.used)
        query, key, value = torch.unflatten(mixed, -1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        steps = torch.arange(rows.shape[1], device=x.device)
        distance = steps - steps[:, None]
        bias = self.near[:, distance.clamp(-context, context) + context]
        bias = bias.masked_fill(distance.abs() > context, -math.inf).to(query.dtype)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out: Tensor = self.dropout(self.out(seen.transpose(1, 2).flatten(-2)), keys)
        return x + out.transpose(1, 2)


def _resample(config: ConvRNN, sizes: tuple[int, int], *, up: bool) -> nn.Module:
    """A convolution that divides or multiplies the samples by the stride exactly; ``sizes`` are its channels."""
    kind = nn.ConvTranspose1d if up else nn.Conv1d
    padding = (config.kernel - config.stride) // 2
    conv = kind(*sizes, config.kernel, stride=config.stride, padding=padding)
    norm = BatchNorm(sizes[1]) if config.batch_norm else nn.Identity()
    if config.batch_norm:  # which takes this bias off again, so that its gradient is rounding (as in ConvLayer)
        assert conv.bias is not None
        conv.bias.requires_grad_(False)
    return nn.Sequential(conv, norm, activation(config.activation))
