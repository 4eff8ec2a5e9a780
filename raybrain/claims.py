"""Claims: what of a home a living process works with, so that nobody removes it meanwhile.

::

    claims/HOST-PID-ID.json   the folders that a process works with
    claims/HOST-PID-ID.lock   held by that process as long as it lives
    claims/guard.lock         held while claims are made, and while something is removed

A process that was killed holds no lock any more, so its claim counts for nothing, whichever machine it ran on.
"""

import atexit
import os
import socket
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from raybrain.config import InputError
from raybrain.storage import read_json, write_json

if TYPE_CHECKING:
    from filelock import FileLock


@dataclass
class _Claim:
    """What this process claims in one home."""

    path: Path
    lock: "FileLock"
    folders: set[str] = field(default_factory=set)

    def release(self) -> None:
        with suppress(OSError):  # the home may be gone by now
            self.path.unlink(missing_ok=True)
            self.lock.release()
            self.path.with_suffix(".lock").unlink(missing_ok=True)


_own: dict[Path, _Claim] = {}


def claim(home: Path, folders: Iterable[Path]) -> None:
    """Note that this process works with folders in ``home``, until it ends."""
    names = {folder.relative_to(home).as_posix() for folder in folders}
    if home in _own and names <= _own[home].folders and _own[home].path.exists():
        return
    with guard(home):
        if home not in _own:
            _own[home] = _begin(home)
        own = _own[home]
        own.folders |= names
        write_json(own.path, {"host": socket.gethostname(), "pid": os.getpid(), "folders": sorted(own.folders)})


def _begin(home: Path) -> _Claim:
    import filelock

    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    begun = _Claim(home / "claims" / f"{name}.json", filelock.FileLock(home / "claims" / f"{name}.lock"))
    begun.lock.acquire()  # before there is a claim, which counts only while it is locked
    atexit.register(begun.release)
    return begun


def guard(home: Path) -> "FileLock":
    """Nobody begins to work with anything in ``home`` while this is held."""
    import filelock

    (home / "claims").mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(home / "claims" / "guard.lock")


def claims_of_others(home: Path) -> dict[Path, str]:
    """The folders that other living processes work with, and who that is. What dead ones claimed is forgotten."""
    import filelock

    claimed: dict[Path, str] = {}
    for path in sorted((home / "claims").glob("*.json")):
        if home in _own and path == _own[home].path:
            continue
        lock = filelock.FileLock(path.with_suffix(".lock"))
        try:
            with lock.acquire(timeout=0):
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)
        except filelock.Timeout:
            try:
                known = read_json(path) or {"folders": []}
                claimed |= {home / name: f"process {known['pid']} on {known['host']}" for name in known["folders"]}
            except InputError:  # damaged: it may work with anything
                owner = f"a process whose claim {path} is damaged"
                claimed |= {folder: owner for room in ("stores", "features") for folder in (home / room).glob("*")}
    return claimed
