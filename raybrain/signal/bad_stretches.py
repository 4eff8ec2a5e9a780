"""Bad stretches: what of a recording is not used: marked bad by its annotations, skipped, cut together, or flat."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mne

FLAT = "flat"  # why a stretch is bad that nobody marked
BOUNDARIES = ("boundary", "new segment")  # where a piece begins: as EEGLAB and mne call it, and BrainVision after a pause


@dataclass(frozen=True, order=True)
class BadStretch:
    """From ``start`` to ``stop`` in seconds from the first sample, and why. Both are the same at a boundary."""

    start: float
    stop: float
    why: str


def bad_stretches(raw: "mne.io.BaseRaw") -> list[BadStretch]:
    """Stretches annotated as BAD (acquisition skips among them) and boundaries, sorted.

    A boundary lies between two samples: the seconds that were cut out there are not in the recording any more.
    """
    stretches = []
    for annotation in raw.annotations:
        why = str(annotation["description"])
        start = float(annotation["onset"]) - raw.first_time
        if any(name in why.lower() for name in BOUNDARIES):
            stretches.append(BadStretch(start, start, why))
        elif why.lower().startswith("bad"):
            stretches.append(BadStretch(start, start + float(annotation["duration"]), why))
    lasts = raw.n_times / raw.info["sfreq"]
    return sorted(stretch for stretch in stretches if stretch.stop > 0 and stretch.start < lasts)


def beyond(stretches: Sequence[BadStretch], others: Sequence[BadStretch]) -> list[BadStretch]:
    """Those of some stretches that none of the others covers."""
    return [one for one in stretches if not any(other.start <= one.start and one.stop <= other.stop for other in others)]


def bad_seconds(stretches: Sequence[BadStretch]) -> float:
    """How much of a recording they cover; what two of them share counts once."""
    total, until = 0.0, 0.0
    for stretch in stretches:
        total += max(0.0, stretch.stop - max(stretch.start, until))
        until = max(until, stretch.stop)
    return total


def described(stretches: Sequence[BadStretch]) -> str:
    """``30.0 s are marked as BAD_noise`` and the like."""
    flat, marked = ([one for one in stretches if (one.why == FLAT) == is_flat] for is_flat in (True, False))
    kinds = ", ".join(sorted({stretch.why for stretch in marked if stretch.stop > stretch.start})[:3])
    seams = sum(stretch.stop == stretch.start for stretch in stretches)
    parts = [f"{bad_seconds(marked):.1f} s are marked as {kinds}"] if kinds else []
    parts += [f"{bad_seconds(flat):.1f} s are flat"] if flat else []
    parts += [f"{seams} boundaries lie between pieces"] if seams else []
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if parts[1:] else parts)
