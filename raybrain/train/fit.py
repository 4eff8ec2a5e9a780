"""Run: an experiment and prepared data -> a trained encoder, with Ray Train; again with the same command, it goes on."""

import shutil
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from raybrain.bucket.copies import fetch
from raybrain.cluster import Cluster, ray_session
from raybrain.config import InputError, hint
from raybrain.console import PlainConsole
from raybrain.encoders.base import FittedEncoder
from raybrain.events import BY_RECORDING
from raybrain.experiment import Experiment
from raybrain.identity import check_unedited, locate, versions
from raybrain.placement import draining, ray_storage, room_for, watching_room, worker_resources
from raybrain.recording import means_subject
from raybrain.storage import FULL
from raybrain.store import Prepared
from raybrain.tracking.base import TrackedRun, TrackingStore
from raybrain.train import warm_start
from raybrain.train.bookkeeper import Bookkeeper
from raybrain.train.closed_form import ClosedForm
from raybrain.train.fitting import CannotFit
from raybrain.train.job import TrainJob, make_place
from raybrain.train.log_training import EpochLog, begin_log, log_interruption, log_result, patiently
from raybrain.train.loop import Diverged, Training
from raybrain.train.messages import Audience, Exchange, Inbox, Message, Sender, Started
from raybrain.train.model_card import keep_model
from raybrain.train.order import RunSizes, contrast, resolve
from raybrain.train.progress import TrainingBar
from raybrain.train.record import Damaged, Row, best_epoch, is_complete, run_record
from raybrain.train.saving import SaveClock
from raybrain.train.step import Place

console = PlainConsole(stderr=True)
AGAIN = "make room and run the same command again, which goes on where it was"
DIED = (
    "the process of a worker was killed, perhaps for lack of memory, or its machine is gone, and that happened more often than "
    "failures= allows; run the same command again, which goes on where it was"
)
NO_MEMORY = (
    "Ray ended a worker, since its machine ran out of memory; train fewer at once (--max-concurrent, or more for --cluster "
    "cpus_per_worker=), and run the same command again, which goes on where it was"
)
LOOK_S = 0.1  # between two looks whether workers are done


@dataclass(frozen=True)
class Trained:
    """A finished training run."""

    job: TrainJob
    history: list[Row]
    tracking: TrackedRun

    @property
    def best(self) -> Row:
        """The metrics of the epoch whose weights are kept: the lowest valid loss."""
        return best_epoch(self.history)


def make_job(experiment: Experiment, prepared: Prepared, cluster: Cluster) -> TrainJob:
    """What to train on what, in the folder named by both."""
    experiment = locate(experiment.as_read(), cluster.home)
    experiment = experiment.model_copy(update={"train": resolve(experiment.train, cluster.workers)})
    return TrainJob(
        experiment=experiment,
        cluster=cluster,
        store=prepared.store,
        recordings=prepared.recordings,
        digest=prepared.digest,
        brain=prepared.brain,
        features=prepared.features,
        code=versions(experiment),
        record=run_record(cluster.home, experiment, prepared.digest),
    )


def check(experiment: Experiment, cluster: Cluster, prepared: Prepared | None = None) -> None:
    """Refuse what cannot be trained, before data are prepared as far as possible, and before anything is started.

    Raises:
        InputError: if the batch does not divide among the workers, whatever number of them there may be, or a trained model
            cannot be started from.
    """
    warm_start.check(experiment)
    train = resolve(experiment.train, cluster.workers)
    segments = sys.maxsize if prepared is None else prepared.store.manifest["counts"]["train"]
    for workers in range(cluster.min_workers or cluster.workers, cluster.workers + 1):
        contrast(train, workers, segments)


def run(experiment: Experiment, prepared: Prepared, cluster: Cluster) -> Trained:
    """Train what is not trained yet; wait if another process trains it now.

    Raises:
        InputError: if the batch does not divide, the loss diverges or the disk is full.
    """
    job = make_job(experiment, prepared, cluster)
    check(experiment, cluster, prepared)

    def with_ray(job: TrainJob) -> Ending:
        bar = TrainingBar(console, job.experiment.train.epochs, len(job.record.history()))
        with ray_session(cluster), Exchange.open() as exchange, bar:
            return fit(job, exchange, bar.show)

    call = Call(with_ray, "train", say_busy)
    trained = train(job, cluster.tracking_store(), call)
    assert trained, f"{job.record.path} was stopped, and nobody was to stop it"
    return trained


def say_busy(line: str) -> None:
    """Say who else works on something, before waiting for that."""
    console.print(f"{line}; waiting for it", highlight=False, markup=False, soft_wrap=True)


@dataclass(frozen=True)
class Ending:
    """How a training ended.

    Attributes:
        history: the metrics of each epoch.
        reason: why it cannot go on, however often it is tried; None if it can, or is complete.
    """

    history: list[Row]
    reason: str | None = None


