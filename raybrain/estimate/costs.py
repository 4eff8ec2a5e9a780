"""Costs: what trainings take, at most: no training stops early. Doctor and both dry runs ask here, and so agree."""

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from raybrain.batch import FeatureSlice, Shapes
from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.data_config import DataConfig
from raybrain.download.unpack import amount
from raybrain.estimate.expense import Expense, Load, expense
from raybrain.estimate.extent import Extent, Footprint, extent_of, footprint, prepared_extents, size_of
from raybrain.estimate.pace import Pace, Paces
from raybrain.experiment import Experiment
from raybrain.network import Network, Parts
from raybrain.store import Store, feature_name
from raybrain.train.order import resolve

FLOPS = 5e12  # a second: a third of the peak of the V100 in float32, which the paper used
BACKWARD = 2  # times the forward pass, as in any network


@dataclass(frozen=True)
class DataSize:
    """How much data an experiment has.

    Attributes:
        extents: of its studies; empty where nobody knows.
        footprint: what they take; None where nobody knows.
        segments: of the train split; None where nobody knows.
        ready: whether all is prepared.
    """

    extents: tuple[Extent, ...]
    footprint: Footprint | None
    segments: int | None
    ready: bool

    @property
    def channels(self) -> int | None:
        """Of the widest recording, before any step of the signal; None where nobody knows."""
        return max((extent.channels for extent in self.extents), default=None)

    @property
    def subjects(self) -> int:
        """As many as are known, else as there are recordings."""
        return sum(extent.subjects or extent.recordings for extent in self.extents)

    @property
    def missing(self) -> float:
        """Bytes of prepared data that are going to be written, where that is known."""
        return 0.0 if self.ready or self.footprint is None else self.footprint.store


@dataclass(frozen=True)
class Cost:
    """What some trainings take together; None stands for what nobody knows.

    Attributes:
        trainings: how many.
        steps: of the optimiser.
        segments: that all steps see.
        flops: floating point operations.
        seconds: of training on this machine, one training after the other.
        source: how that is known.
        store: bytes of prepared data that are still to be written.
        maps: bytes of memory maps.
        task: bytes of memory that it takes to prepare a recording.
        expense: what it takes on the cluster, where rates are given.
    """

    trainings: int
    steps: int | None
    segments: int | None
    flops: float | None
    seconds: float | None
    source: str
    store: float | None
    maps: float | None
    task: float | None
    expense: Expense | None = None

    @property
    def gpu_hours(self) -> float | None:
        """Of one GPU that sustains ``FLOPS``."""
        return None if self.flops is None else self.flops / FLOPS / 3600

    @property
    def line(self) -> str:
        """Steps and GPU-hours."""
        if self.steps is None:
            return "cost: not known before the data are there"
        gpu = "" if self.gpu_hours is None else f" = {_two_digits(self.gpu_hours)} GPU-hours"
        return f"at most {self.steps:,} steps{gpu}"

    def further(self) -> list[str]:
        """Time on this machine, disk and memory, as far as they are known."""
        lines = self.expense.lines() if self.expense else []
        if self.trainings and self.seconds is not None:
            lines.append(f"at most {duration(self.seconds)} of training on this machine, {self.source}")
        if self.store is not None and self.maps is not None:
            lines.append(f"at most {amount(self.store)} of prepared data to be written, {amount(self.maps)} of memory maps")
        if self.task:
            lines.append(f"about {amount(self.task)} of memory to prepare a recording")
        return lines

    def lines(self) -> list[str]:
        """All of it, for people."""
        unknown = "how long a step takes on this machine is not known; `raybrain doctor RECIPE` takes some"
        return [self.line, *([unknown] if self.steps and self.seconds is None else []), *self.further()]

    def result(self) -> dict[str, Any]:
        """For --json."""
        hours = None if self.seconds is None else self.seconds / 3600
        spent = self.expense and vars(self.expense)
        return {**vars(self), "hours": hours, "gpu_hours": self.gpu_hours, "expense": spent}


