"""Dataset: a folder of recordings, named by its content wherever it lies. Not a study itself.

A name is what people call it and a checksum, ``story-eeg-3fa94b2c1d``: over the relative paths of all files, the contents of
tables, and the sizes of what is not a table. What only describes the dataset is left out, as are hidden files and
``derivatives/``, ``code/`` and ``sourcedata/``.
"""

import hashlib
import json
import os
import re
import time
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from raybrain.config import InputError
from raybrain.integrity import file_digest
from raybrain.storage import locked, read_remakable, write_json

DIGITS = 10  # hexadecimal, of the checksum
TABLES = (".tsv", ".json", ".csv", ".txt", ".textgrid", ".vhdr", ".vmrk", ".xml", ".lab")
LARGE = 2**24  # bytes; a table of more counts by its size, as signals may be written as text
ABOUT = ("dataset_description.json", "readme", "changes", "license", "citation")  # files of BIDS for people
APART = ("derivatives", "code", "sourcedata")
UNNAMED = "[Unspecified]"  # what mne-bids writes where nobody gives a name
LONGEST = 24  # characters of what people call it
READERS = 16  # at once: on a shared disk each file takes its time
TRUSTED = 10.0  # a look is trusted for so many times the time it took

_digests: dict[tuple[str, int, int], str] = {}
_looks: dict[str, tuple[float, str]] = {}


def dataset_of(folder: Path, anew: bool = False) -> str:
    """The name of the dataset in a folder. A look is trusted for a while, unless a new one is asked for.

    Raises:
        InputError: if something in it cannot be read.
    """
    key = os.path.abspath(folder)
    until, checksum = _looks.get(key, (0.0, ""))
    started = time.monotonic()
    if anew or started >= until:
        try:
            checksum = _checksum(folder)
        except OSError as error:
            raise InputError(f"cannot read {error.filename or folder}: {error.strerror}") from None
        ended = time.monotonic()
        _looks[key] = ended + TRUSTED * (ended - started), checksum
    return f"{title(folder)}-{checksum}"


def checksum_of(dataset: str) -> str:
    """The part of a dataset's name that says what is in it."""
    return dataset.rpartition("-")[2]


def is_name(text: str) -> bool:
    """Whether ``text`` looks like the name of a dataset."""
    return re.fullmatch(rf"[a-z0-9-]+-[0-9a-f]{{{DIGITS}}}", text) is not None


def title(folder: Path) -> str:
    """What people call a dataset: the Name in its dataset_description.json, else the folder's; lower-case, with hyphens."""
    try:
        named = str(json.loads((folder / "dataset_description.json").read_text(encoding="utf-8-sig"))["Name"])
    except (OSError, ValueError, KeyError, TypeError):
        named = ""
    named = "" if named == UNNAMED else named
    called = Path(os.path.abspath(folder)).name
    other = hashlib.sha256((named or called).encode(errors="surrogateescape")).hexdigest()[:6]  # in another script
    return _short(named) or _short(called) or f"dataset-{other}"


def _short(text: str) -> str:
    """``text`` as few lower-case words of ASCII with hyphens between."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.findall("[a-z0-9]+", plain)
    short = words[0][:LONGEST] if words else ""
    for word in words[1:]:
        if len(short) + 1 + len(word) > LONGEST:
            break
        short += f"-{word}"
    return short


def _checksum(folder: Path) -> str:
    files = sorted(_files(str(folder), "", ()))
    with ThreadPoolExecutor(READERS) as pool:
        contents = pool.map(lambda file: _content(os.path.join(folder, file[0]), file[1]), files)
        lines = [f"{name}\t{stat.st_size}\t{content}\n" for (name, stat), content in zip(files, contents, strict=True)]
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()[:DIGITS]


def _files(top: str, inside: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, os.stat_result]]:
    """The files that count, by path below ``top`` with slashes. Links are followed, to what is not above them."""
    here = os.stat(os.path.join(top, inside))
    identity = (here.st_dev, here.st_ino)
    if identity in above:
        return
    with os.scandir(os.path.join(top, inside)) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = f"{inside}/{entry.name}" if inside else entry.name
            if entry.is_dir():
                if inside or entry.name not in APART:
                    yield from _files(top, path, (*above, identity))
            elif entry.is_file() and (inside or not entry.name.lower().startswith(ABOUT)):  # a broken link is neither
                yield path, entry.stat()


def _content(path: str, stat: os.stat_result) -> str:
    """The checksum of a table; nothing for any other file."""
    if not path.lower().endswith(TABLES) or stat.st_size > LARGE:
        return ""
    key = (path, stat.st_size, stat.st_mtime_ns)
    if key not in _digests:
        _digests[key] = file_digest(Path(path))
    return _digests[key]


def remember(home: Path, dataset: str, folder: Path) -> None:
    """Note in ``home/datasets.json`` where a dataset lies."""
    if known_datasets(home).get(dataset) == str(folder):
        return
    path = home / "datasets.json"
    with locked(path):
        write_json(path, {**known_datasets(home), dataset: str(folder)})


def known_datasets(home: Path) -> dict[str, str]:
    """Where each dataset was last seen, by name."""
    known = read_remakable(home / "datasets.json")
    return known if isinstance(known, dict) else {}


def recall(home: Path, dataset: str) -> Path | None:
    """The folder in which a dataset was last seen, if it is still there."""
    for name, folder in known_datasets(home).items():
        if checksum_of(name) == checksum_of(dataset) and holds(Path(folder), dataset):
            return Path(folder)
    return None


def holds(folder: Path, dataset: str) -> bool:
    """Whether a dataset lies in a folder."""
    return folder.is_dir() and checksum_of(dataset_of(folder)) == checksum_of(dataset)
