"""Run: an experiment and prepared data -> a trained encoder, with Ray Train; again with the same command, it goes on."""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from raybrain.cluster import Cluster, ray_session, room_for, worker_resources
from raybrain.config import InputError, differences, flat
from raybrain.experiment import Experiment, TrainConfig
from raybrain.identity import locate, versions
from raybrain.model_folder import is_model
from raybrain.store import Prepared
from raybrain.tracking import Run, Tracker
from raybrain.train.loop import describe
from raybrain.train.order import contrast, resolve
from raybrain.train.record import best_epoch, run_record
from raybrain.train.worker import TrainJob, train_worker, with_kept

console = Console(stderr=True)
LOOK_S = 0.1  # between two looks for epochs that workers have finished


@dataclass(frozen=True)
class Trained:
    """A finished training run."""

    job: TrainJob
    history: list[dict[str, float]]
    tracking: Run

    @property
    def best(self) -> dict[str, float]:
        """The metrics of the epoch whose weights are kept: the lowest valid loss."""
        return best_epoch(self.history)


def make_job(experiment: Experiment, prepared: Prepared, cluster: Cluster) -> TrainJob:
    """What to train on what, in the folder named by both."""
    experiment = locate(experiment, cluster.home).model_copy(update={"train": resolve(experiment.train, cluster.workers)})
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


def check(train: TrainConfig, cluster: Cluster, prepared: Prepared | None = None) -> None:
    """Refuse what cannot be trained, before data are prepared as far as possible, and before anything is started.

    Raises:
        InputError: if the batch does not divide among the workers, whatever number of them there may be.
    """
    train = resolve(train, cluster.workers)
    segments = sys.maxsize if prepared is None else prepared.store.manifest["counts"]["train"]
    for workers in range(cluster.min_workers or cluster.workers, cluster.workers + 1):
        contrast(train, workers, segments)


def tracked(job: TrainJob, tracker: Tracker, name: str = "", parent: str | None = None) -> TrainJob:
    """The job with its MLflow run: the one it had before if that is still there, else a new one."""
    job.record.begin(job.experiment)
    known = job.record.tracking()
    run = tracker.resume(known.id) if known and known.uri == tracker.uri else None
    if run is None:
        cluster = job.cluster
        tags = {
            "signature": job.experiment.signature,
            "data": job.digest,
            "workers": cluster.workers,
            "precision": cluster.precision,
        }
        changed = {f"changed.{key}": value for key, value in differences(job.experiment).items()}
        run = tracker.start(name or job.experiment.signature, parent, flat(job.experiment), tags | changed)
        job.record.keep_tracking(run)
    return TrainJob(**{**vars(job), "tracking": run})


def run(experiment: Experiment, prepared: Prepared, cluster: Cluster) -> Trained:
    """Train what is not trained yet.

    Raises:
        InputError: if the batch does not divide, the loss diverges or the disk is full.
    """
    job = make_job(experiment, prepared, cluster)
    if finished := recall(job):
        return finished
    check(experiment.train, cluster, prepared)
    job = tracked(job, Tracker.open(cluster.home))
    assert job.tracking
    try:
        with ray_session(cluster), _watched(job):
            fit(job)
    except BaseException as error:
        with suppress(Exception):  # what went wrong is worth more than what else goes wrong
            job.tracking.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    return finish(job)


def recall(job: TrainJob) -> Trained | None:
    """The finished run of a job, or None.

    It is logged anew if the tracking store does not know it: it is another server, or its database was deleted.
    """
    result = job.record.result()
    if result is None or not is_model(job.record.model):  # whoever deleted the model gets it again, from the weights
        return None
    known, tracker = job.record.tracking(), Tracker.open(job.cluster.home)
    if known and known.uri == tracker.uri and tracker.has(known.id):
        return Trained(job, result.history, known)
    job = tracked(job, tracker)
    assert job.tracking
    for row in result.history:
        job.tracking.metrics({key: value for key, value in row.items() if key != "epoch"}, step=int(row["epoch"]))
    return finish(job)


