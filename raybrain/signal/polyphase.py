"""Polyphase: signal at another rate, by any ratio, block by block.

Each sample of the result is a sum over the samples around its time, weighted by a sinc under a Kaiser window, at just that
time: sample ``k`` lies at ``k / rate_hz`` seconds, whatever the ratio of the rates, so that nothing drifts. Up to 90 % of what
the lower rate can hold passes unchanged; from 100 % on, 70 dB less is left, so that nothing is mirrored. See Crochiere and
Rabiner 1983, "Multirate Digital Signal Processing", chapter 4, and Kaiser 1974 for the window.

A group of samples of all channels is one product of matrices. Weights come from a table over the fraction of a sample, between
whose rows is interpolated (error below 1e-5 of an amplitude; Smith and Gossett 1984).
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from raybrain.signal.chunked import Blocks, Forward, Values, block_length, chunked

if TYPE_CHECKING:
    import mne

PASSED, STOPPED = 0.9, 1.0  # of half the lower rate
ATTENUATION_DB = 70.0
GROUP = 24  # samples of the result that are one product
TABLE = 1024  # rows of the table for a filter that passes everything
MATRICES = 128  # that are kept; 1000.3 Hz to 120 Hz needs 50
PHASE_DIGITS = 6  # of a fraction of a sample: each time is rounded by itself


def resampled(raw: "mne.io.BaseRaw", rate_hz: float) -> "mne.io.BaseRaw":
    """The recording at another rate, computed when it is read."""
    return chunked(_Resampled(raw, rate_hz), raw.info, rate_hz)


class _Resampled(Blocks):
    def __init__(self, raw: "mne.io.BaseRaw", rate_hz: float) -> None:
        self.ratio = float(raw.info["sfreq"]) / rate_hz
        channels = len(raw.ch_names)
        groups = max(1, round(block_length(channels) / (GROUP * self.ratio)))
        super().__init__(raw, channels, max(1, round(raw.n_times / self.ratio)), GROUP * groups)
        self.half, self.weights = group_weights(self.ratio)
        self.forward = Forward(raw)

    def compute(self, start: int, stop: int) -> Values:
        groups = math.ceil((stop - start) / GROUP)
        taps = len(self.weights(0.0))
        places = [math.floor((start + group * GROUP) * self.ratio) for group in range(groups)]
        first = places[0] - self.half
        signal = self.forward.take(first, places[-1] - self.half + taps)
        result = np.empty((self.channels, groups * GROUP), np.float32)
        for group, place in enumerate(places):
            phase = (start + group * GROUP) * self.ratio - place
            begin = place - self.half - first
            np.matmul(
                signal[:, begin : begin + taps],
                self.weights(round(phase, PHASE_DIGITS)),
                out=result[:, group * GROUP : (group + 1) * GROUP],
            )
        resampled: Values = result[:, : stop - start] + self.forward.offset
        return resampled


def group_weights(ratio: float) -> tuple[int, Callable[[float], Values]]:
    """How a group of samples is made.

    Args:
        ratio: samples of the signal per sample of the result.

    Returns:
        How many samples before the first sample of the group count, and a function from the fraction of a sample that its time
        lies after a sample to weights [samples of the signal, GROUP], the sum of each column being 1.
    """
    band = min(1.0, 1.0 / ratio)  # what passes, as a share of what the signal holds
    width = (ATTENUATION_DB - 7.95) / (2.285 * math.pi * (STOPPED - PASSED) * band) / 2
    half = math.ceil(width)
    rows = max(16, math.ceil(TABLE * band))
    fractions = np.arange(rows + 1)[:, None] / rows
    times = np.arange(-half, half + 2) - fractions  # [rows, taps]
    beta = 0.1102 * (ATTENUATION_DB - 8.7)
    window = np.i0(beta * np.sqrt(np.maximum(1 - (times / width) ** 2, 0))) * (np.abs(times) <= width)
    table = np.sinc((PASSED + STOPPED) / 2 * band * times) * window
    length = times.shape[1] + math.floor((GROUP - 1) * ratio) + 1

    @lru_cache(MATRICES)
    def weights(phase: float) -> Values:
        at = phase + np.arange(GROUP) * ratio
        whole = np.floor(at).astype(int)
        row, between = np.divmod((at - whole) * rows, 1)
        lower = row.astype(int)
        upper = np.minimum(lower + 1, rows)
        taps = table[lower] * (1 - between[:, None]) + table[upper] * between[:, None]
        taps /= taps.sum(axis=1, keepdims=True)
        matrix = np.zeros((length, GROUP), np.float32)
        for column, begin in enumerate(whole):
            matrix[begin : begin + taps.shape[1], column] = taps[column]
        return matrix

    return half, weights
