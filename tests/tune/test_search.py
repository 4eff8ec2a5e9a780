"""The ledger as Ray Tune knows it."""

import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

from ray.tune.search import Searcher

from raybrain.train.record import with_kept
from raybrain.tune.search import LedgerScheduler, LedgerSearch
from tests.sweeps import history_of, space


def test_when_time_is_up_trainings_stop_at_the_end_of_an_epoch(bench: Any) -> None:
    sweep, over = bench(space(fixed={"train.epochs": 2}), trials=2), []
    search = LedgerSearch(sweep.ledger, lambda member, how, reason: over.append(how), seconds=3600)
    search.suggest("a")
    search.until = time.monotonic()
    assert search.suggest("b") is None  # one is under way
    exchange = Mock()
    for epoch in (1, 2):
        result = {**with_kept(history_of([0.5, 0.4][:epoch])), "node": "here"}
        LedgerScheduler(search, exchange).on_trial_result(None, SimpleNamespace(trial_id="a"), result)
    run = search.running["a"].job.record.path.name
    assert [call.args for call in exchange.judge.call_args_list] == [(run, 1, True), (run, 2, False)]
    search.on_trial_complete("a")
    assert over == ["cut off"]
    assert search.suggest("b") == Searcher.FINISHED
    assert list(search.places.values()) == ["here"]
    assert sweep.states == ["RUNNING"]
