"""Tracking: the family of places that keep what people look at later: settings, scores, tables and figures of every run.

A :class:`Tracker` is a place's settings. Opened, it is a :class:`TrackingStore` of :class:`TrackedRun`. Both are plain values,
so they travel to a Ray worker and go on there::

    store = Tracker.parse("mlflow").open(Path("home"))
    sweep = store.start("sweep", tags={"space": "quickstart"})
    trial = store.start("trial 0", parent=sweep.id, params={"optim.lr": 3e-4})
    trial.metrics({"valid/top10": 0.41}, step=1)
    trial.set_status("FINISHED")

Addresses are shown and kept without user and password: these stay in the environment, where they are looked up when needed.

To add a kind, add a file beside this one, or one that $RAYBRAIN_PLUGINS names; ``--cluster tracker=NAME`` picks it. The
smallest complete one writes lines to a text file; it forgets nothing, so every run that it is asked for is there:

>>> @dataclass(frozen=True)
... class Line(TrackedRun):
...     def write(self, *words):
...         with open(self.address, "a") as file:
...             print(self.id, *words, file=file)
...     def metrics(self, values, step): self.write("metrics", step, dict(values))
...     def params(self, values): self.write("params", dict(values))
...     def tags(self, values): self.write("tags", dict(values))
...     def artifact(self, path, folder=None): self.write("file", path.name)
...     def last_step(self, metric): return 0
...     def status(self): return "RUNNING"
...     def set_status(self, status): self.write(status)
>>> class Lines(TrackingStore):
...     def start(self, name, parent=None, params=None, tags=None):
...         return Line(self.address, name)
...     def run(self, run_id): return Line(self.address, run_id)
>>> class TextFile(Tracker, name="doc_text"):
...     def open(self, home): return Lines(str(home / "runs.txt"))
>>> import tempfile
>>> with tempfile.TemporaryDirectory() as home:
...     run = TextFile().open(Path(home)).start("trial 0")
...     run.metrics({"loss": 0.5}, step=1)
...     run.set_status("FINISHED")
...     print(Path(run.address).read_text(), end="")
trial 0 metrics 1 {'loss': 0.5}
trial 0 FINISHED
"""

import csv
import functools
import platform
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Self

import raybrain
from raybrain.config import Choice, InputError

HOME = "{home}"  # stands for the home folder in a kept address
Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class RunKey:
    """Where a run is tracked: the address of a store, without user and password, and an id."""

    address: str
    id: str

    def entry(self, home: Path) -> dict[str, str]:
        """What to keep of it in a file of ``home``, which may be moved together with a store in it."""
        return {"id": self.id, "address": self.address.replace(str(home), HOME)}

    @classmethod
    def known(cls, entry: Mapping[str, str] | None, home: Path) -> Self | None:
        """The run that an :meth:`entry` in a file of ``home`` speaks of; None if there is none, or of an earlier version."""
        if entry is None or entry.keys() != {"id", "address"}:
            return None
        return cls(entry["address"].replace(HOME, str(home)), entry["id"])


@dataclass(frozen=True)
class TrackedRun(ABC):
    """One run: what is written here is kept at once.

    Attributes:
        address: of its store.
        id: names it there.
    """

    address: str
    id: str

    @property
    def key(self) -> RunKey:
        """Where it is tracked."""
        return RunKey(self.address, self.id)

    @abstractmethod
    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Keep scores of a step."""

    @abstractmethod
    def params(self, values: Mapping[str, Any]) -> None:
        """Keep settings. A setting cannot change later: what may, after a resume, is a tag."""

    @abstractmethod
    def tags(self, values: Mapping[str, Any]) -> None:
        """Keep labels, in place of any of the same name."""

    @abstractmethod
    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a file, or a folder with all that is in it, under ``folder``."""

    @abstractmethod
    def last_step(self, metric: str) -> int:
        """The last step of a metric that is kept; 0 if there is none."""

    @abstractmethod
    def status(self) -> Status:
        """Whether it is running, or how it ended."""

    @abstractmethod
    def set_status(self, status: Status) -> None:
        """Say that it is running, or how it ended; until then it shows as running."""

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep rows as ``tables/<name>.csv``; a column is any key of any row, in order of appearance."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.csv"
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
            self.artifact(path, "tables")


@dataclass(frozen=True)
class TrackingStore(ABC):
    """Where runs are kept.

    Attributes:
        address: without user and password.
    """

    address: str

    @abstractmethod
    def start(
        self,
        name: str,
        parent: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> TrackedRun:
        """A new run, under the run with the id ``parent`` if given."""

    @abstractmethod
    def run(self, run_id: str) -> TrackedRun | None:
        """The run with this id; None if it is gone."""

    def adopt(self, gone: str, parent: TrackedRun) -> None:  # noqa: B027 - where runs are not shown below others, nothing is to do
        """Put the runs under one that is gone under another one."""

    def is_away(self, error: Exception) -> bool:
        """Whether an error means that the store does not answer now, and may do so later."""
        return isinstance(error, ConnectionError | TimeoutError) or (isinstance(error, OSError) and error.errno is None)

    def find(self, key: RunKey | None) -> TrackedRun | None:
        """The run that was kept under a key; None if it is gone, or in another store."""
        return self.run(key.id) if key and key.address == self.address else None


class Tracker(Choice):
    """Where runs are tracked. Its settings are the fields of a kind."""

    @abstractmethod
    def open(self, home: Path) -> TrackingStore:
        """The store of a home; made if it is not there. Many processes may do so at once.

        Raises:
            InputError: if it does not answer.
        """

    def lies_in(self, home: Path) -> bool:
        """Whether runs are kept in files of a home."""
        return False

    def page(self, home: Path, port: int) -> tuple[list[str], dict[str, str]]:
        """The command that shows runs at a port of this machine, and what it needs in its environment.

        Raises:
            InputError: if runs of this kind have no page.
        """
        raise InputError(f"the tracker {self.name!r} has no page of its own; runs are kept at {self.open(home).address}")

    def view(self, home: Path, port: int) -> str:
        """The address, at a port of this machine, at which :meth:`page` shows what is looked at first."""
        return f"http://127.0.0.1:{port}"

    def describe(self, home: Path) -> str:
        """Where runs are kept and by what, for people. Makes nothing.

        Raises:
            InputError: if it does not answer.
        """
        return self.name


@functools.cache
def versions() -> dict[str, str]:
    """What a result depends on besides its settings: ``version.torch``, ``version.git`` and so on, as far as known."""
    known = {"version.python": platform.python_version()}
    for package in ("raybrain", "torch", "ray", "mlflow"):
        try:
            known[f"version.{package}"] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    checkout = Path(raybrain.__file__).parents[1]
    if (checkout / ".git").exists():  # else git would answer for whatever checkout an environment lies in
        command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
            known["version.git"] = done.stdout.strip()
        except (OSError, subprocess.SubprocessError):
            pass
    return known