@dataclass(frozen=True)
class Call:
    """How a training is called.

    Attributes:
        train: trains a job, in this process or with workers.
        purpose: what other processes are told that want to train the same.
        busy: is called once, with a line that says who else trains it now, before waiting for that.
        name: of the MLflow run; what is asked and the signature if empty.
        parent: id of the MLflow run it belongs to.
    """

    train: Callable[[TrainJob], Ending]
    purpose: str
    busy: Callable[[str], object]
    name: str = ""
    parent: str | None = None


class CannotTrain(InputError):
    """A training came to an end that it would come to again."""


def train(job: TrainJob, store: TrackingStore, call: Call) -> Trained | None:
    """Train a run unless it is trained, while no other process does. All training goes through here.

    Returns:
        The finished run; None if it was stopped before its end.

    Raises:
        CannotTrain: if the loss diverged, or a checkpoint is damaged.
        InputError: if the disk is full.
    """
    with job.record.own(call.purpose, call.busy):
        fetch(job.store.root / "manifest.json")
        if (history := _history(job)) is not None:
            return _logged(job, store, history)
        _refuse_unknown(job)
        _refuse_unnamed(job)
        job.record.begin(job.experiment)
        job = patiently(store, lambda: begin_log(job, store, call.name, call.parent))
        assert job.tracking
        try:
            ending = call.train(job)
        except BaseException as error:
            log_interruption(job, error)
            raise
        fetch(job.record.path)  # as its workers left it
        if ending.reason:
            job.record.fail(ending.reason)
            job.tracking.set_status("FAILED")
            raise CannotTrain(ending.reason)
        return finish(job, store, ending.history) if is_complete(ending.history, job.experiment.train) else None


def _refuse_unknown(job: TrainJob) -> None:
    """Refuse to test who was held out, as a whole, with an encoder that knows only who was trained with."""
    splits, cure = job.experiment.data.splits, job.experiment.encoder.without_subjects()
    unknown = job.store.manifest["untrained"] if cure and splits.mode in BY_RECORDING else []
    if unknown:
        raise CannotTrain(
            f"data.splits.mode={splits.mode} leaves nothing of {', '.join(unknown)} to train on, and "
            f"encoder={job.experiment.encoder.name} learns something of each subject; type {cure}"
        )


def _refuse_unnamed(job: TrainJob) -> None:
    """Refuse to leave out who is not there, or everybody."""
    names, parts = job.experiment.train.leave_out, [job.store.part(uid) for uid in job.recordings]
    people = sorted({(part.study, part.subject) for part in parts if part})
    known = [f"{study}/{subject}" for study, subject in people]
    for name in names:
        if not any(means_subject(name, *person) for person in people):
            raise CannotTrain(f"train.leave_out: no subject called {name!r}{hint(name, known)}")
    if names and all(any(means_subject(name, *person) for name in names) for person in people):
        raise CannotTrain(f"train.leave_out={','.join(names)} leaves nobody of {', '.join(known)} to train with; name fewer")


def recall(job: TrainJob, store: TrackingStore) -> Trained | None:
    """The finished run of a job, or None.

    It is logged anew, once, if the tracking store does not know it: it is another store, or its database was deleted.
    """
    fetch(job.record.path)
    history = _history(job)
    if history is None:
        return None
    if job.record.experiment() is None:
        job.record.begin(job.experiment)
    if run := store.find(job.record.tracking()):
        return Trained(job, history, run)
    with job.record.own("log", say_busy):
        return _logged(job, store, history)


def _history(job: TrainJob) -> list[Row] | None:
    """Of a finished run; None if it is not, or lacks its model or its sizes: these are made again, from the weights."""
    record = job.record
    result = record.result()
    return result.history if result and record.has_model and record.sizes() else None


def _logged(job: TrainJob, store: TrackingStore, history: list[Row]) -> Trained:
    """The finished run of a job, in a new tracked run if the store knows none; for who owns it."""
    run = store.find(job.record.tracking())
    return Trained(job, history, run) if run else finish(begin_log(job, store), store, history)


def finish(job: TrainJob, store: TrackingStore, history: list[Row]) -> Trained:
    """Keep and log the result of a training that came to its end.

    Raises:
        InputError: if the store does not answer, however long it is waited for.
    """
    assert job.tracking
    patiently(store, lambda: log_result(job, history))
    if job.record.result() is None:  # else it is logged anew, and ended when it did
        job.record.finish(job.experiment.signature, job.digest, history)
    shutil.rmtree(job.record.ray, ignore_errors=True)  # what Ray Train needs to go on
    job.tracking.set_status("FINISHED")
    return Trained(job, history, job.tracking)


