"""Housekeeping: what a home keeps, how large it is, what uses it, and what nothing needs any more.

Results are never removed: not a run, not a sweep, not what MLflow holds, and no downloaded study. What may go can be made
again: memory maps, prepared data and features that no run is made from, Ray's files, and what killed processes left behind.
"""

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from raybrain.claims import claims_of_others, guard
from raybrain.cluster import Cluster, sessions
from raybrain.config import InputError
from raybrain.experiment import Experiment
from raybrain.ownership import unowned
from raybrain.storage import HALF_WRITTEN, is_left_over, read_json
from raybrain.store import Store, brain_digest, feature_digest, frames_folder
from raybrain.train.record import RunRecord, run_records
from raybrain.tune.sweep_record import SweepRecord, sweep_records

if TYPE_CHECKING:
    from filelock import FileLock

Pages = Literal["comparison", "quality"]
Kind = Literal["run", "sweep", Pages, "baseline", "store", "features", "map", "study", "tracking", "Ray's files", "left behind"]
KINDS: tuple[Kind, ...] = get_args(Kind)
REMOVED = ".now-removed-"


@dataclass(frozen=True)
class Item:
    """Something that is kept.

    Attributes:
        kind: what sort of thing.
        path: where.
        what: about it, for people.
        used_by: names of runs, sweeps and processes that are made from it or work with it.
        needless: why nothing needs it; empty if something does, or if it cannot be made again.
        beside: files that say something about it, and go with it.
    """

    kind: Kind
    path: Path
    what: str = ""
    used_by: tuple[str, ...] = ()
    needless: str = ""
    beside: tuple[Path, ...] = ()

    @cached_property
    def bytes(self) -> int:
        """Its size on disk; what links lead to is not counted."""
        return size(self.path) + sum(map(size, self.beside))

    def result(self) -> dict[str, Any]:
        """For --json."""
        known = {"kind": self.kind, "path": str(self.path), "bytes": self.bytes, "what": self.what}
        return known | {"used_by": list(self.used_by), "needless": self.needless}


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links are not followed."""
    with suppress(FileNotFoundError):
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        with os.scandir(path) as entries:
            return sum(size(Path(entry.path)) if entry.is_dir() else _bytes(entry) for entry in entries)
    return 0  # it vanished meanwhile


def _bytes(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def look(cluster: Cluster) -> list[Item]:
    """Everything in ``cluster.home``, and the memory maps of this machine, by kind."""
    home = cluster.home
    runs, sweeps = run_records(home), sweep_records(home)
    uses = _uses(home, runs)
    for path, owner in claims_of_others(home).items():
        uses.add(path, owner)
    stores = list(_stores(home, uses))
    features = list(_features(home, uses))
    kept = {item.path.resolve() for item in [*stores, *features] if not item.needless}
    items = [
        *_runs(runs, sweeps),
        *(_sweep(sweep) for sweep in sweeps),
        *(Item("comparison", path, "a page") for path in sorted((home / "comparisons").glob("[!.]*.html"))),
        *(_quality(path) for path in _inside(home / "quality")),
        *_baselines(home, runs),
        *stores,
        *features,
        *_maps(cluster.maps, [Store(item.path) for item in stores if not item.needless], kept),
        *(Item("study", path, _study(path)) for path in _inside(cluster.cache)),
        *(Item("tracking", path) for name in ("mlflow.db", "mlartifacts") if (path := home / name).exists()),
        *_rays_files(runs, sweeps),
        *_left_behind(cluster),
    ]
    return sorted(items, key=lambda item: KINDS.index(item.kind))


def clean(cluster: Cluster, items: Iterable[Item]) -> list[Item]:
    """Remove those of ``items`` that nothing needs, as things are now; what came into use meanwhile stays.

    Returns:
        What was removed.
    """
    removed, aside = [], []
    with guard(cluster.home):  # from here on nobody begins to use anything
        needless = {item.path for item in look(cluster) if item.needless}
        for item in items:
            if item.path in needless and item.path.exists():
                _ = item.bytes  # it is known from now on
                for path in (*item.beside, item.path):
                    aside.append(path.with_name(f"{REMOVED}{uuid.uuid4().hex}"))
                    with suppress(FileNotFoundError):
                        os.replace(path, aside[-1])
                removed.append(item)
    for path in aside:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return removed


@dataclass
class _Uses:
    """Who uses which folder; ``unknown`` are runs that do not say what they are made from."""

    users: dict[Path, set[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def add(self, path: Path, user: str) -> None:
        self.users.setdefault(path.resolve(), set()).add(user)

    def of(self, path: Path) -> tuple[str, ...]:
        return tuple(sorted(self.users.get(path.resolve(), ())))

    def needless(self, path: Path) -> str:
        return "" if self.users.get(path.resolve()) or self.unknown else "no run uses it"


def _uses(home: Path, runs: Sequence[RunRecord]) -> _Uses:
    """Which stores and features the runs are made from.

    A run counts for the stores that its settings lead to today, and for those made from the same settings by an older code.
    """
    uses = _Uses()
    manifests = {path: _manifest(path) for path in _inside(home / "stores")}
    for run in runs:
        with suppress(InputError):
            tree = read_json(run.settings)
            if tree is None and not run.weights.exists():  # it has not begun, and whoever begins it has a claim
                continue
            for path in _made_from(home, tree, manifests) if tree else []:
                uses.add(path, run.path.name)
            if tree:
                continue
        uses.unknown.append(run.path.name)
    return uses


def _made_from(home: Path, tree: Mapping[str, Any], manifests: Mapping[Path, Mapping[str, Any]]) -> Iterator[Path]:
    """The stores and folders of features that an experiment needs, if they are there or not."""
    brain = {key: value for key, value in tree["data"].items() if key != "features"}
    with suppress(InputError, ValueError, ImportError):  # a plug-in that made it may not be there today
        data = Experiment.model_validate(tree).data
        yield home / "stores" / data.brain_signature
        for feature in data.features:
            with suppress(InputError, ImportError):  # nor the model of a feature
                yield frames_folder(home, feature).folder
    for path, manifest in manifests.items():
        if manifest.get("data") == brain:
            yield path
            entries = [known for known in manifest["features"].values() if known["feature"] in tree["data"]["features"]]
            yield from (path / known["folder"] for known in entries)


def _manifest(store: Path) -> Mapping[str, Any]:
    try:
        return Store(store).manifest
    except InputError:
        return {}


def _inside(folder: Path) -> list[Path]:
    """The folders in a folder, by name; hidden ones are half-written."""
    return sorted(path for path in folder.glob("*") if path.is_dir() and not path.name.startswith("."))


def _stores(home: Path, uses: _Uses) -> Iterator[Item]:
    for path in _inside(home / "stores"):
        manifest = _manifest(path)
        studies = ", ".join(study["name"] for study in manifest["data"]["studies"]) if manifest else "not finished"
        what = f"{studies}: {len(manifest['sources'])} recordings" if manifest else studies
        yield Item("store", path, what, uses.of(path), uses.needless(path))


def _features(home: Path, uses: _Uses) -> Iterator[Item]:
    for path in _inside(home / "features"):
        count = sum(1 for _ in path.glob("*.parquet"))
        yield Item("features", path, f"{count} stimuli", uses.of(path), uses.needless(path))


def _maps(folder: Path, stores: Sequence[Store], kept: set[Path]) -> Iterator[Item]:
    """The memory maps on this machine; one is needed if it has the content of a store, or of features, that are needed."""
    needed: dict[str, set[str]] = {}
    for store in stores:
        manifest = _manifest(store.root)
        if not manifest:
            continue
        uids = sorted(set(manifest["sources"]) - set(manifest["failed"]))
        parts = [part for uid in uids if (part := store.written(uid))]
        if len(parts) == len(uids):
            needed.setdefault(f"brain-{brain_digest(parts)}", set()).add(store.root.name)
        for name, entry in manifest["features"].items():
            if (store.root / entry["folder"]).resolve() in kept:
                needed.setdefault(f"{name}-{feature_digest(name, entry)}", set()).add(store.root.name)
    for path in _inside(folder):
        used_by = tuple(sorted(f"store {name}" for name in needed.get(path.name, ())))
        busy = _held(_lock(folder / f"{path.name}.lock"))
        yield Item("map", path, "", used_by, "" if used_by or busy else "of no store that is needed")


def _runs(runs: Sequence[RunRecord], sweeps: Sequence[SweepRecord]) -> Iterator[Item]:
    members: dict[str, set[str]] = {}
    for sweep in sweeps:
        for trial in sweep.trials() or []:
            for run in trial["runs"]:
                members.setdefault(Path(run["folder"]).name, set()).add(sweep.path.name)
    for record in runs:
        epochs = len(record.history())
        used_by = tuple(sorted(members.get(record.path.name, ())))
        yield Item("run", record.path, f"{record.state}, {epochs} epoch{'s' * (epochs != 1)}", used_by)


def _baselines(home: Path, runs: Sequence[RunRecord]) -> Iterator[Item]:
    """The ranks of ridge regression; they are named by the data, as runs are."""
    for path in sorted((home / "baselines").glob("*.parquet")):
        users = [run.path.name for run in runs if run.path.name.rpartition("-")[2] == path.stem.rpartition("-")[2]]
        beside = (path.with_suffix(".json"), path.with_name(f"{path.name}.lock"))
        needless = "" if users else "of no data that a run uses"
        yield Item("baseline", path, "ridge regression", tuple(users), needless, beside)


def _sweep(record: SweepRecord) -> Item:
    trials = record.trials()
    return Item("sweep", record.path, "not finished" if trials is None else f"{len(trials)} trials")


def _quality(path: Path) -> Item:
    """The pages of one store's recordings, which are results: who looks at them may have no recordings any more."""
    count = sum(1 for _ in path.glob("[!.]*.html"))
    return Item("quality", path, f"{count} page{'s' * (count != 1)}, of store {path.name}")


