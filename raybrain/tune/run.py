"""Run: a sweep with Ray Tune and Optuna. Its memory is an Optuna study in a database, so a killed sweep goes on."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from raybrain.cluster import Cluster, room_for, worker_resources
from raybrain.config import InputError, override
from raybrain.experiment import Experiment
from raybrain.store import Prepared
from raybrain.tracking import Run, Tracker
from raybrain.train.checkpoint import RunFolder
from raybrain.train.order import resolve
from raybrain.train.run import Trained, check, finish, fit, load, make_job, told, tracked
from raybrain.train.worker import best_epoch, make_place, trial_device, with_kept, work
from raybrain.tune.check import check as check_space
from raybrain.tune.space import SearchSpace
from raybrain.tune.walk import data_parts, grid, start

console = Console(stderr=True)


@dataclass(frozen=True)
class Sweep:
    """A search space, the experiment its trials start from, and how many there are to be."""

    space: SearchSpace
    experiment: Experiment
    trials: int

    def name(self, prepared: Sequence[Prepared]) -> str:
        """The same question about the same data has the same name; more trials continue it."""
        asked = [self.space.source, self.experiment.signature, [part.digest for part in prepared]]
        return f"{self.space.name}-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:8]}"

    @property
    def keys(self) -> list[str]:
        """The dotted settings that are searched."""
        assert isinstance(self.space.parameters, Mapping)
        return list(self.space.parameters)

    @property
    def score(self) -> str:
        """The metric of the weights a trial keeps, as Tune sees it."""
        return f"kept_{self.space.metric}"

    @property
    def mode(self) -> str:
        """Whether the metric is to be large or small."""
        return "min" if self.space.metric.endswith("loss") else "max"

    def data_parts(self) -> list[Experiment]:
        """An experiment for every distinct data part."""
        return list(data_parts(self.space).values())


@dataclass(frozen=True)
class Swept:
    """A finished sweep: its trials, best first, and the best one's training."""

    name: str
    trials: list[dict[str, Any]]
    best: Trained
    tracking: Run

    def result(self) -> dict[str, Any]:
        """For --json."""
        return {"name": self.name, "mlflow_run_id": self.tracking.id, "trials": self.trials}


def make_sweep(space: SearchSpace, changes: Mapping[str, Any], trials: int | None, workers: int) -> Sweep:
    """A sweep for trials of ``workers`` each, checked: every value it can try is allowed.

    Raises:
        InputError: naming the bad setting.
    """
    space = space.ask(changes)
    check_space(space)
    experiment = space.experiment()
    experiment = experiment.model_copy(update={"train": resolve(experiment.train, workers)})
    return Sweep(space, experiment, trials or space.trials or len(grid(space)))


def run(sweep: Sweep, prepared: Sequence[Prepared], cluster: Cluster) -> Swept:
    """Run what is not run yet. Needs a running Ray.

    Args:
        sweep: what to try.
        prepared: the data of each of ``sweep.data_parts()``.
        cluster: where.

    Raises:
        InputError: if no trial could be trained to the end.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = cluster.home / "sweeps" / sweep.name(prepared)
    folder.mkdir(parents=True, exist_ok=True)
    tracker = Tracker.open(cluster.home)
    data = dict(zip([part.data for part in sweep.data_parts()], prepared, strict=True))
    study = _study(sweep, folder)
    tracking = _tracked(sweep, tracker, folder)
    try:
        remaining = sweep.trials - _reopen(study, sweep)
        if remaining > 0:
            _search(sweep, study, remaining, Trial(sweep, data, cluster, tracker, tracking.id), folder)
    except BaseException as error:
        with suppress(Exception):
            tracking.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    finally:
        _end_children(sweep, study, data, cluster)
    return _swept(sweep, study, data, cluster, tracking)


@dataclass(frozen=True)
class Trial:
    """What Ray Tune calls with the settings of one trial."""

    sweep: Sweep
    data: dict[Any, Prepared]
    cluster: Cluster
    tracker: Tracker
    parent: str

    def __call__(self, settings: dict[str, Any]) -> None:
        """Train, telling Tune of every epoch: here if one worker is enough, else with workers of its own."""
        from ray import tune
        from ray.tune.integration.ray_train import TuneReportCallback

        from raybrain.tune.watch import settings_line

        experiment = override(self.sweep.experiment, settings)
        job = make_job(experiment, self.data[experiment.data], self.cluster)
        finished = load(job)
        if finished:
            for epochs in range(1, len(finished.history) + 1):
                tune.report(with_kept(finished.history[:epochs]))
            return
        check(experiment.train, self.cluster, self.data[experiment.data])
        job = tracked(job, self.tracker, name=settings_line(settings), parent=self.parent)
        if self.cluster.workers == 1:
            work(job, make_place(self.cluster, 0, 1, trial_device(self.cluster)), tune.report)
        else:
            fit(job, [TuneReportCallback()])
        finish(job)


def _search(sweep: Sweep, study: Any, remaining: int, trial: Trial, folder: Path) -> None:
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    from raybrain.tune.watch import Watcher

    each, at_once = _room(trial.cluster)
    assert isinstance(sweep.space.parameters, Mapping)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    search = OptunaSearch(
        dict(sweep.space.parameters),
        metric=sweep.score,
        mode=sweep.mode,
        storage=study._storage,
        study_name=study.study_name,
        sampler=study.sampler,
    )
    columns = (TextColumn("tune: {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        tuner = tune.Tuner(
            tune.with_resources(lambda settings: trial(settings), each),
            tune_config=tune.TuneConfig(
                search_alg=search,
                scheduler=_scheduler(sweep),
                num_samples=remaining,
                max_concurrent_trials=min(at_once, remaining),
                reuse_actors=trial.cluster.workers == 1,
            ),
            run_config=tune.RunConfig(
                storage_path=str(folder / "ray"),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=1),
                callbacks=[Watcher(progress, remaining, sweep.score)],
            ),
        )
        results = tuner.fit()
    for error in results.errors:
        console.print(f"trial failed: {_line(error)}", style="red", highlight=False, markup=False)


def _room(cluster: Cluster) -> tuple[dict[str, float], int]:
    """What a trial takes, and how many there is room for at once.

    A trial of several workers trains in a worker group of its own, so the trial itself takes neither CPU nor GPU: if it did,
    trials could take what their own workers wait for.
    """
    import ray

    at_once = room_for(cluster, cluster.workers)
    if cluster.workers == 1:
        return worker_resources(cluster), at_once
    if not ray.cluster_resources().get("trial"):
        cure = """start it with ray start --resources='{"trial": 64}'"""
        raise InputError(f"trials with several workers need a resource of their own on the cluster; {cure}")
    return {"trial": 1.0}, at_once


def _scheduler(sweep: Sweep) -> Any:
    from ray.tune.schedulers import ASHAScheduler

    if sweep.space.scheduler == "none":
        return None
    epochs = sweep.experiment.train.epochs
    return ASHAScheduler(
        time_attr="epoch",
        metric=sweep.score,
        mode=sweep.mode,
        max_t=epochs + 1,  # a trial stopped at its last epoch would not be finished
        grace_period=min(sweep.space.grace, epochs),
    )


def _study(sweep: Sweep, folder: Path) -> Any:
    import optuna

    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'optuna.db'}",
        study_name=folder.name,
        direction="minimize" if sweep.mode == "min" else "maximize",
        load_if_exists=True,
    )
    # a sampler that began again with the same seed would draw the same points again
    study.sampler = optuna.samplers.TPESampler(seed=sweep.space.sampler_seed + len(study.get_trials(deepcopy=False)))
    return study


def _reopen(study: Any, sweep: Sweep) -> int:
    """Put back in the queue what was running when an earlier run was killed; return how many different trials are over."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    if not trials:
        first = start(sweep.space)
        if first is not None:
            study.enqueue_trial(first.params)
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)
    return len({json.dumps(trial.params, sort_keys=True) for trial in trials if trial.state == TrialState.COMPLETE})


