"""Forecast: what a sweep would do and cost, before anything is prepared or trained."""

from dataclasses import dataclass
from typing import Any

from raybrain.cluster import Cluster
from raybrain.data_config import DataConfig
from raybrain.download.unpack import amount
from raybrain.estimate.costs import Cost, DataSize, Estimator
from raybrain.experiment import Experiment
from raybrain.store import feature_name
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
        data: the data parts, and what there is of each.
        cost: of all trainings, if none is stopped early; of a search, as if all trials cost what the recipe does.
        copies: how many copies of trials a population makes at most.
    """

    trials: int
    points: list[dict[str, Any]]
    space: dict[str, str]
    repeats: int
    data: dict[str, DataSize]
    cost: Cost
    copies: int = 0

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"{self.trials} trials x {self.repeats} repetitions = {self.trials * self.repeats} trainings"]
        lines += [f"  trial {number}: {settings_line(point) or 'the recipe'}" for number, point in enumerate(self.points)]
        if len(self.points) < self.trials:
            lines += ["  further trials drawn from:", *(f"    {key}: {values}" for key, values in self.space.items())]
        if self.copies:
            lines.append(f"  copies of the best trials take the places of the worst: up to {self.copies} further trials")
        lines.append(f"{len(self.data)} data parts")
        lines += [f"  {part}: {_state(data)}" for part, data in self.data.items()]
        return lines + self.cost.lines()

    def result(self) -> dict[str, Any]:
        """For --json."""
        data = {part: {"ready": data.ready, "train_segments": data.segments} for part, data in self.data.items()}
        return {**vars(self), "data": data, "cost": self.cost.result()}


def _state(data: DataSize) -> str:
    if data.ready:
        return f"ready, {data.segments} train segments"
    if data.footprint is None:
        return "to be prepared; how much there is of it is not known"
    return f"to be prepared, about {data.segments} train segments, at most {amount(data.missing)}"


def make_forecast(sweep: Sweep, cluster: Cluster) -> Forecast:
    """What a sweep would do, by what is prepared, measured and trained in ``cluster.home``."""
    space, estimator = sweep.space, Estimator(cluster)
    planned = space.points
    if planned is not None:
        points = [point.params for point in planned][: sweep.trials]
    else:
        points = [point.params] if (point := start(space)) else []
    known = _priced(sweep)
    return Forecast(
        sweep.trials,
        points,
        _space(space),
        len(space.repeats()),
        {_data_line(experiment.data): estimator.data(experiment.data) for experiment in sweep.data_parts},
        estimator.cost(known, sweep.trials * len(space.repeats()) / len(known)),
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


def _priced(sweep: Sweep) -> list[Experiment]:
    """The trainings whose cost is reckoned: of a search the recipe's for each data part it has, else the first of the part."""
    space, known = sweep.space, trainings(sweep)
    point = start(space) if space.points is None else None
    if point is None:
        return known
    recipes = [space.experiment({**point.settings, **changes}) for changes in space.repeats().values()]
    by_data = {experiment.data: experiment for experiment in recipes}
    return [by_data.get(experiment.data, experiment) for experiment in known]


def _space(space: SearchSpace) -> dict[str, str]:
    return {dimension: ", ".join(names) for dimension, names in space.searched.items()} | searched(space)


def _data_line(data: DataConfig) -> str:
    studies = ", ".join(study.name for study in data.studies)
    return f"{studies} {data.brain_signature} with {', '.join(map(feature_name, data.features))}"
