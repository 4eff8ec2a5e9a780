"""Integrity: how damage to files is noticed that the disk itself does not tell of.

JSON carries a checksum of its content (:func:`raybrain.storage.write_json`). Here is what goes for all other files:

- arrays have a stamp, which is kept in JSON beside them, and is compared once in a process
- checkpoints are zip archives, which carry a checksum of each entry
- Parquet carries checksums of its pages, and is known by sha256 besides where a store is made of it
- SQLite has none; it is asked whether its pages fit together

A stamp holds no path, and no time: it goes with a home that is moved.
"""

import contextlib
import hashlib
import io
import os
import sqlite3
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from raybrain.config import InputError, first_line

BLOCK = 2**23  # bytes that a thread reads at once
THREADS = 4
WAIT_S = 60.0  # for whoever writes to a database

DAMAGE = (OSError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError)  # what readers raise about damage

_compared: set[tuple[Any, ...]] = set()  # files that were whole when this process compared them
_checked: set[tuple[str, int, int]] = set()  # databases, likewise


def is_damage(error: Exception) -> bool:
    """Whether one of DAMAGE is about the content of a file; the system's own, about one that cannot be read, has a number."""
    return getattr(error, "errno", None) is None


def say_damaged(path: Path) -> None:
    """Say of a damaged file that can be made again that this is done."""
    print(f"raybrain: damaged file {path}; it is made again", file=sys.stderr, flush=True)


def file_digest(path: Path) -> str:
    """sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_record(path: Path) -> dict[str, Any]:
    """What a file is known by: size, time and checksum."""
    stat = path.stat()
    return {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": file_digest(path)}


def stamp(path: Path) -> dict[str, Any]:
    """What a file is known by: its size, and the CRC-32 of each block of 8 MiB."""

    def block(begin: int) -> int:
        with open(path, "rb", buffering=0) as file:
            file.seek(begin)
            return zlib.crc32(file.read(BLOCK))

    size = path.stat().st_size
    begins = range(0, size, BLOCK)
    if len(begins) < 2:  # not worth a thread
        return {"bytes": size, "crc32": [block(begin) for begin in begins]}
    with ThreadPoolExecutor(THREADS) as pool:
        return {"bytes": size, "crc32": list(pool.map(block, begins))}


def is_whole(path: Path, known: Mapping[str, Any]) -> bool:
    """Whether a file is there with a :func:`stamp`. Its content is read once in a process, whatever its time says."""
    try:
        stat = path.stat()
        key = (str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size, tuple(known["crc32"]))
        if stat.st_size == known["bytes"] and (key in _compared or stamp(path) == known):
            _compared.add(key)
            return True
    except FileNotFoundError:
        pass
    return False


def check_archive(packed: bytes) -> None:
    """Refuse a zip archive with a damaged entry; readers such as torch's do not look.

    Raises:
        zipfile.BadZipFile: if it is damaged, or none.
    """
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        if entry := archive.testzip():
            raise zipfile.BadZipFile(f"the checksum of {entry} is not its own")


def check_database(path: Path, cure: str) -> None:
    """Refuse a SQLite file that is damaged; one that is not there is made by whoever opens it.

    Args:
        path: of the database; it is read once in a process, as long as nobody writes to it.
        cure: what to type.

    Raises:
        InputError: if its pages do not fit together, or it cannot be opened.
    """
    try:
        stat = path.stat()
    except FileNotFoundError:
        return
    key = (str(path), stat.st_ino, stat.st_mtime_ns)
    if key in _checked:
        return
    try:
        with contextlib.closing(sqlite3.connect(os.fspath(path), timeout=WAIT_S)) as database:
            (answer,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return  # whoever writes to it can read it
        raise _refusal(path, error, cure) from None
    if answer != "ok":
        raise InputError(f"damaged database {path} ({str(answer).splitlines()[-1]}); {cure}")
    _checked.add(key)


@contextlib.contextmanager
def explaining_database(path: Path, cure: str) -> Iterator[None]:
    """Work with a SQLite file through a library: :func:`check_database`, and what SQLite says meanwhile in one line.

    Raises:
        InputError: if the file is damaged, with the cure, or cannot be opened.
    """
    check_database(path, cure)
    try:
        yield
    except Exception as error:
        if refused := _cause(error):
            raise _refusal(path, refused, cure) from None
        raise


def _cause(error: BaseException | None) -> sqlite3.DatabaseError | None:
    """What SQLite said that became an error of a library."""
    while error:
        if isinstance(error, sqlite3.DatabaseError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _refusal(path: Path, error: sqlite3.DatabaseError, cure: str) -> InputError:
    reason = first_line(error)
    if _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return InputError(f"damaged database {path} ({reason}); {cure}")
    return InputError(f"cannot open {path} ({reason})")


def _code(error: sqlite3.DatabaseError) -> int:
    """SQLite's code of an error, without the details in the upper bits; 0 if it has none."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
