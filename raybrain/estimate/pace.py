"""Pace: seconds of a training step, by the best that is known of it.

That is: steps of the very same training that were taken on this machine, else what finished runs of it took, else what it
should take, going by its floating point operations and by the speed of other trainings.
"""

import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import median
from typing import Any

from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.estimate.speed import Speed
from raybrain.experiment import Experiment
from raybrain.plain import tree
from raybrain.storage import content_digest, read_json, write_json
from raybrain.train.order import resolve
from raybrain.train.record import run_records

RUNS = 50  # finished runs that are looked at, the latest ones

Flops = Callable[[Experiment], float | None]  # of a training step


@dataclass(frozen=True)
class Pace:
    """Seconds of a training step over all workers, and how that is known."""

    seconds: float
    source: str


@dataclass(frozen=True)
class _Known:
    """A training whose pace is known: its :func:`work`, floating point operations and seconds of a step."""

    work: str
    flops: float | None
    seconds: float


def _known(kept: Mapping[str, Any]) -> _Known:
    return _Known(kept["work"], kept["flops"], kept["speed"]["seconds"])


@dataclass(frozen=True)
class Paces:
    """What is known in a home of the pace of trainings.

    Attributes:
        cluster: the home, and how trainings run.
        channels: of an experiment's prepared data; None where nobody knows.
        flops: floating point operations of a step of an experiment; None where nobody knows.
    """

    cluster: Cluster
    channels: Callable[[Experiment], int | None]
    flops: Flops

    def of(self, experiment: Experiment) -> Pace | None:
        """The pace of a training; None if nothing is known that would tell."""
        work = self.work(experiment)
        for known, source in ((self._taken, "by steps taken on this machine"), (self._runs, "as in earlier runs")):
            if same := [one.seconds for one in known if one.work == work]:
                return Pace(median(same), source)
        flops = self.flops(experiment)
        speeds = [one.flops / one.seconds for one in (self._taken or self._runs) if one.flops and one.seconds]
        return Pace(flops / median(speeds), "going by other trainings") if flops and speeds else None

    def remember(self, experiment: Experiment, speed: Speed) -> None:
        """Keep what steps on this machine took, also for later commands if the home can be written."""
        work = self.work(experiment)
        kept = {"work": work, "host": socket.gethostname(), "flops": self.flops(experiment), "speed": asdict(speed)}
        self._taken[:] = [known for known in self._taken if known.work != work] + [_known(kept)]
        with suppress(OSError):
            write_json(self.cluster.home / "speeds" / f"{content_digest([work, kept['host']])}.json", kept)

    def work(self, experiment: Experiment) -> str:
        """Names all that the pace of a training depends on, but for the machine."""
        data, train, cluster = experiment.data, resolve(experiment.train, self.cluster.workers), self.cluster
        network = [tree(part) for part in (experiment.task, experiment.encoder, experiment.speech_encoder, experiment.loss)]
        windows = [tree(data.segments), tree(experiment.window), data.signal.rate_hz, [tree(f) for f in data.features]]
        batch = [train.batch_size, train.contrast_size, train.extra_negatives]
        how = [cluster.workers, cluster.cpus_per_worker, cluster.gpus, cluster.precision, cluster.compile]
        return content_digest([network, windows, batch, how, self.channels(experiment)])

    @cached_property
    def _taken(self) -> list[_Known]:
        """What was measured on this machine."""
        measured = []
        for path in sorted((self.cluster.home / "speeds").glob("*.json")):
            with suppress(InputError):  # cut off: it is measured again
                measured.append(read_json(path))
        return [_known(one) for one in measured if one and one["host"] == socket.gethostname()]

    @cached_property
    def _runs(self) -> list[_Known]:
        """What runs in this home took that were finished by as many workers."""
        known = []
        finished = [(result.ended, run) for run in run_records(self.cluster.home) if (result := run.result())]
        for _, run in sorted(finished, key=lambda one: -one[0])[:RUNS]:
            result, sizes = run.result(), run.sizes()
            if not (result and result.history and sizes and sizes.contrast.workers == self.cluster.workers):
                continue
            try:
                experiment = run.experiment()
            except (InputError, ValueError, ImportError):  # of a plug-in that is not there today
                continue
            if experiment:
                last = result.history[-1]
                seconds = last["seconds"] / (last["epoch"] * sizes.contrast.updates_per_epoch)
                known.append(_Known(self.work(experiment), self.flops(experiment), seconds))
        return known
