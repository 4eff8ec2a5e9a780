"""When each second of a sound file was played: an affine map fitted to marked moments. Not a study itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raybrain.config import InputError

if TYPE_CHECKING:
    import numpy as np

OFF_S = 0.020  # a mark further from the line does not belong to this sound
GOOD_SHARE = 0.8  # the share of marks that must lie on the line
MIN_MARKS, MIN_SPAN_S = 3, 10.0  # with fewer marks or a shorter span, only the offset is fitted, not the drift
MAX_DRIFT = 0.01
NO_DRIFT_S = 0.001  # over all marks: a smaller drift is rounding error
PAIRED = 300  # the number of marks of which all pairs are compared


@dataclass(frozen=True)
class Clock:
    """Maps second s of a file to ``start + s / speed`` of the recording.

    Attributes:
        start: when the file starts, in seconds of the recording.
        speed: seconds of the file per second of the recording.
        marks: the number of marked moments.
        off: how many of them were left out.
        residual_s: the standard deviation of the others around the line.
    """

    start: float
    speed: float = 1.0
    marks: int = 1
    off: int = 0
    residual_s: float = 0.0

    def heard(self, file_s: float) -> float:
        """When second ``file_s`` of the file is heard, in seconds of the recording."""
        return self.start + file_s / self.speed


def fit_clock(file_s: Sequence[float], heard_s: Sequence[float]) -> Clock:
    """The clock of a sound from marks: seconds of the file, and the seconds of the recording at which they were heard.

    The line is first estimated as by Theil and Sen (the median slope of all pairs of marks, JASA 1968), which is robust to a
    quarter of false marks; then it is fitted by least squares to the marks within OFF_S of that line.

    Raises:
        InputError: if there are no marks, too few of them lie on a line, or its slope is implausible for a clock.
    """
    import numpy as np

    if not len(file_s):
        raise InputError("no moment of the sound is marked")
    file, heard = np.asarray(file_s, dtype=float), np.asarray(heard_s, dtype=float)
    drifts = len(file) >= MIN_MARKS and np.ptp(file) >= MIN_SPAN_S
    slope = _median_slope(file, heard) if drifts else 1.0
    residual = heard - slope * file
    good = np.abs(residual - np.median(residual)) <= OFF_S
    if good.sum() < GOOD_SHARE * len(file):
        raise InputError(
            f"only {good.sum()} of {len(file)} marks lie within {1000 * OFF_S:.0f} ms of one line, {GOOD_SHARE:.0%} must; "
            "are these the seconds of the sound at which they were heard?"
        )
    if abs(slope - 1) > MAX_DRIFT:
        raise InputError(
            f"by its {len(file)} marks a second of the sound lasts {slope:.4f} s; clocks differ by {MAX_DRIFT:.0%} at most"
        )
    centre = file[good].mean()
    if drifts:
        slope = np.polyfit(file[good] - centre, heard[good], 1)[0]
    if abs(slope - 1) * np.ptp(file[good]) < NO_DRIFT_S:
        slope = 1.0
    start = (heard[good] - slope * file[good]).mean()
    left = heard[good] - slope * file[good] - start
    return Clock(float(start), float(1 / slope), len(file), int((~good).sum()), float(left.std()))


def _median_slope(file: "np.ndarray", heard: "np.ndarray") -> float:
    import numpy as np

    chosen = np.unique(np.linspace(0, len(file) - 1, min(len(file), PAIRED)).round().astype(int))
    one, other = np.triu_indices(len(chosen), 1)
    across, up = (values[chosen][other] - values[chosen][one] for values in (file, heard))
    return float(np.median(up[across != 0] / across[across != 0]))


def tick_times(start: float, ticks: Sequence[float], tick_s: float) -> list[tuple[float, float]]:
    """The marks that regular ticks make: seconds of the sound, and when they were heard.

    A tick is expected a whole number of ``tick_s`` after the previous one, or after the ``start`` of the sound. Missing ticks
    do no harm; a tick that is off the beat by more than a tenth of ``tick_s`` is left out.
    """
    marks, count, last = [], 0, start
    for heard in ticks:
        beats = (heard - last) / tick_s
        if abs(beats - round(beats)) <= 0.1 and round(beats) > 0:
            count, last = count + round(beats), heard
            marks.append((count * tick_s, heard))
    return marks
