"""Working folder: what of the current folder goes along with a job: sources, but no data, homes, environments or caches."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raybrain.config import InputError

MOST_BYTES = 50e6  # sources are smaller; Ray itself takes ten times as much, and is slow with it
FOLDERS = {"__pycache__", "node_modules", "mlruns", "mlartifacts", "wandb", "build", "dist"}
MARKS = ("pyvenv.cfg", "conda-meta", "dataset_description.json", "mlflow.db")  # environments, BIDS datasets, homes
HOME = ("stores", "runs")  # a home that keeps its runs in another MLflow
DATA = re.compile(
    r"\.(fif|edf|bdf|gdf|set|fdt|vhdr|vmrk|eeg|con|sqd|meg4|mff|wav|flac|mp3|parquet|arrow|safetensors|pt|pth|ckpt|np[yz]|h5|hdf5|mat"
    r"|db|sqlite|zip|tar|t?gz|zst|pyc|log)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class WorkingFolder:
    """A folder, its files that go along with their bytes, and the paths that stay, relative to it."""

    path: Path
    files: dict[str, int]
    left: tuple[str, ...]

    @property
    def patterns(self) -> list[str]:
        """What stays, as Ray takes it: patterns like those of a .gitignore."""
        return ["/" + re.sub(r"([\\*?\[\]!# ])", r"\\\1", path) for path in self.left]


def working_folder(path: Path) -> WorkingFolder:
    """What of a folder goes along.

    Raises:
        InputError: if it is too much, naming what is largest.
    """
    files: dict[str, int] = {}
    left: list[str] = []
    for folder, folders, names in os.walk(path):
        here = Path(folder)
        for name in list(folders):
            if _stays(here / name):
                folders.remove(name)
                left.append(str((here / name).relative_to(path)))
        for name in names:
            file = (here / name).relative_to(path)
            if DATA.search(name) or not (here / name).is_file() or name.startswith(".env"):
                left.append(str(file))
            else:
                files[str(file)] = (here / name).stat().st_size
    total = sum(files.values())
    if total > MOST_BYTES:
        largest = ", ".join(f"{name} ({files[name] / 1e6:.0f} MB)" for name in sorted(files, key=files.__getitem__)[:-4:-1])
        raise InputError(
            f"{path} has {total / 1e6:.0f} MB of files that are no known kind of data, and {MOST_BYTES / 1e6:.0f} MB may go "
            f"along with a job: {largest}; run submit in a folder with nothing but your plug-ins and search spaces"
        )
    return WorkingFolder(path, files, tuple(left))


def _stays(folder: Path) -> bool:
    """Whether nothing of a folder goes along."""
    hidden = folder.name.startswith(".") or folder.name in FOLDERS or folder.is_symlink()
    return hidden or any(_marks(folder))


def _marks(folder: Path) -> Iterator[bool]:
    yield from ((folder / mark).exists() for mark in MARKS)
    yield all((folder / part).is_dir() for part in HOME)
