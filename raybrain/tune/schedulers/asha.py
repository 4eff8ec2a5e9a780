"""ASHA: asynchronous successive halving (Li et al. 2020, arXiv:1810.05934)."""

from typing import Any

from pydantic import Field, PositiveInt

from raybrain.tune.schedulers.base import Scheduler


class Asha(Scheduler, name="asha", shorthand="grace"):
    """Stops trials that fall behind after ``grace`` epochs, ``reduction`` times as many, and so on.

    Attributes:
        grace: epochs that no trial is stopped before; by then an encoder should be well above chance.
        reduction: of so many trials about one goes on wherever they are judged.
    """

    grace: PositiveInt = 3
    reduction: int = Field(default=3, ge=2)

    def pruner(self, epochs: int) -> Any:
        """Optuna's, whose trials do not wait for one another."""
        from optuna.pruners import SuccessiveHalvingPruner

        return SuccessiveHalvingPruner(min_resource=min(self.grace, epochs), reduction_factor=self.reduction)
