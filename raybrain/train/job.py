"""Job: all that a process needs to know to train, and where it stands among the others that train the same."""

from dataclasses import dataclass

import torch

from raybrain.cluster import Cluster
from raybrain.experiment import Experiment
from raybrain.placement import given_device
from raybrain.store import Store
from raybrain.tracking.base import TrackedRun
from raybrain.train.record import RunRecord
from raybrain.train.step import Place
from raybrain.train.tables import Tables, open_tables


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
        tables = tables.limited(self.experiment.train, self.experiment.test.left_out)
        return tables.place(device, min(self.cluster.gpus_per_worker, 1.0))


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
