"""Store: prepared data on disk, the contract between prepare and train.

::

    stores/SIGNATURE/
      manifest.json                       the data settings, counts, split audit, versions
      recordings.parquet                  a row a recording: subject, channels, duration, status
      brain/recording=UID/data.parquet    rows of CHUNK_S seconds of signal, time-major float32, a row group each
      events/recording=UID/data.parquet   what was heard when
      segments/recording=UID/data.parquet split, first sample, stimulus and place in it, word, sentence
      parts/UID.json                      says that all three are whole: sizes, checksums, scaler, sensor positions
      stimuli.parquet                     a row a unique stimulus
      features/NAME-SIGNATURE/*.parquet   frames at their native rate, once per stimulus

A file is written aside and renamed, and a part counts only once its JSON is there: whatever is killed, what is seen is whole.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raybrain.config import InputError, signature

if TYPE_CHECKING:
    from raybrain.features.base import Feature

CHUNK_S = 10.0
MANIFEST = {"data", "sources", "sounds", "failed", "counts", "plan", "features"}
TABLES = ("brain", "events", "segments")
SEGMENTS = pa.schema(
    [
        ("split", pa.string()),
        ("anchor", pa.string()),  # "grid" or "word"
        ("start_sample", pa.int64()),  # of the window, in samples of the recording
        ("stimulus", pa.string()),
        ("stimulus_s", pa.float64()),  # time of the window's first sample in its stimulus
        ("sentence", pa.string()),
        ("word_index", pa.int32()),
        ("word", pa.string()),
    ]
)
EVENTS = pa.schema(
    [
        ("kind", pa.string()),
        ("start_s", pa.float64()),
        ("duration_s", pa.float64()),
        ("text", pa.string()),
        ("sentence", pa.string()),
        ("word_index", pa.int32()),
        ("offset_s", pa.float64()),  # of a sound: seconds of the file before it
        ("speed", pa.float64()),  # of a sound: seconds of the file in a second of the recording
    ]
)


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A path to write to; what was written appears under ``path`` only if all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}-")
    os.close(handle)
    try:
        yield Path(name)
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        os.replace(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` whole or not at all."""
    with aside(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, allow_nan=False))


def write_table(path: Path, table: pa.Table, **options: Any) -> None:
    """Write a Parquet file whole or not at all, with page checksums."""
    with aside(path) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True, **options)


