"""Unpack: extract zip and tar archives into a folder and nowhere else. All members are checked before any is written."""

import errno
import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from raybrain.config import InputError

# raised for archives that are damaged, compressed in an unknown way, or encrypted
FAULTS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError)
LITTER = ("__MACOSX",)
OURS = ".raybrain-"


@dataclass(frozen=True)
class ArchiveMember:
    """A file in an archive: its path, its size in bytes, and a function that opens it."""

    path: str
    size: int
    open: Callable[[], IO[bytes]]


def path_problem(path: str) -> str:
    """What is wrong with a path that should lie inside a folder; empty if nothing is."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith(("/", "\\")) or "\\" in path or "\0" in path or re.match("[A-Za-z]:", path):
        return "is not a relative path"
    if ".." in parts:
        return "leads out of the folder"
    if parts[0].startswith(OURS):
        return "has a name that raybrain uses itself"
    return ""


def unpack(archive: Path, folder: Path, inner: str = "") -> dict[str, int]:
    """Extract an archive into a folder; unless its members share one top-level folder, into a new one named after the archive.

    Args:
        archive: a zip or tar file.
        folder: where to extract it.
        inner: a glob pattern: extract the archives inside it whose names match, instead of its members.

    Returns:
        The size in bytes of each extracted file, by path relative to ``folder``.

    Raises:
        InputError: if it is damaged, or a member is a link or a device or would lie outside of it; nothing is written then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f"{OURS}unpack-", ignore_cleanup_errors=True) as temporary:
        aside = Path(temporary) / "files"
        _extract(archive, aside, Path(temporary), inner)
        return _move(aside, folder)


def _extract(archive: Path, aside: Path, temporary: Path, inner: str) -> None:
    """Write the members of an archive to the folder ``aside``."""
    try:
        with _open(archive) as members:
            chosen = [member for member in members if not inner or _matches(member.path, inner)]
            if not chosen:
                names = ", ".join(sorted(member.path for member in members)[:5])
                raise InputError(f"{archive.name} holds no {inner!r}, but {names or 'nothing'}")
            _check_space(archive, chosen, temporary)
            target = temporary / "archives" if inner else _root(archive, aside, chosen)
            for member in chosen:
                _write(member, target / member.path)
    except (*FAULTS, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's fault, not the archive's
        raise InputError(f"{archive.name} cannot be unpacked ({error}); delete it and run the same command again") from None
    if inner:
        for member in chosen:
            _extract(target / member.path, aside, temporary, "")


class _open:
    """The members of an archive, all of them checked, while it is open."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive

    def __enter__(self) -> list[ArchiveMember]:
        try:
            if zipfile.is_zipfile(self.archive):
                self.file: zipfile.ZipFile | tarfile.TarFile = zipfile.ZipFile(self.archive)
                return _zip_members(self.archive, self.file)
            self.file = tarfile.open(self.archive)
            return _tar_members(self.archive, self.file)
        except tarfile.ReadError:
            raise InputError(
                f"{self.archive.name} is not a zip or tar file; delete it and run the same command again"
            ) from None

    def __exit__(self, *error: object) -> None:
        self.file.close()


def _zip_members(archive: Path, file: zipfile.ZipFile) -> list[ArchiveMember]:
    members = []
    for info in file.infolist():
        name = info.orig_filename  # as written in the archive: zipfile repairs some names
        kind = stat.S_IFMT(info.external_attr >> 16)
        _check_member(archive, name, "" if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "is a link or a device")
        if not info.is_dir():
            members.append(ArchiveMember(name, info.file_size, partial(file.open, info)))
    return _without_litter(members)


def _tar_members(archive: Path, file: tarfile.TarFile) -> list[ArchiveMember]:
    members = []
    for info in file.getmembers():
        _check_member(archive, info.name, "" if info.isfile() or info.isdir() else "is a link or a device")
        if info.isfile():
            members.append(ArchiveMember(info.name, info.size, partial(_tar_file, file, info)))
    return _without_litter(members)


def _tar_file(file: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    opened = file.extractfile(info)
    assert opened is not None, "only regular files are opened"
    return opened


def _check_member(archive: Path, name: str, problem: str) -> None:
    problem = problem or (path_problem(name) if PurePosixPath(name).parts else "")
    if problem:
        raise InputError(f"{archive.name} is not unpacked: its member {name!r} {problem}")


def _check_space(archive: Path, members: Iterable[ArchiveMember], folder: Path) -> None:
    needed, free = sum(member.size for member in members), shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(f"unpacking {archive.name} needs {amount(needed)} in {folder.parent}, and {amount(free)} are free")


def _without_litter(members: list[ArchiveMember]) -> list[ArchiveMember]:
    return [member for member in members if PurePosixPath(member.path).parts[0] not in LITTER]


def _matches(path: str, pattern: str) -> bool:
    return fnmatchcase(PurePosixPath(path).name, pattern) or fnmatchcase(path, pattern)


def _root(archive: Path, aside: Path, members: list[ArchiveMember]) -> Path:
    """Where members go: ``aside`` if they share one top-level folder, else a folder in it named after the archive."""
    tops = {PurePosixPath(member.path).parts[0] for member in members}
    single = len(tops) == 1 and all(len(PurePosixPath(member.path).parts) > 1 for member in members)
    name = archive.name.partition(".")[0] if archive.suffix != ".zip" else archive.stem
    return aside if single else aside / name


def _write(member: ArchiveMember, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, open(path, "wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)


def _move(aside: Path, folder: Path) -> dict[str, int]:
    """Move all files below ``aside`` to the same relative path below ``folder``, each atomically; returns their sizes."""
    moved: dict[str, int] = {}
    for path in sorted(path for path in aside.rglob("*") if path.is_file()):
        target = folder / path.relative_to(aside)
        moved[target.relative_to(folder).as_posix()] = path.stat().st_size
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    return moved


def amount(count: float) -> str:
    """A number of bytes as people read it, such as 1.2 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