def _study(path: Path) -> str:
    return f"link to {path.readlink()}" if path.is_symlink() else ""


def _rays_files(runs: Sequence[RunRecord], sweeps: Sequence[SweepRecord]) -> Iterator[Item]:
    """What Ray keeps of a training or a sweep, which nobody reads once it is over."""
    for run in runs:
        if run.ray.exists():
            over = run.state == "finished" and _is_idle(run.path)
            yield Item("Ray's files", run.ray, "", (run.path.name,), "its run is finished" if over else "")
    for sweep in sweeps:
        if sweep.ray.exists():
            over = sweep.is_finished and _is_idle(sweep.path)
            yield Item("Ray's files", sweep.ray, "", (sweep.path.name,), "its sweep is finished" if over else "")
    for folder, alive in sessions().items():
        yield Item("Ray's files", folder, "a session on this machine", needless="" if alive else "its process was killed")


def _is_idle(folder: Path) -> bool:
    """Whether no process works on a run or a sweep."""
    with unowned(folder) as idle:
        return idle


def _lock(path: Path) -> "FileLock":
    import filelock

    return filelock.FileLock(path)


def _held(lock: "FileLock") -> bool:
    """Whether a living process holds a lock."""
    import filelock

    if not os.path.exists(lock.lock_file):
        return False
    try:
        with lock.acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True


