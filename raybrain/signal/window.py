"""Window: how a stretch of prepared signal becomes what an encoder sees. All of it is here, for every room that cuts signal.

Each channel is divided by its scale, once, when signal is laid out for training or handed to a trained model
(:class:`Scaler`); a window is then cut, its baseline taken off, read a little later than the speech, centred, scaled by itself
if that is asked for, and clamped (:meth:`Window.cut`). See Défossez et al. 2023, Methods, "Preprocessing".

Dimension letters: W windows, C channels, S samples of a recording, T samples an encoder sees.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from raybrain.config import Config, InputError

if TYPE_CHECKING:
    from torch import Tensor

Scaling = Literal["robust", "standard"]
ROUNDING = 1e-5  # of a value: what is smaller may be the precision of float32
SCALER_WINDOWS = 200  # that a scaler is fitted on
CHANNELS = 16  # that are copied at once: a cache line of float32


class SegmentConfig(Config):
    """Windows around anchors: word onsets in the test split, a regular grid elsewhere.

    Attributes:
        tmin_s: start of a window, relative to its anchor.
        tmax_s: its end, relative to the anchor.
        stride_s: between two windows of the grid.
        baseline: take the mean from the start of a window to its anchor off each channel.
        over_bad: keep windows over what the recording's annotations call BAD or skipped, over boundaries between pieces, and
            over a second or more in which the recording is flat.
        reject: leave windows out in which a usable channel is this many scales away from its centre; None for none. A test set
            without them depends on how clean the brain was, and tells nothing of recordings that are not.
    """

    tmin_s: float = -0.5
    tmax_s: float = 2.5
    stride_s: PositiveFloat = 0.5
    baseline: bool = True
    over_bad: bool = False
    reject: PositiveFloat | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.tmin_s >= self.tmax_s:
            raise InputError(f"tmin_s={self.tmin_s} must be below tmax_s={self.tmax_s}")
        if self.baseline and not self.tmin_s <= 0 <= self.tmax_s:
            raise InputError(
                f"a window from {self.tmin_s} to {self.tmax_s} s has no baseline before its anchor; type baseline=no"
            )
        return self

    @property
    def length_s(self) -> float:
        """Seconds of a window."""
        return self.tmax_s - self.tmin_s

    def samples(self, rate_hz: float) -> int:
        """Samples of a window, both ends included: 361 for -0.5 to 2.5 s at 120 Hz."""
        return round(self.length_s * rate_hz) + 1

    def baseline_samples(self, rate_hz: float) -> int:
        """Samples from the start of a window to its anchor, both included; 0 for no baseline."""
        return round(-self.tmin_s * rate_hz) + 1 if self.baseline else 0


class WindowConfig(Config):
    """What is done to a window of prepared signal on its way into the encoder.

    Attributes:
        offset_s: the brain is read this much later than the speech.
        instance: centre each channel of each window, and divide it by its standard deviation there, so that none is louder.
        clamp: largest value, in scales of ``data.signal.scaling``, or in standard deviations of the window; None for no limit.
    """

    offset_s: float = Field(default=0.15, ge=0)
    instance: bool = False
    clamp: PositiveFloat | None = 20.0


@dataclass(frozen=True)
class Window:
    """How windows are cut from divided signal, in plain values: all that a model must keep to see signal as it was trained to.

    Attributes:
        rate_hz: of the signal.
        tmin_s: time of the first sample relative to the anchor.
        samples: of a window before the offset is taken off.
        baseline_samples: from the start of the window to its anchor, both included; 0 for no baseline.
        offset_samples: by which the brain is read later than the speech.
        clamp: largest value, in scales; None for no limit.
        instance: whether each channel of a window is centred and divided by its standard deviation there.
    """

    rate_hz: float
    tmin_s: float
    samples: int
    baseline_samples: int
    offset_samples: int = 0
    clamp: float | None = None
    instance: bool = False

    @classmethod
    def of(cls, segments: SegmentConfig, rate_hz: float) -> Self:
        """The windows of prepared signal at ``rate_hz``, with no offset and no limit."""
        return cls(rate_hz, segments.tmin_s, segments.samples(rate_hz), segments.baseline_samples(rate_hz))

    def read_with(self, config: WindowConfig) -> Self:
        """This window with the offset and limit that an experiment asks for."""
        offset = round(config.offset_s * self.rate_hz)
        return replace(self, offset_samples=offset, clamp=config.clamp, instance=config.instance)

    @property
    def times(self) -> int:
        """Samples that an encoder sees."""
        return self.samples - self.offset_samples

    def cut(self, signal: "Tensor", starts: "Tensor", centre: "Tensor") -> "Tensor":
        """Windows of signal as an encoder sees them.

        Args:
            signal: [S C], divided by the scale (``Scaler.divided``).
            starts: [W], the first sample of each window.
            centre: [W C], the centre of its recording in the same unit (``Scaler.divided_centre``).

        Returns:
            [W C T].
        """
        import torch

        index = starts[:, None] + torch.arange(self.samples, device=signal.device)
        windows: Tensor = baselined(signal[index], self.baseline_samples)  # [W samples C]
        windows = windows[:, self.offset_samples :] - centre[:, None]
        if self.instance:
            mean = windows.mean(dim=1, keepdim=True)
            deviation = (windows - mean).square().mean(dim=1, keepdim=True).sqrt()
            varies = deviation > ROUNDING * mean.abs()  # a flat channel is zero, not its rounding errors
            windows = (windows - mean) * varies / torch.where(varies, deviation, 1.0)
        if self.clamp is not None:
            windows = windows.clamp(-self.clamp, self.clamp)
        return windows.transpose(1, 2).contiguous()


@dataclass(frozen=True)
class Scaler:
    """Centre and scale of each channel of a recording, [C] each, in the unit of its signal."""

    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def fitted(cls, values: np.ndarray, starts: np.ndarray, window: Window, seed: int, scaling: Scaling = "robust") -> Self:
        """Fitted on up to 200 windows drawn from ``starts``; on windows of the whole signal where there are none.

        Args:
            values: [S C].
            starts: the first samples of the train windows.
            window: how these are cut.
            seed: of the draw.
            scaling: see :meth:`of`.
        """
        some = drawn_starts(starts, len(values), window, seed)
        return cls.of(stretches(values, some, window.samples), window.baseline_samples, scaling)

    @classmethod
    def of(cls, windows: np.ndarray, baseline: int, scaling: Scaling = "robust") -> Self:
        """Centre and scale of each channel, after the mean of the first ``baseline`` samples is taken off.

        Args:
            windows: [W samples C].
            baseline: samples from the start of the window to its anchor; 0 for no baseline.
            scaling: "robust" for the median and 75th - 25th percentile, "standard" for mean and standard deviation.

        Returns:
            The scaler; a scale of 0 becomes 1.
        """
        channels = _each_channel(windows, baseline)
        if scaling == "standard":
            centre, scale = np.array([(channel.mean(dtype=float), channel.std(dtype=float)) for channel in channels]).T
        else:
            low, centre, high = np.array([_quartiles(channel) for channel in channels]).reshape(-1, 3).T
            scale = high - low
        return cls(centre, np.where(scale > 0, scale, 1.0))

    def divided(self, values: np.ndarray) -> np.ndarray:
        """Signal [S C] as training keeps it: each channel divided by its scale, float32."""
        divided: np.ndarray = (values.astype(np.float32, copy=False) / self.scale).astype(np.float32)
        return divided

    @property
    def divided_centre(self) -> np.ndarray:
        """The centre in the unit of divided signal, [C] float32."""
        centre: np.ndarray = (self.centre / self.scale).astype(np.float32)
        return centre


def drawn_starts(starts: np.ndarray, samples: int, window: Window, seed: int) -> np.ndarray:
    """Where up to 200 windows begin that a scaler is fitted on, in order.

    Args:
        starts: the first samples of the train windows; if there are none, windows of the whole signal are drawn.
        samples: of the signal.
        window: how windows are cut.
        seed: of the draw.
    """
    if len(starts) == 0:
        starts = np.arange(0, max(1, samples - window.samples), window.samples)
    return np.sort(np.random.default_rng(seed).permutation(starts)[:SCALER_WINDOWS])


class Gathered:
    """Windows of a signal that passes by piece by piece.

    Attributes:
        windows: [W length C] float32, filled as pieces pass; shorter where the signal ends before a window does.
    """

    def __init__(self, starts: np.ndarray, length: int, samples: int, channels: int) -> None:
        self.starts = starts
        self.windows = np.zeros((len(starts), min(length, samples), channels), np.float32)

    def pass_by(self, first: int, piece: np.ndarray) -> None:
        """A piece [samples C] that begins at sample ``first``."""
        length = self.windows.shape[1]
        for row in np.flatnonzero((self.starts < first + len(piece)) & (self.starts + length > first)):
            begin, end = max(self.starts[row], first), min(self.starts[row] + length, first + len(piece))
            self.windows[row, begin - self.starts[row] : end - self.starts[row]] = piece[begin - first : end - first]


def stretches(values: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Stretches of a signal [S C] that begin at ``starts``, [W length C]."""
    return np.stack([values[start : start + length] for start in starts])


