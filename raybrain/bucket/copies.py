"""Copies: files of a home in a bucket go there before they appear in a node's copy, and come from there.

A unit is what has a manifest: the folder of a run, a sweep, a store, a feature or the pages of its quality; and the folder of
all baselines, or of all comparisons. Whoever publishes replaces the manifest on condition that nobody else did so meanwhile.
On a node, one process at a time brings the copy of a unit and its manifest together.
"""

import json
import os
import random
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from raybrain.bucket.address import BucketHome, place_of, typed_path
from raybrain.bucket.objects import Objects, Version, objects_of
from raybrain.config import InputError
from raybrain.integrity import file_digest, file_record

ROOMS = ("runs", "sweeps", "stores", "features", "quality")  # each folder in them is a unit
SHELVES = ("baselines", "comparisons")  # each is a unit
PAGES = ("index.html",)  # of the home itself
APART = ("ray", "damaged", "failed")  # folders that stay on a node
ALONE = (".*", "lock", "*.lock", "owner.json", "*.db", "*.db-*")  # files that stay on a node
WEIGHTS = (".pt", ".safetensors")
MANIFEST, INDEX = "files.json", "index.json"
THREADS = 16
TRIES = 6  # of a file whose object is replaced whenever it is asked for
WAIT_S = 0.05  # before another try to replace a manifest, longer from try to try

Entry = dict[str, Any]  # of a file: the object that holds it, bytes, mtime_ns, sha256
Entries = dict[str, Entry]

_known: dict[tuple[BucketHome, str], tuple[Entries, Version | None]] = {}  # manifests as this process knows them
held: dict[Path, Callable[[], None]] = {}  # folders that this process has a lease of; each call raises if that is lost


