"""Sweep record: what a sweep keeps on disk, besides its Optuna database."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raybrain.bucket.address import typed_path
from raybrain.bucket.copies import folders_in
from raybrain.config import InputError
from raybrain.ownership import owned
from raybrain.storage import write_json
from raybrain.tracking.base import RunKey
from raybrain.tracking.folder import TrackedFolder
from raybrain.tune.space_record import SpaceRecord


@dataclass(frozen=True)
class StudyName:
    """How the study of a sweep is called in a database that several homes share.

    Attributes:
        name: of the study.
        folder: of the sweep, when it was last run.
    """

    name: str
    folder: str

    def is_elsewhere(self, folder: Path) -> bool:
        """Whether it is the study of another folder, which ``folder`` is a copy of, rather than the same one moved."""
        there = SweepRecord(Path(self.folder))
        if not there.path.exists() or there.path.samefile(folder):
            return False
        known = there.study()
        return known is not None and known.name == self.name


@dataclass(frozen=True)
class SweepRecord(TrackedFolder):
    """The folder of one sweep. Nobody else knows the names of its files."""

    @property
    def purpose(self) -> str:
        """What other processes are told that want the same as this sweep or one of its trainings."""
        return f"sweep {self.path.name}"

    @property
    def is_begun(self) -> bool:
        """Whether a command began this sweep."""
        return self._file("tracking").exists()

    @property
    def is_finished(self) -> bool:
        """Whether a command came to the end of this sweep; a later one may have added trials."""
        return self._file("trials").exists()

    @property
    def ray(self) -> Path:
        """Where Ray Tune keeps what it needs."""
        return self.path / "ray"

    @property
    def figures(self) -> Path:
        """Where pictures of the search lie."""
        return self.path / "figures"

    @property
    def files(self) -> list[Path]:
        """What people may want to look at: what was asked, all trials, and the best one."""
        return [self._file("space"), self._file("trials"), self._file("best")]

    @contextmanager
    def own(self) -> Iterator[None]:
        """Run the sweep.

        Raises:
            InputError: if another process does so.
        """

        def refuse(owner: str) -> None:
            raise InputError(f"this sweep is running already: {owner}")

        with owned(self.path, self.purpose, refuse):
            yield

    def keep_space(self, space: SpaceRecord) -> None:
        """Keep what the sweep asks, as it is asked now."""
        write_json(self._file("space"), space.content())

    def space(self) -> SpaceRecord | None:
        """What the sweep asked; None if that is not known."""
        known = self._read("space")
        return None if known is None else SpaceRecord.read(known)

    def keep_study(self, name: str) -> None:
        """Keep how its study is called in a database that several homes share."""
        write_json(self._file("study"), asdict(StudyName(name, typed_path(self.path.resolve()))))

    def study(self) -> StudyName | None:
        """How its study is called there; None if it has none yet."""
        known = self._read("study")
        return None if known is None else StudyName(**known)

    def keep_trials(self, trials: Sequence[dict[str, Any]], best: dict[str, Any]) -> None:
        """Keep one row per trial, best first, and the best one with its experiments and commands."""
        write_json(self._file("trials"), list(trials))
        write_json(self._file("best"), best)

    def trials(self) -> list[dict[str, Any]] | None:
        """One row per trial, best first; None if no command came to the end."""
        known: list[dict[str, Any]] | None = self._read("trials")
        return known

    def keep_logged(self, run: RunKey) -> None:
        """Note that a tracked run holds the trials as they are."""
        write_json(self._file("kept"), run.id)

    def logged(self, run: RunKey) -> bool:
        """Whether a tracked run holds the trials as they were last kept."""
        return bool(self._read("kept") == run.id)


def sweep_records(home: Path) -> list[SweepRecord]:
    """The sweeps in a home."""
    return [SweepRecord(path) for path in folders_in(home / "sweeps") if path.is_dir()]
