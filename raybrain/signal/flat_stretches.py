"""Flat stretches: where a recording stands still, marked or not: zeros of a lost connection, a saturated amplifier.

They are found as the signal is read, block by block and in any order, so that nothing is read for it alone. Columns half of the
shortest stretch apart are compared; only where most channels agree in two neighbours are all samples looked at.
"""

import numpy as np

from raybrain.signal.bad_stretches import FLAT, BadStretch

FLAT_S = 1.0  # the shortest stretch that counts
FLAT_CHANNELS = 0.9  # of the channels, that must stand still


class FlatStretches:
    """Takes note of where a recording stands still.

    Attributes:
        rate_hz: of the recording.
        good: [channels], those that count.
    """

    def __init__(self, rate_hz: float, good: np.ndarray) -> None:
        self.rate_hz, self.good = rate_hz, good
        self.half = max(1, round(FLAT_S * rate_hz / 2))
        self._runs: dict[int, tuple[int, list[tuple[int, int]]]] = {}  # of each block: its end, and runs

    def pass_by(self, first: int, values: np.ndarray) -> None:
        """A block [channels samples] that begins at sample ``first``."""
        if not self.good.any():
            return
        last = first + values.shape[1]
        probes = np.arange(-(-first // self.half) * self.half, last, self.half) - first
        columns = values[:, probes][self.good]
        starts = probes[:-1][_alike(columns[:, 1:], columns[:, :-1])]
        runs: list[tuple[int, int]] = []
        for probe in (0, *starts.tolist(), values.shape[1] - 1):  # runs at both ends may go on in other blocks
            if not runs or probe >= runs[-1][1]:
                runs.append(self._run(values, probe))
        self._runs[first] = last, [(first + start, first + stop) for start, stop in runs if stop > start + 1]

    def _run(self, values: np.ndarray, probe: int) -> tuple[int, int]:
        """From which sample to which most channels are what they are at a sample."""
        value = values[:, probe : probe + 1]
        edges = []
        for side in (values[:, :probe][:, ::-1], values[:, probe + 1 :]):
            length, step = 0, self.half
            while length < side.shape[1]:
                same = _alike(side[:, length : length + step][self.good], value[self.good])
                length += len(same) if same.all() else int(same.argmin())
                if not same.all():
                    break
            edges.append(length)
        return probe - edges[0], probe + edges[1] + 1

    def stretches(self) -> list[BadStretch]:
        """Those of what has passed by so far, sorted."""
        joined: list[list[int]] = []
        for _, runs in sorted(self._runs.values()):
            for start, stop in runs:
                if joined and start <= joined[-1][1]:
                    joined[-1][1] = max(stop, joined[-1][1])
                else:
                    joined.append([start, stop])
        return [
            BadStretch(start / self.rate_hz, stop / self.rate_hz, FLAT)
            for start, stop in joined
            if stop - start >= FLAT_S * self.rate_hz
        ]


def _alike(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether most channels are the same in both, [samples] of [channels samples]."""
    alike: np.ndarray = (values == others).mean(axis=0) >= FLAT_CHANNELS
    return alike
