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
CODEPAGES = {"UTF-8": "utf-8", "ANSI": "cp1252"}
COUNTS = ("NumberOfChannels", "DataPoints")
EVENTS_SLACK_S = 0.5
SMALL = 1000  # bytes; a file of so few may stand for content that is elsewhere
LONGEST_REASON = 200  # characters
ADVICE = re.compile(
    r"\b(mne|please|pass|preload|try|verbose|you might)\b", re.IGNORECASE
)  # for people who call a reader themselves
EPOCHS = re.compile(r"\b(epochs|trials|no raw data)\b", re.IGNORECASE)


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
        if EPOCHS.search(str(error)):
            cure = "get the continuous recording, not epochs"
        raise InputError(f"{_blamed(file)} cannot be read: {_reason(error)}; {cure}") from error


def _blamed(file: Path) -> Path:
    """The file that cannot be read, if ``file`` cannot: a BrainVision header has another one with markers."""
    import mne

    settings = _settings(file) if file.suffix.lower() == ".vhdr" and file.is_file() else {}
    markers = file.parent / settings.get("MarkerFile", file.name).replace("$b", file.stem)
    if markers == file or not markers.is_file():
        return file
    try:
        markers.read_bytes().decode(CODEPAGES.get(settings.get("Codepage", ""), "latin-1"))
        mne.read_annotations(markers, sfreq=1.0)
    except Exception:
        return markers
    return file


def _settings(header: Path) -> dict[str, str]:
    """What a BrainVision header says, line by line."""
    content = header.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return dict(re.findall(r"^(\w+)=(.*?)\s*$", text, flags=re.MULTILINE))


def _reason(error: Exception) -> str:
    """What an error says in few words, without advice to whoever wrote the code that met it."""
    sentences = re.split(r"(?<=[.!?])\s+", " ".join(str(error).split()))
    text = " ".join(sentence for sentence in sentences if not ADVICE.search(sentence)) or type(error).__name__
    return (text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ...").rstrip(".")


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
    settings = _settings(header)
    if "DataFile" not in settings:
        return  # the reader will report what is wrong with the header
    named = settings["DataFile"].replace("$b", header.stem)
    data = header.parent / named
    absent = why_absent(data, header.parent) if data.is_symlink() or data.is_file() else ""
    if absent:
        raise InputError(f"{data} {absent}")
    if not data.is_file():
        last = re.split(r"[\\/]", named.strip("\"' "))[-1].casefold()
        alike = next((name for name in sorted(os.listdir(header.parent)) if name.casefold() == last), "")
        cure = f"{alike!r} is there: correct the line DataFile of the header" if alike else "get that file too"
        raise InputError(f"{header} names the data file {named!r}, which does not exist; {cure}")
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
    promised = _number(sidecars, "RecordingDuration")
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


def odd_rate(raw: "mne.io.BaseRaw", file: Path, sidecars: Sequence[Path]) -> list[str]:
    """What is odd about the SamplingFrequency of a recording's sidecars."""
    stated, rate_hz = _number(sidecars, "SamplingFrequency"), float(raw.info["sfreq"])
    if stated is None or abs(float(stated) - rate_hz) <= max(1e-3 * rate_hz, 10.0 ** int(stated.as_tuple().exponent)):
        return []
    ratio = float(stated) / rate_hz
    why = f"was it resampled by {max(ratio, 1 / ratio):.4g} after that was written?" if ratio > 0 else "correct it"
    return [f"its sidecar says {stated} Hz (SamplingFrequency), but {file.name} has {rate_hz:g} Hz, which is used: {why}"]


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
        for unit, per_s in (("milliseconds", 1000.0), (f"samples of {raw.info['sfreq']:g} Hz", float(raw.info["sfreq"]))):
            if lasts / 20 < last / per_s <= lasts:
                reason = f"onsets seem to be {unit}; write seconds, up to {last / per_s:.1f} here"
        raise InputError(f"{_data_file(raw, file)} lasts {lasts:.1f} s, but {events} goes on to {last:.1f} s: {reason}")


def _number(sidecars: Sequence[Path], key: str) -> Decimal | None:
    """A number from the most specific sidecar that has it, with the digits given there."""
    for sidecar in sorted(sidecars, key=lambda file: (len(file.parts), len(file.name)), reverse=True):
        try:
            number = Decimal(str(json.loads(sidecar.read_text(encoding="utf-8-sig")).get(key)))
        except (OSError, ValueError, AttributeError, InvalidOperation):  # n/a, or not a JSON object
            continue
        if number.is_finite():
            return number
    return None


def _data_file(raw: "mne.io.BaseRaw", file: Path) -> Path:
    named = [name for name in raw.filenames if name]
    return Path(named[0]) if named else file
