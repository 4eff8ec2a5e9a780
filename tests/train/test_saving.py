"""When a checkpoint is due."""

from pathlib import Path

import pytest

from raybrain.train import saving
from raybrain.train.bookkeeper import Bookkeeper
from raybrain.train.log_training import EpochLog
from raybrain.train.record import RunRecord
from raybrain.train.saving import URGENT_S, SaveClock
from tests.train.test_loop import Ear, Killed, training


def test_a_checkpoint_is_due_every_few_seconds_and_at_once_after_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    now, warned = [100.0], [False]
    monkeypatch.setattr(saving.time, "monotonic", lambda: now[0])
    clock = SaveClock(60, lambda: warned[0])
    assert not clock.due
    now[0] += 60
    assert clock.due
    clock.saved()
    assert not clock.due
    warned[0] = True
    assert clock.due, "a machine is about to go"
    clock.saved()
    assert not clock.due, "it was written already"
    now[0] += URGENT_S
    assert clock.due, "it is still there, and works on"
    clock.saved()
    warned[0] = False
    now[0] += URGENT_S
    assert not clock.due, "it is gone"
    warned[0] = True
    assert clock.due, "another one goes"


def test_training_writes_a_checkpoint_at_the_step_after_a_warning(tmp_path: Path) -> None:
    run, ear = training(tmp_path), Ear(after=3)
    clock = SaveClock(1e9, lambda: len(ear.heard) == 1)  # after the first step
    with pytest.raises(Killed):
        run.run(Bookkeeper(run.record, run.learner.place, ear, EpochLog(None)), clock)
    kept = RunRecord(tmp_path).checkpoint()
    assert kept and kept["state"]["step"] == 2
