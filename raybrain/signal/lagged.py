"""Lagged: the correlation of a course of time with signal, for lags around zero, beside that of pairings shifted in time.

A recording whose events are where they are said to be follows what is heard after a tenth of a second or so. Shifting what is
heard by many seconds, around the end of the recording, leaves everything but that as it is, and so shows what chance does.
"""

from dataclasses import dataclass

import numpy as np

EARLIEST_S, LATEST_S = -0.5, 1.0  # lags of the signal behind the course
BAND_HZ = (1.0, 12.0)  # in which speech comes and goes, and the brain with it
EDGE_HZ = 0.5  # over which the band begins and ends
TOGETHER = 16  # pieces, of which spectra are kept until there are so many: a product of matrices reads them once
SHIFTS, SHIFT_S, FEWEST = 20, 2.0, 5  # pairings by chance, how far apart at least, and how many are needed to tell


@dataclass(frozen=True)
class Alignment:
    """How signal follows a course of time.

    Attributes:
        lags_s: of the signal behind the course.
        response: root mean square over channels of the correlation, [lags].
        low, high: of shifted pairings, 5 % and 95 % over lags and shifts.
        limit: what 95 % of the shifted pairings stay below at all lags.
        deviations: how far the peak lies above the peaks of shifted pairings, in their standard deviations.
        channels: the correlation of each channel at the peak, [channels].
    """

    lags_s: np.ndarray
    response: np.ndarray
    low: float
    high: float
    limit: float
    deviations: float
    channels: np.ndarray

    @property
    def peak(self) -> float:
        """The highest response."""
        return float(self.response.max())

    @property
    def peak_s(self) -> float:
        """The lag of the highest response."""
        return float(self.lags_s[self.response.argmax()])


class LaggedPairs:
    """Correlates a course of time [samples] with signal at the same rate that passes by in pieces.

    Each channel counts in each piece alike, however loud it is there, so that an artefact stays where it is.
    """

    def __init__(self, course: np.ndarray, rate_hz: float, channels: int, length: int) -> None:
        self.course, self.rate_hz, self.length = course.astype(np.float32), rate_hz, min(length, len(course))
        self.before, self.after = round(-EARLIEST_S * rate_hz), round(LATEST_S * rate_hz)
        self.size = self.length + self.before + self.after
        hz = np.fft.rfftfreq(self.size, 1 / rate_hz)
        rise, fall = (hz - BAND_HZ[0]) / EDGE_HZ + 1, (BAND_HZ[1] - hz) / EDGE_HZ + 1
        weights = np.minimum(rise, fall).clip(0, 1)
        self.bins = np.flatnonzero(weights)
        self.weights = weights[self.bins].astype(np.float32)
        count = min(SHIFTS, int(len(course) / (SHIFT_S * rate_hz)) - 1)
        self.shifts = np.linspace(0, len(course), max(count, 0) + 2)[:-1].round().astype(int)
        self._kept: list[tuple[np.ndarray, np.ndarray]] = []  # spectra of pieces and of what is heard in them
        self._cross = np.zeros((len(self.bins), len(self.shifts), channels), np.complex64)
        self._power = np.zeros(channels)
        self._course_power = np.zeros(len(self.shifts))

    def pass_by(self, first: int, piece: np.ndarray) -> None:
        """A piece [samples channels] that begins at sample ``first``; one that is shorter than the others is left out."""
        if len(piece) != self.length:
            return
        from scipy.fft import rfft

        signal = _standardised(piece.astype(np.float32))
        spectrum = rfft(signal, self.size, axis=0)[self.bins] * self.weights[:, None]
        times = first - self.after + np.arange(self.size)
        courses = self.course[(times + self.shifts[:, None]) % len(self.course)]
        heard = rfft(courses - courses.mean(axis=1, keepdims=True), axis=1)[:, self.bins] * self.weights
        self._kept.append((spectrum, heard))
        if len(self._kept) == TOGETHER:
            self._add_kept()
        self._power += (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
        self._course_power += (heard.real**2 + heard.imag**2).sum(axis=1)

    def _add_kept(self) -> None:
        if self._kept:
            signal, heard = (np.stack(some) for some in zip(*self._kept, strict=True))
            self._cross += np.ascontiguousarray(heard.conj().transpose(2, 1, 0)) @ signal.transpose(1, 0, 2)
            self._kept.clear()

    def alignment(self, good: np.ndarray) -> Alignment | None:
        """What came out over the channels ``good`` [channels]; None if there is too little to tell it from chance."""
        self._add_kept()
        usable = good & (self._power > 0)
        if len(self.shifts) <= FEWEST or not usable.any() or not self._course_power.all():
            return None
        curves = self._correlations()  # [shifts lags channels]
        strength = np.sqrt((curves[:, :, usable] ** 2).mean(axis=2))
        response, shifted = strength[0], strength[1:]
        peaks = shifted.max(axis=1)
        low, high = np.percentile(shifted, [5, 95])
        deviations = (response.max() - peaks.mean()) / max(peaks.std(), 1e-12)
        lags_s = np.arange(-self.before, self.after + 1) / self.rate_hz
        at_peak = np.where(self._power > 0, curves[0, response.argmax()], np.nan)
        return Alignment(lags_s, response, float(low), float(high), float(np.percentile(peaks, 95)), float(deviations), at_peak)

    def _correlations(self) -> np.ndarray:
        """[shifts lags channels]; one shift after the other, as all spectra at once would be large."""
        whole = np.zeros((self.size // 2 + 1, len(self._power)), np.complex64)
        power = np.where(self._power > 0, self._power, 1.0)
        lags = np.arange(-self.before - self.after, 1) % self.size  # where each lag lies in a circular correlation
        curves = np.empty((len(self.shifts), len(lags), len(power)), np.float32)
        for row, (cross, heard) in enumerate(zip(self._cross.transpose(1, 0, 2), self._course_power, strict=True)):
            whole[self.bins] = cross
            curves[row] = np.fft.irfft(whole, self.size, axis=0)[lags] * (self.size / 2) / np.sqrt(heard * power)
        return curves


def _standardised(piece: np.ndarray) -> np.ndarray:
    """A piece [samples channels] without its mean and trend, each channel with a standard deviation of 1 unless it is flat."""
    ramp = np.linspace(-1, 1, len(piece), dtype=np.float32)
    piece = piece - piece.mean(axis=0)
    piece -= ramp[:, None] * ((ramp @ piece) / (ramp @ ramp))
    spread = piece.std(axis=0)
    standardised: np.ndarray = piece / np.where(spread > 0, spread, 1.0)
    return standardised
