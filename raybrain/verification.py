"""Verification: every file of a home is read and compared with what it is known by. Nothing is changed.

What is damaged is noticed anyway when it is used, and made again where that is possible (:mod:`raybrain.integrity`); this tells
before, of a home that was copied, or of a disk that is not trusted.
"""

import os
import shlex
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from raybrain.cluster import Cluster
from raybrain.config import InputError, first_line
from raybrain.housekeeping import size
from raybrain.integrity import DAMAGE, check_archive, check_database, file_digest, is_damage, stamp
from raybrain.model_folder import CARD, is_whole_model
from raybrain.storage import read_json
from raybrain.store import Frames, Store
from raybrain.train.record import run_records

ROOMS = ("stores", "features", "runs", "sweeps", "baselines")
APART = ("damaged", "ray")  # folders with what was set aside, and with what Ray keeps for itself
AGAIN = "the next command that needs it makes it again"
Check = Callable[[], str]


@dataclass(frozen=True)
class DamagedFile:
    """A file that is not what was written.

    Attributes:
        path: which.
        reason: how that is known.
        cure: what to do.
    """

    path: Path
    reason: str
    cure: str

    def result(self) -> dict[str, str]:
        """For --json."""
        return {"path": str(self.path), "reason": self.reason, "cure": self.cure}


def verify(cluster: Cluster, advance: Callable[[int], object]) -> Iterator[DamagedFile]:
    """Read all of a home and give what is damaged.

    Args:
        cluster: whose home, and where its memory maps lie.
        advance: is called with the bytes of each file that is done.
    """
    known = _known(cluster)
    for path in dict.fromkeys([*_files(cluster), *known]):
        if reason := _reason(known.get(path) or partial(KINDS[path.suffix], path)):
            yield DamagedFile(path, reason, _cure(path))
        advance(size(path))


def extent(cluster: Cluster) -> int:
    """Bytes that :func:`verify` reads, about: those of all that a home keeps but studies and what people look at."""
    return sum(size(room) for room in _rooms(cluster))


def _rooms(cluster: Cluster) -> list[Path]:
    return [*(cluster.home / name for name in ROOMS), cluster.maps]


def _files(cluster: Cluster) -> Iterator[Path]:
    """The files of a home that say themselves whether they are whole; hidden ones are half-written."""
    for room in _rooms(cluster):
        for folder, folders, names in os.walk(room):
            folders[:] = sorted(name for name in folders if name not in APART and not name.startswith("."))
            for path in (Path(folder) / name for name in sorted(names) if not name.startswith(".")):
                if path.suffix in KINDS:
                    yield path
    yield from (path for path in [cluster.home / "mlflow.db"] if path.exists())


def _known(cluster: Cluster) -> dict[Path, Check]:
    """The files of which something else says what they are, and how that is compared."""
    known: dict[Path, Check] = {}
    for root in sorted((cluster.home / "stores").glob("*")):
        store = Store(root)
        for path in sorted(root.glob("parts/*.json")):
            if (content := _content(path)) and isinstance(content.get("files"), dict):
                for table, record in content["files"].items():
                    there = store.table_path(table, path.stem)
                    known[there] = partial(_digest_differs, there, record["sha256"])
    for folder in sorted((cluster.home / "features").glob("*")):
        for path in sorted(folder.glob("*.parquet")):
            known[path] = partial(Frames(folder).check, path.stem)
    for path in sorted(cluster.maps.glob("[!.]*/meta.json")):
        for name, record in ((_content(path) or {}).get("files") or {}).items():
            known[path.with_name(name)] = partial(_stamp_differs, path.with_name(name), record)
    for run in run_records(cluster.home):
        content = _content(run.path / "test_controls.json")
        if content and "ranks" in content:
            known[run.path / "test_ranks.parquet"] = partial(_stamp_differs, run.path / "test_ranks.parquet", content["ranks"])
        if run.model.exists():
            known[run.model / CARD] = partial(_model_differs, run.model)
    return known


def _content(path: Path) -> dict[str, Any] | None:
    """What a JSON file holds; None if it is damaged, which is said of the file itself."""
    try:
        content = read_json(path)
    except InputError:
        return None
    return content if isinstance(content, dict) else None


def _reason(check: Check) -> str:
    try:
        return check()
    except FileNotFoundError:
        return "is missing"
    except InputError as error:
        return first_line(error)
    except (*DAMAGE, zipfile.BadZipFile) as error:
        if not is_damage(error):
            return f"cannot be read ({first_line(error)})"
        return first_line(error)


def _digest_differs(path: Path, sha256: str) -> str:
    return "" if file_digest(path) == sha256 else "its sha256 is another"


def _stamp_differs(path: Path, known: Mapping[str, Any]) -> str:
    return "" if stamp(path) == known else "its checksum is another"


def _model_differs(folder: Path) -> str:
    return "" if is_whole_model(folder) else "its checksums, or those of its weights, are others"


def _json(path: Path) -> str:
    read_json(path)
    return ""


def _parquet(path: Path) -> str:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for group in range(file.num_row_groups):
            file.read_row_group(group)
    return ""


def _checkpoint(path: Path) -> str:
    check_archive(path.read_bytes())
    return ""


def _database(path: Path) -> str:
    check_database(path, "")
    return ""


KINDS: dict[str, Callable[[Path], str]] = {
    ".json": _json,
    ".parquet": _parquet,
    ".pt": _checkpoint,
    ".db": _database,
}


def _cure(path: Path) -> str:
    if path.suffix == ".db":
        return f"type mv {shlex.quote(str(path))} {shlex.quote(f'{path}.damaged')}: what is finished is then logged again"
    if path.name == "last.pt" and not (path.parent / "result.json").exists():
        return f"type rm {shlex.quote(str(path))}: its training then begins again"
    return AGAIN