def fit(job: TrainJob, exchange: Exchange, hear: Callable[[Message], object], judged: bool = False) -> Ending:
    """Train with Ray Train.

    Args:
        job: what to train.
        exchange: where its workers send messages, under the name of its folder.
        hear: is called here with each of them.
        judged: whether the workers wait for a verdict after each epoch (:meth:`~raybrain.train.messages.Exchange.judge`).
    """
    import ray.train
    from ray.train import LoggingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    from raybrain.train.group import WorkerGroup

    cluster, run = job.cluster, job.record.path.name
    each = worker_resources(cluster)
    least = cluster.min_workers or cluster.workers
    room_for(cluster, least)
    exchange.clear(run)
    trainer = DataParallelTrainer(
        train_worker,
        backend_config=WorkerGroup(),
        train_loop_config={"job": job, "audience": Sender(exchange, run, judged)},
        scaling_config=ray.train.ScalingConfig(
            num_workers=cluster.workers if least == cluster.workers else (least, cluster.workers),
            use_gpu="GPU" in each,
            resources_per_worker=each,
        ),
        run_config=ray.train.RunConfig(
            **ray_storage(cluster, job.record.ray),
            failure_config=ray.train.FailureConfig(max_failures=cluster.failures),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    try:
        with watching_room(cluster, least) as check_room_left:
            result = _listening(trainer.fit, Inbox(exchange, run), hear, check_room_left)
    except ray.train.TrainingFailedError as error:
        raise cause_of(error) from error
    return Ending(**result.return_value)


def work(job: TrainJob, place: Place, audience: Audience) -> Ending:
    """Train until the end or a stop. What a restart would not help is returned rather than raised.

    Args:
        job: what to train.
        place: where this worker stands.
        audience: who hears of it, and may stop it; only the first worker's is asked.

    Raises:
        InputError: if a plug-in was edited meanwhile, or the disk is full.
    """
    check_unedited(job.experiment, job.code)
    tables = job.tables(place.device)
    sizes = contrast(job.experiment.train, place.world, len(tables.rows["train"]))
    first = place.rank == 0
    if first:
        fetch(job.record.path)
    with job.record.writing() if first else nullcontext(), draining() if first else nullcontext(lambda: False) as warned:
        try:
            kind = ClosedForm if isinstance(job.experiment.encoder, FittedEncoder) else Training
            training = kind(job.experiment, tables, sizes, place, job.record)
            if first:
                parameters = sum(parameter.numel() for parameter in training.learner.parameters)
                rows = tables.rows["train"]
                subjects = len(torch.unique(tables.subject[tables.recording[rows]]))
                made = RunSizes(training.sizes, parameters, tables.where, len(rows), subjects)
                job.record.keep_sizes(made)
                audience.hear(Started(training.describe(made)))
            books = Bookkeeper(job.record, place, audience, EpochLog(job.tracking))
            history = training.run(books, SaveClock(job.cluster.checkpoint_s, warned))
            if first:
                keep_model(job, training.learner, history)
        except (Diverged, Damaged, CannotFit, warm_start.CannotStart) as error:
            return Ending([], str(error))
    return Ending(history)


def train_worker(config: dict[str, Any]) -> dict[str, Any]:
    """What each Ray Train worker runs; plain values of an :class:`Ending`."""
    import ray.train
    import ray.train.torch

    job: TrainJob = config["job"]
    context = ray.train.get_context()
    place = make_place(job.cluster, context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    return vars(work(job, place, config["audience"]))


def _listening(call: Callable[[], Any], inbox: Inbox, hear: Callable[[Message], object], check: Callable[[], None]) -> Any:
    """Call in another thread, handle messages meanwhile, and check again and again whether to go on.

    So Ctrl-C stays ours: on the main thread Ray Train takes it, and never gives it back.
    """
    done: Future[Any] = Future()

    def run_it() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # handed to whoever waits
            done.set_exception(error)

    threading.Thread(target=run_it, name="train", daemon=True).start()
    while not done.done():
        check()
        for message in inbox.receive(LOOK_S):
            hear(message)
    for message in inbox.rest():
        hear(message)
    return done.result()


def reason_of(error: Any) -> str:
    """What an error says, in one line."""
    text = str(cause_of(error) if isinstance(error, BaseException) else error).strip()
    return text.splitlines()[-1] if text else type(error).__name__


def cause_of(error: BaseException) -> BaseException:
    """What a worker meant to say to a person, dug out of what Ray wraps around it; ``error`` itself if there is nothing."""
    from ray.exceptions import OutOfMemoryError, RayActorError

    seen: list[Any] = [error]
    for item in seen:
        if isinstance(item, InputError):
            return InputError(str(getattr(item, "cause", item)).splitlines()[-1])
        if isinstance(item, OSError) and item.errno in FULL:
            return InputError(f"the disk is full{f' ({item.filename})' if item.filename else ''}; {AGAIN}")
        workers = getattr(item, "worker_failures", None) or {}
        died = getattr(item, "health_check_failure", None)  # and Tune chains by context
        inner = [item.__cause__, item.__context__, getattr(item, "cause", None), died, *workers.values()]
        seen += [cause for cause in inner if isinstance(cause, BaseException) and cause not in seen]
    for kind, line in ((OutOfMemoryError, NO_MEMORY), (RayActorError, DIED)):
        if any(isinstance(item, kind) for item in seen):
            return InputError(line)
    return error
