"""Worker: one training process, in a Ray Train worker or in the process of a sweep's trial."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from raybrain.cluster import Cluster, given_device
from raybrain.encoders.base import FittedEncoder
from raybrain.experiment import Experiment
from raybrain.identity import check_unedited
from raybrain.store import Store
from raybrain.tracking.base import TrackedRun
from raybrain.train.closed_form import ClosedForm
from raybrain.train.log_training import EpochLog
from raybrain.train.loop import Diverged, Training
from raybrain.train.messages import Audience, Epochs, Started, Steps
from raybrain.train.model_card import keep_model
from raybrain.train.order import contrast
from raybrain.train.record import Damaged, Row, RunRecord, RunSizes, best_epoch
from raybrain.train.step import Place
from raybrain.train.tables import Tables, open_tables

STEPS_S = 0.5  # between two messages about steps


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
    tracking: TrackedRun | None = None

    def tables(self, device: torch.device) -> Tables:
        """The data, on ``device`` where it fits."""
        tables = open_tables(self.store, self.recordings, self.brain, self.features, self.cluster.maps, self.experiment.window)
        return tables.place(device, min(self.cluster.gpus_per_worker, 1.0))


class Bookkeeper:
    """Keeps the history, logs it, and tells the audience: all from the first worker. Whether to stop, all workers agree on."""

    def __init__(self, job: TrainJob, place: Place, audience: Audience) -> None:
        self.job, self.place, self.audience = job, place, audience
        self.told_at = 0.0
        self.log = EpochLog(job.tracking)

    def step(self, epoch: int, step: int, of: int) -> None:
        """Say where training stands, every now and then."""
        if self.place.rank == 0 and (step == of or time.monotonic() - self.told_at > STEPS_S):
            self.told_at = time.monotonic()
            self.audience.hear(Steps(epoch, step, of))

    def resumed(self, history: list[Row]) -> bool:
        """Say what the audience may not have heard, as after a restart."""
        if self.place.rank == 0:
            self.job.record.keep_history(history)
            self.log.add(history)
        return any(self._stops(history[:epochs]) for epochs in range(1, len(history) + 1))

    def epoch(self, history: list[Row]) -> bool:
        """Keep the metrics of a finished epoch."""
        if self.place.rank == 0:
            self.job.record.keep_history(history)
            self.log.add(history)
        return self._stops(history)

    def _stops(self, history: list[Row]) -> bool:
        """Tell of the last epoch; whether to stop there."""
        stop = b""
        if self.place.rank == 0:
            self.audience.hear(Epochs(tuple(history)))
            stop = b"stop" * self.audience.stops(len(history))
        return self.place.first(stop) == b"stop"


@dataclass(frozen=True)
class Ending:
    """How a training ended.

    Attributes:
        history: the metrics of each epoch.
        reason: why it cannot go on, however often it is tried; None if it can, or is complete.
    """

    history: list[Row]
    reason: str | None = None


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
    with job.record.writing() if place.rank == 0 else nullcontext():
        try:
            kind = ClosedForm if isinstance(job.experiment.encoder, FittedEncoder) else Training
            training = kind(job.experiment, tables, sizes, place, job.record)
            if place.rank == 0:
                parameters = sum(parameter.numel() for parameter in training.learner.parameters)
                made = RunSizes(training.sizes, parameters, tables.where)
                job.record.keep_sizes(made)
                audience.hear(Started(training.describe(made)))
            history = training.run(Bookkeeper(job, place, audience), job.cluster.checkpoint_s)
            if place.rank == 0:
                keep_model(job, training.learner, history)
        except (Diverged, Damaged) as error:
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
