"""Augment: signals are changed at random while training, each segment in its own way.

Dimension letters: B batch, C sensors, T time samples.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from raybrain.batch import Batch, Keys
from raybrain.config import Config
from raybrain.encoders.draws import chance, normal, place, uniform


class TimeMaskConfig(Config):
    """Stretches of time in which all sensors are 0 (Park et al. 2019, "SpecAugment").

    Attributes:
        count: of each segment.
        longest_s: each lasts between nothing and this.
    """

    count: int = Field(0, ge=0)
    longest_s: float = Field(0.2, gt=0)


class BandMaskConfig(Config):
    """Bands of frequencies that are taken out of all sensors: SpecAugment's, for a signal rather than its spectrum.

    Attributes:
        count: of each segment.
        widest_hz: each is between nothing and this wide.
    """

    count: int = Field(0, ge=0)
    widest_hz: float = Field(4.0, gt=0)


class SensorDropoutConfig(Config):
    """Sensors that are 0 throughout a segment; never all of them.

    Attributes:
        share: of the sensors, each for itself.
        radius: those within this distance of a random point, in widths of the head; 0 for none.
        rescale: the others grow, so that their sum stays on average.
    """

    share: float = Field(0.0, ge=0, lt=1)
    radius: float = Field(0.0, ge=0)
    rescale: bool = True


class AugmentConfig(Config):
    """How signals are changed while training. By default they are not.

    Attributes:
        shift_s: moved in time by up to this, either way; what comes in from outside of the segment is 0.
        amplitude: multiplied by a number between 1 less this and 1 more this.
        noise: standard deviation of the white noise that is added, where that of a sensor is about 1.
        bands: frequencies taken out.
        time: stretches of time set to 0.
        sensors: sensors set to 0.
        mixup: a segment is mixed with one in which the same is heard, mostly by someone else, behind the front, where channels
            mean the same for everybody; the share of the other is between nothing and this (after Zhang et al. 2018, "mixup").
            Where nobody else hears the same, nothing is mixed.
    """

    shift_s: float = Field(0.0, ge=0)
    amplitude: float = Field(0.0, ge=0, lt=1)
    noise: float = Field(0.0, ge=0)
    bands: BandMaskConfig = BandMaskConfig()
    time: TimeMaskConfig = TimeMaskConfig()
    sensors: SensorDropoutConfig = SensorDropoutConfig()
    mixup: float = Field(0.0, ge=0, le=1)

    @property
    def on(self) -> bool:
        """Whether anything is changed before the front."""
        counts = self.shift_s, self.amplitude, self.noise, self.bands.count, self.time.count
        return any(counts) or self.sensors.share > 0 or self.sensors.radius > 0


class Augment(nn.Module):
    """The changes of an AugmentConfig, in the order of its settings."""

    def __init__(self, config: AugmentConfig, rate_hz: float) -> None:
        super().__init__()
        self.config, self.rate_hz = config, rate_hz
        names = ("shift", "amplitude", "noise", "bands", "time", "sensors", "region")
        self.places = {name: place(f"augment {name}") for name in names}

    def forward(self, batch: Batch) -> Tensor:
        """The signal of a batch, [batch channels time]; as it is in evaluation."""
        x, keys, config = batch.signal, batch.keys, self.config
        if not self.training:
            return x
        if config.shift_s:
            x = shifted(x, self._around(keys, "shift", config.shift_s * self.rate_hz).round().long())
        if config.amplitude:
            x = x * (1 + self._around(keys, "amplitude", config.amplitude)).to(x.dtype)[:, None, None]
        if config.noise:
            x = x + config.noise * normal(keys, self.places["noise"], x.shape[1:]).to(x.dtype)
        if config.bands.count:
            x = self._without_bands(x, keys)
        if config.time.count:
            longest = config.time.longest_s * self.rate_hz
            x = x.masked_fill(self._spans(keys, "time", config.time.count, longest, x.shape[-1])[:, None], 0)
        if config.sensors.share or config.sensors.radius:
            x = self._without_sensors(x, batch)
        return x

    def _around(self, keys: Keys, name: str, most: float) -> Tensor:
        return (2 * uniform(keys, self.places[name]) - 1) * most

    def _spans(self, keys: Keys, name: str, count: int, longest: float, bins: int) -> Tensor:
        """Which of so many bins lie in one of ``count`` random spans of up to ``longest`` bins, [batch bins]."""
        drawn = uniform(keys, self.places[name], (count, 2, 1))
        length = drawn[:, :, 0] * longest
        begin = drawn[:, :, 1] * (bins - length).clamp(min=0)
        middle = torch.arange(bins, device=drawn.device) + 0.5
        return ((middle >= begin) & (middle < begin + length)).any(dim=1)

    def _without_bands(self, x: Tensor, keys: Keys) -> Tensor:
        times = x.shape[-1]
        widest = self.config.bands.widest_hz * times / self.rate_hz
        gone = self._spans(keys, "bands", self.config.bands.count, widest, times // 2 + 1)
        with torch.autocast(x.device.type, enabled=False):
            spectrum = torch.fft.rfft(x.to(torch.promote_types(x.dtype, torch.float32)))
            kept: Tensor = torch.fft.irfft(spectrum.masked_fill(gone[:, None], 0), times)
        return kept.to(x.dtype)

    def _without_sensors(self, x: Tensor, batch: Batch) -> Tensor:
        config, keys = self.config.sensors, batch.keys
        gone = chance(keys, self.places["sensors"], x.shape[1:2], config.share)
        valid = batch.valid[batch.layout]
        if config.radius:
            point = uniform(keys, self.places["region"], (1, 2)).to(batch.positions.dtype)
            gone = gone | (valid & ((batch.positions[batch.layout] - point).norm(dim=-1) <= config.radius))
        usable = torch.where(valid.any(dim=-1, keepdim=True), valid, True)  # an encoder that asks for no position uses all
        gone = gone & (usable & ~gone).any(dim=-1, keepdim=True)
        x = x.masked_fill(gone[:, :, None], 0)
        if config.rescale:
            left = usable.sum(dim=-1) / (usable & ~gone).sum(dim=-1)
            x = x * left.to(x.dtype)[:, None, None]
        return x


def shifted(x: Tensor, by: Tensor) -> Tensor:
    """``x`` [batch channels time], each segment so many samples later, with zeros where nothing is known."""
    source = torch.arange(x.shape[-1], device=x.device) - by[:, None]
    outside = (source < 0) | (source >= x.shape[-1])
    index = source.clamp(0, x.shape[-1] - 1)[:, None].expand_as(x)
    return x.gather(-1, index).masked_fill(outside[:, None], 0)