def _left_behind(cluster: Cluster) -> Iterator[Item]:
    """What killed processes wrote or removed half, and files that were set aside as damaged."""
    rooms = [cluster.home / name for name in ("stores", "features", "runs", "sweeps", "comparisons", "quality", "baselines")]
    for room in rooms:
        yield from _half_written(room.rglob(".*"))
        for path in sorted(room.glob("*/damaged")):
            yield Item("left behind", path, needless="damaged, and made again since")
    yield from _half_written(cluster.cache.glob(".*"))  # what is in a study may be somebody's own
    for path in sorted(cluster.maps.glob(".*")):
        if (half := HALF_WRITTEN.fullmatch(path.name)) and not _held(_lock(path.with_name(f"{half[1]}.lock"))):
            yield Item("left behind", path, needless="a process was killed while it wrote it")
    for room in [*rooms, cluster.maps]:
        for path in sorted([*room.glob(f"{REMOVED}*"), *room.glob(f"*/{REMOVED}*")]):
            yield Item("left behind", path, needless="its removal was cut off")


def _half_written(paths: Iterable[Path]) -> Iterator[Item]:
    for path in sorted(paths):
        if is_left_over(path) and not path.name.startswith(REMOVED):
            yield Item("left behind", path, needless="a process was killed while it wrote it")
