"""Mel spectrogram: the power in frequency bands on the mel scale. See Défossez et al. 2023, Methods, "Mel spectrogram"."""

import warnings
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field, field_validator

from raybrain.features.audio import place, read
from raybrain.features.base import Feature, Stimulus

if TYPE_CHECKING:
    import torch

SAMPLES_HZ = 16_000
FLOOR = 1e-5


class Mel(Feature, name="mel", shorthand="bands"):
    """Log power in mel bands, with the wave of each sound z-scored first.

    The frame rate is the setting and the hop length follows from it: 125 Hz is a hop of 128 samples at 16 kHz.

    Attributes:
        bands: the number of mel bands.
        n_fft: the length of the Fourier transform, in samples at 16 kHz.
    """

    unit: ClassVar[str] = "log10 power"
    needs: ClassVar[tuple[str, ...]] = ("sounds",)
    version: ClassVar[int] = 2  # sounds of odd rates are resampled otherwise
    rate_hz: float = Field(125.0, gt=0)
    bands: int = Field(120, ge=1)
    n_fft: int = Field(512, ge=2)

    @field_validator("rate_hz")
    @classmethod
    def _whole_hop(cls, rate_hz: float) -> float:
        if (SAMPLES_HZ / rate_hz) % 1:
            raise ValueError(
                f"mel frames must lie a whole number of 1/{SAMPLES_HZ} s apart, found {rate_hz} Hz; type 125 or 100"
            )
        return rate_hz

    @property
    def hop(self) -> int:
        """The number of samples between successive frames."""
        return round(SAMPLES_HZ / self.rate_hz)

    @property
    def size(self) -> int:
        """One value per band."""
        return self.bands

    @property
    def silence(self) -> float:
        """The logarithm of the floor."""
        return float(np.log10(FLOOR))

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """The bands of each sound, silence between them."""
        frames = self.frames(stimulus)
        for sound in stimulus.sounds:
            wave = read(sound, SAMPLES_HZ)
            place(frames, self.spectrum(wave), first=round(sound.start * self.rate_hz))
        return frames

    def spectrum(self, wave: "torch.Tensor") -> np.ndarray:
        """From a wave at 16 kHz [samples] to log power [frames bands]; frame i is centred on sample i * hop."""
        import torch
        import torchaudio

        if not len(wave):
            return np.empty((0, self.bands), dtype=np.float32)
        wave = (wave - wave.mean()) / (wave.std(correction=0) + 1e-8)
        short = self.n_fft // 2 + 1 - len(wave)  # the transform reflects half a window at each end
        wave = torch.nn.functional.pad(wave, (0, max(0, short)))
        with warnings.catch_warnings():
            # with 120 bands and 512 samples, as in the paper, the lowest bands are empty
            warnings.filterwarnings("ignore", message="At least one mel filterbank")
            mel = torchaudio.transforms.MelSpectrogram(
                SAMPLES_HZ, n_fft=self.n_fft, hop_length=self.hop, n_mels=self.bands, normalized=True
            )
        power: np.ndarray = torch.log10(mel(wave) + FLOOR).T.numpy()
        return power
