"""Tracked folder: a folder of a home that keeps JSON files, and where it is tracked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raybrain.storage import read_remakable, write_json
from raybrain.tracking.base import RunKey


@dataclass(frozen=True)
class TrackedFolder:
    """What the folder of a training run and that of a sweep have in common."""

    path: Path

    @property
    def home(self) -> Path:
        """The home it lies in; that may be moved."""
        return self.path.parents[1]

    @property
    def page(self) -> Path:
        """The report."""
        return self.path / "report.html"

    def keep_tracking(self, key: RunKey) -> None:
        """Note where it is tracked."""
        write_json(self._file("tracking"), key.entry(self.home))

    def tracking(self) -> RunKey | None:
        """Where it is tracked; None if that is not known."""
        return RunKey.known(self._read("tracking"), self.home)

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.json"

    def _read(self, name: str) -> Any:
        """What a file holds; None if it is not there, or damaged: whoever needs it makes it again."""
        return read_remakable(self._file(name))
