"""Lease: one owner of a folder of a home in a bucket at a time, on whichever node.

An object ``lease.json`` says who owns a folder. It is made, renewed, given back and taken over on condition that nobody else
did so meanwhile, so of two that want it one gets it. An owner that has not renewed it for LEASE_S is dead: by the clock of the
bucket, as those of nodes may differ.
"""

import json
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from raybrain.bucket.address import place_of
from raybrain.bucket.copies import held, unit_of
from raybrain.bucket.objects import Objects, Version, objects_of
from raybrain.config import InputError

LEASE_S = 60.0  # an owner that was killed elsewhere is waited for as long
RENEWAL_S = 15.0
LEASE, CLOCK = "lease.json", "clock"  # an object that is written to read the clock of the bucket


class Lease:
    """The right to work on a folder, held by this process until it is given back, or lost.

    Args:
        folder: or file, in a copy.
        owner: who we are, for people.
    """

    def __init__(self, folder: Path, owner: Mapping[str, Any]) -> None:
        self.folder = folder
        self.key, self.objects = _object(folder)
        self.holder = uuid.uuid4().hex
        self.owner = dict(owner)
        self.lost = False
        self._version: Version | None = None
        self._renewed = 0.0
        self._mutex = threading.Lock()
        self._over = threading.Event()

    def take(self, dead: bool = False) -> bool:
        """Whether it is ours from now on; renewed by a thread then.

        Args:
            dead: it is known that whoever holds it is.
        """
        read = self.objects.read(self.key)
        known = _content(read)
        if known.get("holder") and not dead and not self._is_expired():
            return False
        self._version = self.objects.write_if(self.key, self._text(), read and read[1])
        if self._version is None and not self._is_ours():
            return False
        self._renewed = time.monotonic()
        held[self.folder] = self.check
        threading.Thread(target=self._renew_often, name="lease", daemon=True).start()
        return True

    def give_back(self) -> None:
        """Let others have it; who owned it last stays known."""
        self._over.set()
        held.pop(self.folder, None)
        with self._mutex, suppress(InputError):  # it ends by itself
            if self._version and not self.lost:
                self.objects.write_if(self.key, self._text(held=False), self._version)

    def check(self) -> None:
        """Refuse to go on where others may think that we are dead.

        Raises:
            InputError: if somebody else holds it by now.
        """
        if time.monotonic() - self._renewed > LEASE_S / 2:
            self._renew()
        if self.lost:
            raise InputError(
                f"{self.objects.place}/{self.key.rpartition('/')[0]} was taken over while this process did not answer"
            )

    def _renew_often(self) -> None:
        while not self._over.wait(RENEWAL_S):
            with suppress(InputError):  # no network; whoever publishes will say so
                self._renew()

    def _renew(self) -> None:
        with self._mutex:
            if self.lost or self._over.is_set():
                return
            written = self.objects.write_if(self.key, self._text(), self._version)
            if written is None and not self._is_ours():
                self.lost = True
                return
            self._version = written or self._version
            self._renewed = time.monotonic()

    def _is_ours(self) -> bool:
        """Whether we hold it though a condition was not met: the answer to an earlier try got lost."""
        read = self.objects.read(self.key)
        if read is None or _content(read).get("holder") != self.holder:
            return False
        self._version = read[1]
        return True

    def _is_expired(self) -> bool:
        self.objects.write(CLOCK, uuid.uuid4().hex.encode())
        now = self.objects.written_at(CLOCK)
        return (now - self.objects.written_at(self.key)).total_seconds() > LEASE_S

    def _text(self, held: bool = True) -> bytes:
        # another text every time: a version names content
        return json.dumps({"holder": self.holder if held else None, "at": uuid.uuid4().hex, "owner": self.owner}).encode()


def is_leased(folder: Path) -> bool:
    """Whether owners of a folder or file need a lease: it is of a home in a bucket."""
    return unit_of(folder) is not None


def last_owner(folder: Path) -> dict[str, Any] | None:
    """Who owns what is leased, or did so last; None if that is not known."""
    key, objects = _object(folder)
    owner: dict[str, Any] | None = _content(objects.read(key)).get("owner")
    return owner


def _object(path: Path) -> tuple[str, Objects]:
    place = place_of(path)
    assert place, f"{path} is on a disk"
    return f"{path.relative_to(place.copy).as_posix()}/{LEASE}", objects_of(place)


def _content(read: tuple[bytes, Version] | None) -> dict[str, Any]:
    if read is None:
        return {}
    with suppress(ValueError):
        content: dict[str, Any] = json.loads(read[0])
        return content
    return {}
