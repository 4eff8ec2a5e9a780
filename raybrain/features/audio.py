"""Sound for features: pieces of files as mono waves, and their frames on the time axis of a stimulus. Not a feature itself."""

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from raybrain.config import InputError
from raybrain.events import Sound

if TYPE_CHECKING:
    import torch

LARGEST_KERNEL = 4_000_000  # values; 44100 and 16000 Hz need 70 560
ZEROS, ROLLOFF = 6, 0.99  # zero crossings on each side, and the cut-off as a share of the lower rate: torchaudio's defaults


def read(sound: Sound, rate_hz: int) -> "torch.Tensor":
    """Read the part of a file that ``sound`` refers to: resampled, on the recording's time axis, [samples] float32.

    It is the mean of all channels, or the one that the sound names.

    A sound whose speed is not 1 is stretched, so that sample i is heard i / ``rate_hz`` after the start of the sound.

    Raises:
        InputError: if the file cannot be read, ends before the part begins, lacks the channel, or holds what is not a number.
    """
    import soundfile
    import torch

    try:
        with soundfile.SoundFile(sound.filepath) as file:
            first = round(sound.offset * file.samplerate)
            if first >= file.frames:
                length = file.frames / file.samplerate
                raise InputError(f"{sound.filepath} lasts {length:.3f} s, but a sound starts {sound.offset:.3f} s into it")
            file.seek(first)
            # rounded so that adjacent parts of a file neither overlap nor leave a gap
            count = round(sound.offset_stop * file.samplerate) - first
            wave = mono(file.read(count, dtype="float32", always_2d=True), sound)
            native_hz = file.samplerate
    except soundfile.LibsndfileError as error:
        raise InputError(f"cannot read the sound {sound.filepath!r}: {error.error_string}") from None
    finite = np.isfinite(wave)
    if not finite.all():
        broken_s = (first + int(finite.argmin())) / native_hz
        raise InputError(f"{sound.filepath} holds a value that is not a number at {broken_s:.3f} s; write that file anew")
    return _stretched(resampled(torch.from_numpy(wave), native_hz, rate_hz), sound.speed)


def mono(samples: np.ndarray, sound: Sound) -> np.ndarray:
    """The channel of a file's samples [samples channels] that ``sound`` names, or the mean of all channels: [samples].

    Raises:
        InputError: if there is no such channel.
    """
    if not sound.channel:
        average: np.ndarray = samples.mean(axis=1)
        return average
    if sound.channel > samples.shape[1]:
        raise InputError(f"{sound.filepath} has {samples.shape[1]} channels, and no channel {sound.channel}")
    chosen: np.ndarray = np.ascontiguousarray(samples[:, sound.channel - 1])
    return chosen


def resampled(wave: "torch.Tensor", from_hz: int, to_hz: int) -> "torch.Tensor":
    """A wave [samples] at another rate, by a sinc in a Hann window; whatever the rates, a sample costs tens of products.

    torchaudio's kernel has a row for each sample of the shortest time after which both rates meet, and each row is as long as
    that time: of two rates with hardly a common divisor (11127 and 16000 Hz) it has 10^8 values. Such a kernel is therefore
    kept as one filter, of which each sample takes the values that fall upon samples (scipy's polyphase filter).
    """
    import torch

    common = math.gcd(from_hz, to_hz)
    if (from_hz // common) * (to_hz // common) <= LARGEST_KERNEL:
        at_new_rate: torch.Tensor = _resampler(from_hz, to_hz)(wave)
        return at_new_rate
    from scipy.signal import resample_poly

    up, down = to_hz // common, from_hz // common
    return torch.from_numpy(resample_poly(wave.double().numpy(), up, down, window=_filter(up, down)).astype(np.float32))


@lru_cache(maxsize=16)
def _resampler(from_hz: int, to_hz: int) -> Any:
    """Resampling by torchaudio, with a kernel that is made once."""
    import torch
    import torchaudio

    return torchaudio.transforms.Resample(from_hz, to_hz, dtype=torch.float32)


@lru_cache(maxsize=4)
def _filter(up: int, down: int) -> np.ndarray:
    """The sinc of torchaudio in a Hann window, sampled ``up`` times as densely as the wave: [values], the middle one at 0."""
    cut = ROLLOFF * min(up, down) / down  # in samples of the wave
    half = math.ceil(ZEROS * up / cut)
    crossings = np.arange(-half, half + 1) * cut / up
    inside = np.abs(crossings) < ZEROS
    values: np.ndarray = np.sinc(crossings) * np.cos(np.pi * crossings / ZEROS / 2) ** 2 * inside * cut / up
    return values


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
