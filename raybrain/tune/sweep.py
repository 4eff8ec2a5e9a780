"""Run: a sweep with Ray Tune. What is tried and what came of it is kept by a :mod:`ledger <raybrain.tune.ledger>`."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from raybrain.cluster import LOGINS, Cluster, ray_session
from raybrain.config import InputError
from raybrain.console import PlainConsole
from raybrain.data_config import DataConfig
from raybrain.experiment import Experiment
from raybrain.identity import locate
from raybrain.placement import grows, place_near, ray_storage, room_for, watching_room, worker_resources
from raybrain.storage import content_digest
from raybrain.store import Prepared
from raybrain.tracking.base import TrackingStore
from raybrain.train import fit
from raybrain.train.fit import Trained
from raybrain.train.job import TrainJob
from raybrain.train.messages import Exchange
from raybrain.train.order import resolve
from raybrain.tune.ledger import Ledger, Member
from raybrain.tune.log_sweep import begin_sweep_log, log_stop, log_sweep_interruption
from raybrain.tune.outcome import Swept, outcome
from raybrain.tune.question import question_of
from raybrain.tune.space import SearchSpace
from raybrain.tune.space_record import SpaceRecord
from raybrain.tune.study import open_study
from raybrain.tune.sweep_record import SweepRecord, sweep_records
from raybrain.tune.trial import TrialTraining, trial_job
from raybrain.tune.validate import check
from raybrain.tune.walk import data_parts

NOT_BEGUN = "there is no such sweep to go on with; leave out --resume to begin it"
WAITING = 16  # trials at once on a cluster that brings machines; more would be chosen knowing less
console = PlainConsole(stderr=True)


@dataclass(frozen=True)
class Sweep:
    """A search space and how many of its points are to be tried."""

    space: SearchSpace
    trials: int
    data_parts: tuple[Experiment, ...]

    def folder(self, prepared: Sequence[Prepared], cluster: Cluster) -> Path:
        """Where it is kept. The same question about the same data has the same folder; more trials continue it."""
        # where the batch is given per worker, their number is part of the question
        batch = resolve(self.space.experiment().train, cluster.workers).batch_size
        digest = content_digest([question_of(self.space), batch, [part.digest for part in prepared]])
        return cluster.home / "sweeps" / f"{self.space.name}-{digest[:8]}"

    def check_begun(self, home: Path) -> None:
        """Refuse to go on where no sweep of this name was begun: that is known before its data are prepared.

        Raises:
            InputError: if there is none.
        """
        names = [record.path.name for record in sweep_records(home) if record.is_begun]
        if self.space.name not in {name.rpartition("-")[0] for name in names}:
            raise InputError(NOT_BEGUN)


@dataclass(frozen=True)
class Limits:
    """How a command runs its sweep.

    Attributes:
        seconds: after which no training begins, and those under way stop at the end of an epoch; None for no end.
        at_once: trainings that run at once; None for as many as fit.
        resume_only: refuse to begin a new sweep.
    """

    seconds: float | None = None
    at_once: int | None = None
    resume_only: bool = False


def make_sweep(space: SearchSpace, changes: Mapping[str, Any], trials: int | None = None) -> Sweep:
    """A sweep with what the command line says, checked: every value it can try is allowed.

    Raises:
        InputError: naming the bad setting.
    """
    space = replace(space.ask(changes), trials=trials or space.trials)
    check(space)
    points = space.points
    most = space.trials or len(points or [])
    return Sweep(space, most if points is None else min(most, len(points)), tuple(data_parts(space).values()))


def run(sweep: Sweep, prepared: Sequence[Prepared], cluster: Cluster, limits: Limits = Limits()) -> Swept:
    """Run what is not run yet.

    Args:
        sweep: what to try.
        prepared: the data of each of ``sweep.data_parts``.
        cluster: where.
        limits: of this command; a later one goes on.

    Raises:
        InputError: if no trial could be trained to the end, or the sweep is running elsewhere.
    """
    folder = sweep.folder(prepared, cluster)
    record = SweepRecord(folder)
    if limits.resume_only and not record.is_begun:
        raise InputError(NOT_BEGUN)
    with record.own():
        store = cluster.tracking_store()
        record.keep_space(SpaceRecord.of(sweep.space))
        parts = zip(sweep.data_parts, prepared, strict=True)
        data = {locate(experiment.data, cluster.home): part for experiment, part in parts}
        study = open_study(sweep.space, record)
        tracking = begin_sweep_log(sweep.space, store, record)
        ledger = Ledger(sweep.space, study, sweep.trials, lambda experiment: trial_job(experiment, data, cluster))
        try:
            if ledger.open:
                with ray_session(cluster), Exchange.open() as exchange:
                    training = TrialTraining(data, cluster, store, record.purpose, tracking.id, exchange)
                    _search(ledger, training, limits, record)
                    tracking = begin_sweep_log(sweep.space, store, record)  # it may have been deleted meanwhile
            again = partial(_again, data=data, cluster=cluster)
            return outcome(ledger, store, tracking, record, again)
        except BaseException as error:
            log_sweep_interruption(tracking, error)
            raise
        finally:
            _stop_children(ledger, store, record)


def _again(job: TrainJob, data: Mapping[DataConfig, Prepared], cluster: Cluster) -> Trained:
    """A training that was finished, and is made whole from its weights."""
    return fit.run(job.experiment, data[job.experiment.data], cluster)


def _search(ledger: Ledger, training: TrialTraining, limits: Limits, record: SweepRecord) -> None:
    from ray import tune

    from raybrain.tune.search import LedgerScheduler, LedgerSearch
    from raybrain.tune.watch import Watcher

    each, room = _room(training.cluster)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # how a trial failed is said once, by us
    watcher = Watcher(console, ledger)

    def ended(member: Member, how: str, reason: str | None) -> None:
        if how == "waits":
            return
        watcher.ended(member, how, reason)
        if how != "finished":
            why = reason or member.entry.trial.user_attrs.get("reason")
            log_stop(member.job, training.store, training.purpose, how, why)

    search = watcher.search = LedgerSearch(ledger, ended, limits.seconds)
    _hide_logins()
    with watcher.live, in_one_line(), watching_room(training.cluster, training.cluster.workers):
        tune.Tuner(
            tune.with_resources(lambda config: training(config), lambda config: place_near(each, config["node"])),
            tune_config=tune.TuneConfig(
                search_alg=search,
                scheduler=LedgerScheduler(search, training.exchange),
                num_samples=-1,
                max_concurrent_trials=_at_once(room, limits.at_once),
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                **ray_storage(training.cluster, record.ray),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=training.cluster.failures),
                callbacks=[watcher],
            ),
        ).fit()


def _at_once(room: int, asked: int | None) -> int:
    """How many trials run or wait for machines at once: a cluster that brings machines is asked by trials that wait."""
    return (asked or max(room, WAITING)) if grows() else min(room, asked or room)


def _hide_logins() -> None:
    """Tune would write the login of a bucket into the runtime environment of trials, which Ray logs; workers have it anyway."""
    from ray.tune.execution import class_cache

    class_cache.ENV_VARS_TO_PROPAGATE -= {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith(LOGINS)}


@contextmanager
def in_one_line() -> Iterator[None]:
    """Give back what was meant to be said to a person, out of what Tune makes of it."""
    from ray.tune.error import TuneError

    try:
        yield
    except (TuneError, RuntimeError) as error:  # the latter of what Tune does not expect, as a machine without memory
        raise fit.cause_of(error) from error


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


def _stop_children(ledger: Ledger, store: TrackingStore, record: SweepRecord) -> None:
    """Leave none of its trainings running in the tracking store: what was cut off ended without a word."""
    for _, jobs in ledger.begun():
        for job in jobs.values():
            log_stop(job, store, record.purpose, "cut off", None)
