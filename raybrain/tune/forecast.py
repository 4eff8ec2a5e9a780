"""Forecast: what a sweep would do and cost, before anything is prepared or trained."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.experiment import DataConfig, Experiment
from raybrain.store import Store, feature_name
from raybrain.train.order import contrast
from raybrain.train.record import run_records
from raybrain.tune.space import SearchSpace
from raybrain.tune.space_record import searched
from raybrain.tune.sweep import Sweep
from raybrain.tune.walk import settings_line, start


@dataclass(frozen=True)
class Forecast:
    """What a sweep would do.

    Attributes:
        trials: how many.
        points: the settings of the trials that are known beforehand: all of a grid, else the recipe.
        space: where the others are drawn from.
        repeats: trainings per trial.
        data: the data parts, and how many train segments each has; None for those that are not prepared.
        steps: optimiser steps if nothing is stopped early; None while a data part is not prepared.
        segments_per_s: of earlier trainings in the same home, if there were any.
        segments: that all steps see.
        copies: how many copies of trials a population makes at most.
    """

    trials: int
    points: list[dict[str, Any]]
    space: dict[str, str]
    repeats: int
    data: dict[str, int | None]
    steps: int | None
    segments: int | None
    segments_per_s: float | None
    copies: int = 0

    @property
    def hours(self) -> float | None:
        """Of training, one after the other, at the speed of earlier ones; None if that is not known."""
        if self.segments is None or self.segments_per_s is None:
            return None
        return self.segments / self.segments_per_s / 3600

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"{self.trials} trials x {self.repeats} repetitions = {self.trials * self.repeats} trainings"]
        lines += [f"  trial {number}: {settings_line(point) or 'the recipe'}" for number, point in enumerate(self.points)]
        if len(self.points) < self.trials:
            lines += ["  further trials drawn from:", *(f"    {key}: {what}" for key, what in self.space.items())]
        if self.copies:
            lines.append(f"  copies of the best trials take the places of the worst: up to {self.copies} further trials")
        lines.append(f"{len(self.data)} data parts")
        for part, count in self.data.items():
            lines.append(f"  {part}: {'to be prepared' if count is None else f'ready, {count} train segments'}")
        if self.steps is None:
            lines.append("cost: not known before the data are prepared")
        else:
            lines.append(f"cost: at most {self.steps} steps, {self.segments} segments seen")
        if self.hours is not None:
            lines.append(
                f"      at most {self.hours:.1f} h of training, at {self.segments_per_s:.0f} segments/s as in earlier runs"
            )
        return lines

    def result(self) -> dict[str, Any]:
        """For --json."""
        return {**vars(self), "hours": self.hours}


def make_forecast(sweep: Sweep, cluster: Cluster) -> Forecast:
    """What a sweep would do on what is prepared and measured in ``cluster.home``."""
    space = sweep.space
    planned = space.points
    if planned is not None:
        points = [point.params for point in planned][: sweep.trials]
    else:
        points = [point.params] if (point := start(space)) else []
    data = {experiment.data: _train_segments(experiment.data, cluster) for experiment in sweep.data_parts}
    sizes = [_size(experiment, cluster, data) for experiment in trainings(sweep)]
    known = [size for size in sizes if size is not None]
    share = sweep.trials * len(space.repeats()) / len(sizes)  # of a search only the recipe's size is known
    whole = len(known) == len(sizes)
    return Forecast(
        sweep.trials,
        points,
        _space(space),
        len(space.repeats()),
        {_data_line(part): count for part, count in data.items()},
        round(share * sum(steps for steps, _ in known)) if whole else None,
        round(share * sum(steps * batch for steps, batch in known)) if whole else None,
        _speed(cluster.home),
        space.scheduler.most_copies(space, sweep.trials),
    )


def trainings(sweep: Sweep) -> list[Experiment]:
    """All trainings of a grid; of a search those that stand for all: the first of each data part."""
    space = sweep.space
    points = space.points
    if points is None:
        return [experiment for experiment in sweep.data_parts for _ in space.repeats()]
    return [
        space.experiment({**point.settings, **changes})
        for point in points[: sweep.trials]
        for changes in space.repeats().values()
    ]


def _size(experiment: Experiment, cluster: Cluster, data: dict[DataConfig, int | None]) -> tuple[int, int] | None:
    """Steps of a training if it is not stopped, and segments of a step."""
    segments = data[experiment.data]
    if segments is None:
        return None
    sizes = contrast(experiment.train, cluster.workers, segments)
    return experiment.train.epochs * sizes.updates_per_epoch, sizes.batch


def _train_segments(data: DataConfig, cluster: Cluster) -> int | None:
    """How many train segments a prepared data part has; None if it is not prepared."""
    try:
        manifest = Store(cluster.home / "stores" / data.brain_signature).manifest
    except InputError:
        return None
    if any(feature_name(feature) not in manifest["features"] for feature in data.features):
        return None
    return int(manifest["counts"]["train"])


def _speed(home: Path) -> float | None:
    """Segments a second in the trainings of this home: the median of them."""
    speeds = []
    for run in run_records(home):
        result, sizes = run.result(), run.sizes()
        if result and sizes:
            last, step = result.history[-1], sizes.contrast
            speeds.append(last["epoch"] * step.updates_per_epoch * step.batch / last["seconds"])
    return median(speeds) if speeds else None


def _space(space: SearchSpace) -> dict[str, str]:
    return {dimension: ", ".join(names) for dimension, names in space.searched.items()} | searched(space)


def _data_line(data: DataConfig) -> str:
    studies = ", ".join(study.name for study in data.studies)
    return f"{studies} {data.brain_signature} with {', '.join(map(feature_name, data.features))}"
