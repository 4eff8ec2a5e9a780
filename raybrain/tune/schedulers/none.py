"""None: every trial trains to its end."""

from typing import Any, ClassVar

from raybrain.tune.schedulers.base import Scheduler


class TrainToTheEnd(Scheduler, name="none"):
    """No trial is stopped."""

    judges: ClassVar[bool] = False

    def pruner(self, epochs: int) -> Any:
        """One that stops nothing."""
        from optuna.pruners import NopPruner

        return NopPruner()
