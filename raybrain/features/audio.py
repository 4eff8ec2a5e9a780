"""Sound for features: pieces of files as mono waves, and their frames on the time axis of a stimulus. Not a feature itself."""

import math
from typing import TYPE_CHECKING

import numpy as np

from raybrain.config import InputError
from raybrain.events import Sound

if TYPE_CHECKING:
    import torch


def read(sound: Sound, rate_hz: int) -> "torch.Tensor":
    """Read the part of a file that ``sound`` refers to: mono, resampled, on the recording's time axis, [samples] float32.

    A sound whose speed is not 1 is stretched, so that sample i is heard i / ``rate_hz`` after the start of the sound.

    Raises:
        InputError: if the file cannot be read, or ends before the part begins.
    """
    import soundfile
    import torch
    import torchaudio

    try:
        with soundfile.SoundFile(sound.filepath) as file:
            first = round(sound.offset * file.samplerate)
            if first >= file.frames:
                length = file.frames / file.samplerate
                raise InputError(f"{sound.filepath} lasts {length:.3f} s, but a sound starts {sound.offset:.3f} s into it")
            file.seek(first)
            # rounded so that adjacent parts of a file neither overlap nor leave a gap
            count = round(sound.offset_stop * file.samplerate) - first
            wave = file.read(count, dtype="float32", always_2d=True).mean(axis=1)
            native_hz = file.samplerate
    except soundfile.LibsndfileError as error:
        raise InputError(f"cannot read the sound {sound.filepath!r}: {error.error_string}") from None
    resampled: torch.Tensor = torchaudio.functional.resample(torch.from_numpy(wave), native_hz, rate_hz)
    return _stretched(resampled, sound.speed)


def _stretched(wave: "torch.Tensor", speed: float) -> "torch.Tensor":
    """``wave`` played at another speed, resampled by the Fourier transform, since no ratio of small integers is near."""
    length = round(len(wave) / speed)
    if length == len(wave):
        return wave
    import torch
    from scipy.signal import resample

    return torch.from_numpy(resample(wave.numpy(), length))


def place(frames: np.ndarray, piece: np.ndarray, first: int) -> None:
    """Write ``piece`` into ``frames`` from frame ``first`` on, leaving out what falls outside."""
    start, stop = max(first, 0), min(first + len(piece), len(frames))
    if start < stop:
        frames[start:stop] = piece[start - first : stop - first]


def spread(frames: np.ndarray, rate_hz: float, piece: np.ndarray, piece_hz: float, sound: Sound, lead_s: float = 0.0) -> None:
    """Write into those ``frames`` that lie within ``sound`` the frame of ``piece`` nearest in time.

    Args:
        frames: the frames of the whole stimulus [frames size].
        rate_hz: their rate.
        piece: the frames of the sound [frames size].
        piece_hz: their rate.
        sound: the position of the piece in the stimulus.
        lead_s: seconds from the start of the sound to the centre of its first frame.
    """
    first = max(0, math.ceil(round(sound.start * rate_hz, 6)))
    stop = min(len(frames), math.ceil(round(sound.stop * rate_hz, 6)))
    if len(piece) and first < stop:
        times = np.arange(first, stop) / rate_hz - sound.start - lead_s
        nearest = np.floor(times * piece_hz + 0.5).astype(int)
        nearest = nearest[nearest < len(piece) + 2]  # the file may end before the nominal end of the sound
        frames[first : first + len(nearest)] = piece[nearest.clip(0, len(piece) - 1)]
