"""Watch: a sweep's progress in the terminal: a table of what is running, and a line for each training that ends."""

import time
from typing import Any

from ray import tune
from rich.console import Console
from rich.live import Live
from rich.table import Table

from raybrain.train.record import best_epoch
from raybrain.tune.ledger import Ledger, Member
from raybrain.tune.search import LedgerSearch


class Watcher(tune.Callback):  # type: ignore[misc]
    """Shows what is running. Without a terminal there are lines only.

    Args:
        console: where.
        ledger: whose trials.
    """

    def __init__(self, console: Console, ledger: Ledger) -> None:
        self.console, self.ledger = console, ledger
        self.score = ledger.space.metric
        self.search: LedgerSearch | None = None
        self.latest: dict[str, dict[str, Any]] = {}
        self.began = time.monotonic()
        self.live = Live(console=console, get_renderable=self._table, transient=True, refresh_per_second=2)

    def __getstate__(self) -> dict[str, Any]:
        """Tune keeps a copy of its callbacks on disk, where a terminal cannot go."""
        return {}

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        """Remember the epoch that a training has just finished, or say whom it waits for."""
        if "busy" in result:
            self.console.print(f"{result['busy']}; waiting for it", highlight=False, soft_wrap=True, markup=False)
        else:
            self.latest[trial.trial_id] = result

    def ended(self, member: Member, how: str, reason: str | None) -> None:
        """Tell of a training that is over."""
        history = member.job.record.history()
        scored = f"  {self.score} {best_epoch(history)[self.score]:.3f} after {len(history)} epochs" if history else ""
        line = f"trial {member.entry.trial.number} {how}: {member.line}{scored}"
        if reason is not None and how != "failed":
            line += f", {reason}"
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)
        if how == "failed":
            self.console.print(f"trial failed: {reason}", style="red", highlight=False, markup=False, soft_wrap=True)

    def _table(self) -> Table:
        begun = len(self.ledger.seen)
        minutes = (time.monotonic() - self.began) / 60
        table = Table(title=f"tune: {begun} of {self.ledger.trials} trials begun, {minutes:.1f} min", title_justify="left")
        for name in ("trial", "settings", "epoch", self.score):
            table.add_column(name, justify="left" if name == "settings" else "right")
        running = list(self.search.running.items()) if self.search else []  # drawn by a thread, while trainings come and go
        for trial_id, member in running:
            result = self.latest.get(trial_id, {})
            score = f"{result[f'kept_{self.score}']:.3f}" if f"kept_{self.score}" in result else ""
            epochs = f"{result.get('epoch', 0):.0f}/{member.job.experiment.train.epochs}"
            table.add_row(str(member.entry.trial.number), member.line, epochs, score)
        return table
