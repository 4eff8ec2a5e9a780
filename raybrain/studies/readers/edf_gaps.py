"""EDF and BDF files with gaps (EDF+D): each of their data records where it was recorded. Not a study itself.

Each record of such a file begins, in its signal of annotations, with the time at which it starts (Kemp and Olivan 2003,
"European data format 'plus'", Clinical Neurophysiology). mne reads records one after the other, as if there were no gaps.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from raybrain.config import InputError

if TYPE_CHECKING:
    import mne

ANNOTATIONS = {"EDF Annotations", "BDF Annotations"}
SLACK_S = 1e-3
LONGEST_S = 3600.0  # of a gap that is filled; more must fit into memory too
SKIP = "BAD_ACQ_SKIP"  # as mne calls what was not recorded in the middle of a FIF file
TIMED = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?((?:\x14[^\x14\0]*)+)\x14\0")


@dataclass
class Records:
    """The records of an EDF+D file.

    Attributes:
        lasts: seconds of each.
        starts: of each, in seconds of the file's own time.
        marks: annotations: start in that time, duration and text.
    """

    lasts: float
    starts: list[float] = field(default_factory=list)
    marks: list[tuple[float, float, str]] = field(default_factory=list)


def read_records(file: Path) -> Records | None:
    """When each record of an EDF+D or BDF+D file starts; None for any other file, and where no record says it.

    Raises:
        InputError: if a record does not say it, or starts before the one before it ends.
    """
    if file.suffix.lower() not in (".edf", ".bdf") or not file.is_file():
        return None
    width = 3 if file.suffix.lower() == ".bdf" else 2
    with file.open("rb") as content:
        head = content.read(256)
        if head[192:197] not in (b"EDF+D", b"BDF+D"):
            return None
        begins, lasts, signals = int(head[184:192]), float(head[244:252]), int(head[252:256])
        about = content.read(256 * signals).decode("latin-1")
        sizes = [int(about[216 * signals + 8 * signal :][:8]) * width for signal in range(signals)]
        own = [signal for signal in range(signals) if about[16 * signal : 16 * signal + 16].strip() in ANNOTATIONS]
        if not own:
            return None
        records = Records(lasts)
        for record in range((file.stat().st_size - begins) // sum(sizes)):
            for signal in own:
                content.seek(begins + record * sum(sizes) + sum(sizes[:signal]))
                _add(records, content.read(sizes[signal]), timed=signal == own[0])
            if len(records.starts) <= record:
                raise InputError(
                    f"{file} is discontinuous (EDF+D), and record {record + 1} does not say when it starts; get it again"
                )
    back = next((one for one, step in enumerate(np.diff(records.starts)) if step < lasts - SLACK_S), None)
    if back is not None:
        one, two = records.starts[back : back + 2]
        raise InputError(
            f"{file} is discontinuous (EDF+D), and record {back + 2} starts at {two:g} s, before the one of {one:g} s ends; "
            "get the file again"
        )
    return records


def _add(records: Records, content: bytes, timed: bool) -> None:
    """Add what is written in one record of a signal of annotations; ``timed`` if it begins with the start of the record."""
    for number, (start, duration, texts) in enumerate(TIMED.findall(content)):
        if timed and number == 0:
            records.starts.append(float(start))
        for text in filter(None, texts.decode(errors="replace").split("\x14")):
            records.marks.append((float(start), float(duration or 0.0), text))


def with_gaps(raw: "mne.io.BaseRaw", file: Path) -> "mne.io.BaseRaw":
    """The signal at its own times: gaps of an EDF+D file are filled with straight lines and annotated as skipped.

    Raises:
        InputError: if a gap is too long, or the file does not say when something in it was recorded.
    """
    import mne

    records = read_records(file)
    if records is None or not records.starts:
        return raw
    rate_hz, times = float(raw.info["sfreq"]), np.array(records.starts) - records.starts[0]
    seams = np.flatnonzero(np.diff(times) > records.lasts + SLACK_S) + 1
    if not len(seams):
        return raw
    gaps = [(times[seam - 1] + records.lasts, times[seam]) for seam in seams]
    longest = max(gaps, key=lambda gap: gap[1] - gap[0])
    if longest[1] - longest[0] > LONGEST_S:
        raise InputError(
            f"{file} is discontinuous (EDF+D), and nothing was recorded from {longest[0]:.1f} to {longest[1]:.1f} s; "
            "split it into one file per piece"
        )
    samples = raw.n_times // len(times)  # of a record
    at = np.arange(raw.n_times) + np.repeat(_lags(times, seams, records.lasts, rate_hz), samples)
    every = np.arange(at[-1] + 1)
    values = np.stack([np.interp(every, at, channel) for channel in raw.get_data()])
    filled = mne.io.RawArray(values, raw.info)
    marks = records.marks + [(start + records.starts[0], stop - start, SKIP) for start, stop in gaps]
    starts, durations, texts = zip(*marks, strict=True)
    filled.set_annotations(mne.Annotations(np.array(starts) - records.starts[0], durations, texts))
    return filled


def _lags(times: np.ndarray, seams: np.ndarray, lasts: float, rate_hz: float) -> np.ndarray:
    """By how many samples each record comes later than if there were no gaps."""
    lags = np.zeros(len(times), dtype=int)
    for seam in seams:
        lags[seam:] = round((times[seam] - seam * lasts) * rate_hz)
    return lags
