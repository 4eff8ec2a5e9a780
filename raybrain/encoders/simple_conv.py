"""SimpleConv: the convolutional encoder of Défossez et al. 2023. The defaults are the paper's setting.

Dimension letters: B batch, C channels, F frequencies, T time samples, S chunks of time, K samples in a chunk.
"""

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.batch import Batch, Shapes
from raybrain.config import Config, InputError
from raybrain.encoders.front import Front, FrontEncoder
from raybrain.encoders.layers import ConvConfig, ConvSequence, widening


class SpectrumConfig(Config):
    """A short-time Fourier transform before the convolutions, which then run once every ``hop`` samples.

    Attributes:
        on: whether to transform.
        n_fft: samples in a frame.
        hop: samples between frames.
        kind: what of the spectrum becomes channels: real and imaginary parts, or the power.
        upsample: how the estimate comes back to one value a sample: straight lines between frames, or a transposed
            convolution of each feature that starts as straight lines and is trained.
    """

    on: bool = False
    n_fft: int = Field(30, gt=1)
    hop: int = Field(15, gt=0)
    kind: Literal["complex", "power"] = "complex"
    upsample: Literal["linear", "transposed"] = "linear"

    @model_validator(mode="after")
    def _agree(self) -> "SpectrumConfig":
        if self.hop > self.n_fft:
            raise InputError(f"hop={self.hop} passes over samples between frames of n_fft={self.n_fft}; hop must not be larger")
        return self


class DualPathConfig(Config):
    """Recurrent blocks after the convolutions: each runs an LSTM within chunks of time, then one across chunks.

    Attributes:
        on: whether there are any.
        blocks: how many.
        size: of an LSTM's state.
        chunk: samples of a chunk.
    """

    on: bool = False
    blocks: int = Field(1, gt=0)
    size: int = Field(128, gt=0)
    chunk: int = Field(20, gt=0)


class SimpleConv(FrontEncoder, name="simple_conv"):
    """Spatial attention, linear map, subject layer, dilated convolutions with residuals and gates, two final convolutions.

    Attributes:
        depth: number of convolution layers.
        hidden: their channels (those of the first one if ``conv.growth`` is not 1).
        conv: what these layers are.
        spectrum: an optional Fourier front.
        dual_path: optional recurrent blocks after the convolutions.
        final: final 1 x 1 convolutions. Without them the last layer gives the features.
        final_depth: how many: 1 for a linear map; of more, all but the last are twice as wide, with ``conv.activation``.
    """

    depth: int = Field(10, gt=0)
    hidden: int = Field(320, gt=0)
    conv: ConvConfig = ConvConfig()
    spectrum: SpectrumConfig = SpectrumConfig()
    dual_path: DualPathConfig = DualPathConfig()
    final: bool = True
    final_depth: int = Field(2, gt=0)

    @model_validator(mode="after")
    def _agree(self) -> "SimpleConv":
        groups, sizes = self.conv.groups, self.conv.sizes(0, self.hidden, self.depth)[1:]
        grouped = sizes if self.final else sizes[:-1]
        if len(grouped) > 1 and any(size % groups for size in grouped):
            raise InputError(f"conv.groups={groups} must divide the channels of every layer, found {grouped}")
        return self

    def build(self, shapes: Shapes) -> nn.Module:
        """The network."""
        if self.spectrum.on and self.spectrum.n_fft > shapes.times:
            raise InputError(
                f"spectrum.n_fft={self.spectrum.n_fft} is longer than a segment of {shapes.times} samples;"
                f" type spectrum.n_fft={shapes.times} or less"
            )
        return SimpleConvNet(self, shapes)


class SimpleConvNet(nn.Module):
    """The network of a SimpleConv."""

    def __init__(self, config: SimpleConv, shapes: Shapes) -> None:
        super().__init__()
        self.front = Front(config, shapes)
        channels = self.front.channels
        self.spectrum: Spectrum | None = None
        self.upsample: Upsample | None = None
        if config.spectrum.on:
            self.spectrum = Spectrum(config.spectrum)
            self.upsample = Upsample(config.spectrum, shapes.features)
            channels *= self.spectrum.factor
        sizes = config.conv.sizes(channels, config.hidden, config.depth)
        if not config.final:
            sizes[-1] = shapes.features
        self.convs = ConvSequence(sizes, config.conv, plain_last=not config.final)
        self.dual_path = DualPath(config.dual_path, sizes[-1]) if config.dual_path.on else None
        self.final: nn.Sequential | None = None
        if config.final:
            self.final = _final(config, sizes[-1], shapes.features)

    def forward(self, batch: Batch) -> Tensor:
        """[batch features time]."""
        x: Tensor = self.front(batch)
        if self.spectrum is not None:
            x = self.spectrum(x)
        x = self.convs(x, batch.keys if self.training else None)
        if self.dual_path is not None:
            x = self.dual_path(x)
        if self.final is not None:
            x = self.final(x)
        if self.upsample is not None:
            x = self.upsample(x, batch.signal.shape[-1])
        return x


