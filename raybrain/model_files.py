"""Model files: folders of models that others trained, known by what is in them."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

from raybrain.integrity import file_digest

Stamps = tuple[tuple[str, int, int], ...]


def name_or_folder(text: str) -> str:
    """What names a model: a folder in full, so that it is the same from every folder and in every process; else ``text``."""
    folder = Path(text).expanduser()
    return os.path.abspath(folder) if folder.is_dir() or text.startswith(("/", ".", "~")) else text


def folder_digest(folder: str, pattern: str = "*") -> str:
    """Names the content of a model's folder; looked at again only where sizes or times of its files have changed.

    Args:
        folder: where it lies.
        pattern: of the names of files that count.
    """
    return _digest(folder, folder_stamps(folder, pattern))


def folder_stamps(folder: str, pattern: str = "*") -> Stamps:
    """Name, size and time of each file of a folder."""
    return tuple((name, path.stat().st_size, path.stat().st_mtime_ns) for name, path in files(Path(folder), pattern).items())


@lru_cache(maxsize=8)
def _digest(folder: str, stamps: Stamps) -> str:
    digest = hashlib.sha256()
    for name, _, _ in stamps:
        digest.update(f"{name} {file_digest(Path(folder) / name)}\n".encode())
    return digest.hexdigest()[:16]


def files(folder: Path, pattern: str = "*") -> dict[str, Path]:
    """All files below a folder by name, in order; not the hidden ones, in which downloads note the time of day."""
    names = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob(pattern)) if path.is_file()}
    return {name: path for name, path in names.items() if not any(part.startswith(".") for part in name.split("/"))}
