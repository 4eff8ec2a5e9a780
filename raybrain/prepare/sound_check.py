"""Sound check: whether sound files hold what their headers and the events promise, and can be heard."""

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from raybrain.config import InputError
from raybrain.events import Event, Sound

SILENT = 1e-5  # root mean square, as a share of full scale: -100 dB
CANCELLED = 0.05  # loudness of the mean of all channels, as a share of that of each
UNLIKE = 0.1  # correlation of two channels of one recording of speech is above this
LONG_S = 10  # of silence in the middle of speech


@dataclass(frozen=True)
class SoundFile:
    """What a sound file holds.

    Attributes:
        path: the file.
        rate_hz: of its samples.
        loudness: root mean square of each channel, as a share of full scale.
        mean_loudness: that of the mean of all channels.
        correlation: the lowest of the first channel with another one; 1 if there is no other, or one is silent.
        silence: the longest stretch without any sound in it, in whole seconds, and the second at which it begins.
        broken_s: the second of the first value that is not a number; None if there is none.
    """

    path: str
    rate_hz: int
    loudness: tuple[float, ...]
    mean_loudness: float
    correlation: float
    silence: tuple[int, int]
    broken_s: float | None

    def heard(self, channel: int) -> float:
        """The loudness of a channel counted from 1, or for 0 of the mean of all."""
        return self.loudness[channel - 1] if channel else self.mean_loudness


def examine(path: str) -> SoundFile:
    """Read a sound file to its end; done once a process for each state of the file.

    Raises:
        InputError: if it does not exist or cannot be decoded.
    """
    try:
        state = os.stat(path)
    except OSError as error:
        raise InputError(f"no sound file {path} ({error.strerror})") from None
    return _examined(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _examined(path: str, size: int, changed: int) -> SoundFile:
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            products, sums, loud = np.zeros((file.channels, file.channels)), np.zeros(file.channels), []
            count, broken_s = 0, None
            for samples in file.blocks(file.samplerate, dtype="float64", always_2d=True):  # a second at a time
                finite = np.isfinite(samples).all(axis=1)
                if broken_s is None and not finite.all():
                    broken_s = (count + int(finite.argmin())) / file.samplerate
                samples = samples[finite]
                products += samples.T @ samples
                sums += samples.sum(axis=0)
                loud.append(bool(len(samples) and np.ptp(samples, axis=0).max() > SILENT))
                count += len(finite)
            rate_hz, channels = file.samplerate, file.channels
    except (soundfile.SoundFileError, OSError) as error:
        raise InputError(f"the sound file {path} cannot be read: {' '.join(str(error).split())}") from None
    products = products / max(count, 1) - np.outer(sums, sums) / max(count, 1) ** 2  # without what is constant
    loudness = np.sqrt(np.maximum(products.diagonal(), 0.0))
    likeness = [
        products[0, other] / (loudness[0] * loudness[other]) for other in range(1, channels) if _audible(loudness, other)
    ]
    mean_loudness = float(np.sqrt(max(products.mean(), 0.0)))
    likest = float(min(likeness, default=1.0))
    return SoundFile(path, rate_hz, tuple(loudness.tolist()), mean_loudness, likest, _longest_silence(loud), broken_s)


def _longest_silence(loud: Sequence[bool]) -> tuple[int, int]:
    """How many seconds in a row are not ``loud`` at most, and where they begin."""
    runs = [(heard, len(list(run))) for heard, run in itertools.groupby(loud)]
    stops = itertools.accumulate(length for _, length in runs)
    silent = [(length, stop - length) for (heard, length), stop in zip(runs, stops, strict=True) if not heard]
    return max(silent, default=(0, 0))


def _audible(loudness: np.ndarray, other: int) -> bool:
    return bool(min(loudness[0], loudness[other]) > SILENT)


def refuse_unheard(events: Sequence[Event]) -> None:
    """Refuse a recording whose sounds cannot be what was heard.

    Raises:
        InputError: if a file holds values that are not numbers, lacks the channel, or has channels that cancel each other, or
            all files are silent.
    """
    files = list(_files(events))
    for file, channel in files:
        if file.broken_s is not None:
            raise InputError(f"{file.path} holds a value that is not a number at {file.broken_s:.3f} s; write that file anew")
        if channel > len(file.loudness):
            raise InputError(
                f"{file.path} has {len(file.loudness)} channels, and no channel {channel}; type another sounds.channel"
            )
        if not channel and file.mean_loudness < CANCELLED * min(file.loudness):
            raise InputError(
                f"the {len(file.loudness)} channels of {file.path} cancel each other: their mean has "
                f"{file.mean_loudness / min(file.loudness):.1%} of the loudness of one; type sounds.channel=1"
            )
    if files and all(file.heard(channel) < SILENT for file, channel in files):
        named = (
            f"{files[0][0].path} is silent"
            if len(files) == 1
            else f"all {len(files)} sounds are silent ({files[0][0].path}, ...)"
        )
        raise InputError(f"{named}; get the sounds again, or name the channel that holds them with sounds.channel")


def sound_remarks(events: Sequence[Event]) -> list[str]:
    """What is odd about the sounds that were heard, a line each."""
    files = list(_files(events))
    silent = [file.path for file, channel in files if file.heard(channel) < SILENT]
    unlike = [file for file, channel in files if not channel and file.correlation < UNLIKE]
    remarks = []
    if silent:
        remarks.append(f"{len(silent)} of {len(files)} sounds are silent (the first: {silent[0]})")
    if unlike:
        one = unlike[0]
        loud = ", ".join(f"{value:.3f}" for value in one.loudness)
        remarks.append(
            f"the channels of {len(unlike)} of {len(files)} sounds are not alike, and their mean is used "
            f"(the first: {one.path}, correlation {one.correlation:.2f}, loudness {loud}); "
            "are there triggers in one of them? Then type sounds.channel=NUMBER with that of speech"
        )
    still = [file for file, channel in files if file.heard(channel) >= SILENT and file.silence[0] >= LONG_S]
    if still:
        lasts, start = still[0].silence
        first = f"the first: {still[0].path} for {lasts} s from second {start}"
        remarks.append(f"{len(still)} of {len(files)} sounds fall silent ({first}): are they whole?")
    rates = sorted({file.rate_hz for file, _ in files})
    if len(rates) > 1:
        remarks.append(f"sounds have different rates: {', '.join(map(str, rates))} Hz")
    return remarks


def _files(events: Sequence[Event]) -> Iterator[tuple[SoundFile, int]]:
    heard = sorted((event.filepath, event.channel) for event in events if isinstance(event, Sound))
    for (path, channel), _ in itertools.groupby(heard):
        yield examine(path), channel
