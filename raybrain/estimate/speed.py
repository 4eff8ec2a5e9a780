"""Speed: how long a training step takes on this machine and how much memory, by taking some, on noise of the right shape."""

import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.experiment import Experiment

if TYPE_CHECKING:
    from raybrain.train.step import Place
    from raybrain.train.tables import Tables

SMALL = 8  # segments of the batch that is tried first
PATIENCE_S = 5.0  # a step that takes longer is not taken at its full size
STEPS = 3
NOISE_S = 60.0


@dataclass(frozen=True)
class Speed:
    """Of one worker.

    Attributes:
        device: what it computed on.
        seconds: of a step with the worker's share of a batch.
        segments: of the batch that was measured; the rest is in proportion.
        memory: bytes of the process at its fullest, without the memory maps, which all workers share.
        device_memory: bytes on the GPU; 0 without one.
        parameters: numbers that are trained.
    """

    device: str
    seconds: float
    segments: int
    memory: float
    device_memory: float
    parameters: int


def measure(experiment: Experiment, cluster: Cluster, channels: int, subjects: int) -> Speed:
    """Take some steps in a process of its own.

    Raises:
        InputError: if the experiment cannot be trained, or there is not enough memory.
    """
    from raybrain.train.order import contrast

    contrast(experiment.train, cluster.workers)  # refuses what does not divide
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_measure, experiment, cluster, channels, subjects).result()
        except BrokenProcessPool:
            raise InputError("a worker was killed, for lack of memory most likely; type a smaller train.batch_size") from None


def _measure(experiment: Experiment, cluster: Cluster, channels: int, subjects: int) -> Speed:
    import torch

    from raybrain.train.job import make_place
    from raybrain.train.order import resolve

    share = resolve(experiment.train, cluster.workers).batch_size // cluster.workers
    device = torch.device("cuda" if cluster.gpus != "off" and torch.cuda.is_available() else "cpu")
    place = make_place(cluster, 0, 1, device)
    tables = _noise(experiment, channels, subjects, max(share, SMALL)).place(device)
    before = _memory()
    try:
        seconds, parameters = _steps(experiment, tables, place, min(SMALL, share), 1)
        few = min(SMALL, share)
        if seconds * share / few <= PATIENCE_S and few < share:
            few = share
            seconds, parameters = _steps(experiment, tables, place, few, STEPS)
    except torch.cuda.OutOfMemoryError:
        raise InputError(
            "the GPU's memory is too small for a step; type a smaller train.batch_size or more --workers"
        ) from None
    grown = (_memory() - before) * share / few
    taken = torch.cuda.max_memory_allocated(device) * share / few if device.type == "cuda" else 0.0
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{cluster.cpus_per_worker} CPU"
    return Speed(name, seconds * share / few, few, before + grown, taken, parameters)


def _steps(experiment: Experiment, tables: "Tables", place: "Place", batch: int, count: int) -> tuple[float, int]:
    """Seconds of a step after the first one, and the number of parameters."""
    import torch

    from raybrain.train.order import Order, contrast
    from raybrain.train.step import Learner

    group = min(batch, experiment.train.contrast_size or batch)
    group = next(size for size in range(group, 0, -1) if batch % size == 0)
    update = {"batch_size": batch, "batch_size_per_worker": None, "contrast_size": group}
    train = experiment.train.model_copy(update=update | {"extra_negatives": min(experiment.train.extra_negatives, batch)})
    sizes = contrast(train, 1, len(tables.rows["train"]))
    learner = Learner(experiment, tables, sizes, place)
    order = Order(tables.rows["train"], sizes, train.seed)
    began = 0.0
    for step in range(count + 1):
        if step == 1:
            began = time.perf_counter()
        loss = learner.update(learner.load(order.batch(step), order.extra(step), step))
        float(loss)  # waits for the device
    if place.device.type == "cuda":
        torch.cuda.synchronize(place.device)
    seconds = (time.perf_counter() - began) / count
    return seconds, sum(parameter.numel() for parameter in learner.parameters)


def _noise(experiment: Experiment, channels: int, subjects: int, segments: int) -> "Tables":
    """Segments of one stretch of noise that all subjects share."""
    import torch

    from raybrain.features.frame_table import FeatureTable
    from raybrain.train.tables import Tables

    data, window = experiment.data, experiment.data.window.read_with(experiment.window)
    rate, samples = window.rate_hz, window.samples
    length = max(round(NOISE_S * rate), 2 * samples)
    begin = torch.arange(segments) % (length - samples)
    count = torch.full((segments,), length)
    features = [
        FeatureTable(
            f.name, f.rate_hz, torch.randn(1 + length, f.size), begin / rate * f.rate_hz, torch.ones_like(count), count
        )
        for f in data.features
    ]
    return Tables(
        signal=torch.randn(length, channels),
        centre=torch.zeros(subjects, channels),
        layout=torch.zeros(subjects, dtype=torch.long),
        positions=torch.rand(1, channels, 2),
        valid=torch.ones(1, channels, dtype=torch.bool),
        subject=torch.arange(subjects),
        recording=torch.arange(segments) % subjects,
        start=begin,
        candidate=torch.arange(segments),
        features=features,
        rows={"train": torch.arange(segments)},
        meta={
            "subjects": [["noise", str(number)] for number in range(subjects)],
            "recordings": [str(number) for number in range(subjects)],
            "layouts": [{"channels": [str(number) for number in range(channels)], "places": [None] * channels}],
        },
        window=window,
    )


def _memory() -> float:
    """Bytes this process took at its fullest."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)
