"""Search: the ledger as Ray Tune knows it, a searcher that says what comes next and a scheduler that says when to stop."""

import math
import time
from collections.abc import Callable
from typing import Any

from ray.exceptions import RayError
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from raybrain.data_config import DataConfig
from raybrain.plain import tree
from raybrain.train.fit import reason_of
from raybrain.train.messages import Exchange
from raybrain.tune.ledger import Ledger, Member

Ended = Callable[[Member, str, str | None], None]  # hears of a training, how it ended, and why if that is known


class LedgerSearch(Searcher):  # type: ignore[misc]
    """Hands out the trainings of a ledger, one per Tune trial.

    Args:
        ledger: whose.
        ended: hears of every training that is over.
        seconds: after which none begins, and those under way stop at the end of an epoch; None for no end.
    """

    def __init__(self, ledger: Ledger, ended: Ended, seconds: float | None = None) -> None:
        super().__init__()
        self.ledger, self.ended = ledger, ended
        self.until = math.inf if seconds is None else time.monotonic() + seconds
        self.running: dict[str, Member] = {}
        self.places: dict[DataConfig, str] = {}  # the node where a trial last trained on some data: their maps are there
        self.crashed: dict[str, str] = {}

    @property
    def late(self) -> bool:
        """Whether time is up."""
        return time.monotonic() >= self.until

    def end(self) -> None:
        """Begin nothing any more, as if time were up."""
        self.until = -math.inf

    def __getstate__(self) -> dict[str, Any]:
        """Tune keeps a copy of its searcher on disk; what a ledger knows is in its database."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: see above."""

    def suggest(self, trial_id: str) -> Any:
        """The next training; None if others must end before."""
        member = None if self.late else self.ledger.next()
        while self.ledger.behind:
            gone, reason = self.ledger.behind.popleft()
            self.ended(gone, "stopped early", reason)
        if member is None:
            return None if self.running else Searcher.FINISHED
        self.running[trial_id] = member
        experiment = member.job.experiment
        return {"experiment": tree(experiment), "line": member.line, "node": self.places.get(experiment.data)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Close a training in the ledger."""
        member = self.running.pop(trial_id)
        reason = (result or {}).get("reason") or (self.crashed.pop(trial_id, "it crashed") if error else None)
        how = self.ledger.ended(member, reason, again=error or bool((result or {}).get("again")))
        self.ended(member, how, reason)


class LedgerScheduler(FIFOScheduler):  # type: ignore[misc]
    """Tells trainings when to stop.

    They end by themselves: were they stopped by Tune, which kills the process of a trial, the workers that a trial of several
    has would stay behind, and their share of the machine with them, which others then wait for in vain.
    """

    def __init__(self, search: LedgerSearch, exchange: Exchange) -> None:
        super().__init__()
        self.search, self.exchange = search, exchange

    def __getstate__(self) -> dict[str, Any]:
        """Tune keeps a copy of its scheduler on disk, too."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Judge an epoch; the training waits for the verdict, and stops if none can reach it."""
        if "epoch" in result:
            member = self.search.running[trial.trial_id]
            self.search.places[member.job.experiment.data] = result["node"]
            unfinished = int(result["epoch"]) < member.job.experiment.train.epochs
            stop = self.search.ledger.report(member, result) or (self.search.late and unfinished)
            try:
                self.exchange.judge(member.job.record.path.name, int(result["epoch"]), stop)
            except RayError:
                self.search.end()
        return str(TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Remember why a training crashed; the searcher hears only that it did."""
        error = trial.get_pickled_error() or "it crashed"
        self.search.crashed[trial.trial_id] = reason_of(error)
