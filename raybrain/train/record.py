"""Checkpoint: what a run keeps on disk so that it can be killed anywhere and go on to the very same result."""

import errno
import json
import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from raybrain.config import InputError
from raybrain.storage import aside, write_json

if TYPE_CHECKING:
    from filelock import FileLock


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
        try:
            with aside(self.path / f"{name}.pt") as temporary:
                torch.save(state, temporary)
        except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
            full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or _free(self.path) < 2**20
            reason = "the disk is full" if full else str(error).splitlines()[0]
            raise InputError(
                f"cannot write {self.path / name}.pt: {reason}; the last whole checkpoint is kept, "
                "make room and run the same command again"
            ) from None

    def inherit(self, other: "RunFolder", epochs: int) -> None:
        """Begin where another run stands, if that is at the end of its epoch ``epochs``; else this run begins at its own start.

        Args:
            other: a run that is the same up to there.
            epochs: how many it must have done.

        Raises:
            InputError: if the disk is full.
        """
        import filelock

        try:
            last, best, sizes = other.load("last"), other.load("best"), other.read("sizes")
        except Damaged:
            return
        if last is None or best is None or sizes is None:
            return
        history, step = last["state"]["history"], last["state"]["step"]
        if len(history) != epochs or step != epochs * sizes["updates_per_epoch"]:  # another epoch, or inside the next one
            return
        if best["epoch"] != best_epoch(history)["epoch"]:  # another process trains it on
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with suppress(filelock.Timeout), self.lock(timeout=0):  # or another process trains this one
            if not (self.path / "last.pt").exists():
                self.save("best", best)
                self.save("last", last)

    def lock(self, timeout: float = -1) -> "FileLock":
        """Held by the process that trains this run; raises filelock.Timeout after so many seconds, or never if that is -1."""
        import filelock

        return filelock.FileLock(self.path / "lock", timeout=timeout)

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


def best_epoch(history: Sequence[dict[str, float]]) -> dict[str, float]:
    """The epoch whose weights are kept: the one with the lowest valid loss."""
    return min(history, key=lambda row: row["valid_loss"])


def _free(path: Path) -> int:
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize
