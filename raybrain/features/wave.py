"""Wave: the sound itself, for a speech side that is trained end to end (the speech encoder ``wave``)."""

from typing import ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from raybrain.config import InputError
from raybrain.features.audio import place, read
from raybrain.features.base import Feature, Stimulus


class Wave(Feature, name="wave", shorthand="samples"):
    """Raw sound: each frame holds the samples up to the next one, so that successive frames are the wave.

    The frame rate must therefore be that of the brain signal. The sound is resampled to ``rate_hz`` times ``samples``: 120 Hz
    times 135 is 16.2 kHz.

    Attributes:
        samples: samples of sound per frame.
    """

    unit: ClassVar[str] = "amplitude"
    needs: ClassVar[tuple[str, ...]] = ("sounds",)
    version: ClassVar[int] = 2  # sounds of odd rates are resampled otherwise
    continuous: ClassVar[bool] = True
    samples: int = Field(135, ge=1)

    @model_validator(mode="after")
    def _whole_rate(self) -> Self:
        if (self.rate_hz * self.samples) % 1:
            raise InputError(
                f"{self.samples} samples per frame at {self.rate_hz:g} Hz are not a whole number of samples per second"
            )
        return self

    @property
    def size(self) -> int:
        """One dimension per sample."""
        return self.samples

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """The samples of all sounds, silence between them."""
        frames = self.frames(stimulus)
        wave = frames.reshape(-1, 1)
        sound_hz = round(self.rate_hz * self.samples)
        for sound in stimulus.sounds:
            place(wave, read(sound, sound_hz).numpy()[:, None], first=round(sound.start * sound_hz))
        return frames