@dataclass
class Part:
    """What is known of one prepared recording; the content of ``parts/UID.json``.

    ``key`` stands for everything the part was made from. ``centre`` and ``scale`` are the robust scaler of each channel,
    fitted after subtracting the baseline; ``positions`` are [x, y] in [0, 1], ``valid`` False where a position is not known
    or the channel is marked bad.
    """

    uid: str
    study: str
    subject: str
    key: str
    error: str = ""
    samples: int = 0
    channels: list[str] = field(default_factory=list)
    positions: list[list[float]] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)
    centre: list[float] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    segments: dict[str, int] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Store:
    """A folder of prepared data."""

    root: Path

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest; InputError if there is none that can be read."""
        try:
            found: dict[str, Any] = json.loads((self.root / "manifest.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            found = {}
        if not set(found) >= MANIFEST:
            raise InputError(f"no prepared data in {self.root}; run `raybrain prepare` first")
        return found

    def table_path(self, table: str, uid: str) -> Path:
        """The Parquet file of one recording."""
        return self.root / table / f"recording={uid}" / "data.parquet"

    def feature_folder(self, name: str) -> Path:
        """The folder of one feature; ``name`` holds its signature."""
        return self.root / "features" / name

    def part(self, uid: str) -> Part | None:
        """The part of a recording, if it is whole. A damaged one is set aside and counts as missing."""
        try:
            part = Part(**json.loads((self.root / "parts" / f"{uid}.json").read_text()))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None
        for table, written in part.files.items():
            if not _whole(self.table_path(table, uid), written):
                self._set_aside(uid)
                return None
        return part

    def write_part(self, part: Part, tables: dict[str, pa.Table]) -> Part:
        """Write the tables of a recording, then the JSON that says they are whole."""
        for table, content in tables.items():
            path = self.table_path(table, part.uid)
            options: dict[str, Any] = {"use_dictionary": False, "row_group_size": 1} if table == "brain" else {}
            write_table(path, content, **options)
            part.files[table] = {"sha256": file_digest(path), **_stamp(path)}
        write_json(self.root / "parts" / f"{part.uid}.json", asdict(part))
        return part

    def _set_aside(self, uid: str) -> None:
        (self.root / "damaged").mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            os.replace(self.root / "parts" / f"{uid}.json", self.root / "damaged" / f"{uid}.json")
        for table in TABLES:
            with suppress(FileNotFoundError):
                os.replace(self.table_path(table, uid), self.root / "damaged" / f"{uid}.{table}.parquet")

    def brain(self, uid: str) -> Iterator[np.ndarray]:
        """The signal of a recording, [samples channels] float32, chunk by chunk.

        Raises:
            InputError: if the file is damaged.
        """
        path = self.table_path("brain", uid)
        with _damage_told(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                row = file.read_row_group(group)
                values = row["signal"].chunk(0).values.to_numpy()
                yield values.reshape(row["samples"][0].as_py(), -1)

    def segments(self, uid: str) -> pa.Table:
        """The segments of a recording, with the schema SEGMENTS; InputError if the file is damaged."""
        path = self.table_path("segments", uid)
        with _damage_told(path):
            return pq.read_table(path, schema=SEGMENTS, page_checksum_verification=True)

    def frames(self, feature: str) -> Iterator[tuple[str, np.ndarray]]:
        """Each stimulus and its frames, [frames size] float32.

        Raises:
            InputError: if a file is damaged.
        """
        for path in sorted(self.feature_folder(feature).glob("*.parquet")):
            with _damage_told(path):
                table = pq.read_table(path, page_checksum_verification=True)
            for stimulus, size, frames in zip(*(table[c] for c in ("stimulus", "size", "frames")), strict=True):
                yield stimulus.as_py(), frames.values.to_numpy().reshape(-1, size.as_py())

    def featured(self, feature: str) -> set[str]:
        """The stimuli that have frames of a feature. A file that cannot be read is set aside and counts as missing."""
        found: set[str] = set()
        for path in sorted(self.feature_folder(feature).glob("*.parquet")):
            try:
                found.update(pq.read_table(path, columns=["stimulus"])["stimulus"].to_pylist())
            except (OSError, pa.ArrowInvalid):
                (self.root / "damaged").mkdir(exist_ok=True)
                os.replace(path, self.root / "damaged" / f"{feature}.{path.name}")
        return found


@dataclass(frozen=True)
class Prepared:
    """A store that is ready: its recordings, those that failed and why, and a digest of everything training reads."""

    store: Store
    recordings: tuple[str, ...]
    failed: dict[str, str]
    digest: str


def feature_name(feature: "Feature") -> str:
    """The name of a feature's folder: its kind and signature."""
    return f"{feature.name}-{signature(feature)}"


def chunk_table(signal: np.ndarray, rate_hz: float) -> pa.Table:
    """Continuous signal [samples channels] as rows of CHUNK_S seconds."""
    step = max(1, round(CHUNK_S * rate_hz))
    chunks = [signal[start : start + step] for start in range(0, len(signal), step)]
    return pa.table(
        {
            "start_sample": pa.array(range(0, len(signal), step), pa.int64()),
            "samples": pa.array([len(chunk) for chunk in chunks], pa.int32()),
            "signal": pa.array([chunk.ravel() for chunk in chunks], pa.list_(pa.float32())),
        }
    )


def frames_table(frames: dict[str, np.ndarray]) -> pa.Table:
    """Frames [frames size] of some stimuli as rows."""
    return pa.table(
        {
            "stimulus": list(frames),
            "size": pa.array([array.shape[1] for array in frames.values()], pa.int32()),
            "frames": pa.array([array.ravel() for array in frames.values()], pa.list_(pa.float32())),
        }
    )


def file_digest(path: Path) -> str:
    """sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _whole(path: Path, written: dict[str, Any]) -> bool:
    """Whether a file is the one written: trusted if its size and time are unchanged, else by checksum."""
    try:
        stamp = _stamp(path)
    except FileNotFoundError:
        return False
    if stamp == {key: written[key] for key in stamp}:
        return True
    return bool(stamp["bytes"] == written["bytes"]) and file_digest(path) == written["sha256"]


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"damaged data in {path} ({line}); delete it and run again") from None
