"""Gather: what a sweep left on disk, with every result its table needs on the test split."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raybrain.cluster import Cluster
from raybrain.config import InputError, hint
from raybrain.evaluate import rank as evaluating
from raybrain.experiment import DataConfig, Experiment
from raybrain.report.results import Result
from raybrain.store import Prepared
from raybrain.tracking import Run
from raybrain.train import fit as training
from raybrain.train.order import resolve
from raybrain.train.record import RunRecord
from raybrain.tune.space import SearchSpace, load_space
from raybrain.tune.sweep_record import SweepRecord, sweep_records


@dataclass(frozen=True)
class KeptSweep:
    """A sweep on disk.

    Attributes:
        folder: its folder.
        trials: a row a trial, as the sweep left them.
        space: the search space it was made from; None if that is not among the known ones.
    """

    folder: Path
    trials: list[dict[str, Any]]
    space: SearchSpace | None

    @property
    def grid(self) -> bool:
        """Whether nothing is selected, so that every cell meets the test split."""
        return self.space is not None and self.space.sampler.planned

    @property
    def tracking(self) -> Run | None:
        """The parent run in MLflow."""
        return SweepRecord(self.folder).tracking()

    @property
    def figures(self) -> dict[str, bytes]:
        """Pictures of the search as PNG, by name; of a grid, which selects nothing, only what else was to be small."""
        paths = sorted(SweepRecord(self.folder).figures.glob("pareto_front.png" if self.grid else "*.png"))
        return {path.stem.replace("_", " "): path.read_bytes() for path in paths}

    def runs(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """The trials and trainings that are tested: all that are finished of a grid, else those of the best trial."""
        finished = [trial for trial in self.trials if trial["state"] == "finished"]
        for trial in finished if self.grid else finished[:1]:
            yield from ((trial, run) for run in trial["runs"] if run["finished"])

    def missing(self) -> list[str]:
        """Trials that ended otherwise, with the reason."""
        return [
            f"trial {trial['trial']} {trial['state']}{': ' + trial['reason'] if trial.get('reason') else ''}"
            for trial in self.trials
            if trial["state"] != "finished"
        ]


def find_sweep(home: Path, name: str) -> KeptSweep:
    """The sweep called ``name``: its folder's name, or that of its search space if there is one sweep of it.

    Raises:
        InputError: if there is none, or several.
    """
    there = [record.path.name for record in sweep_records(home) if record.is_finished]
    stem = Path(name).stem if name.endswith(".py") else name
    found = [folder for folder in there if folder == name or folder.rpartition("-")[0] == stem]
    if not found:
        raise InputError(f"no sweep {name!r} in {home / 'sweeps'}{hint(name, there)}; `raybrain tune {name}` makes one")
    if len(found) > 1 and name not in found:
        raise InputError(f"there are {len(found)} sweeps of {name!r}; type one of {', '.join(found)}")
    record = SweepRecord(home / "sweeps" / found[0])
    trials = record.trials()
    if trials is None:
        raise InputError(f"{record.path} has lost its trials; `raybrain tune {name}` goes through them again")
    return KeptSweep(record.path, trials, _space(name if name.endswith(".py") else found[0].rpartition("-")[0]))


def _space(name: str) -> SearchSpace | None:
    try:
        return load_space(name)
    except InputError:
        return None


def gather(sweep: KeptSweep, prepare: Callable[[Experiment], Prepared], cluster: Cluster) -> list[Result]:
    """Every training that is to be tested, with its evaluation, which is made if it is not there. Needs a running Ray.

    Args:
        sweep: which.
        prepare: gives the data of an experiment.
        cluster: where trainings are and evaluations run.

    Raises:
        InputError: if a training is not there for the data as they are now.
    """
    data: dict[DataConfig, Prepared] = {}
    found = []
    for trial, run in sweep.runs():
        experiment = RunRecord(Path(run["folder"])).experiment()
        if experiment is None:
            raise InputError(f"{run['folder']} says no more what was trained in it; run the sweep again")
        if experiment.data not in data:
            data[experiment.data] = prepare(experiment)
        trained = training.recall(training.make_job(experiment, data[experiment.data], cluster))
        if trained is None:
            raise InputError(f"{run['folder']} holds no finished training of the data as they are now; run the sweep again")
        schedule = {"optim.schedule": " ".join(trial["schedule"])} if trial.get("schedule") else {}
        names, seed = _names(sweep.space, trial["params"] | schedule, run["repeat"])
        as_published = sweep.space is not None and _as_published(sweep.space, trial["params"], run["repeat"], experiment)
        found.append(Result(trial["trial"], names, seed, evaluating.run(trained), as_published, trained.history))
    return found


def _names(space: SearchSpace | None, params: Mapping[str, Any], repeat: list[str]) -> tuple[dict[str, Any], str]:
    """Variants by dimension, those repeated over too, in the space's order; then settings; and the seed."""
    seeded = space is not None and bool(space.seeds)
    seed = repeat[-1] if seeded else ""
    over = dict(zip(space.over, repeat, strict=False)) if space else {}
    known = {**over, **params}
    dimensions = list(space.variants) if space else []
    return {name: known[name] for name in [*dimensions, *(name for name in known if name not in dimensions)]}, seed


def _as_published(space: SearchSpace, params: Mapping[str, Any], repeat: list[str], experiment: Experiment) -> bool:
    """Whether a training is the one the search space asks for, with nothing changed on the command line."""
    plain = replace(space, asked={})
    try:
        settings = {**plain.settings(params), **plain.repeats()[tuple(repeat)]}
        asked = plain.experiment(settings)
    except (ValueError, KeyError):  # a variant that only the command line knows
        return False
    return asked.model_copy(update={"train": resolve(asked.train, 1)}).signature == experiment.signature
