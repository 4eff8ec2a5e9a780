"""Contents: what a home in a bucket holds, by its manifests; whether that is whole; and what no manifest names."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from raybrain.bucket.address import BucketHome
from raybrain.bucket.copies import ROOMS, SHELVES, PublishedFolder, names_in
from raybrain.bucket.objects import objects_of

OURS = re.compile(r".*-[0-9a-f]{12}(\.[^./]*)?")  # names of objects that hold files
STALE = timedelta(days=1)  # an upload does not take longer, and the clock of a node is not wrong by more


@dataclass(frozen=True)
class Held:
    """A folder of a home in a bucket: its name, how many files it has and how many bytes they are."""

    name: str
    files: int
    bytes: int


def held(home: BucketHome) -> list[Held]:
    """Every folder of a home that has files."""
    filled = []
    for folder in _folders(home):
        entries, _ = folder.manifest()
        if entries:
            filled.append(Held(folder.name or "pages", len(entries), sum(entry["bytes"] for entry in entries.values())))
    return filled


@dataclass(frozen=True)
class DamagedObject:
    """A file of a home in a bucket that is not what was written: its address, how that is known, and what to do."""

    path: str
    reason: str
    cure: str = "delete the folder it lies in; the next command that needs it makes it again"

    def result(self) -> dict[str, str]:
        """For --json."""
        return dict(vars(self))


def damaged_objects(home: BucketHome, done: Callable[[int], object]) -> Iterator[DamagedObject]:
    """The files that are lost or not what their manifest says.

    Args:
        home: whose files are all read.
        done: is called with the bytes of each.
    """
    for folder in _folders(home):
        for name, entry in folder.manifest()[0].items():
            digest = folder.objects.fetch(folder.key(entry["key"]), Path(os.devnull))
            if digest is None:
                yield DamagedObject(f"{home}/{folder.key(name)}", "its object is lost")
            elif digest != entry["sha256"]:
                yield DamagedObject(f"{home}/{folder.key(name)}", "its sha256 is another")
            done(entry["bytes"])


def unnamed(home: BucketHome) -> dict[str, int]:
    """The objects that no manifest names, of uploads that were cut off, and their bytes.

    What a listing shows may be out of date, but it is only asked for what is old; manifests are read after it.
    """
    objects = objects_of(home)
    old = {name: size for name, size, written in objects.listed() if datetime.now(UTC) - written > STALE}
    named = {folder.key(entry["key"]) for folder in _folders(home) for entry in folder.manifest()[0].values()}
    rooms = (*ROOMS, *SHELVES)
    return {
        name: size
        for name, size in old.items()
        if name not in named and OURS.fullmatch(name) and name.partition("/")[0] in rooms and "/ray/" not in name
    }


def _folders(home: BucketHome) -> Iterator[PublishedFolder]:
    for room in ROOMS:
        yield from (PublishedFolder(home, f"{room}/{name}") for name in names_in(home, room))
    yield from (PublishedFolder(home, name) for name in (*SHELVES, ""))
