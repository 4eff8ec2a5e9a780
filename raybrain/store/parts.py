"""Parts: what is prepared of each recording, and the store that holds them all."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raybrain.bucket.copies import fetch, mended
from raybrain.config import InputError
from raybrain.integrity import file_digest, file_record
from raybrain.ownership import exclusive
from raybrain.signal.window import Scaler
from raybrain.storage import (
    aside,
    content_digest,
    drafted,
    explaining_damage,
    locked,
    put_in_place,
    read_remakable,
    renewed,
    set_aside,
    together,
    write_json,
    write_table,
)
from raybrain.store.frames import Frames
from raybrain.store.schema import BRAIN, SEGMENTS

MANIFEST = {"data", "sources", "sounds", "failed", "counts", "plan", "features"}
TABLES = ("brain", "events", "segments", "quality")


@dataclass
class Part:
    """What is known of one prepared recording; the content of ``parts/UID.json``.

    ``key`` stands for everything the part was made from but ``sources``, the records of the files the recording was read from,
    by path below the study's folder. ``centre`` and ``scale`` are the robust scaler of each channel, fitted after subtracting
    the baseline. ``positions`` are [x, y] on a flattened head, in [0, 1]; ``places`` are [x, y, z] in metres in head
    coordinates, None where unknown; ``valid`` is False where a position is not known or the channel is marked bad.
    """

    uid: str
    study: str
    subject: str
    key: str
    samples: int = 0
    channels: list[str] = field(default_factory=list)
    positions: list[list[float]] = field(default_factory=list)
    places: list[list[float] | None] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)
    centre: list[float] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    segments: dict[str, int] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def scaler(self) -> Scaler:
        """Robust centre and scale of each channel."""
        return Scaler(np.array(self.centre), np.array(self.scale))

    @property
    def origin(self) -> str:
        """Names what the part was made from, by content."""
        return content_digest([self.key, [[name, record["sha256"]] for name, record in sorted(self.sources.items())]])


class Draft:
    """The signal of a recording on its way into a store, written aside a few chunks at a time: a row group each.

    Once closed it can be pickled and handed to another process that sees the same disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: pq.ParquetWriter | None = pq.ParquetWriter(path, BRAIN, use_dictionary=False, write_page_checksum=True)

    def append(self, chunks: pa.Table) -> None:
        """Write some more chunks."""
        assert self._writer, "it is closed"
        self._writer.write_table(chunks, row_group_size=1)

    def close(self) -> None:
        """Nothing more is appended."""
        if self._writer:
            self._writer.close()
        self._writer = None

    def discard(self) -> None:
        """Remove it, if it has not found its place."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Store:
    """A folder of prepared data."""

    root: Path

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest; InputError if there is none that can be read."""
        path = self.root / "manifest.json"
        if not path.exists():
            fetch(path)
        manifest: dict[str, Any] = read_remakable(path) or {}
        if not set(manifest) >= MANIFEST:
            raise InputError(f"no prepared data in {self.root}; run `raybrain prepare` first")
        return manifest

    def write_manifest(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Write the manifest, with the features that the one before knows of besides; whoever else does so has to wait."""
        path = self.root / "manifest.json"
        with exclusive(path):
            fetch(path)
            with suppress(InputError):  # there is none the first time
                manifest = {**manifest, "features": self.manifest["features"] | manifest["features"]}
            write_json(path, manifest)
        return manifest

    def table_path(self, table: str, uid: str) -> Path:
        """The Parquet file of one recording."""
        return self.root / table / f"recording={uid}" / "data.parquet"

    def part(self, uid: str) -> Part | None:
        """The part of a recording, if it is whole. A damaged one is set aside and counts as missing."""
        part = self.written(uid)
        if part is None:
            return None
        if whole := self._whole(part):
            return whole
        with locked(self._json(uid)):  # unless somebody is writing it
            part = self.written(uid)
            if part and not (whole := self._whole(part)) and self._set_aside(uid):
                whole = self._whole(part)
            return whole

    def _whole(self, part: Part) -> Part | None:
        """The part, if its tables are those that it was written with."""
        files = {table: renewed(self.table_path(table, part.uid), record) for table, record in part.files.items()}
        whole = {table: record for table, record in files.items() if record}
        return self._renewed(part, replace(part, files=whole)) if len(whole) == len(files) else None

    def verified(self, part: Part) -> bool:
        """Whether the tables of a part have its checksums, whatever their times say. One that is damaged is set aside."""
        if self._has_checksums(part):
            return True
        with locked(self._json(part.uid)):  # unless somebody has written it anew
            now = self.written(part.uid)
            whole = now is not None and self._has_checksums(now)
            return whole or (now is not None and self._set_aside(part.uid) and self._has_checksums(now))

    def _has_checksums(self, part: Part) -> bool:
        try:
            return all(file_digest(self.table_path(table, part.uid)) == known["sha256"] for table, known in part.files.items())
        except FileNotFoundError:
            return False

    def unchanged(self, part: Part, sources: Mapping[str, Path]) -> Part | None:
        """The part, if these are the very files it was made from; compared by checksum, once, where their times are others."""
        if set(sources) != set(part.sources):
            return None
        records = {name: renewed(path, part.sources[name]) for name, path in sources.items()}
        same = {name: record for name, record in records.items() if record}
        return self._renewed(part, replace(part, sources=same)) if len(same) == len(records) else None

    def _renewed(self, before: Part, now: Part) -> Part:
        """The part with the present times of files, kept, so that the next look need not compare them again."""
        if now != before:
            with suppress(PermissionError):  # in another person's home; they are compared again then
                write_json(self._json(now.uid), asdict(now))
        return now

    def written(self, uid: str) -> Part | None:
        """The part of a recording as it was written, whether or not its tables are still whole."""
        try:
            known = read_remakable(self._json(uid))
            return None if known is None else Part(**known)
        except TypeError:  # of another version
            return None

    @contextmanager
    def draft(self, uid: str) -> "Iterator[Draft]":
        """Where the signal of a recording is written to, until :meth:`write_part` takes it; gone if anything is raised.

        Raises:
            InputError: if the disk is full; what was there before stays.
        """
        with drafted(self.table_path("brain", uid)) as temporary:
            draft = Draft(temporary)
            try:
                yield draft
            finally:
                draft.close()

    def write_part(self, part: Part, brain: "Draft", tables: Mapping[str, pa.Table]) -> Part:
        """Write the tables of a recording, then the JSON that says they are whole; whoever else does so has to wait."""
        brain.close()
        with locked(self._json(part.uid)), together(self.root):
            part.files["brain"] = file_record(brain.path)
            put_in_place(brain.path, self.table_path("brain", part.uid))
            for table, content in tables.items():
                part.files[table] = write_table(self.table_path(table, part.uid), content)
            write_json(self._json(part.uid), asdict(part))
        return part

    def adopt(self, part: Part, other: "Store") -> bool:
        """Have a part of another store as well; its tables are linked where the disk can do that. False if it is gone."""
        try:
            with locked(self._json(part.uid)), together(self.root):
                for table in part.files:
                    self._link(table, part.uid, other)
                write_json(self._json(part.uid), asdict(part))
        except FileNotFoundError:
            return False
        return self.part(part.uid) is not None

    def _link(self, table: str, uid: str, other: "Store") -> None:
        with aside(self.table_path(table, uid)) as temporary:
            try:
                os.link(other.table_path(table, uid), temporary)
            except OSError:  # another disk, or one without links
                shutil.copy2(other.table_path(table, uid), temporary)

    def _json(self, uid: str) -> Path:
        return self.root / "parts" / f"{uid}.json"

    def _set_aside(self, uid: str) -> bool:
        """Set the files of a part aside; or, where only a node's copies are damaged, bring them again, and say so."""
        if mended(self.table_path(table, uid) for table in TABLES):
            return True
        print(f"raybrain: damaged data of {uid} in {self.root}; they are made again", file=sys.stderr, flush=True)
        (self.root / "damaged").mkdir(exist_ok=True)
        for path in (self._json(uid), *(self.table_path(table, uid) for table in TABLES)):
            name = path.name if path == self._json(uid) else f"{uid}.{path.parents[1].name}.parquet"
            with suppress(FileNotFoundError):
                set_aside(path, self.root / "damaged" / name)
        return False

    def brain(self, uid: str) -> Iterator[np.ndarray]:
        """The signal of a recording, [samples channels] float32, chunk by chunk.

        Raises:
            InputError: if the file is damaged.
        """
        path = self.table_path("brain", uid)
        with explaining_damage(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                row = file.read_row_group(group)
                values = row["signal"].chunk(0).values.to_numpy()
                yield values.reshape(row["samples"][0].as_py(), -1)

    def segments(self, uid: str) -> pa.Table:
        """The segments of a recording, with the schema SEGMENTS; InputError if the file is damaged."""
        path = self.table_path("segments", uid)
        with explaining_damage(path):
            return pq.read_table(path, schema=SEGMENTS, page_checksum_verification=True)

    def events(self, uid: str) -> pa.Table:
        """What was heard when in a recording: EVENTS, but for columns that an earlier version did not write."""
        path = self.table_path("events", uid)
        with explaining_damage(path):
            return pq.ParquetFile(path, page_checksum_verification=True).read()

    def quality(self, uid: str) -> dict[str, Any]:
        """The row of the table QUALITY of a recording.

        Raises:
            InputError: if the file is damaged.
        """
        path = self.table_path("quality", uid)
        with explaining_damage(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
            row: dict[str, Any] = file.read().to_pylist()[0]
            return row

    def frames(self, feature: str) -> Frames:
        """The frames of a feature the manifest tells of."""
        return Frames((self.root / self.manifest["features"][feature]["folder"]).resolve())


def brain_digest(parts: Sequence[Part]) -> str:
    """Names the content of some recordings' signals and segments, and their sensors."""
    content: list[Any] = []
    for part in parts:
        sensors = [part.channels, part.positions, part.places, part.valid, part.centre, part.scale]
        content.append([part.uid, part.files["brain"]["sha256"], part.files["segments"]["sha256"], *sensors])
    return content_digest(content)


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

    def set_damaged_aside(self) -> bool:
        """Read all that training reads, and set aside what is damaged; whether there was any."""

        def damaged(uid: str) -> bool:
            part = self.store.part(uid)
            return part is None or not self.store.verified(part)

        with ThreadPoolExecutor() as pool:
            marks = list(pool.map(damaged, self.recordings))
        entries = self.store.manifest["features"]
        marks += [bool(self.store.frames(name).missing(entries[name]["files"])) for name in self.features]
        return any(marks)
