"""Gather: what a sweep left on disk, with every result its table needs on the test split."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raybrain.cluster import Cluster
from raybrain.config import InputError, hint
from raybrain.data_config import DataConfig
from raybrain.evaluate import rank as evaluating
from raybrain.experiment import Experiment
from raybrain.report.results import Result, row_name
from raybrain.store import Prepared
from raybrain.tracking.base import RunKey
from raybrain.train import fit as training
from raybrain.train.record import RunRecord
from raybrain.tune.space_record import SpaceRecord
from raybrain.tune.sweep_record import SweepRecord, sweep_records


@dataclass(frozen=True)
class KeptSweep:
    """A sweep on disk.

    Attributes:
        folder: its folder.
        trials: one row per trial, as the sweep left them.
        space: what it asked when it ran.
    """

    folder: Path
    trials: list[dict[str, Any]]
    space: SpaceRecord

    @property
    def grid(self) -> bool:
        """Whether nothing was selected, so that every cell meets the test split."""
        return self.space.planned

    @property
    def tracking(self) -> RunKey | None:
        """Where it is tracked."""
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
    named = [folder for folder in there if folder == name or folder.rpartition("-")[0] == stem]
    if not named:
        raise InputError(f"no sweep {name!r} in {home / 'sweeps'}{hint(name, there)}; `raybrain tune {name}` makes one")
    if len(named) > 1 and name not in named:
        raise InputError(f"there are {len(named)} sweeps of {name!r}; type one of {', '.join(named)}")
    record = SweepRecord(home / "sweeps" / (name if name in named else named[0]))
    trials, space = record.trials(), record.space()
    if trials is None or space is None:
        lost = "its trials" if trials is None else "what it asked"
        asked = name if name.endswith(".py") else record.path.name.rpartition("-")[0]
        raise InputError(f"{record.path} has lost {lost}; type raybrain tune {asked} to go through its trials again")
    return KeptSweep(record.path, trials, space)


def gather(sweep: KeptSweep, prepare: Callable[[Experiment], Prepared], cluster: Cluster) -> list[Result]:
    """Every training that is to be tested, with its evaluation, which is made if it is not there.

    Args:
        sweep: which.
        prepare: gives the data of an experiment.
        cluster: where trainings are and evaluations run.

    Raises:
        InputError: if a training is not there for the data as they are now.
    """
    data: dict[DataConfig, Prepared] = {}
    results = []
    for trial, run in sweep.runs():
        record = RunRecord(cluster.home / "runs" / Path(run["folder"]).name)  # the home may have been moved since
        experiment = record.experiment()
        if experiment is None:
            raise InputError(f"{record.path} says no more what was trained in it; run the sweep again")
        if experiment.data not in data:
            data[experiment.data] = prepare(experiment)
        job = training.make_job(experiment, data[experiment.data], cluster)
        trained = training.recall(job, cluster.tracking_store())
        if trained is None and job.record.path == record.path:  # it was finished; what is damaged of it is made again
            trained = training.run(experiment, data[experiment.data], cluster)
        if trained is None:
            raise InputError(f"{record.path} holds no finished training of the data as they are now; run the sweep again")
        names, seed = _names(sweep.space, trial, run["repeat"])
        evaluation, left_out = evaluating.run(trained), data[experiment.data].failed
        results.append(Result(trial["trial"], names, seed, evaluation, run["as_published"], trained.history, left_out))
    return results


def cell_name(sweep: KeptSweep, trial: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    """The row of the table that a run of a trial is in."""
    return row_name(_names(sweep.space, trial, run["repeat"])[0])


def _names(space: SpaceRecord, trial: Mapping[str, Any], repeat: list[str]) -> tuple[dict[str, Any], str]:
    """Variants by dimension, those repeated over too, in the space's order; then settings; and the seed."""
    seed = repeat[-1] if space.seeds else ""
    schedule = {"optim.schedule": " ".join(trial["schedule"])} if trial.get("schedule") else {}
    known = {**dict(zip(space.over, repeat, strict=False)), **trial["params"], **schedule}
    return {name: known[name] for name in [*space.variants, *(name for name in known if name not in space.variants)]}, seed
