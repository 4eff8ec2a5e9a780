"""Transfer: download one file. It resumes after an interruption; the file gets its name only once whole and verified."""

import hashlib
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raybrain.config import InputError
from raybrain.download import http
from raybrain.download.base import Host, RemoteFile
from raybrain.storage import shown

if TYPE_CHECKING:
    import requests

CHUNK = 1 << 18


class Dropped(http.Unreachable):
    """A transfer ended early."""


class Unwritable(InputError):
    """A file cannot be written, for example because the disk is full."""


class Stopped(Exception):
    """The transfer was told to stop."""


@dataclass(frozen=True)
class Transfer:
    """Downloads files from a host into a folder.

    Attributes:
        folder: the folder that the files' paths are relative to.
        host: the host that offers the files.
        session: a session of that host.
        stop: setting it stops all transfers.
    """

    folder: Path
    host: Host
    session: "requests.Session"
    stop: threading.Event

    def __call__(self, file: RemoteFile, progress: Callable[[int], None] = lambda _: None) -> Path:
        """Download a file, and call ``progress`` with the number of bytes downloaded so far.

        Raises:
            Unreachable: if the host stops answering.
            Unwritable: if the file cannot be written, for example because the disk is full.
            InputError: if the host has no such file, or sends something else than announced.
            Stopped: if ``stop`` is set.
        """
        import tenacity

        target = self.folder / file.path
        part = target.with_name(f"{target.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        fruitless = _Fruitless(part)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Dropped),
            stop=fruitless,
            wait=lambda _: http.BACKOFF_S * 2**fruitless.attempts,
            sleep=tenacity.sleep_using_event(self.stop),
            reraise=True,
        )
        try:
            retrying(self._resume, file, part, progress)
        except OSError as error:
            raise Unwritable(
                f"cannot write {part} ({error.strerror or error}); the same command goes on where it was"
            ) from None
        _verify(file, part)
        os.replace(part, target)
        _tag(part).unlink(missing_ok=True)
        return target

    def _resume(self, file: RemoteFile, part: Path, progress: Callable[[int], None]) -> None:
        """Download what is missing of ``part``; all of it if the server cannot send a range or the file has changed there."""
        from urllib3.exceptions import HTTPError

        if self.stop.is_set():
            raise Stopped
        tag = _tag(part).read_text() if _tag(part).exists() else ""
        present = _size(part) if tag or file.checksum else 0
        if file.bytes is not None and present >= file.bytes and part.exists():
            return  # _verify decides whether it is good
        headers = {"Accept-Encoding": "identity"}  # else the sizes would be those of the compressed content
        if present:
            headers |= {"Range": f"bytes={present}-"} | ({"If-Range": tag} if tag else {})
        options: dict[str, Any] = {"headers": headers, "stream": True, "accepted": (416,)}
        with http.request(self.session, "GET", file.url, login=self.host.login, **options) as response:
            begin, total = _extent(response)
            if begin not in (0, present):
                _delete(part)
                raise Dropped(f"{file.path}: {shown(file.url)} does not send the rest of the file")
            if file.bytes is not None and total not in (None, file.bytes):
                raise InputError(f"{file.path}: {self.host.name} announced {file.bytes} bytes and sends {total}")
            try:
                self._write(part, begin, response, progress)
            except HTTPError as error:
                raise Dropped(f"{file.path}: {shown(file.url)} stopped sending ({http.reason(error)})") from None
        whole = file.bytes if file.bytes is not None else total
        if whole is not None and _size(part) < whole:
            raise Dropped(f"{file.path}: {shown(file.url)} stopped sending at {_size(part)} of {whole} bytes")

    def _write(self, part: Path, begin: int, response: "requests.Response", progress: Callable[[int], None]) -> None:
        with open(part, "ab" if begin else "wb") as out:
            if not begin:
                tag = response.headers.get("ETag", "")
                _tag(part).write_text(tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", ""))
            done = begin
            progress(done)
            while chunk := response.raw.read1(CHUNK):  # whatever has arrived, lest a dropped connection lose it
                if self.stop.is_set():
                    raise Stopped
                out.write(chunk)
                done += len(chunk)
                progress(done)


class _Fruitless:
    """Stops the retries after several attempts in a row that brought no new bytes."""

    def __init__(self, part: Path) -> None:
        self.part, self.most, self.attempts = part, -1, 0

    def __call__(self, state: Any) -> bool:
        size = _size(self.part)
        self.attempts = 0 if size > self.most else self.attempts + 1
        self.most = max(size, self.most)
        return self.attempts >= http.TRIES


def _extent(response: "requests.Response") -> tuple[int, int | None]:
    """The first byte of a response (-1 if it has none), and the size of the whole file if the response gives it."""
    if response.status_code == 416:
        return -1, None
    if response.status_code == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not match:
            return -1, None
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length")
    return 0, int(length) if length else None


def _verify(file: RemoteFile, part: Path) -> None:
    """Delete and refuse a file whose size or checksum is not what the host announced."""
    size = _size(part)
    if file.bytes is not None and size != file.bytes:
        _delete(part)
        raise InputError(f"{file.path} has {size} bytes instead of {file.bytes}; it was deleted, the same command tries again")
    with open(part, "rb") as written:
        os.fsync(written.fileno())
        kind, _, expected = file.checksum.partition(":")
        actual = hashlib.file_digest(written, kind).hexdigest() if kind else ""
    if actual != expected.lower():
        _delete(part)
        raise InputError(
            f"{file.path} has the wrong checksum ({kind} {actual}, expected {expected}); "
            "it was deleted, the same command tries again"
        )


def _tag(part: Path) -> Path:
    """The file that keeps the server's ETag or modification date of the version being downloaded."""
    return part.with_name(f"{part.name}.tag")


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _delete(part: Path) -> None:
    for path in (part, _tag(part)):
        with suppress(FileNotFoundError):
            path.unlink()