@dataclass(frozen=True)
class PublishedFolder:
    """What of a home has a manifest of its own: ``name`` is its folder below the home, "" the home itself."""

    place: BucketHome
    name: str

    @property
    def objects(self) -> Objects:
        """Of its home."""
        return objects_of(self.place)

    @property
    def folder(self) -> Path:
        """In the copy of this node."""
        return self.place.copy / self.name

    def key(self, file: str) -> str:
        """The name of an object beside its manifest."""
        return f"{self.name}/{file}" if self.name else file

    def manifest(self) -> tuple[Entries, Version | None]:
        """What exists of it, now, and the version of the manifest."""
        read = self.objects.read(self.key(MANIFEST))
        known: tuple[Entries, Version | None] = ({}, None) if read is None else (json.loads(read[0]), read[1])
        _known[self.place, self.name] = known
        return known

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Nobody else on this node changes the copy of it."""
        import filelock

        lock = self.place.copy / ".sync" / f"{self.name.replace('/', '=') or 'home'}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(lock):
            yield

    def change(self, new: Mapping[str, Entry], gone: Iterable[str]) -> None:
        """Have the manifest name new files and none that are gone; what held them before is deleted.

        Raises:
            InputError: if this process had a lease of the folder, and somebody else took it over.
        """
        entries, version = _known.get((self.place, self.name)) or self.manifest()
        gone = set(gone)
        for tried in range(1000):
            if check := held.get(self.folder):  # each time: where a try took long, it may have been lost meanwhile
                check()
            kept = {name: entry for name, entry in entries.items() if name not in gone} | dict(new)
            if version is None and new:
                self._list()
            if kept == entries:  # so it is too where the answer to the last try got lost
                return
            if written := self.objects.write_if(self.key(MANIFEST), json.dumps(kept, indent=0).encode(), version):
                _known[self.place, self.name] = (kept, written)
                replaced = [entry for name, entry in entries.items() if kept.get(name) != entry]
                self.objects.delete([self.key(entry["key"]) for entry in replaced])
                return
            time.sleep(WAIT_S * random.random() * min(tried, 20))
            entries, version = self.manifest()
        raise InputError(f"others write to {self.place} all the time; run the same command again")

    def _list(self) -> None:
        """Have the index of its room name it, before there is anything of it."""
        room, _, name = self.name.rpartition("/")
        if not room:
            return
        for _ in range(1000):
            read = self.objects.read(f"{room}/{INDEX}")
            names: list[str] = json.loads(read[0]) if read else []
            content = json.dumps(sorted({*names, name}), indent=0).encode()
            if name in names or self.objects.write_if(f"{room}/{INDEX}", content, read and read[1]):
                return
            time.sleep(WAIT_S * random.random())
        raise InputError(f"others write to {self.place} all the time; run the same command again")


def unit_of(path: Path) -> tuple[PublishedFolder, str] | None:
    """The unit a file or folder belongs to, and its name in there, "" for the unit itself; None for what stays on a node."""
    place = place_of(path)
    if place is None:
        return None
    parts = path.relative_to(place.copy).parts
    if len(parts) == 1 and parts[0] in PAGES:
        return PublishedFolder(place, ""), parts[0]
    depth = 2 if parts[:1] and parts[0] in ROOMS else 1
    if len(parts) < depth or parts[0] not in (*ROOMS, *SHELVES):
        return None
    inside = parts[depth:]
    if inside and (inside[0] in APART or any(fnmatch(part, alone) for part in inside for alone in ALONE)):
        return None
    return PublishedFolder(place, "/".join(parts[:depth])), "/".join(inside)


def publish(drafts: Mapping[Path, Path]) -> bool:
    """Let files appear in the bucket, all at once, and then in the copy of this node; False, if they stay here.

    Args:
        drafts: where each file is written, and the path under which it is to appear; all of one unit.
    """
    units = [unit_of(path) for path in drafts.values()]
    if not units or units[0] is None:
        return False
    unit = units[0][0]
    assert all(other and other[0] == unit for other in units), "files of several units"
    names = [other[1] for other in units if other]
    with ThreadPoolExecutor(THREADS) as pool:
        uploaded = dict(zip(names, pool.map(lambda item: _upload(unit, *item), zip(names, drafts, strict=True)), strict=True))
    with unit.settled():
        unit.change(uploaded, ())
        for draft, path in drafts.items():
            os.replace(draft, path)
    return True


def _upload(unit: PublishedFolder, name: str, draft: Path) -> Entry:
    """Put a file into an object of its own, named after it."""
    folder, slash, file = name.rpartition("/")
    stem, dot, suffix = file.rpartition(".")
    key = f"{folder}{slash}{stem or suffix}-{uuid.uuid4().hex[:12]}{dot}{suffix if dot else ''}"
    entry = {"key": key, **file_record(draft)}
    unit.objects.write(unit.key(key), draft)
    return entry


def publish_folder(folder: Path, to: Path) -> bool:
    """Let all files of a folder appear in place of the folder ``to``, as :func:`publish`; False if it stays here."""
    if (known := unit_of(to)) is None:
        return False
    unit, inside = known
    drafts = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    new = {f"{inside}/{name}": _upload(unit, f"{inside}/{name}", path) for name, path in drafts.items()}
    with unit.settled():
        entries, _ = unit.manifest()
        unit.change(new, [name for name in entries if name.startswith(f"{inside}/") and name not in new])
        _replace_folder(folder, to)
    return True


def _replace_folder(folder: Path, to: Path) -> None:
    import shutil

    shutil.rmtree(to, ignore_errors=True)
    os.replace(folder, to)


def remove(path: Path) -> None:
    """Remove a file if it is there; from the bucket first, if its home is in one."""
    if (known := unit_of(path)) is None:
        path.unlink(missing_ok=True)
        return
    unit, name = known
    with unit.settled():
        unit.manifest()  # another process may have written it since this one looked
        unit.change({}, [name])
        path.unlink(missing_ok=True)


def fetch(path: Path, without: tuple[str, ...] = ()) -> None:
    """Bring a file, or what is in a folder, as it is in the bucket; nothing is done for what stays on a node.

    Args:
        path: of one unit.
        without: suffixes of large files that are not needed.

    Raises:
        InputError: if the bucket does not answer, or an object is damaged.
    """
    if (known := unit_of(path)) is None:
        return
    unit, inside = known
    with unit.settled():
        for tried in range(TRIES):
            entries, _ = unit.manifest()
            chosen = {name: entry for name, entry in entries.items() if not inside or _is_in(name, inside)}
            _remove_others(unit, inside, chosen)
            wanted = [(name, entry) for name, entry in chosen.items() if not _is_here(unit.folder / name, entry)]
            for name, _ in wanted:
                if name.endswith(without):  # what is here is as it was before
                    (unit.folder / name).unlink(missing_ok=True)
            wanted = [item for item in wanted if not item[0].endswith(without)]
            with ThreadPoolExecutor(THREADS) as pool:
                there = list(pool.map(lambda item: _download(unit, *item), wanted))
            if all(there):
                return
            time.sleep(WAIT_S * tried)
    lost = next(name for (name, _), came in zip(wanted, there, strict=True) if not came)
    raise InputError(f"{unit.place}/{unit.key(lost)} is lost: its manifest names an object that is not there")


def mended(paths: Iterable[Path]) -> bool:
    """Whether copies of some files were not what the bucket holds, whatever their times say; these are fetched again.

    False for what does not lie in the copy of a home in a bucket: nobody has it whole.
    """
    damaged = []
    for path in paths:
        if known := unit_of(path):
            entry = known[0].manifest()[0].get(known[1])
            if entry and not (path.exists() and file_digest(path) == entry["sha256"]):
                damaged.append(path)
    for path in damaged:
        path.unlink(missing_ok=True)
        fetch(path)
        print(f"raybrain: damaged copy of {typed_path(path)}; it is fetched again", file=sys.stderr, flush=True)
    return bool(damaged)


def _is_in(name: str, inside: str) -> bool:
    return name == inside or name.startswith(f"{inside}/")


def _is_here(path: Path, entry: Entry) -> bool:
    with suppress(OSError):
        stat = path.stat()
        return (stat.st_size, stat.st_mtime_ns) == (entry["bytes"], entry["mtime_ns"])
    return False


def _remove_others(unit: PublishedFolder, inside: str, entries: Entries) -> None:
    """Remove from the copy what does not exist in the bucket: another node has removed it."""
    root = unit.folder / inside
    paths = root.rglob("*") if root.is_dir() else [root]
    for path in [path for path in paths if path.is_file()]:
        known = unit_of(path)
        if known and known[0] == unit and known[1] not in entries:
            path.unlink(missing_ok=True)


def _download(unit: PublishedFolder, name: str, entry: Entry) -> bool:
    """Write what an object holds to the copy; False if there is no such object any more.

    Raises:
        InputError: if it does not have its checksum.
    """
    path = unit.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:40]}-{uuid.uuid4().hex}")
    try:
        digest = unit.objects.fetch(unit.key(entry["key"]), temporary)
        if digest is None:
            return False
        if digest != entry["sha256"]:
            raise InputError(
                f"damaged object {unit.place}/{unit.key(entry['key'])}; delete it and run the command that made it"
            )
        os.utime(temporary, ns=(entry["mtime_ns"], entry["mtime_ns"]))
        os.replace(temporary, path)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def names_in(home: BucketHome, room: str) -> list[str]:
    """The folders that a room of a home in a bucket has, or had, by its index."""
    read = objects_of(home).read(f"{room}/{INDEX}")
    names: list[str] = json.loads(read[0]) if read else []
    return names


def folders_in(room: Path, pattern: str = "*", without: tuple[str, ...] = WEIGHTS) -> list[Path]:
    """The folders of a room of a home whose names fit, in order of name; those in a bucket without some of the large files."""
    place = place_of(room)
    if place is None:
        return sorted(room.glob(pattern))
    paths = [room / name for name in names_in(place, room.name) if fnmatch(name, pattern)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda path: fetch(path, without), paths))
    return [path for path in paths if path.is_dir()]
