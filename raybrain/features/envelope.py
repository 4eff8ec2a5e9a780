"""Envelope: the loudness of speech over time."""

from typing import ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from raybrain.config import InputError
from raybrain.features.audio import read, spread
from raybrain.features.base import Feature, Stimulus

SAMPLES_HZ = 16_000
ORDER = 4


class Envelope(Feature, name="envelope", shorthand="lowpass_hz"):
    """Broadband amplitude: the rectified wave, low-pass filtered (Butterworth, forwards and backwards, without delay).

    Attributes:
        lowpass_hz: the cut-off frequency, at which the amplitude is halved.
    """

    unit: ClassVar[str] = "amplitude"
    needs: ClassVar[tuple[str, ...]] = ("sounds",)
    version: ClassVar[int] = 2  # sounds of odd rates are resampled otherwise
    rate_hz: float = Field(100.0, gt=0)
    lowpass_hz: float = Field(20.0, gt=0)

    @model_validator(mode="after")
    def _seen_by_frames(self) -> Self:
        if self.lowpass_hz > self.rate_hz / 2 or self.rate_hz > SAMPLES_HZ:
            raise InputError(
                f"frames at rate_hz={self.rate_hz:g} cannot follow lowpass_hz={self.lowpass_hz:g}; type half of it or less"
            )
        return self

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """The envelope of each sound, 0 between them."""
        from scipy import signal

        frames = self.frames(stimulus)
        low = signal.butter(ORDER, self.lowpass_hz, fs=SAMPLES_HZ, output="sos")
        for sound in stimulus.sounds:
            wave = np.abs(read(sound, SAMPLES_HZ).numpy().astype(np.float64))
            if len(wave):
                smooth = signal.sosfiltfilt(low, wave, padlen=min(SAMPLES_HZ // 10, len(wave) - 1))
                spread(frames, self.rate_hz, smooth[:, None].clip(min=0), SAMPLES_HZ, sound)
        return frames
