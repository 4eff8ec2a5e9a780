"""Transfer: one file from a host to the disk. It goes on where it was, and gets its name only when it is whole and checked."""

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

if TYPE_CHECKING:
    import requests

CHUNK = 1 << 18


class Dropped(http.Unreachable):
    """A transfer ended early."""


class Unwritable(InputError):
    """The disk does not take any more."""


class Stopped(Exception):
    """Somebody wants no more."""


@dataclass(frozen=True)
class Transfer:
    """Downloads files of a host to a folder.

    Attributes:
        folder: where paths begin.
        host: whose files they are.
        session: the host's.
        stop: once it is set, transfers end.
    """

    folder: Path
    host: Host
    session: "requests.Session"
    stop: threading.Event

    def __call__(self, file: RemoteFile, progress: Callable[[int], None] = lambda _: None) -> Path:
        """Download a file; ``progress`` is called with the number of bytes it now has.

        Raises:
            Unreachable: if the host does not answer any more.
            Unwritable: if the disk is full, say.
            InputError: if the host has no such file, or sends something else than it announced.
            Stopped: if ``stop`` is set.
        """
        import tenacity

        target = self.folder / file.path
        part = target.with_name(f"{target.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        fruitless = _Fruitless(part)
        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Dropped),
            stop=fruitless,
            wait=lambda _: http.BACKOFF_S * 2**fruitless.attempts,
            sleep=tenacity.sleep_using_event(self.stop),
            reraise=True,
        )
        try:
            again(self._go_on, file, part, progress)
        except OSError as error:
            told = f"cannot write {part} ({error.strerror or error})"
            raise Unwritable(f"{told}; the same command goes on where it was") from None
        _check(file, part)
        os.replace(part, target)
        _tag(part).unlink(missing_ok=True)
        return target

    def _go_on(self, file: RemoteFile, part: Path, progress: Callable[[int], None]) -> None:
        """Get what is missing of ``part``, or all of it if the server cannot send a rest or has another file now."""
        from urllib3.exceptions import HTTPError

        if self.stop.is_set():
            raise Stopped
        tag = _tag(part).read_text() if _tag(part).exists() else ""
        have = _size(part) if tag or file.checksum else 0
        if file.bytes is not None and have >= file.bytes and part.exists():
            return  # the check will say whether it is good
        headers = {"Accept-Encoding": "identity"}  # else sizes are those of a packed file
        if have:
            headers |= {"Range": f"bytes={have}-"} | ({"If-Range": tag} if tag else {})
        asked: dict[str, Any] = {"headers": headers, "stream": True, "accepted": (416,)}
        with http.ask(self.session, "GET", file.url, login=self.host.login, **asked) as response:
            begin, total = _extent(response)
            if begin not in (0, have):
                _forget(part)
                raise Dropped(f"{file.path}: {http.shown(file.url)} does not send the rest")
            if file.bytes is not None and total not in (None, file.bytes):
                raise InputError(f"{file.path}: {self.host.name} announced {file.bytes} bytes and sends {total}")
            try:
                self._write(part, begin, response, progress)
            except HTTPError as error:
                raise Dropped(f"{file.path}: {http.shown(file.url)} stopped sending ({http.reason(error)})") from None
        whole = file.bytes if file.bytes is not None else total
        if whole is not None and _size(part) < whole:
            raise Dropped(f"{file.path}: {http.shown(file.url)} stopped sending at {_size(part)} of {whole} bytes")

    def _write(self, part: Path, begin: int, response: "requests.Response", progress: Callable[[int], None]) -> None:
        with open(part, "ab" if begin else "wb") as out:
            if not begin:
                tag = response.headers.get("ETag", "")
                _tag(part).write_text(tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", ""))
            done = begin
            progress(done)
            while chunk := response.raw.read1(CHUNK):  # what has come so far, so that nothing of it is lost when it breaks off
                if self.stop.is_set():
                    raise Stopped
                out.write(chunk)
                done += len(chunk)
                progress(done)


class _Fruitless:
    """Give up after some attempts in a row that brought nothing."""

    def __init__(self, part: Path) -> None:
        self.part, self.most, self.attempts = part, -1, 0

    def __call__(self, state: Any) -> bool:
        size = _size(self.part)
        self.attempts = 0 if size > self.most else self.attempts + 1
        self.most = max(size, self.most)
        return self.attempts >= http.TRIES


def _extent(response: "requests.Response") -> tuple[int, int | None]:
    """At which byte an answer begins (-1 for nowhere), and how many the whole file has if that is said."""
    if response.status_code == 416:
        return -1, None
    if response.status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not found:
            return -1, None
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = response.headers.get("Content-Length")
    return 0, int(length) if length else None


def _check(file: RemoteFile, part: Path) -> None:
    """Refuse, and remove, what is not the file that was announced."""
    size = _size(part)
    if file.bytes is not None and size != file.bytes:
        _forget(part)
        raise InputError(f"{file.path} has {size} bytes instead of {file.bytes}; it was deleted, the same command tries again")
    with open(part, "rb") as written:
        os.fsync(written.fileno())
        kind, _, wanted = file.checksum.partition(":")
        found = hashlib.file_digest(written, kind).hexdigest() if kind else ""
    if found != wanted.lower():
        _forget(part)
        told = f"{file.path} has the wrong checksum ({kind} {found}, expected {wanted})"
        raise InputError(f"{told}; it was deleted, the same command tries again")


def _tag(part: Path) -> Path:
    """The file that holds what the server calls this version of the file."""
    return part.with_name(f"{part.name}.tag")


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _forget(part: Path) -> None:
    for path in (part, _tag(part)):
        with suppress(FileNotFoundError):
            path.unlink()