def finish(job: TrainJob) -> Trained:
    """Turn what the workers left behind into a result.

    Raises:
        InputError: if the loss diverged.
    """
    assert job.tracking
    reason = job.record.failure()
    if reason:
        job.tracking.end("FAILED")
        raise InputError(reason)
    sizes = job.record.sizes()
    if sizes:
        job.tracking.tags({f"step.{key}": value for key, value in sizes.flat().items()})
    job.tracking.artifact(job.record.model)
    job.tracking.artifact(job.record.settings)
    result = job.record.finish(job.experiment.signature, job.digest, job.record.history())
    job.tracking.end("FINISHED")
    return Trained(job, result.history, job.tracking)


def fit(job: TrainJob, hear: Callable[[dict[str, float]], object] | None = None) -> None:
    """Train with Ray Train.

    Args:
        job: what to train.
        hear: is called here with every epoch, as :func:`with_kept` tells it, and sees to the verdict that the workers then
            wait for (:func:`~raybrain.train.worker.stop_asked`).
    """
    import ray.train
    from ray.train import LoggingConfig
    from ray.train.torch import TorchTrainer

    cluster = job.cluster
    each = worker_resources(cluster)
    least = cluster.min_workers or cluster.workers
    room_for(cluster, least)
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"job": job, "judged": hear is not None},
        scaling_config=ray.train.ScalingConfig(
            num_workers=cluster.workers if least == cluster.workers else (least, cluster.workers),
            use_gpu="GPU" in each,
            resources_per_worker=each,
        ),
        run_config=ray.train.RunConfig(
            storage_path=str(job.record.ray),
            failure_config=ray.train.FailureConfig(max_failures=cluster.failures),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    try:
        _interruptible(trainer.fit, _relay(job, hear) if hear else lambda: None)
    except ray.train.TrainingFailedError as error:
        raise told(error) from error


def _relay(job: TrainJob, hear: Callable[[dict[str, float]], object]) -> Callable[[], None]:
    """Hands on what is new in the run folder, whenever it is called."""
    heard = 0

    def look() -> None:
        nonlocal heard
        history = job.record.history()
        while heard < len(history):
            heard += 1
            hear(with_kept(history[:heard]))

    return look


def _interruptible(call: Callable[[], object], meanwhile: Callable[[], None]) -> None:
    """Call in another thread, so that Ctrl-C stays ours: on the main thread Ray Train takes it, and never gives it back."""
    done: Future[object] = Future()

    def run_it() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # handed to whoever waits
            done.set_exception(error)

    threading.Thread(target=run_it, name="train", daemon=True).start()
    while not wait([done], timeout=LOOK_S).done:
        meanwhile()
    done.result()


def told(error: BaseException) -> BaseException:
    """What a worker meant to say to a person, dug out of what Ray wraps around it; ``error`` itself if there is nothing."""
    seen: list[Any] = [error]
    for item in seen:
        if isinstance(item, InputError):
            return InputError(str(getattr(item, "cause", item)).splitlines()[-1])
        workers = getattr(item, "worker_failures", None) or {}
        inner = [item.__cause__, getattr(item, "cause", None), *workers.values()]
        seen += [found for found in inner if isinstance(found, BaseException) and found not in seen]
    return error


@contextmanager
def _watched(job: TrainJob) -> Iterator[None]:
    """A progress bar fed by the run folder, and a line for every epoch, while the block runs."""
    stop = threading.Event()
    epochs = job.experiment.train.epochs
    seen = len(job.record.history())
    columns = (
        TextColumn("train: {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )

    def watch(progress: Progress) -> None:
        nonlocal seen
        bar = progress.add_task("starting workers", total=None)
        told_sizes = False
        while True:
            last = stop.wait(0.5)
            sizes = job.record.sizes()
            if sizes and not told_sizes:
                progress.print(sizes.describe(), highlight=False, soft_wrap=True)
                told_sizes = True
            history = job.record.history()
            for row in history[seen:]:
                progress.print(describe(row, epochs), highlight=False, soft_wrap=True)
            seen = max(seen, len(history))
            now = job.record.progress()
            if now:
                progress.update(bar, description=f"epoch {now['epoch'] + 1}/{epochs}", completed=now["step"], total=now["of"])
            if last:
                return

    with Progress(*columns, console=console, transient=True) as progress:
        thread = threading.Thread(target=watch, args=(progress,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
