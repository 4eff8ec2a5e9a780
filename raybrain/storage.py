"""Storage: how bytes are kept: written whole or not at all, known by checksum, and worked on by one process at a time."""

import errno
import hashlib
import json
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raybrain.bucket.copies import publish, publish_folder, remove, unit_of
from raybrain.config import InputError, first_line
from raybrain.integrity import DAMAGE, file_digest, file_record, is_damage

if TYPE_CHECKING:
    import pyarrow as pa


FULL = (errno.ENOSPC, errno.EDQUOT)
HALF_WRITTEN = re.compile(r"\.(.+)-[0-9a-f]{32}")  # names of what is written aside


_together: ContextVar[dict[Path, Path] | None] = ContextVar("together", default=None)
STALE_S = 3600.0  # what nobody has written to for so long, and is half written, is of a process that was killed


def remove_left_over(paths: Iterable[Path], stale_s: float = STALE_S) -> None:
    """Remove those of some files and folders that a killed process has written half: nobody has written to them for long."""
    for path in paths:
        if is_left_over(path, stale_s):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def is_left_over(path: Path, stale_s: float = STALE_S) -> bool:
    """Whether a file or folder is half written, and nobody writes it any more."""
    if HALF_WRITTEN.fullmatch(path.name) is None:
        return False
    with suppress(FileNotFoundError):
        return time.time() - path.lstat().st_mtime >= stale_s
    return False


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A path to write to; what was written appears under ``path`` only if all went well.

    Raises:
        InputError: if the disk is full; what was there before stays.
    """
    with drafted(path) as temporary:
        yield temporary
        put_in_place(temporary, path)


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """A path to write to what may become ``path`` with :func:`put_in_place`; gone if anything is raised before the block ends.

    Raises:
        InputError: if the disk is full; what was there before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:40]}-{uuid.uuid4().hex}")  # as readable for others as any file; mkstemp's is not
    try:
        yield temporary
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError) or error.errno not in FULL:
            raise
        raise InputError(f"cannot write {path}: the disk is full; make room and run the same command again") from None


def put_in_place(temporary: Path, path: Path) -> None:
    """Let a file that is written whole appear under ``path``; in a bucket first, if its home is in one.

    Raises:
        InputError: if the bucket does not answer.
    """
    if (drafts := _together.get()) is not None:
        drafts[temporary] = path
    elif not publish({temporary: path}):
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)


@contextmanager
def together(path: Path) -> Iterator[None]:
    """Let files below ``path`` that are put in place inside appear at the end, all at once, if its home is in a bucket.

    Elsewhere each appears as soon as it is whole. What is whole when something is raised appears, too.
    """
    if unit_of(path) is None or _together.get() is not None:
        yield
        return
    drafts: dict[Path, Path] = {}
    before = _together.set(drafts)
    try:
        yield
    finally:
        _together.reset(before)
        if drafts:
            publish(drafts)


def set_aside(path: Path, to: Path) -> None:
    """Move a file away that is damaged; where its home is in a bucket, which has no other, it exists there no more.

    Raises:
        FileNotFoundError: if it is not there.
    """
    os.replace(path, to)
    if unit_of(path):
        remove(path)


@contextmanager
def aside_folder(path: Path) -> Iterator[Path]:
    """A folder to write into; it appears under ``path``, in place of what was there, only if all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:200]}-{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        yield temporary
        if not publish_folder(temporary, path):
            shutil.rmtree(path, ignore_errors=True)
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` whole or not at all, with a checksum."""
    with aside(path) as temporary:
        temporary.write_text(json.dumps({"checksum": content_digest(value), "content": value}, indent=1, allow_nan=False))


def read_json(path: Path) -> Any:
    """What :func:`write_json` wrote; None if there is no such file. One of a time without checksums is taken as it is.

    Raises:
        InputError: if it is damaged.
    """
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):  # cut off, or no text at all
        raise InputError(f"damaged file {path}") from None
    if not isinstance(value, dict) or not value.keys() & {"checksum", "content"}:
        return value
    if value.keys() != {"checksum", "content"} or content_digest(value["content"]) != value["checksum"]:
        raise InputError(f"damaged file {path}")
    return value["content"]


def read_remakable(path: Path) -> Any:
    """What :func:`read_json` gives, of a file that is made again: a damaged one is gone, with a line for people."""
    try:
        return read_json(path)
    except InputError as error:
        print(f"raybrain: {error}; it is made again", file=sys.stderr, flush=True)
        with suppress(PermissionError):  # in another person's home
            path.unlink(missing_ok=True)
        return None


def write_table(path: Path, table: "pa.Table", **options: Any) -> dict[str, Any]:
    """Write a Parquet file whole or not at all, with page checksums; what it is known by."""
    import pyarrow.parquet as pq

    with aside(path) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True, **options)
        record = file_record(temporary)
    return record


def content_digest(content: Any) -> str:
    """Sixteen hexadecimal digits that name a plain value."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def renewed(path: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a file that has not changed, with its present time; None if it has, or is not there.

    It is trusted if size and time are those of the record, else compared by checksum.
    """
    try:
        stat = path.stat()
        if stat.st_size != record["bytes"]:
            return None
        if stat.st_mtime_ns != record["mtime_ns"] and file_digest(path) != record["sha256"]:
            return None
    except FileNotFoundError:
        return None
    return {**record, "mtime_ns": stat.st_mtime_ns}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Who is inside may read a file, change it and write it again: one process at a time."""
    import filelock

    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_name(f"{path.name}.lock")):
        yield


@contextmanager
def explaining_full_disk(path: Path) -> Iterator[None]:
    """Turn what goes wrong while weights are written to ``path`` into one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        stat = os.statvfs(path.parent)
        full = getattr(error, "errno", None) in FULL or stat.f_bavail * stat.f_frsize < 2**20
        reason = "the disk is full" if full else first_line(error)
        raise InputError(
            f"cannot write {path}: {reason}; the last whole checkpoint is kept, make room and run the same command again"
        ) from None


@contextmanager
def explaining_damage(path: Path) -> Iterator[None]:
    """Turn what a reader raises about a damaged file into one line."""
    try:
        yield
    except DAMAGE as error:
        if not is_damage(error) and not isinstance(error, FileNotFoundError):
            raise
        raise InputError(f"damaged data in {path} ({first_line(error)}); delete it and run again") from None


def shown(address: str) -> str:
    """An address as it may be shown and kept: without user, password and query; a path as it is.

    What may be a login, or may as well be a path, is hidden as ``***``.
    """
    scheme, separator, place = address.partition("://")
    if not separator:
        return address
    login, place, clear = split_login(place)
    if not clear and set(login) & set("@?"):  # what follows may be the rest of a password
        return f"{scheme}://***"
    return f"{scheme}://{'' if clear else '***@'}{place.partition('?')[0]}"


def split_login(place: str) -> tuple[str, str, bool]:
    """User and password of an address without its scheme, the rest, and whether it is clear that they end there.

    A password may hold any letter, as people do not always quote it.
    """
    host = re.split("[/?#]", place, maxsplit=1)[0]
    login, at, rest = place.rpartition("@")
    if not at or not host:  # nobody logs in to a file
        return "", place, True
    password = ":" in host and not host.rpartition(":")[2].isdigit()  # no port, so it goes on behind the slash
    return login, rest, len(login) < len(host) or (password and "@" not in login)
