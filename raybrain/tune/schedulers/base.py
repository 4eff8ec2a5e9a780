"""Scheduler: the family of rules that say which trials of a sweep go on. To add one, add a file beside this one.

The smallest complete one gives Optuna's pruner, which is asked after every epoch whether a trial is to stop there; one of
your own is a subclass of ``optuna.pruners.BasePruner``:

>>> from typing import Any
>>> from raybrain.tune.schedulers.base import Scheduler
>>> class Threshold(Scheduler, name="threshold", shorthand="low"):
...     '''Stops a trial whose metric is below ``low`` after ``grace`` epochs.'''
...     low: float = 0.1
...     grace: int = 3
...
...     def pruner(self, epochs: int) -> Any:
...         from optuna.pruners import ThresholdPruner
...         return ThresholdPruner(lower=self.low, n_warmup_steps=self.grace - 1)
>>> Scheduler.parse("threshold:0.2")
Threshold(low=0.2, grace=3)
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from raybrain.config import Choice, InputError

if TYPE_CHECKING:
    from raybrain.train.job import TrainJob
    from raybrain.tune.population import Line, Population
    from raybrain.tune.space import SearchSpace


class Scheduler(Choice):
    """Which trials of a sweep go on. Its settings are the fields of a kind.

    Attributes:
        judges: whether a trial may end before its training does. If so, only the first of its repetitions runs under the
            scheduler, and the others follow when that was not stopped; else all run at once.
    """

    judges: ClassVar[bool] = True

    @abstractmethod
    def pruner(self, epochs: int) -> Any:
        """Optuna's pruner, for trainings of at most so many epochs. It judges the metric of the weights kept so far."""

    def check(self, space: "SearchSpace") -> None:
        """Refuse a space it cannot search.

        Raises:
            InputError: naming what is wrong.
        """
        if self.judges and space.objectives:
            raise InputError('several objectives are known at the end of a training only; type scheduler="none"')

    def population(
        self, space: "SearchSpace", study: Any, size: int, first: Callable[["Line"], "TrainJob"]
    ) -> "Population | None":
        """The generations in which trials wait for one another, if they do: see :mod:`raybrain.tune.population`."""
        return None

    def most_copies(self, space: "SearchSpace", size: int) -> int:
        """How many copies of trials it adds to ``size`` trials at most."""
        return 0

    def turning(self, space: "SearchSpace", params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a point that it changes while the point trains, and their distributions."""
        return {}
