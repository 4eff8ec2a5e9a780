"""Sampler: the family of ways to pick the points of a search space. To add one, add a file beside this one.

The smallest complete one gives Optuna's sampler; one of your own is a subclass of ``optuna.samplers.BaseSampler``:

>>> from typing import Any
>>> from raybrain.tune.samplers.base import Sampler
>>> class GaussianProcess(Sampler, name="gaussian_process", shorthand="seed"):
...     '''Where a Gaussian process expects most.'''
...     seed: int = 0
...
...     def sampler(self, space: Any, trials: int) -> Any:
...         from optuna.samplers import GPSampler
...         return GPSampler(seed=self.seed + trials)
>>> Sampler.parse("gaussian_process:7")
GaussianProcess(seed=7)
"""

from typing import TYPE_CHECKING, Any, ClassVar

from raybrain.config import Choice, InputError

if TYPE_CHECKING:
    from raybrain.tune.space import SearchSpace
    from raybrain.tune.walk import Point


class Sampler(Choice):
    """Which points of a search space are tried. Its settings are the fields of a kind.

    Attributes:
        planned: whether all points are known beforehand, from :meth:`points`. Then nothing is selected by the valid split, and
            a report tests every point; of what is drawn as a search goes, only the best.
    """

    planned: ClassVar[bool] = False

    def sampler(self, space: "SearchSpace", trials: int) -> Any:
        """Optuna's sampler for a study that has so many trials already; a planned one needs none.

        One that begins again with the seed it had would draw the same points again, so seeds move on with ``trials``.
        """
        from optuna.samplers import RandomSampler

        assert self.planned, f"{type(self).__name__} draws no points"
        return RandomSampler(seed=0)

    def points(self, space: "SearchSpace") -> "list[Point]":
        """All points in order, if they are planned.

        Raises:
            InputError: if there is no end of them, or one of them cannot be.
        """
        raise NotImplementedError

    def check(self, space: "SearchSpace") -> None:
        """Refuse a space it cannot search.

        Raises:
            InputError: naming what is wrong.
        """
        if space.trials is None and not self.planned:
            raise InputError('say how many trials, as in trials=12; only sampler="grid" has an end of its own')