def _final(config: SimpleConv, channels: int, features: int) -> nn.Sequential:
    layers, before = widening(channels, config.final_depth - 1, config.conv.activation)
    # a transposed convolution of kernel 1 is a plain one but for how its weights start: as in the paper
    return nn.Sequential(*layers, nn.ConvTranspose1d(before, features, 1))


class Spectrum(nn.Module):
    """Short-time spectrum of each channel. Frame f is centred on sample ``f * hop``.

    Attributes:
        factor: how many channels each channel becomes.
    """

    window: Tensor

    def __init__(self, config: SpectrumConfig) -> None:
        super().__init__()
        self.config = config
        self.factor = (config.n_fft // 2 + 1) * (2 if config.kind == "complex" else 1)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch channels time] to [batch channels*factor frames]."""
        with torch.autocast(x.device.type, enabled=False):
            rows = x.flatten(0, 1).to(self.window.dtype)
            made = torch.stft(
                rows, self.config.n_fft, self.config.hop, window=self.window, normalized=True, return_complex=True
            )
            power = self.config.kind == "power"
            parts = made.real**2 + made.imag**2 if power else torch.cat([made.real, made.imag], dim=1)
        return parts.reshape(x.shape[0], -1, parts.shape[-1])


class Upsample(nn.Module):
    """From one value every ``hop`` samples back to one a sample."""

    def __init__(self, config: SpectrumConfig, channels: int) -> None:
        super().__init__()
        self.hop = hop = config.hop
        self.conv: nn.ConvTranspose1d | None = None
        if config.upsample == "transposed":
            self.conv = nn.ConvTranspose1d(channels, channels, 2 * hop + 1, stride=hop, padding=hop, groups=channels)
            triangle = 1 - torch.arange(-hop, hop + 1).abs() / hop
            with torch.no_grad():
                self.conv.weight.copy_(triangle.expand_as(self.conv.weight))
                assert self.conv.bias is not None
                self.conv.bias.zero_()

    def forward(self, x: Tensor, times: int) -> Tensor:
        """[batch channels frames] to [batch channels times]."""
        if self.conv is not None:
            # the last frame twice, to reach the samples behind it
            out: Tensor = self.conv(torch.cat([x, x[..., -1:]], dim=-1))
            return out[..., :times]
        # frames sit on samples 0, hop, 2 hop...: F.interpolate would stretch the last one to the end of the segment
        where = torch.arange(times, device=x.device) / self.hop
        low = where.long().clamp(max=x.shape[-1] - 1)
        high = (low + 1).clamp(max=x.shape[-1] - 1)
        return torch.lerp(x[..., low], x[..., high], (where - low).clamp(max=1).to(x.dtype))


class DualPath(nn.Module):
    """Blocks of two LSTMs with residuals: one along the samples of each chunk, one along the chunks."""

    def __init__(self, config: DualPathConfig, channels: int) -> None:
        super().__init__()
        self.chunk = config.chunk
        self.within = nn.ModuleList(ResidualLSTM(channels, config.size) for _ in range(config.blocks))
        self.across = nn.ModuleList(ResidualLSTM(channels, config.size) for _ in range(config.blocks))

    def forward(self, x: Tensor) -> Tensor:
        """[batch channels time] to the same."""
        times = x.shape[-1]
        x = F.pad(x, (0, -times % self.chunk))
        x = x.reshape(*x.shape[:2], -1, self.chunk).permute(0, 2, 3, 1)  # B S K C
        for within, across in zip(self.within, self.across, strict=True):
            x = within(x)
            x = across(x.transpose(1, 2)).transpose(1, 2)
        return x.permute(0, 3, 1, 2).flatten(-2)[..., :times]


class ResidualLSTM(nn.Module):
    """A bidirectional LSTM along the last but one axis, added to its input."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.lstm = nn.LSTM(channels, size, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * size, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[... steps channels] to the same."""
        rows, _ = self.lstm(self.norm(x).flatten(0, -3))
        out: Tensor = self.out(rows)
        return x + out.reshape(x.shape)
