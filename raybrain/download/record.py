"""Record: what a study's folder holds of what its host offers. With it the next look is instant; without, it is not ours."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from raybrain.config import InputError
from raybrain.download.base import RemoteFile

NAME = ".raybrain-download.json"


@dataclass(frozen=True)
class FileEntry:
    """A file as the host listed it, without its address."""

    path: str
    bytes: int | None
    checksum: str
    unpack: bool


@dataclass
class Record:
    """The content of NAME.

    Attributes:
        host: where the files are from.
        files: all that it offers, needed or not.
        unpacked: for each archive that was unpacked, what was in it, by path and size.
        complete: whether all that was asked for last is there.
    """

    host: str
    files: tuple[FileEntry, ...] = ()
    unpacked: dict[str, dict[str, int]] = field(default_factory=dict)
    complete: bool = False

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The record of a folder; None if it has none.

        Raises:
            InputError: if it cannot be read.
        """
        try:
            found = json.loads((folder / NAME).read_text())
            return cls(**found | {"files": tuple(FileEntry(**file) for file in found["files"])})
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            raise InputError(
                f"{folder / NAME} is damaged; delete it to use {folder} as it is, or the folder to download anew"
            ) from None

    def save(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        temporary = folder / f"{NAME}.new"
        temporary.write_text(json.dumps(asdict(self), indent=1))
        temporary.replace(folder / NAME)

    def list(self, files: Iterable[RemoteFile]) -> None:
        """Remember what the host offers."""
        self.files = tuple(FileEntry(file.path, file.bytes, file.checksum, file.unpack) for file in files)

    def has(self, folder: Path, file: RemoteFile | FileEntry) -> bool:
        """Whether a file is there. It gets its name only when it is whole and checked, so its size is enough."""
        if file.unpack:
            inside = self.unpacked.get(file.path)
            return inside is not None and all(is_there(folder / path, size) for path, size in inside.items())
        return is_there(folder / file.path, file.bytes)

    def differs(self, folder: Path, offered: Mapping[str, RemoteFile]) -> str:
        """The first file in the folder that is not among those ``offered``; empty if a host could go on where another was."""
        for entry in self.files:
            other = offered.get(entry.path)
            unlike = other is None or (None not in (other.bytes, entry.bytes) and other.bytes != entry.bytes)
            if unlike and self.has(folder, entry):
                return entry.path
        return ""


def is_there(path: Path, size: int | None) -> bool:
    """Whether there is a file of this size, or of any."""
    try:
        found = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return False
    return size is None or found == size