def _each_channel(windows: np.ndarray, baseline: int) -> Iterator[np.ndarray]:
    """The windows [W samples C] of one channel after the other, flat, less their baselines; little is copied at once."""
    for first in range(0, windows.shape[-1], CHANNELS):
        for channel in np.ascontiguousarray(np.moveaxis(windows[..., first : first + CHANNELS], -1, 0)):
            less = channel[:, :baseline].mean(axis=1, keepdims=True, dtype=np.float64) if baseline else 0.0
            yield (channel - less).astype(windows.dtype).ravel()


def _quartiles(values: np.ndarray) -> np.ndarray:
    """As ``np.percentile`` gives them; a vectorised sort is several times as fast as its partition."""
    values, places = np.sort(values), np.array([0.25, 0.5, 0.75]) * (len(values) - 1)
    below = places.astype(int)
    lower, upper = values[below].astype(np.float64), values[np.minimum(below + 1, len(values) - 1)].astype(np.float64)
    quartiles: np.ndarray = lower + (upper - lower) * (places - below)
    return quartiles


def baselined(windows: Any, baseline: int) -> Any:
    """Windows [W samples C], an array or a tensor, less the mean of their first ``baseline`` samples; as they are if 0."""
    return windows - windows[:, :baseline].mean(axis=1, keepdims=True) if baseline else windows
