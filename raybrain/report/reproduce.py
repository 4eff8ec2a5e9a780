"""Reproduce: a folder of search spaces, what they need, and what they cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raybrain.cluster import Cluster
from raybrain.config import InputError, hint
from raybrain.estimate.costs import Cost, Estimator
from raybrain.estimate.extent import folder_of
from raybrain.experiment import Experiment
from raybrain.report.results import STUDY
from raybrain.studies.base import Study
from raybrain.train.record import run_records
from raybrain.tune.space import SearchSpace, load_space, space_files

STUDIES = "data.studies"


def spaces_of(collection: str, only: Sequence[str], changes: Mapping[str, Any]) -> list[SearchSpace]:
    """The search spaces in the folder ``collection``, or some of them, with what the command line says.

    ``study=...`` keeps some of the variants of that dimension wherever there is one. ``data.studies=...`` replaces it: then a
    table has one study, and nothing published to compare with.

    Raises:
        InputError: if there is no such folder or space, or a setting does not fit one.
    """
    files = [path for path in space_files() if path.parent.name == collection]
    if not files:
        folders = {path.parent.name for path in space_files() if path.parent.name != "search_spaces"}
        raise InputError(f"nothing called {collection!r} to reproduce{hint(collection, folders)}")
    names = [path.stem for path in files]
    for name in only:
        if name not in names:
            raise InputError(f"no grid {name!r} in {collection}{hint(name, names)}")
    chosen = [load_space(str(path)) for path in files if not only or path.stem in only]
    variants: dict[str, set[str]] = {}
    for space in chosen:
        for dimension, named in space.variants.items():
            variants.setdefault(dimension, set()).update(named)
    for dimension in variants.keys() & changes.keys():
        for name in _names(changes[dimension]):
            if name not in variants[dimension]:
                raise InputError(f"{dimension} has no variant {name!r}{hint(name, variants[dimension])}")
    settings = {key: value for key, value in changes.items() if key not in variants}
    return [asked for space in chosen if (asked := _asked(space, changes, settings))]


def _names(value: Any) -> list[str]:
    return [name.strip() for name in str(value).split(",")]


def _asked(space: SearchSpace, changes: Mapping[str, Any], settings: Mapping[str, Any]) -> SearchSpace | None:
    """The space with what the command line says, variants of dimensions and settings; None if that leaves none of it."""
    if STUDIES in changes and STUDY in space.variants:
        space = replace(space, variants={**space.variants, STUDY: {str(changes[STUDIES]): {}}})
    known = dict(settings)
    for dimension in space.variants.keys() & changes.keys():
        kept = [name for name in _names(changes[dimension]) if name in space.variants[dimension]]
        if not kept:
            return None
        known[dimension] = ",".join(kept)
    try:
        asked = space.ask(known)
        asked.experiment()
        if not asked.sampler.planned:
            raise InputError(f"a table needs all of its points; leave out sampler={asked.sampler.name}")
    except InputError as error:
        raise InputError(f"{space.name}: {error}") from None
    return asked


def trainings(space: SearchSpace) -> list[Experiment]:
    """Every experiment of a grid.

    Raises:
        InputError: if a point of it cannot be.
    """
    return [
        space.experiment({**point.settings, **changes})
        for point in space.sampler.points(space)
        for changes in space.repeats().values()
    ]


@dataclass(frozen=True)
class Bill:
    """What a grid takes.

    Attributes:
        space: which.
        trainings: how many there are in all.
        trained: how many of them are trained already.
        cost: of the others, at most.
    """

    space: str
    trainings: int
    trained: int
    cost: Cost

    def line(self) -> str:
        """For people."""
        line = f"{self.space}: {self.trainings} trainings"
        if self.trained:
            line += f", {self.trained} of them done"
        return f"{line}, {self.cost.line}" if self.cost.trainings else line

    def result(self) -> dict[str, Any]:
        """For --json."""
        return {**vars(self), "cost": self.cost.result()}


def bills(spaces: Sequence[SearchSpace], cluster: Cluster) -> list[Bill]:
    """What each space takes; a training that an earlier one makes too counts there only."""
    seen: set[str] = set()
    made, estimator = [], Estimator(cluster)
    for space in spaces:
        experiments = {experiment.signature: experiment for experiment in trainings(space)}
        done = {signature for signature in experiments if _is_trained(cluster.home, signature)}
        new = [experiment for signature, experiment in experiments.items() if signature not in seen | done]
        made.append(Bill(space.name, len(experiments), len(done), estimator.cost(new)))
        seen |= set(experiments)
    return made


def _is_trained(home: Path, signature: str) -> bool:
    return any(run.state == "finished" for run in run_records(home, signature))


@dataclass(frozen=True)
class Missing:
    """A study that is not on this machine: why, and what of it was asked for."""

    study: str
    reason: str
    trainings: int


def missing_studies(spaces: Sequence[SearchSpace], cache: Path) -> list[Missing]:
    """The studies that are not there, each once; nothing is downloaded."""
    wanted: dict[str, list[Study]] = {}
    for space in spaces:
        for experiment in trainings(space):
            for study in experiment.data.studies:
                wanted.setdefault(study.name, []).append(study)
    missing = []
    for name, studies in wanted.items():
        reasons = [reason for study in dict.fromkeys(studies) if (reason := _why_missing(study, cache))]
        if reasons:
            missing.append(Missing(name, reasons[0], len(studies)))
    return missing


def _why_missing(study: Study, cache: Path) -> str:
    """Why a study cannot be read here, and how large it is; empty if it can."""
    facts = study.facts
    rate = f" at {facts.hertz:g} Hz" if facts.hertz else ""  # it differs between the copies of some
    size = f"{facts.recordings} recordings, {facts.hours:g} h of {facts.channels} channels{rate}"
    if study.hosts:
        download = study.download(cache)
        if download.own() or download.ready():
            return ""
        hosts = " or ".join(host.name for host in study.hosts)
        return f"{size}, not in {download.folder}; from {hosts}: type raybrain studies fetch {study.name}"
    try:
        root = folder_of(study, cache)
        if root is not None:
            study.recordings(root)
    except InputError as error:
        return f"{size}, {error}" if facts.recordings else str(error)
    return ""
