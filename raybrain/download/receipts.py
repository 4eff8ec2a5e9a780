"""Receipt: what a study's folder holds of what its host offers. A folder without one was not downloaded by raybrain."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from raybrain.config import InputError
from raybrain.download.base import RemoteFile
from raybrain.storage import read_json, write_json

NAME = ".raybrain-download.json"


@dataclass(frozen=True)
class FileEntry:
    """A file as the host listed it, without its address."""

    path: str
    bytes: int | None
    checksum: str
    unpack: bool


@dataclass
class Receipt:
    """The content of the file NAME in a study's folder. It makes a second look at the folder quick.

    Attributes:
        host: the host the files came from.
        files: all files the host offers, whether needed or not.
        unpacked: for each archive that was unpacked, the sizes of its files by path.
        complete: whether everything that was requested last has been downloaded.
    """

    host: str
    files: tuple[FileEntry, ...] = ()
    unpacked: dict[str, dict[str, int]] = field(default_factory=dict)
    complete: bool = False

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The receipt of a folder; None if it has none.

        Raises:
            InputError: if it cannot be read.
        """
        try:
            content = read_json(folder / NAME)
            return content and cls(**content | {"files": tuple(FileEntry(**file) for file in content["files"])})
        except (InputError, TypeError, KeyError):
            raise InputError(
                f"{folder / NAME} is damaged; delete it to use {folder} as it is, or delete the folder to download it again"
            ) from None

    def save(self, folder: Path) -> None:
        """Write it to the folder, whole or not at all."""
        write_json(folder / NAME, asdict(self))

    def list(self, files: Iterable[RemoteFile]) -> None:
        """Remember which files the host offers."""
        self.files = tuple(FileEntry(file.path, file.bytes, file.checksum, file.unpack) for file in files)

    def has(self, folder: Path, file: RemoteFile | FileEntry) -> bool:
        """Whether a file is in the folder. Files get their name only once whole and verified, so comparing sizes is enough."""
        if file.unpack:
            inside = self.unpacked.get(file.path)
            return inside is not None and all(has_size(folder / path, size) for path, size in inside.items())
        return has_size(folder / file.path, file.bytes)

    def differs(self, folder: Path, offered: Mapping[str, RemoteFile]) -> str:
        """The first file in the folder that ``offered`` has not, or has with another size; empty if that host can continue."""
        for entry in self.files:
            other = offered.get(entry.path)
            unlike = other is None or (None not in (other.bytes, entry.bytes) and other.bytes != entry.bytes)
            if unlike and self.has(folder, entry):
                return entry.path
        return ""


def has_size(path: Path, size: int | None) -> bool:
    """Whether the file exists and has this size; None accepts any size."""
    try:
        actual = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return False
    return size is None or actual == size