def _jobs(sweep: Sweep, study: Any, data: Mapping[Any, Prepared], cluster: Cluster) -> list[tuple[Any, Any]]:
    """Every trial of the study with what it trained."""
    found = []
    for trial in study.get_trials(deepcopy=False):
        if trial.params or not sweep.keys:
            experiment = override(sweep.experiment, trial.params)
            found.append((trial, make_job(experiment, data[experiment.data], cluster)))
    return found


def _end_children(sweep: Sweep, study: Any, data: Mapping[Any, Prepared], cluster: Cluster) -> None:
    """Leave no trial's MLflow run running: the scheduler stops a trial's process without a word."""
    for _, job in _jobs(sweep, study, data, cluster):
        known = job.folder.read("tracking")
        if known and job.folder.read("result") is None:
            with suppress(Exception):  # MLflow may be gone; the sweep's results are not
                why = {"stopped": "early, by the scheduler or the end of the sweep"}
                Run(known["uri"], known["id"]).end_if_running("KILLED", why)


def _swept(sweep: Sweep, study: Any, data: Mapping[Any, Prepared], cluster: Cluster, tracking: Run) -> Swept:
    rows: dict[str, dict[str, Any]] = {}
    finished: dict[str, Trained] = {}
    for trial, job in _jobs(sweep, study, data, cluster):
        history = job.folder.read("history") or []
        signature = job.experiment.signature
        done = load(job)
        if done:
            finished[signature] = done
        state = "finished" if done else ("stopped early" if history else "failed")
        score = best_epoch(history)[sweep.space.metric] if history else None
        rows.setdefault(
            signature,
            {
                "trial": trial.number,
                "params": trial.params,
                "signature": signature,
                "epochs": len(history),
                "score": score,
                "state": state,
            },
        )
    if not finished:
        tracking.end("FAILED")
        raise InputError(
            f"no trial of {study.study_name} was trained to the end; its folder is {cluster.home / 'sweeps' / study.study_name}"
        )
    sign = 1 if sweep.mode == "min" else -1
    trials = sorted(rows.values(), key=lambda row: (row["score"] is None, sign * (row["score"] or 0), row["trial"]))
    best = next(row for row in trials if row["signature"] in finished)
    tracking.table("trials", [{**row, "params": json.dumps(row["params"])} for row in trials])
    tracking.metrics({f"best_{sweep.space.metric}": best["score"]}, step=len(trials))
    tracking.tags({f"best.{key}": value for key, value in best["params"].items()} | {"best.signature": best["signature"]})
    tracking.end("FINISHED")
    return Swept(study.study_name, trials, finished[best["signature"]], tracking)


def _tracked(sweep: Sweep, tracker: Tracker, folder: Path) -> Run:
    record = RunFolder(folder)
    known = record.read("tracking")
    run = tracker.resume(known["id"]) if known and known["uri"] == tracker.uri else None
    if run is None:
        tags = {"sweep": folder.name, "question": sweep.space.question, "mlflow.note.content": sweep.space.question}
        assert isinstance(sweep.space.parameters, Mapping)
        searched = {f"searched.{key}": str(value) for key, value in sweep.space.parameters.items()}
        run = tracker.start(folder.name, params=searched | {"metric": sweep.space.metric}, tags=tags)
        record.write("tracking", {"id": run.id, "uri": run.uri})
    return run


def _line(error: Any) -> str:
    return str(told(error) if isinstance(error, BaseException) else error).strip().splitlines()[-1]
