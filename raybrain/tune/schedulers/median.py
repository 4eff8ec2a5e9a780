"""Median: the median stopping rule (Golovin et al. 2017, Google Vizier, section 3.2)."""

from typing import Any

from pydantic import PositiveInt

from raybrain.tune.schedulers.base import Scheduler


class MedianStopping(Scheduler, name="median", shorthand="grace"):
    """Stops a trial that is worse than half of the earlier ones were at the same epoch.

    Attributes:
        grace: epochs that no trial is stopped before.
        first_trials: trials that must have ended before one is stopped.
    """

    grace: PositiveInt = 3
    first_trials: PositiveInt = 3

    def pruner(self, epochs: int) -> Any:
        """Optuna's."""
        from optuna.pruners import MedianPruner

        return MedianPruner(n_startup_trials=self.first_trials, n_warmup_steps=min(self.grace, epochs) - 1)
