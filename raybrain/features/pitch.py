"""Pitch by YIN: de Cheveigné and Kawahara 2002, "YIN, a fundamental frequency estimator for speech and music".

It is implemented here because torchaudio's detector uses another method, which does not mark unvoiced frames, and librosa
depends on a compiler.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from raybrain.config import InputError
from raybrain.features.audio import read, spread
from raybrain.features.base import Feature, Stimulus

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES_HZ = 16_000
SUMMED_S = 0.025  # the squared difference between the wave and its delayed copy is summed over this duration
FRAMES_AT_ONCE = 4096
QUIET = 1e-8  # frames with a lower mean square are silent


class Pitch(Feature, name="pitch"):
    """The fundamental frequency of the voice, 0 where there is none.

    Attributes:
        lowest_hz: the lowest pitch to look for.
        highest_hz: the highest pitch to look for.
        threshold: how much a wave may differ from itself one period later to count as voiced, from 0 to 1.
    """

    unit: ClassVar[str] = "Hz"
    needs: ClassVar[tuple[str, ...]] = ("sounds",)
    version: ClassVar[int] = 2  # sounds of odd rates are resampled otherwise
    rate_hz: float = Field(100.0, gt=0, le=SAMPLES_HZ)
    lowest_hz: float = Field(100.0, ge=40)
    highest_hz: float = Field(350.0, le=1000)
    threshold: float = Field(0.15, gt=0, lt=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.lowest_hz >= self.highest_hz:
            raise InputError(f"lowest_hz={self.lowest_hz:g} must be below highest_hz={self.highest_hz:g}")
        return self

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """The pitch of each sound, 0 between them."""
        frames = self.frames(stimulus)
        for sound in stimulus.sounds:
            wave = read(sound, SAMPLES_HZ).double()
            if len(wave):
                spread(frames, self.rate_hz, self.track(wave)[:, None].numpy(), self.rate_hz, sound)
        return frames

    def track(self, wave: "Tensor") -> "Tensor":
        """From a wave at 16 kHz [samples] to the pitch in Hz [frames]; frame i is centred on the time ``i / rate_hz``."""
        import torch

        summed, longest = round(SUMMED_S * SAMPLES_HZ), int(SAMPLES_HZ / self.lowest_hz) + 2
        length = summed + longest
        padded = torch.nn.functional.pad(wave, (length // 2, length))
        count = int(len(wave) * self.rate_hz / SAMPLES_HZ) + 1
        starts = torch.floor(torch.arange(count) * SAMPLES_HZ / self.rate_hz + 0.5).long()
        parts = []
        for chunk in torch.split(starts, FRAMES_AT_ONCE):
            parts.append(self._pitch(padded[chunk[:, None] + torch.arange(length)], summed))
        return torch.cat(parts)

    def _pitch(self, windows: "Tensor", summed: int) -> "Tensor":
        """From windows of the wave [frames samples] to the pitch in Hz [frames]."""
        import torch

        difference = _normalised(_difference(windows, summed))
        first, last = int(SAMPLES_HZ / self.highest_hz), difference.shape[1] - 2
        inside = difference[:, first : last + 1]
        dip = (inside <= difference[:, first - 1 : last]) & (inside <= difference[:, first + 1 : last + 2])
        good = dip & (inside < self.threshold)
        voiced = good.any(dim=1) & (windows.square().mean(dim=1) > QUIET)
        at = first + good.int().argmax(dim=1, keepdim=True)
        before, here, after = (difference.gather(1, at + step)[:, 0] for step in (-1, 0, 1))
        bend = before - 2 * here + after
        shift = torch.where(bend > 0, (before - after) / (2 * bend).clamp(min=1e-12), 0.0)  # parabolic interpolation
        pitch = SAMPLES_HZ / (at[:, 0] + shift.clamp(-1, 1))
        voiced &= (pitch >= self.lowest_hz) & (pitch <= self.highest_hz)
        return torch.where(voiced, pitch, 0.0)


def _difference(windows: "Tensor", summed: int) -> "Tensor":
    """The squared difference of the first ``summed`` samples from those each lag later, [frames lags]."""
    import torch

    lags = windows.shape[1] - summed
    size = 2 * windows.shape[1]
    here, delayed = torch.fft.rfft(windows[:, :summed], size), torch.fft.rfft(windows, size)
    product = torch.fft.irfft(here.conj() * delayed, size)[:, :lags]
    energy = torch.nn.functional.pad(windows.square().cumsum(dim=1), (1, 0))
    later = energy[:, summed : summed + lags] - energy[:, :lags]
    distance: Tensor = later[:, :1] + later - 2 * product
    return distance.clamp(min=0)


def _normalised(difference: "Tensor") -> "Tensor":
    """The difference divided by its mean over all shorter lags; 1 at lag 0."""
    import torch

    lags = torch.arange(difference.shape[1])
    total = difference[:, 1:].cumsum(dim=1)
    rest = difference[:, 1:] * lags[1:] / total.clamp(min=1e-12)
    whole: Tensor = torch.nn.functional.pad(rest, (1, 0), value=1.0)
    return whole
