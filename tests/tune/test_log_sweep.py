"""What a sweep says at its end of trainings that it did not finish, and of nobody else's."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from raybrain.experiment import Experiment
from raybrain.tracking.base import RunKey
from raybrain.tune.log_sweep import log_stop
from tests.sweeps import Bench, space


@dataclass
class Remembered:
    """A tracked run, and the store that it is in: remembers every status."""

    statuses: list[str] = field(default_factory=lambda: ["RUNNING"])
    before: Any = None  # is called before a status is kept

    def find(self, key: RunKey | None) -> "Remembered | None":
        return self if key else None

    def status(self) -> str:
        return self.statuses[-1]

    def tags(self, values: Any) -> None:
        """Nothing."""

    def set_status(self, status: str) -> None:
        if self.before:
            self.before()
        self.statuses.append(status)


@pytest.fixture
def sweep(bench: Any) -> Bench:
    made: Bench = bench(space())
    return made


def cut_off(sweep: Bench, purpose: str) -> Any:
    """A training that a process began and did not end."""
    job = sweep.job(Experiment())
    with job.record.own(purpose, pytest.fail):
        job.record.begin(job.experiment)
        job.record.keep_tracking(RunKey("somewhere", "run"))
    return job


@pytest.mark.parametrize(("purpose", "ended"), [("sweep s", ["RUNNING", "KILLED"]), ("train", ["RUNNING"])])
def test_only_its_own_is_ended(sweep: Bench, purpose: str, ended: list[str]) -> None:
    run: Any = Remembered()
    log_stop(cut_off(sweep, purpose), run, "sweep s", "cut off", None)
    assert run.statuses == ended


def test_who_takes_it_over_meanwhile_is_not_ended(sweep: Bench, tmp_path: Path) -> None:
    """Another process wants to train it, just when the sweep is about to say that it was cut off."""
    job, run = cut_off(sweep, "sweep s"), Remembered()
    ending, taken = threading.Event(), threading.Event()

    def before() -> None:
        ending.set()
        assert not taken.wait(0.5), "who takes it over waits"

    def take_over() -> None:
        ending.wait()
        with job.record.own("train", lambda line: None):
            taken.set()
            run.statuses.append("RUNNING")

    other = threading.Thread(target=take_over)
    other.start()
    run.before = before
    log_stop(job, run, "sweep s", "cut off", None)  # type: ignore[arg-type]
    other.join()
    assert run.statuses == ["RUNNING", "KILLED", "RUNNING"]
