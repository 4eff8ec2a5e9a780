"""Gather: what a sweep left on disk, with every result its table needs on the test split."""

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raybrain.bucket.address import typed_path
from raybrain.bucket.copies import fetch
from raybrain.cluster import Cluster
from raybrain.config import InputError, hint
from raybrain.data_config import DataConfig
from raybrain.evaluate import rank as evaluating
from raybrain.experiment import Experiment
from raybrain.report.again import command_of
from raybrain.report.results import Result, row_name
from raybrain.report.run_page import RunReport
from raybrain.store import Prepared
from raybrain.tracking.base import RunKey
from raybrain.train import fit as training
from raybrain.train.record import RunRecord, run_records
from raybrain.tune.space_record import SpaceRecord
from raybrain.tune.sweep_record import SweepRecord, sweep_records

LEAST = 4  # digits of a signature that name it, if no other one begins with them


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
        for trial in sorted(finished, key=self._place) if self.grid else finished[:1]:
            yield from ((trial, run) for run in trial["runs"] if run["finished"])

    def _place(self, trial: dict[str, Any]) -> list[tuple[float, str]]:
        """Where a grid's trial stands in its table: by what it asks, since one that was tried again has another number."""
        place = []
        for name, value in trial["params"].items():
            order = list(self.space.variants.get(name, ()))
            number = order.index(value) if value in order else value
            place.append((float(number), "") if isinstance(number, int | float) else (0.0, str(number)))
        return [*place, (trial["trial"], "")]

    def missing(self) -> list[str]:
        """Trials that ended otherwise, with the reason."""
        return [
            f"trial {trial['trial']} {trial['state']}{': ' + trial['reason'] if trial.get('reason') else ''}"
            for trial in self.trials
            if trial["state"] != "finished"
        ]


def find_run(home: Path, name: str) -> RunRecord | None:
    """The run called ``name``: its folder, the signature of what it asks, or the first digits of that; None if there is none.

    Raises:
        InputError: if there are several, or it is a folder that is no run of this home.
    """
    path = Path(name).expanduser()
    if os.sep in name or (path / "experiment.json").exists():
        record = RunRecord(path.absolute())
        if record.state == "new":
            raise InputError(f"no run in {path}; type the signature of a run, or its folder")
        if record.home.resolve() != home.resolve():
            raise InputError(f"{path} is a run of another home; type --home {shlex.quote(typed_path(record.home))}")
        return record
    known = run_records(home)
    named = [record for record in known if name in (record.path.name, record.path.name.partition("-")[0])]
    if not named and len(name) >= LEAST:
        named = [record for record in known if record.path.name.startswith(name)]
    if len(named) > 1:
        listed = ", ".join(record.path.name for record in named[:6])
        raise InputError(f"{name!r} stands for {len(named)} runs in {home / 'runs'}; type one of {listed}")
    if not named:
        return None
    fetch(named[0].path)
    return named[0]


def check_finished(record: RunRecord) -> Experiment:
    """What a run asks; refuse one that is not trained to the end.

    Raises:
        InputError: if it is not, with what to type.
    """
    experiment = record.experiment()
    if experiment is None:
        raise InputError(f"{record.path} says no more what was trained in it; train it again")
    if record.state == "finished":
        return experiment
    again = command_of(experiment) or f"raybrain.answer of what {record.settings} holds, in Python,"
    if reason := record.failure():
        raise InputError(f"{record.path.name} could not be trained ({reason}); {again} tries again")
    done, asked = len(record.history()), experiment.train.epochs
    raise InputError(f"{record.path.name} is not trained to the end, {done} of {asked} epochs are done; {again} goes on")


def outdated(record: RunRecord, experiment: Experiment) -> str:
    """Why a run that was not tested cannot be tested: the code that it was trained with gave other numbers. Empty if it can."""
    if record.path.name.partition("-")[0] == experiment.signature:
        return ""
    again = command_of(experiment) or "train it again"
    return f"it is of an earlier version of raybrain, and was not tested by this one; {again}"


def find_sweep(home: Path, name: str) -> KeptSweep:
    """The sweep called ``name``: its folder's name, or that of its search space if there is one sweep of it.

    Raises:
        InputError: if there is none, or several.
    """
    records = sweep_records(home)
    there = [record.path.name for record in records if record.is_finished]
    stem = Path(name).stem if name.endswith(".py") else name
    named = [folder for folder in there if folder == name or folder.rpartition("-")[0] == stem]
    if not named:
        begun = [record.path.name for record in records if stem in (record.path.name, record.path.name.rpartition("-")[0])]
        if begun:
            raise InputError(f"the sweep {begun[0]} is not run to the end; type raybrain tune {name} to go on")
        known = [*there, *(record.path.name for record in run_records(home))]
        raise InputError(
            f"no run or sweep {name!r} in {typed_path(home)}{hint(name, known)}; raybrain report --all shows what is there"
        )
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
        fetch(record.path)
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
        evaluation, part, job = evaluating.run(trained), data[experiment.data], trained.job
        page = RunReport(job.record, job.experiment, evaluation, part.store)
        known = (trial["trial"], names, seed, evaluation, run["as_published"], trained.history, part.failed)
        results.append(Result(*known, run=page))
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
