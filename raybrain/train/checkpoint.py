"""Checkpoint: what a run keeps on disk so that it can be killed anywhere and go on to the very same result."""

import errno
import json
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from raybrain.config import InputError
from raybrain.store import aside, write_json


class Damaged(InputError):
    """A file of a run cannot be read."""


def _cure(path: Path, what: str) -> str:
    return f"{what} {path}; type rm -r {shlex.quote(str(path.parent))} and run the same command: it trains anew"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one training run.

    ``last.pt`` holds everything an exact resume needs, ``best.pt`` the weights with the lowest valid loss, ``result.json``
    appears when the run is done. A file is replaced only by a whole one.
    """

    path: Path

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Write a checkpoint whole or not at all.

        Raises:
            InputError: if the disk is full; what was there before stays.
        """
        with self._replaced(name) as temporary:
            torch.save(state, temporary)

    def inherit(self, other: "RunFolder", epochs: int) -> None:
        """Begin where another run stands, if that is at the end of its epoch ``epochs``; else this run begins at its own start.

        Args:
            other: a run that is the same up to there.
            epochs: how many it must have done.

        Raises:
            InputError: if the disk is full.
        """
        if (self.path / "last.pt").exists():
            return
        try:
            saved, sizes = other.load("last"), other.read("sizes")
        except Damaged:
            return
        if saved is None or sizes is None or len(saved["state"]["history"]) != epochs:
            return
        if saved["state"]["step"] != epochs * sizes["updates_per_epoch"]:  # inside the next epoch
            return
        for name in ("best", "last"):  # in this order: a run that has begun has both
            with self._replaced(name) as temporary:
                shutil.copyfile(other.path / f"{name}.pt", temporary)

    @contextmanager
    def _replaced(self, name: str) -> Iterator[Path]:
        """A path to write a checkpoint to; it takes the place of the last one if all went well.

        Raises:
            InputError: if the disk is full.
        """
        try:
            with aside(self.path / f"{name}.pt") as temporary:
                yield temporary
        except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
            full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or _free(self.path) < 2**20
            reason = "the disk is full" if full else str(error).splitlines()[0]
            raise InputError(
                f"cannot write {self.path / name}.pt: {reason}; the last whole checkpoint is kept, "
                "make room and run the same command again"
            ) from None

    def load(self, name: str, device: torch.device | str = "cpu") -> dict[str, Any] | None:
        """A checkpoint, or None.

        Raises:
            Damaged: if it cannot be read.
        """
        path = self.path / f"{name}.pt"
        if not path.exists():
            return None
        try:
            found: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        except Exception as error:  # torch raises whatever the damage leads to
            raise Damaged(_cure(path, f"damaged checkpoint ({type(error).__name__})")) from None
        return found

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file whole or not at all."""
        write_json(self.path / f"{name}.json", value)

    def read(self, name: str) -> Any:
        """The content of a JSON file, or None.

        Raises:
            Damaged: if it cannot be read.
        """
        path = self.path / f"{name}.json"
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            raise Damaged(_cure(path, "damaged file")) from None


def _free(path: Path) -> int:
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize
