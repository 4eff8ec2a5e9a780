"""EDF and BDF files with gaps (EDF+D): when each of their data records was recorded. Not a study itself.

Each record of such a file begins, in its signal of annotations, with the time at which it starts (Kemp and Olivan 2003,
"European data format 'plus'", Clinical Neurophysiology). mne reads records one after the other, as if there were no gaps.
"""

import itertools
import re
from pathlib import Path

from raybrain.config import InputError

ANNOTATIONS = {"EDF Annotations", "BDF Annotations"}
SLACK_S = 1e-3


def refuse_gaps(file: Path) -> None:
    """Refuse an EDF+D or BDF+D file in which time is left out between records.

    Raises:
        InputError: where the gaps are, and how long.
    """
    if file.suffix.lower() not in (".edf", ".bdf") or not file.is_file():
        return
    starts, lasts = record_starts(file)
    gaps = [(one + lasts, two - one - lasts) for one, two in itertools.pairwise(starts) if two - one - lasts > SLACK_S]
    if gaps:
        at, first = gaps[0][0] - starts[0], gaps[0][1]
        missing = sum(length for _, length in gaps)
        raise InputError(
            f"{file} is discontinuous (EDF+D): {len(gaps)} gaps of {missing:.1f} s in all, the first of {first:.1f} s at "
            f"{at:.1f} s; events after a gap would be placed too late in the signal: make it continuous (EDF+C), with the gaps "
            "filled, or split it into one file per piece"
        )


def record_starts(file: Path) -> tuple[list[float], float]:
    """When each record of an EDF+D file starts, and how long each lasts, in seconds; no starts for any other EDF file."""
    width = 3 if file.suffix.lower() == ".bdf" else 2
    with file.open("rb") as content:
        head = content.read(256)
        if head[192:197] not in (b"EDF+D", b"BDF+D"):
            return [], 0.0
        count, lasts, signals = int(head[236:244]), float(head[244:252]), int(head[252:256])
        about = content.read(256 * signals).decode("latin-1")
        labels = [about[16 * signal : 16 * signal + 16].strip() for signal in range(signals)]
        sizes = [int(about[216 * signals + 8 * signal :][:8]) * width for signal in range(signals)]
        own = next((number for number, label in enumerate(labels) if label in ANNOTATIONS), None)
        if own is None:
            return [], lasts
        starts = []
        for record in range(count):
            content.seek(int(head[184:192]) + record * sum(sizes) + sum(sizes[:own]))
            time = re.match(rb"([+-]\d+(?:\.\d*)?)[\x14\x15]", content.read(sizes[own]))
            if time:
                starts.append(float(time[1]))
        return starts, lasts
