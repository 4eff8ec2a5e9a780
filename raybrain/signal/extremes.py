"""Extremes: how far windows of a signal that passes by piece by piece go, so that those that go too far can be left out."""

import numpy as np

from raybrain.signal.window import Scaler


class Extremes:
    """The highest and lowest value of each channel in each window, and the mean of its baseline.

    Attributes:
        starts: the first samples of the windows, [W].
        samples: of a window.
        baseline: samples from the start of a window to its anchor; 0 for no baseline.
    """

    def __init__(self, starts: np.ndarray, samples: int, baseline: int, channels: int) -> None:
        self.starts, self.samples, self.baseline = starts, samples, baseline
        self.high = np.full((len(starts), channels), -np.inf, np.float32)
        self.low = np.full((len(starts), channels), np.inf, np.float32)
        self.sums = np.zeros((len(starts), channels))

    def pass_by(self, first: int, piece: np.ndarray) -> None:
        """A piece [samples channels] that begins at sample ``first``."""
        for row in np.flatnonzero((self.starts < first + len(piece)) & (self.starts + self.samples > first)):
            begin = self.starts[row] - first
            held = piece[max(begin, 0) : begin + self.samples]
            self.high[row] = np.maximum(self.high[row], held.max(axis=0))
            self.low[row] = np.minimum(self.low[row], held.min(axis=0))
            self.sums[row] += piece[max(begin, 0) : max(begin + self.baseline, 0)].sum(axis=0, dtype=float)

    def beyond(self, limit: float, scaler: Scaler, good: np.ndarray) -> np.ndarray:
        """Which windows go too far, [W].

        Args:
            limit: in scales from the centre.
            scaler: centre and scale of each channel.
            good: [channels], those that count.
        """
        zero = scaler.centre + (self.sums / self.baseline if self.baseline else 0.0)
        farthest = np.maximum(self.high - zero, zero - self.low) / scaler.scale
        beyond: np.ndarray = (farthest[:, good] > limit).any(axis=1)
        return beyond
