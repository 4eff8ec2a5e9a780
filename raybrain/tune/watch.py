"""Watch: a sweep's progress in the terminal."""

from typing import Any

from ray import tune
from rich.progress import Progress


class Watcher(tune.Callback):  # type: ignore[misc]
    """A bar of trials, and a line for each that ends.

    Args:
        progress: where to draw.
        trials: how many there will be.
        score: the name of the metric trials are compared by.
    """

    def __init__(self, progress: Progress, trials: int, score: str) -> None:
        self.progress, self.score, self.ended = progress, score, 0
        self.bar = progress.add_task("trials", total=trials)

    def __getstate__(self) -> dict[str, Any]:
        """Tune keeps a copy of its callbacks on disk, where a terminal cannot go."""
        return {}

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        """Show the epoch that a trial has just finished."""
        told = f"{self.score.removeprefix('kept_')} {result[self.score]:.3f} after epoch {result['epoch']:.0f}"
        self.progress.update(self.bar, description=f"trials ({told} in the latest)")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell of a trial that was trained to its end, or stopped."""
        self._say(trial, "ended")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell of a trial that failed."""
        self._say(trial, "failed")

    def _say(self, trial: Any, how: str) -> None:
        last = trial.last_result or {}
        told = "no score"
        if self.score in last:
            told = f"{self.score.removeprefix('kept_')} {last[self.score]:.3f} after {last['epoch']:.0f} epochs"
        self.ended += 1
        self.progress.print(f"trial {how}: {settings_line(trial.config)}  {told}", highlight=False, soft_wrap=True)
        self.progress.update(self.bar, completed=self.ended)


def settings_line(settings: dict[str, Any]) -> str:
    """The settings of a trial in one line, by the last part of their names."""
    shown = {key: f"{value:.3g}" if isinstance(value, float) else value for key, value in settings.items()}
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in shown.items())
