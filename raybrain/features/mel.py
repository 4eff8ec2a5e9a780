"""Mel spectrum: the loudness of each band of the ear. See Défossez et al. 2023, Methods, "Mel spectrogram"."""

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
    """Log power in mel bands, every piece of sound z-scored on its own.

    The frame rate is the setting, the hop follows from it: 125 Hz is 128 samples of 16 kHz.

    Attributes:
        bands: how many.
        n_fft: samples of 16 kHz that a spectrum is taken of.
    """

    unit: ClassVar[str] = "log10 power"
    needs: ClassVar[tuple[str, ...]] = ("sounds",)
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
        """Samples from one frame to the next."""
        return round(SAMPLES_HZ / self.rate_hz)

    @property
    def size(self) -> int:
        """One value a band."""
        return self.bands

    @property
    def silence(self) -> float:
        """The log of the floor."""
        return float(np.log10(FLOOR))

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """The bands of every piece of sound, silence between them."""
        frames = self.frames(stimulus)
        for sound in stimulus.sounds:
            wave = read(sound, SAMPLES_HZ)
            place(frames, self.spectrum(wave), first=round(sound.start * self.rate_hz))
        return frames

    def spectrum(self, wave: "torch.Tensor") -> np.ndarray:
        """[samples] at 16 kHz to [frames bands]; frame i is centred on sample i * hop."""
        import torch
        import torchaudio

        if not len(wave):
            return np.empty((0, self.bands), dtype=np.float32)
        wave = (wave - wave.mean()) / (wave.std(correction=0) + 1e-8)
        short = self.n_fft // 2 + 1 - len(wave)  # the transform mirrors half a window at each end
        wave = torch.nn.functional.pad(wave, (0, max(0, short)))
        with warnings.catch_warnings():
            # with 120 bands of 512 samples the lowest bands are empty: the paper's setting
            warnings.filterwarnings("ignore", message="At least one mel filterbank")
            mel = torchaudio.transforms.MelSpectrogram(
                SAMPLES_HZ, n_fft=self.n_fft, hop_length=self.hop, n_mels=self.bands, normalized=True
            )
        power: np.ndarray = torch.log10(mel(wave) + FLOOR).T.numpy()
        return power