@dataclass(frozen=True)
class Estimator:
    """Estimates what trainings take; what it has looked up it looks up once."""

    cluster: Cluster

    def cost(self, experiments: Iterable[Experiment], share: float = 1.0) -> Cost:
        """What some trainings take together.

        Args:
            experiments: the trainings.
            share: they stand for so many times as many.
        """
        experiments = list(experiments)
        data = list({experiment.data: self.data(experiment.data) for experiment in experiments}.values())
        steps = [self._steps(experiment) for experiment in experiments]
        flops = [_times(self.step_flops(one), count) for one, count in zip(experiments, steps, strict=True)]
        paces = [self.paces.of(experiment) for experiment in experiments]
        seconds = [_times(pace.seconds if pace else None, count) for pace, count in zip(paces, steps, strict=True)]
        batches = [resolve(experiment.train, self.cluster.workers).batch_size for experiment in experiments]
        seen = [_times(batch, count) for batch, count in zip(batches, steps, strict=True)]
        prints = [one.footprint for one in data]
        whole = None not in prints
        maps = sum(one.maps for one in prints if one) if whole else None
        exchanged = [_times(self._weights(one), count) for one, count in zip(experiments, steps, strict=True)]
        load = Load(
            trainings=round(share * len(experiments)),
            segments=_whole(seen, share),
            seconds=_sum(seconds, share),
            gradients=_sum(exchanged, share),
            store=sum(one.store for one in prints if one) if whole else None,
            maps=maps,
        )
        return Cost(
            load.trainings,
            _whole(steps, share),
            load.segments,
            _sum(flops, share),
            load.seconds,
            _sources(paces),
            sum(one.missing for one in data) if whole else None,
            maps,
            max((one.task for one in prints if one), default=0.0) if whole else None,
            expense(load, self.cluster),
        )

    @cached_property
    def paces(self) -> Paces:
        """What is known of the pace of trainings in this home."""
        return Paces(self.cluster, lambda experiment: self.channels(experiment.data), self.step_flops)

    def channels(self, data: DataConfig) -> int | None:
        """Of the prepared data."""
        recorded = self.data(data).channels
        return None if recorded is None else data.signal.channels(recorded)

    def data(self, data: DataConfig) -> DataSize:
        """What there is of some data, or would be. Nothing is downloaded, made or prepared to find out."""
        if data not in self._data:
            self._data[data] = _prepared(data, self.cluster) or _expected(data, self.cluster)
        return self._data[data]

    @cached_property
    def _data(self) -> dict[DataConfig, DataSize]:
        return {}

    def step_flops(self, experiment: Experiment) -> float | None:
        """Floating point operations of a step, forward and backward; None where the number of channels is not known."""
        channels = self.channels(experiment.data)
        if channels is None:
            return None
        batch = resolve(experiment.train, self.cluster.workers).batch_size
        return batch * (1 + BACKWARD) * _forward_flops(experiment, channels)

    def _weights(self, experiment: Experiment) -> int | None:
        """Of all networks; None where the number of channels is not known."""
        channels = self.channels(experiment.data)
        return None if channels is None else _weights(*_networks(experiment, channels))

    def _steps(self, experiment: Experiment) -> int | None:
        segments = self.data(experiment.data).segments
        if segments is None:
            return None
        train = resolve(experiment.as_read().train, self.cluster.workers)
        return train.epochs * max(1, min(segments // train.batch_size, train.updates_per_epoch))


def _prepared(data: DataConfig, cluster: Cluster) -> DataSize | None:
    """The data as they are prepared; None if anything is missing."""
    try:
        store = Store(cluster.home / "stores" / data.brain_signature)
        manifest = store.manifest
        if any(feature_name(feature) not in manifest["features"] for feature in data.features):
            return None
        extents = prepared_extents(store)
    except (InputError, OSError):
        return None
    return DataSize(tuple(extents), footprint(data, extents), int(manifest["counts"]["train"]), True)


def _expected(data: DataConfig, cluster: Cluster) -> DataSize:
    """The data as they should be."""
    extents = []
    for study in data.studies:
        try:
            extent = extent_of(study, cluster)
        except (InputError, OSError):  # whoever prepares it says what is wrong
            extent = None
        if extent is None:
            return DataSize((), None, None, False)
        extents.append(extent)
    expected = footprint(data, extents)
    return DataSize(tuple(extents), expected, int(expected.train), False)


def _forward_flops(experiment: Experiment, channels: int) -> float:
    """Of one segment: every weight multiplies and adds once a sample, as in a convolution; where rates are lower, fewer do."""
    window = experiment.data.window.read_with(experiment.window)
    return 2.0 * window.times * _weights(*_networks(experiment, channels))


def _networks(experiment: Experiment, channels: int) -> tuple[Parts, Shapes]:
    window = experiment.data.window.read_with(experiment.window)
    sizes = [size_of(feature) for feature in experiment.data.features]
    ends = list(itertools.accumulate(sizes))
    parts = zip(experiment.data.features, sizes, ends, strict=True)
    slices = tuple(FeatureSlice(feature.name, end - size, end) for feature, size, end in parts)
    shapes = Shapes(channels, ("one",), ends[-1], window.times, window.rate_hz, window.tmin_s, slices=slices)
    return Parts.of(experiment), experiment.task.built_for(shapes)


@functools.cache
def _weights(parts: Parts, shapes: Shapes) -> int:
    """Of all networks, one subject's of what each subject has; no memory is taken."""
    import torch

    with torch.device("meta"):
        return sum(weights.numel() for weights in Network(parts, shapes).parameters())


def duration(seconds: float) -> str:
    """Seconds for people: 3.5 h."""
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _two_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _times(value: float | None, count: int | None) -> float | None:
    return None if value is None or count is None else value * count


def _sum(values: Sequence[float | None], share: float) -> float | None:
    known = [value for value in values if value is not None]
    return share * sum(known) if len(known) == len(values) else None


def _whole(values: Sequence[float | None], share: float) -> int | None:
    total = _sum(values, share)
    return None if total is None else round(total)


def _sources(paces: Sequence[Pace | None]) -> str:
    return " and ".join(dict.fromkeys(pace.source for pace in paces if pace))
