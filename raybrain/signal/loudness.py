"""Loudness: how strong channels are, and at which frequencies, judged by stretches spread evenly over a recording."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from raybrain.signal.channels import brain_channels

if TYPE_CHECKING:
    import mne

STRETCHES, STRETCH_S = 12, 4.0  # that are looked at, however long the recording is
RESOLUTION_HZ = 0.5
HIGHEST_HZ = 150.0
FLAT_BELOW = 1e-3  # of the median channel of its kind
LOUD_ABOVE = 5.0  # robust standard deviations of the logarithm over channels of a kind
LEAST_SPREAD = 0.1  # of the logarithm: of equal channels, a tenth louder is not odd yet
ROBUST = 1.4826  # the standard deviation of a normal distribution, in medians of absolute deviations
LINES_HZ = (50.0, 60.0)
BESIDE_LINE_HZ = (2.0, 5.0)  # how far the frequencies lie from it that the power line is compared with


def evenly(count: int, most: int) -> np.ndarray:
    """Up to ``most`` of the numbers from 0 to ``count``, spread evenly."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).round().astype(int))


@dataclass(frozen=True)
class Loudness:
    """How strong the channels of a recording are.

    Attributes:
        names: of the channels.
        kinds: of each, as mne calls them.
        good: [channels], False where marked bad or not a number.
        spread: the standard deviation of each in the median stretch, [channels], in its own unit.
        hz: frequencies, up to HIGHEST_HZ.
        power: the spectral density of each channel in the median stretch, [channels frequencies], in its unit squared per Hz.
    """

    names: Sequence[str]
    kinds: Sequence[str]
    good: np.ndarray
    spread: np.ndarray
    hz: np.ndarray
    power: np.ndarray

    def quartiles(self, kind: str) -> np.ndarray:
        """Lower quartile, median and upper quartile over good channels of a kind, [3 frequencies], in its unit per root Hz."""
        chosen = np.sqrt(self.power[self.of(kind)])
        return np.percentile(chosen, [25, 50, 75], axis=0) if len(chosen) else np.full((3, len(self.hz)), np.nan)

    def of(self, kind: str) -> np.ndarray:
        """The numbers of the good channels of a kind."""
        return np.flatnonzero(self.good & (np.array(self.kinds) == kind))

    def odd_channels(self) -> dict[str, str]:
        """Good channels that are flat, or much louder than the others of their kind, and which of both."""
        odd: dict[str, str] = {}
        for kind in dict.fromkeys(self.kinds):
            rows = self.of(kind)
            spread = self.spread[rows]
            if not len(rows) or not np.median(spread):
                continue
            flat = spread <= FLAT_BELOW * np.median(spread)
            odd |= {self.names[row]: "flat" for row in rows[flat]}
            loud = np.log(spread[~flat])
            usual = max(ROBUST * np.median(np.abs(loud - np.median(loud))), LEAST_SPREAD)
            above = rows[~flat][loud - np.median(loud) > LOUD_ABOVE * usual]
            odd |= {self.names[row]: "much louder than the others" for row in above}
        return odd

    def line_db(self, line_hz: float) -> float:
        """How far the power line rises above the frequencies beside it, in the median good channel; NaN if it is not seen."""
        away = np.abs(self.hz - line_hz)
        beside = (away >= BESIDE_LINE_HZ[0]) & (away <= BESIDE_LINE_HZ[1])
        power = self.power[self.good & (self.spread > 0)]
        if not len(power) or not beside.any() or self.hz[-1] < line_hz + BESIDE_LINE_HZ[0]:
            return float("nan")
        at, usual = power[:, away <= RESOLUTION_HZ].max(axis=1), np.median(power[:, beside], axis=1)
        return float(np.median(10 * np.log10(np.maximum(at, 1e-99) / np.maximum(usual, 1e-99))))

    def line_hz(self) -> float:
        """Which of 50 and 60 Hz is the power line here: the one that rises higher."""
        heights = [self.line_db(line) for line in LINES_HZ]
        return LINES_HZ[int(np.nan_to_num(heights, nan=-np.inf)[1] > np.nan_to_num(heights, nan=-np.inf)[0])]


def spectral_density(values: np.ndarray, rate_hz: float, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean spectral density of stretches that overlap by half, under a Hann window and less their means (Welch 1967).

    As ``scipy.signal.welch`` gives it, which takes half a second to import, in every process that prepares.

    Args:
        values: [channels samples].
        rate_hz: of the samples.
        length: samples of a stretch.

    Returns:
        Frequencies, and the density of each channel at them, [channels frequencies], in its unit squared per Hz.
    """
    from scipy import fft

    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    starts = range(0, values.shape[1] - length + 1, length - length // 2)
    power = np.zeros((len(values), length // 2 + 1))
    for start in starts:
        stretch = values[:, start : start + length]
        spectrum = fft.rfft((stretch - stretch.mean(axis=1, keepdims=True)) * window, axis=1)
        power += spectrum.real**2 + spectrum.imag**2
    power *= 2 / (rate_hz * (window**2).sum() * len(starts))
    power[:, 0] /= 2
    if length % 2 == 0:
        power[:, -1] /= 2
    return fft.rfftfreq(length, 1 / rate_hz), power


class Listener:
    """Measures stretches [channels samples] of a recording one after the other."""

    def __init__(self, info: "mne.Info", rate_hz: float) -> None:
        self.names, self.kinds = [str(name) for name in info["ch_names"]], list(info.get_channel_types())
        self.marked = np.isin(self.names, info["bads"])
        self.rate_hz = rate_hz
        self._spreads: list[np.ndarray] = []
        self._powers: list[np.ndarray] = []
        self._hz = np.empty(0)

    def hear(self, values: np.ndarray) -> None:
        """One more stretch; the scale of its values is theirs."""
        values = values - values[:, :1]  # so that a constant offset costs no precision
        self._spreads.append(values.std(axis=1))
        length = min(round(self.rate_hz / RESOLUTION_HZ), values.shape[1])
        hz, power = spectral_density(values, self.rate_hz, length)
        self._hz = hz[hz <= HIGHEST_HZ]
        self._powers.append(power[:, : len(self._hz)])

    def loudness(self) -> Loudness:
        """What was heard."""
        spread, power = np.median(self._spreads, axis=0), np.median(self._powers, axis=0)
        good = ~self.marked & np.isfinite(spread) & np.isfinite(power).all(axis=1)
        return Loudness(self.names, self.kinds, good, spread, self._hz, power)


def loudness(raw: "mne.io.BaseRaw") -> Loudness:
    """The loudness of the brain channels of a recording, of which a few stretches are read."""
    import mne

    picks = brain_channels(raw)
    rate_hz = float(raw.info["sfreq"])
    listener = Listener(mne.pick_info(raw.info, picks), rate_hz)
    for start, stop in spread_stretches(raw):
        with np.errstate(invalid="ignore", over="ignore"):
            listener.hear(raw[picks, start:stop][0])
    return listener.loudness()


def spread_stretches(raw: "mne.io.BaseRaw") -> Iterator[tuple[int, int]]:
    """From which sample to which the stretches of a recording reach that are looked at."""
    length = min(round(STRETCH_S * raw.info["sfreq"]), raw.n_times)
    for number in evenly(raw.n_times // length, STRETCHES):
        yield int(number) * length, (int(number) + 1) * length
