"""Training killed anywhere goes on to the very same weights; it stops when it should, and says so when it must."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from raybrain.cluster import Cluster
from raybrain.config import InputError, override
from raybrain.experiment import Experiment
from raybrain.identity import versions
from raybrain.store import Store
from raybrain.train import fit
from raybrain.train.bookkeeper import Bookkeeper
from raybrain.train.closed_form import ClosedForm
from raybrain.train.fit import work
from raybrain.train.job import TrainJob
from raybrain.train.log_training import EpochLog
from raybrain.train.loop import Diverged, Training
from raybrain.train.messages import Epochs, Message, Nobody, Started, Steps
from raybrain.train.order import contrast
from raybrain.train.record import Row, RunRecord
from raybrain.train.saving import SaveClock
from raybrain.train.step import Place
from tests.workers import RANDOM, SMALL, random_tables

SETTINGS: dict[str, Any] = SMALL | RANDOM | {"train.contrast_size": 8, "train.epochs": 3, "train.extra_negatives": 2}
UPDATES = 6  # an epoch


class Killed(Exception):
    """Stands for a SIGKILL: nothing is cleaned up after it."""


class Ear:
    """Remembers what it hears, kills training after some steps, or has enough of it after some epochs."""

    def __init__(self, after: int | None = None, enough: int | None = None) -> None:
        self.after, self.enough = after, enough
        self.heard: list[Message] = []

    def hear(self, message: Message) -> None:
        self.heard.append(message)
        if isinstance(message, Steps) and len(self.of(Steps)) == self.after:
            raise Killed

    def stops(self, epoch: int) -> bool:
        return epoch == self.enough

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]


def go(run: Training | ClosedForm, ear: Ear | None = None, checkpoint_s: float = 1e9) -> list[Row]:
    """Train, logging nothing."""
    return run.run(Bookkeeper(run.record, run.learner.place, ear or Ear(), EpochLog(None)), SaveClock(checkpoint_s))


def asked(changes: dict[str, Any]) -> Experiment:
    """The small experiment with changes; another encoder has none of the settings of convolution layers."""
    known = {key: value for key, value in SETTINGS.items() if "encoder" not in changes or not key.startswith("encoder.conv.")}
    return override(Experiment(), known | changes)


def training(folder: Path, **changes: Any) -> Training:
    experiment = asked(changes)
    tables = random_tables(experiment, torch.float32)
    sizes = contrast(experiment.train, 1, len(tables.rows["train"]))
    assert sizes.updates_per_epoch == UPDATES
    return Training(experiment, tables, sizes, Place(), RunRecord(folder))


def result(folder: Path) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    saved = RunRecord(folder).checkpoint()
    best = RunRecord(folder).best()
    assert saved and best
    history = [
        {key: value for key, value in row.items() if key not in ("seconds", "data_wait")} for row in saved["state"]["history"]
    ]
    return saved["model"] | {f"best {key}": value for key, value in best["model"].items()}, history


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    folder = tmp_path_factory.mktemp("run")
    go(training(folder), checkpoint_s=0)
    return result(folder)


@pytest.mark.parametrize("checkpoint_s", [0, 1e9], ids=["every step", "every epoch"])
def test_killed_again_and_again_it_ends_with_the_same_bits(
    checkpoint_s: float, uninterrupted: tuple[dict[str, Tensor], list[dict[str, float]]], tmp_path: Path
) -> None:
    for after in (1, 2, 3, 5, 7, 8, 9, 10, 11, 12):
        try:
            go(training(tmp_path), Ear(after), checkpoint_s)
        except Killed:
            continue
        break
    go(training(tmp_path), checkpoint_s=checkpoint_s)
    weights, history = result(tmp_path)
    expected, expected_history = uninterrupted
    assert history == expected_history
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_a_finished_run_does_no_step(tmp_path: Path) -> None:
    first = go(training(tmp_path))
    ear = Ear()
    assert go(training(tmp_path), ear) == first
    assert not ear.of(Steps)
    assert list(ear.of(Epochs)[-1].history) == first


def test_it_stops_when_it_is_told_and_goes_on_later(
    uninterrupted: tuple[dict[str, Tensor], list[dict[str, float]]], tmp_path: Path
) -> None:
    assert len(go(training(tmp_path), Ear(enough=2))) == 2
    ear = Ear(enough=2)
    assert len(go(training(tmp_path), ear)) == 2
    assert not ear.of(Steps)  # it hears of it before the first step
    go(training(tmp_path))
    weights, history = result(tmp_path)
    assert history == uninterrupted[1]
    assert all(torch.equal(weights[name], expected) for name, expected in uninterrupted[0].items())


def test_it_stops_when_the_valid_loss_gets_no_better(tmp_path: Path) -> None:
    history = go(training(tmp_path, **{"train.epochs": 50, "train.patience": 2, "optim.lr": 0.03}))
    losses = [row["valid_loss"] for row in history]
    assert len(losses) < 50  # noise cannot be learned for long
    assert losses.index(min(losses)) == len(losses) - 3
    best = RunRecord(tmp_path).best()
    assert best
    assert best["epoch"] == losses.index(min(losses)) + 1


def test_a_loss_that_is_no_number_is_told_with_step_recordings_and_checkpoint(tmp_path: Path) -> None:
    run = training(tmp_path)
    with pytest.raises(Killed):
        go(run, Ear(UPDATES + 1))
    again = training(tmp_path)
    good = RunRecord(tmp_path).checkpoint()
    again.tables.signal[:] = math.nan
    with pytest.raises(Diverged, match=rf"at step {UPDATES} \(recordings in the batch: a1, a2, a3\).*last\.pt") as error:
        go(again, checkpoint_s=0)
    assert "\n" not in str(error.value)
    kept = RunRecord(tmp_path).checkpoint()
    assert good and kept
    assert kept["state"]["step"] == good["state"]["step"] == UPDATES
    assert all(torch.equal(kept["model"][name], good["model"][name]) for name in good["model"])


def test_a_full_disk_keeps_the_last_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = RunRecord(tmp_path)
    record.keep_checkpoint({"step": 1})

    def full(state: Any, path: Path) -> None:
        path.write_bytes(b"half of")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="the disk is full; the last whole checkpoint is kept"):
        record.keep_checkpoint({"step": 2})
    assert record.checkpoint() == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


# a whole job


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainJob:
    experiment = override(Experiment(), SETTINGS)
    tables = random_tables(experiment, torch.float32)
    monkeypatch.setattr(TrainJob, "tables", lambda self, device: tables)
    monkeypatch.setattr(fit, "keep_model", lambda *arguments: None)  # it needs a store that says how data are scaled
    record, cluster, code = RunRecord(tmp_path / "run"), Cluster(home=tmp_path), versions(experiment)
    return TrainJob(experiment, cluster, Store(tmp_path), (), "digest", "brain", {}, record, code)


def test_an_audience_hears_of_sizes_steps_and_epochs_and_may_stop_it(job: TrainJob) -> None:
    ear = Ear(enough=2)
    ending = work(job, Place(), ear)
    assert [len(message.history) for message in ear.of(Epochs)] == [1, 2]
    assert ending.history == list(ear.of(Epochs)[-1].history) == job.record.history() and ending.reason is None
    assert isinstance(ear.heard[0], Started) and "batch 16 = 1 worker" in ear.heard[0].line
    assert ear.of(Steps)[-1] == Steps(1, UPDATES, UPDATES)
    assert job.record.sizes() and job.record.state == "new", "who begins and ends a run is not the loop"


def test_after_a_restart_it_hears_again_of_what_is_done(job: TrainJob) -> None:
    work(job, Place(), Ear(enough=1))
    ear = Ear()
    ending = work(job, Place(), ear)
    assert [len(message.history) for message in ear.of(Epochs)] == [1, 2, 3] == [row["epoch"] for row in ending.history]
    assert {message.epoch for message in ear.of(Steps)} == {1, 2}
    assert work(job, Place(), Nobody()) == ending, "what is complete takes no step"


def test_what_a_restart_would_not_help_is_returned(job: TrainJob) -> None:
    job.tables(torch.device("cpu")).signal[:] = float("nan")
    ending = work(job, Place(), Nobody())
    assert ending.history == [] and ending.reason and "the loss is not finite" in ending.reason
