"""Worker: one training process, in a Ray Train worker or in the process of a sweep's trial."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from raybrain.cluster import Cluster, given_device
from raybrain.experiment import Experiment
from raybrain.identity import check_unedited
from raybrain.store import Store
from raybrain.tracking import Run
from raybrain.train.loop import Diverged, Training
from raybrain.train.model_card import keep_model
from raybrain.train.order import contrast
from raybrain.train.record import Damaged, Row, RunRecord, RunSizes, best_epoch
from raybrain.train.step import Place
from raybrain.train.tables import Tables, open_tables

PROGRESS_S = 0.5  # between two looks people can take
VERDICT_S = 0.05  # between two looks for what a sweep has decided


@dataclass(frozen=True)
class TrainJob:
    """All a worker needs to know, as plain values; ``code`` are the versions of the experiment's kinds.

    A worker that starts after a plug-in was edited would import other code than what the experiment's signature stands for.
    """

    experiment: Experiment
    cluster: Cluster
    store: Store
    recordings: tuple[str, ...]
    digest: str
    brain: str
    features: dict[str, str]
    record: RunRecord
    code: dict[str, int | str]
    tracking: Run | None = None

    def tables(self, device: torch.device) -> Tables:
        """The data, on ``device`` where it fits."""
        tables = open_tables(self.store, self.recordings, self.brain, self.features, self.cluster.maps, self.experiment.window)
        return tables.place(device)


class Reporter(Protocol):
    """Who else hears of a finished epoch: a sweep, which may have enough of it, or nobody."""

    def __call__(self, metrics: dict[str, Any]) -> bool:
        """Called on every worker. Whether training is to stop there, the same on all."""


class Progress:
    """Tells the run folder (for the progress bar) and MLflow, from the first worker; and the reporter, from all."""

    def __init__(self, job: TrainJob, place: Place, report: Reporter) -> None:
        self.job, self.first, self.report = job, place.rank == 0, report
        self.last = 0.0
        self.logged: int | None = None  # epochs MLflow knows of

    def step(self, epoch: int, step: int, of: int) -> None:
        """Note where training stands, every now and then."""
        if self.first and (step == of or time.monotonic() - self.last > PROGRESS_S):
            self.last = time.monotonic()
            self.job.record.keep_progress({"epoch": epoch, "step": step, "of": of})

    def resumed(self, history: list[Row]) -> bool:
        """Tell the reporter what it may not have heard, as after a restart."""
        if self.first:
            self.job.record.keep_history(history)
            self._log(history)
        return any(self.report(with_kept(history[:epochs])) for epochs in range(1, len(history) + 1))

    def epoch(self, history: list[Row]) -> bool:
        """Keep the metrics of a finished epoch."""
        if self.first:
            self.job.record.keep_history(history)
            self._log(history)
        return self.report(with_kept(history))

    def _log(self, history: list[Row]) -> None:
        """Tell MLflow of the epochs it does not know yet. If it does not answer, training goes on and it is told later."""
        if self.job.tracking is None:
            return
        try:
            if self.logged is None:
                self.logged = self.job.tracking.last_step("valid_loss")
            for row in history[self.logged :]:
                self.job.tracking.metrics({key: value for key, value in row.items() if key != "epoch"}, step=int(row["epoch"]))
                self.logged = int(row["epoch"])
        except Exception as error:  # whatever a server, a proxy or a database may do
            print(f"MLflow does not answer ({type(error).__name__}); training goes on", flush=True)


def with_kept(history: Sequence[Row]) -> Row:
    """The last epoch's metrics, and as ``kept_...`` those of the weights kept so far: what a sweep compares."""
    return history[-1] | {f"kept_{key}": value for key, value in best_epoch(history).items()}


def trial_device(cluster: Cluster) -> torch.device:
    """What a Ray task or trial computes on."""
    return torch.device(given_device(cluster))


def make_place(cluster: Cluster, rank: int, world: int, device: torch.device) -> Place:
    """Where a worker stands and how it computes."""
    if device.type == "cpu":
        torch.set_num_threads(cluster.cpus_per_worker)
    else:
        torch.backends.cudnn.deterministic = True
    mixed = cluster.precision == "bfloat16" or (cluster.precision == "auto" and device.type == "cuda")
    return Place(rank, world, device, autocast=mixed, compile=cluster.compile)


def work(job: TrainJob, place: Place, report: Reporter) -> None:
    """Train until the end or a stop. What a restart would not help is written to the run folder rather than raised."""
    check_unedited(job.experiment, job.code)
    tables = job.tables(place.device)
    sizes = contrast(job.experiment.train, place.world, len(tables.rows["train"]))
    if place.rank == 0:
        job.record.forget_failure()
    try:
        training = Training(job.experiment, tables, sizes, place, job.record)
        if place.rank == 0:
            parameters = sum(parameter.numel() for parameter in training.learner.parameters)
            job.record.keep_sizes(RunSizes(sizes, parameters, tables.where))
        history = training.run(Progress(job, place, report), job.cluster.checkpoint_s)
        if place.rank == 0:
            keep_model(job, training.learner, history)
    except (Diverged, Damaged) as error:
        if place.rank == 0:
            job.record.fail(str(error))


def stop_asked(job: TrainJob, epoch: int) -> bool:
    """Whether a sweep wants a training to end after an epoch; waits until that is decided.

    The verdict is a file of the run, so all workers read the same one; the next one is not made before all have read it, as
    it is about an epoch that all train together.
    """
    while True:
        verdict = job.record.verdict()
        if verdict and (verdict["stop"] or verdict["epoch"] >= epoch):
            return bool(verdict["stop"])
        time.sleep(VERDICT_S)


def train_worker(config: dict[str, Any]) -> None:
    """What each Ray Train worker runs."""
    import ray.train
    import ray.train.torch

    job: TrainJob = config["job"]
    context = ray.train.get_context()
    place = make_place(job.cluster, context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    work(job, place, lambda metrics: config["judged"] and stop_asked(job, int(metrics["epoch"])))
