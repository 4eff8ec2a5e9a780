"""PBT: population-based training (Jaderberg et al. 2017, arXiv:1711.09846, section 3)."""

import math
from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt

from raybrain.config import InputError
from raybrain.experiment import SCHEDULED
from raybrain.tune.schedulers.base import Scheduler
from raybrain.tune.walk import ends, extremes, nearest

if TYPE_CHECKING:
    from raybrain.train.job import TrainJob
    from raybrain.tune.population import Line, Population
    from raybrain.tune.space import SearchSpace

SCHEDULE = "optim.schedule"
TURNING = tuple(f"optim.{setting}" for setting in SCHEDULED)


class Pbt(Scheduler, name="pbt", shorthand="generation"):
    """Goes on with copies of good trials in the place of bad ones, and changes settings of the optimiser as it goes.

    Attributes:
        generation: epochs after which the trials wait for one another.
        share: of the trials, that ends after each generation; as many of the best are copied.
        factors: one of which a setting is multiplied by where it moves.
        anew: how often a setting is drawn anew rather than moved.
        seed: of all that is drawn.
    """

    generation: PositiveInt = 3
    share: float = Field(default=0.25, gt=0, le=0.5)
    factors: tuple[float, float] = (0.8, 1.25)
    anew: float = Field(default=0.25, ge=0, le=1)
    seed: int = Field(default=0, ge=0)

    def pruner(self, epochs: int) -> Any:
        """One that stops nothing: a population judges its trials itself."""
        from optuna.pruners import NopPruner

        return NopPruner()

    def population(self, space: "SearchSpace", study: Any, size: int, first: Callable[["Line"], "TrainJob"]) -> "Population":
        """The trials as a population."""
        from raybrain.tune.population import Population

        return Population(self, space, study, size, first)

    def most_copies(self, space: "SearchSpace", size: int) -> int:
        """How many copies a population of this size makes if no trial fails."""
        generations = (space.experiment().train.epochs - 1) // self.generation
        return generations * int(size * self.share)

    def turning(self, space: "SearchSpace", params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters that settings of the optimiser hang on, and nothing else: no other setting, and no other parameter."""
        here = nearest(space, params)
        turning = {}
        for name, distribution in here.asked.items():
            others = [nearest(space, {**here.params, name: value}) for value in ends(distribution)]
            keys = here.settings.keys() | {key for other in others for key in other.settings}
            changed = {key for key in keys if any(here.settings.get(key) != other.settings.get(key) for other in others)}
            if changed and changed <= set(TURNING) and all(other.asked.keys() == here.asked.keys() for other in others):
                turning[name] = distribution
        return turning

    def moved(self, space: "SearchSpace", params: Mapping[str, Any], draw: Random) -> dict[str, Any]:
        """A point near another: what can change while it trains is moved a little, or now and then drawn anew."""
        turning = self.turning(space, params)
        return dict(params) | {name: self._moved(params[name], distribution, draw) for name, distribution in turning.items()}

    def _moved(self, value: Any, distribution: Any, draw: Random) -> Any:
        from optuna.samplers import RandomSampler

        if draw.random() < self.anew:
            return RandomSampler(seed=draw.getrandbits(32)).sample_independent(None, None, "", distribution)
        if hasattr(distribution, "choices"):
            place = distribution.choices.index(value) + draw.choice((-1, 1))
            return distribution.choices[min(max(place, 0), len(distribution.choices) - 1)]
        near = float(f"{value * draw.choice(self.factors):.4g}")  # a schedule is for people to read
        low, high, step = distribution.low, distribution.high, distribution.step
        if step is not None:
            near = low + round((near - low) / step) * step
        return min(max(near, low), high)

    def check(self, space: "SearchSpace") -> None:
        """Refuse a space that a population cannot search."""
        super().check(space)
        if space.sampler.planned:
            planned = f"there is no {space.sampler.name} of them"
            raise InputError(f'the scheduler "pbt" makes points of its own, so {planned}; type sampler="random"')
        least = math.ceil(1 / self.share)
        if (space.trials or 0) < least:
            raise InputError(f'the scheduler "pbt" needs a population, found {space.trials} trials; type at least {least}')
        experiment, points = space.experiment(), extremes(space)
        if self.generation >= experiment.train.epochs:
            lengths = f"scheduler.generation={self.generation} and train.epochs={experiment.train.epochs}"
            raise InputError(f'with the scheduler "pbt" training is to last longer than a generation, found {lengths}')
        settings = [
            *(point.settings for point in points),
            *(changes for named in space.variants.values() for changes in named.values()),
        ]
        if experiment.optim.schedule or any(changes.get(SCHEDULE) for changes in settings):
            raise InputError('the scheduler "pbt" finds the schedule itself; leave out optim.schedule, or type scheduler=none')
        if not any(self.turning(space, point.params) for point in points):
            raise InputError(
                f'the scheduler "pbt" changes settings while trials train, so one of {", ".join(TURNING)} must be searched, '
                "with nothing else hanging on it"
            )
