"""When a moment of a sound file was heard: the affine map fitted to moments that were marked. Not a study itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raybrain.config import InputError

if TYPE_CHECKING:
    import numpy as np

OFF_S = 0.020  # a mark further from the line is no mark of this sound
GOOD_SHARE = 0.8  # of the marks that must lie on the line
MIN_MARKS, MIN_SPAN_S = 3, 10.0  # with less, the offset is fitted and the drift is not
MAX_DRIFT = 0.01
NO_DRIFT_S = 0.001  # over all marks: less is a matter of rounding
PAIRED = 300  # marks of which all pairs are compared


@dataclass(frozen=True)
class Clock:
    """Second s of the file is heard at ``start + s / speed``. ``off`` marks of ``marks`` were left out; s.d. of the others."""

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

    The line is the one of Theil and Sen (the median slope of all pairs of marks, JASA 1968), which a quarter of false marks
    does not move; the marks within OFF_S of it then give the least-squares line.

    Raises:
        InputError: there are no marks, too few of them lie on a line, or its slope is that of no clock.
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
        raise InputError(f"{len(file)} marks say that a second of the sound lasts {slope:.4f} s; a clock is off by less")
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
    """The marks that ticks make: seconds of the sound, and when they were heard.

    A tick comes a whole number of ``tick_s`` after the one before it, or after the ``start`` of the sound; missing ones do
    no harm, and one that comes off the beat by more than a tenth is left out.
    """
    marks, count, last = [], 0, start
    for heard in ticks:
        beats = (heard - last) / tick_s
        if abs(beats - round(beats)) <= 0.1 and round(beats) > 0:
            count, last = count + round(beats), heard
            marks.append((count * tick_s, heard))
    return marks
