"""Ownership: who works on a folder, one process at a time, on this node or, where its home is in a bucket, on any."""

import os
import random
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raybrain.bucket.address import place_of
from raybrain.bucket.copies import fetch
from raybrain.bucket.lease import LEASE_S, Lease, is_leased, last_owner
from raybrain.config import InputError
from raybrain.storage import locked, read_json, remove_left_over, write_json

LOOK_S = 1.0  # between two looks whether an owner is done


@dataclass(frozen=True)
class Owner:
    """Who works on a folder: host, process, since when (seconds since 1970), and what for."""

    host: str
    pid: int
    since: float
    purpose: str

    def describe(self) -> str:
        """For people."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host} ({self.purpose}, since {since})"


@contextmanager
def owned(folder: Path, purpose: str, busy: Callable[[str], object]) -> Iterator[None]:
    """Work on a folder while no other process does; wait for the one that does so now.

    Args:
        folder: is made if it is not there.
        purpose: what for, in a word or two.
        busy: is called once if another process works on it, with a line that says which. May raise instead of waiting.
    """
    locks = _Locks(folder, Owner(socket.gethostname(), os.getpid(), time.time(), purpose))
    if not locks.taken():
        owner = owner_of(folder)
        dead = f"; if it was killed, that is over within {LEASE_S:.0f} s" if is_leased(folder) else ""
        busy(f"{owner.describe() if owner else 'another process'} works on {folder}{dead}")
        while not locks.taken():
            time.sleep(LOOK_S)
    try:
        remove_left_over(folder.glob(".*"))
        fetch(folder)  # as the last owner left it, on whichever node
        yield
    finally:
        locks.release()


class _Locks:
    """What makes a folder ours: a lock of this node, and a lease where it is of a home in a bucket."""

    def __init__(self, folder: Path, owner: Owner) -> None:
        self.folder, self.owner = folder, owner
        self._lock = _lock(folder)
        self._lease = Lease(folder, asdict(owner) | {"copy": _copy_id(folder)}) if is_leased(folder) else None

    def taken(self) -> bool:
        """Whether the folder is ours from now on. Whoever takes one has said who that is before anybody can look."""
        import filelock

        with settled(self.folder):
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                return False
            try:
                if self._lease and not self._lease.take(self._is_dead()):
                    self._lock.release()
                    return False
                write_json(self.folder / "owner.json", asdict(self.owner))
            except BaseException:
                self.release()
                raise
            return True

    def _is_dead(self) -> bool:
        """Whether the last owner worked on this copy, where nobody does: its lease need not be waited for."""
        return (last_owner(self.folder) or {}).get("copy") == _copy_id(self.folder)

    def release(self) -> None:
        """Let others have it."""
        if self._lease:
            self._lease.give_back()
        self._lock.release()


@contextmanager
def settled(folder: Path) -> Iterator[Owner | None]:
    """Who works on a folder, or did so last; nobody else begins to while the block runs."""
    with locked(folder / "owner.json"):
        yield owner_of(folder)


@contextmanager
def unowned(folder: Path) -> Iterator[bool]:
    """Whether no process works on a folder; if so, none begins to while the block runs."""
    import filelock

    lock = _lock(folder)
    with settled(folder):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            yield False
            return
        lease = None
        try:
            if is_leased(folder):  # whoever owned it last stays known
                lease = Lease(folder, (last_owner(folder) or {}) | {"copy": _copy_id(folder)})
            if free := lease is None or lease.take():
                fetch(folder)
            yield free
        finally:
            if lease:
                lease.give_back()
            lock.release()


def owner_of(folder: Path) -> Owner | None:
    """Who works on a folder, or did so last; None if that is not known."""
    try:
        known = last_owner(folder) if is_leased(folder) else read_json(folder / "owner.json")
        return None if known is None else Owner(**{name: value for name, value in known.items() if name != "copy"})
    except (InputError, TypeError):
        return None


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """As :func:`locked`, on all nodes where its home is in a bucket."""
    with locked(path):
        lease = Lease(path, {"copy": _copy_id(path)}) if is_leased(path) else None
        while lease and not lease.take((last_owner(path) or {}).get("copy") == _copy_id(path)):
            time.sleep(random.random() * LOOK_S)
        try:
            yield
        finally:
            if lease:
                lease.give_back()


def _copy_id(path: Path) -> str:
    """Names the copy that this node has of a home in a bucket, among those of all nodes."""
    place = place_of(path)
    assert place, f"{path} is on a disk"
    file = place.copy / ".sync" / "copy"
    with locked(file):
        if not file.exists():
            file.write_text(uuid.uuid4().hex)
        return file.read_text()


def _lock(folder: Path) -> Any:
    import filelock

    folder.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(folder / "lock")
