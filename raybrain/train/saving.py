"""Saving: when a checkpoint is due."""

import time
from collections.abc import Callable

URGENT_S = 5.0  # between checkpoints while a machine is about to go


class SaveClock:
    """Every so many seconds a checkpoint is due; at once, and every few seconds, while a machine is about to go.

    Args:
        every_s: seconds between checkpoints otherwise; 0 for one after every step.
        warned: whether a machine is about to go.
    """

    def __init__(self, every_s: float, warned: Callable[[], bool] = lambda: False) -> None:
        self.every_s, self.warned = every_s, warned
        self.last = time.monotonic()
        self.urgent = False  # the last checkpoint was written after the warning

    @property
    def due(self) -> bool:
        """Whether to write one now."""
        if not self.warned():
            self.urgent = False
            return time.monotonic() - self.last >= self.every_s
        return not self.urgent or time.monotonic() - self.last >= min(self.every_s, URGENT_S)

    def saved(self) -> None:
        """One was written."""
        self.last, self.urgent = time.monotonic(), self.warned()
