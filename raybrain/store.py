"""Store: prepared data on disk, the contract between prepare and train.

::

    stores/SIGNATURE/
      manifest.json                       the data settings, counts, split audit, versions; each feature's scale and folder
      recordings.parquet                  a row a recording: subject, channels, duration, status
      brain/recording=UID/data.parquet    rows of CHUNK_S seconds of signal, time-major float32, a row group each
      events/recording=UID/data.parquet   what was heard when
      segments/recording=UID/data.parquet split, first sample, stimulus and place in it, word, sentence
      parts/UID.json                      says that all three are whole: sizes, checksums, scaler, sensor positions
      stimuli.parquet                     a row a unique stimulus
    features/NAME-SIGNATURE/
      STIMULUS.parquet                    its frames at their native rate; all stores share them

A stimulus is named by its content (audio bytes, words, times) and a feature's folder by settings, version and model, so two
stores whose subjects heard the same have the same frames, and these are extracted once.


A file is written aside and renamed, and a part counts only once its JSON is there: whatever is killed, what is seen is whole.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator
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
    temporary = path.with_name(f".{path.name[:40]}-{uuid.uuid4().hex}")  # as readable for others as any file; mkstemp's is not
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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

    def frames(self, feature: str) -> "Frames":
        """The frames of a feature the manifest tells of."""
        return Frames((self.root / self.manifest["features"][feature]["folder"]).resolve())


@dataclass(frozen=True)
class Frames:
    """The frames of one feature: a folder with a file a stimulus. Whoever writes a stimulus anew writes the same."""

    folder: Path

    def path(self, stimulus: str) -> Path:
        """The Parquet file of a stimulus."""
        return self.folder / f"{stimulus}.parquet"

    def write(self, stimulus: str, frames: np.ndarray) -> None:
        """Write the frames of a stimulus, [frames size], in the type they have: float32 or float16."""
        write_table(self.path(stimulus), frames_table(stimulus, frames), use_dictionary=False)

    def read(self, stimulus: str) -> np.ndarray:
        """The frames of a stimulus, [frames size] float32.

        Raises:
            InputError: if the file is damaged or not there.
        """
        path = self.path(stimulus)
        with _damage_told(path):
            row = pq.read_table(path, page_checksum_verification=True)
        frames: np.ndarray = row["frames"][0].values.to_numpy().reshape(-1, row["size"][0].as_py())
        return frames.astype(np.float32, copy=False)

    def length(self, stimulus: str) -> int:
        """How many frames a stimulus has, without reading them; InputError as for ``read``."""
        path = self.path(stimulus)
        with _damage_told(path):
            row = pq.read_table(path, columns=["count"])
        return int(row["count"][0].as_py())

    def missing(self, stimuli: Iterable[str]) -> list[str]:
        """Which of these stimuli have no frames, in order of name. A file that cannot be opened is set aside and counts."""
        absent = []
        for stimulus in sorted(stimuli):
            path = self.path(stimulus)
            try:
                pq.read_metadata(path)
            except FileNotFoundError:
                absent.append(stimulus)
            except (OSError, pa.ArrowInvalid):
                absent.append(stimulus)
                (self.folder / "damaged").mkdir(exist_ok=True)
                with suppress(FileNotFoundError):  # another process may see the same
                    os.replace(path, self.folder / "damaged" / path.name)
        return absent

    def sizes(self, stimuli: Iterable[str]) -> dict[str, int]:
        """Bytes of each stimulus's file; 0 where it is not there."""
        paths = {stimulus: self.path(stimulus) for stimulus in sorted(stimuli)}
        return {stimulus: path.stat().st_size if path.exists() else 0 for stimulus, path in paths.items()}


@dataclass(frozen=True)
class Prepared:
    """A store that is ready.

    Attributes:
        store: where.
        recordings: those that can be used.
        failed: those that cannot, and why.
        digest: names the content of all that training reads.
        brain: names the content of its brain side: signals and segments.
        features: the features asked for, in order; the name of each in the manifest, and a digest of its content.
    """

    store: Store
    recordings: tuple[str, ...]
    failed: dict[str, str]
    digest: str
    brain: str
    features: dict[str, str]


def feature_name(feature: "Feature") -> str:
    """The name of a feature in a manifest: its kind and a hash of all that its frames and their scale depend on."""
    return f"{feature.name}-{signature(feature, version=feature.version, identity=feature.identity())}"


def frames_folder(home: Path, feature: "Feature") -> Frames:
    """Where the frames of a feature lie, however they are to be scaled."""
    unscaled = feature.model_copy(update={"scale": type(feature).model_fields["scale"].default})
    return Frames(home / "features" / feature_name(unscaled))


def feature_digest(name: str, told: dict[str, Any]) -> str:
    """Names what training reads of a feature: the stimuli, and how their frames are scaled.

    Args:
        name: of the feature in the manifest.
        told: what the manifest says of it.
    """
    return content_digest([name, told["mean"], told["deviation"], told["weights"], sorted(told["files"])])


def content_digest(content: Any) -> str:
    """Sixteen hexadecimal digits that name a plain value."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


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


def frames_table(stimulus: str, frames: np.ndarray) -> pa.Table:
    """The frames of a stimulus, [frames size], as one row."""
    values = pa.array([frames.ravel()], pa.list_(pa.from_numpy_dtype(frames.dtype)))
    count, size = (pa.array([number], pa.int32()) for number in frames.shape)
    return pa.table({"stimulus": [stimulus], "count": count, "size": size, "frames": values})


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
