"""Hyperband: successive halving from several beginnings (Li et al. 2018, arXiv:1603.06560); with TPE like BOHB."""

from typing import Any

from pydantic import Field, PositiveInt

from raybrain.tune.schedulers.base import Scheduler


class Hyperband(Scheduler, name="hyperband", shorthand="grace"):
    """Stops trials that fall behind, of some trials early and of others late.

    Attributes:
        grace: epochs that no trial is stopped before.
        reduction: of so many trials about one goes on wherever they are judged.
    """

    grace: PositiveInt = 3
    reduction: int = Field(default=3, ge=2)

    def pruner(self, epochs: int) -> Any:
        """Optuna's."""
        from optuna.pruners import HyperbandPruner

        return HyperbandPruner(min_resource=min(self.grace, epochs), max_resource=epochs, reduction_factor=self.reduction)
