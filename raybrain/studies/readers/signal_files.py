"""Signal files: report anything wrong with one in a single line, and tell a truncated file from a short one.

Not a study itself.
"""

import contextlib
import json
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

from raybrain.config import InputError

if TYPE_CHECKING:
    import mne

BYTES = {"INT_16": 2, "UINT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4, "IEEE_FLOAT_64": 8}
COUNTS = ("NumberOfChannels", "DataPoints")
EVENTS_SLACK_S = 0.5
SMALL = 1000  # bytes; a file of so few may stand for content that is elsewhere


def why_absent(path: Path, root: Path) -> str:
    """Why the content of a file, or of one inside a folder, is not here; empty if it is.

    git-annex and DataLad leave a link that leads nowhere or a small file with its address, git-lfs a small file.
    """
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        named = os.path.relpath(file, root)
        inside = f"holds {file.name}, which " if file != path else ""
        if file.is_symlink() and not file.exists():
            return f"{inside}is a link to content that is not here; type datalad get {shlex.quote(named)}"
        if not file.is_file() or (size := file.stat().st_size) > SMALL:
            continue
        if size == 0 and file == path:
            return "is empty; get the file again"
        start = file.read_bytes()
        if b"/annex/objects/" in start and b"\n" not in start.strip():
            return f"{inside}stands for content that is not here; type datalad get {shlex.quote(named)}"
        if start.startswith(b"version https://git-lfs"):
            return f"{inside}stands for content that is not here; type git lfs pull --include {shlex.quote(named)}"
    return ""


@contextlib.contextmanager
def readable(file: Path, cure: str = "get the file again") -> Iterator[None]:
    """A context to read ``file`` in: readers of a dozen formats raise many kinds of errors for a damaged file.

    Raises:
        InputError: for any of these errors, in one line.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{file} cannot be read: {reason}; {cure}") from error


def read_brainvision(header: Path) -> "mne.io.BaseRaw":
    """The signal, not loaded.

    Raises:
        InputError: if it cannot be read, or its data file is missing or truncated.
    """
    import mne

    check_brainvision(header)
    with readable(header):
        raw: mne.io.BaseRaw = mne.io.read_raw_brainvision(header, verbose="error")
    return raw


def check_brainvision(header: Path) -> None:
    """Check that a BrainVision data file exists and holds whole samples, and as many as its header promises if it does.

    Raises:
        InputError: if not.
    """
    if header.suffix != ".vhdr" or not header.is_file():
        return
    settings = dict(re.findall(r"^(\w+)=(.*?)\s*$", header.read_text(encoding="latin-1"), flags=re.MULTILINE))
    if "DataFile" not in settings:
        return  # the reader will report what is wrong with the header
    data = header.parent / settings["DataFile"].replace("$b", header.stem)
    absent = why_absent(data, header.parent) if data.is_symlink() or data.is_file() else ""
    if absent:
        raise InputError(f"{data} {absent}")
    if not data.is_file():
        raise InputError(f"{header} names the data file {data.name!r}, which does not exist")
    channels, promised = (int(text) if (text := settings.get(key, "")).isdigit() else 0 for key in COUNTS)
    width = BYTES.get(settings.get("BinaryFormat", ""), 0) * channels
    if not width or settings.get("DataFormat", "BINARY") != "BINARY":
        return
    size = data.stat().st_size
    samples, rest = divmod(size, width)
    if rest or not samples or samples < promised:
        raise InputError(
            f"{data} is truncated: {size} bytes are {size / width:.2f} samples of {width} bytes"
            + (f", but its header promises {promised}" if promised else "")
        )


def check_length(raw: "mne.io.BaseRaw", file: Path, sidecars: Sequence[Path]) -> None:
    """Check that a recording is as long as the RecordingDuration of its sidecars says, to the digits given there.

    Raises:
        InputError: if it is shorter.
    """
    promised = _recording_duration(sidecars)
    rate_hz = float(raw.info["sfreq"])
    lasts = raw.n_times / rate_hz
    if promised is None:
        return
    slack = 10.0 ** min(0, int(promised.as_tuple().exponent)) + 2 / rate_hz
    if lasts < float(promised) - slack:
        raise InputError(
            f"{_data_file(raw, file)} is truncated: {lasts:.1f} s of {float(promised):.1f} s "
            "(RecordingDuration); get the file again"
        )


def check_covers_events(raw: "mne.io.BaseRaw", file: Path, events: Path | None, shift_s: float) -> None:
    """Check that a recording lasts until its last event starts; ``shift_s`` is added to the onsets.

    Raises:
        InputError: if it does not.
    """
    from raybrain.studies.bids.bids_table import last_onset

    last = last_onset(events) + shift_s if events else 0.0
    lasts = raw.n_times / float(raw.info["sfreq"])
    late = raw.first_samp / float(raw.info["sfreq"])
    if lasts < last - EVENTS_SLACK_S:
        reason = "the file is truncated, or onsets do not count from its first sample"
        if late > 0 and last - late <= lasts + EVENTS_SLACK_S:
            reason = f"onsets seem to include the {late:.1f} s of first_samp; then type onsets=acquisition"
        raise InputError(f"{_data_file(raw, file)} lasts {lasts:.1f} s, but {events} goes on to {last:.1f} s: {reason}")


def _recording_duration(sidecars: Sequence[Path]) -> Decimal | None:
    """The RecordingDuration of the most specific sidecar that has one."""
    for sidecar in sorted(sidecars, key=lambda file: (len(file.parts), len(file.name)), reverse=True):
        try:
            value = json.loads(sidecar.read_text(encoding="utf-8-sig")).get("RecordingDuration")
            duration = Decimal(str(value))
        except (ValueError, AttributeError, InvalidOperation):  # n/a, or not a JSON object
            continue
        if duration.is_finite():
            return duration
    return None


def _data_file(raw: "mne.io.BaseRaw", file: Path) -> Path:
    named = [name for name in raw.filenames if name]
    return Path(named[0]) if named else file
