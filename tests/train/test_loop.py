"""Training killed anywhere goes on to the very same weights; it stops when it should, and says so when it must."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from raybrain.config import InputError, override
from raybrain.experiment import Experiment
from raybrain.train.loop import Diverged, Training
from raybrain.train.order import contrast
from raybrain.train.record import RunRecord
from raybrain.train.step import Place
from tests.workers import SMALL, random_tables

SETTINGS: dict[str, Any] = SMALL | {"train.contrast_size": 8, "train.epochs": 3, "train.extra_negatives": 2}
UPDATES = 6  # an epoch


class Killed(Exception):
    """Stands for a SIGKILL: nothing is cleaned up after it."""


class Ear:
    """Counts what it hears, and kills training after some steps, or has enough of it after some epochs."""

    def __init__(self, after: int | None = None, enough: int | None = None) -> None:
        self.after, self.enough, self.steps = after, enough, 0
        self.epochs: list[dict[str, float]] = []

    def resumed(self, history: list[dict[str, float]]) -> bool:
        return self.epoch(history)

    def step(self, epoch: int, step: int, of: int) -> None:
        self.steps += 1
        if self.steps == self.after:
            raise Killed

    def epoch(self, history: list[dict[str, float]]) -> bool:
        self.epochs = list(history)
        return len(history) == self.enough


def training(folder: Path, **changes: Any) -> Training:
    experiment = override(Experiment(), SETTINGS | changes)
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
    training(folder).run(Ear(), checkpoint_s=0)
    return result(folder)


@pytest.mark.parametrize("checkpoint_s", [0, 1e9], ids=["every step", "every epoch"])
def test_killed_again_and_again_it_ends_with_the_same_bits(
    checkpoint_s: float, uninterrupted: tuple[dict[str, Tensor], list[dict[str, float]]], tmp_path: Path
) -> None:
    for after in (1, 2, 3, 5, 7, 8, 9, 10, 11, 12):
        try:
            training(tmp_path).run(Ear(after), checkpoint_s)
        except Killed:
            continue
        break
    training(tmp_path).run(Ear(), checkpoint_s)
    weights, history = result(tmp_path)
    expected, expected_history = uninterrupted
    assert history == expected_history
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_a_finished_run_does_no_step(tmp_path: Path) -> None:
    first = training(tmp_path).run(Ear(), checkpoint_s=1e9)
    ear = Ear()
    assert training(tmp_path).run(ear, checkpoint_s=1e9) == first
    assert ear.steps == 0
    assert ear.epochs == first


def test_it_stops_when_it_is_told_and_goes_on_later(
    uninterrupted: tuple[dict[str, Tensor], list[dict[str, float]]], tmp_path: Path
) -> None:
    assert len(training(tmp_path).run(Ear(enough=2), checkpoint_s=1e9)) == 2
    ear = Ear(enough=2)
    assert len(training(tmp_path).run(ear, checkpoint_s=1e9)) == 2
    assert ear.steps == 0  # it hears of it before the first step
    training(tmp_path).run(Ear(), checkpoint_s=1e9)
    weights, history = result(tmp_path)
    assert history == uninterrupted[1]
    assert all(torch.equal(weights[name], expected) for name, expected in uninterrupted[0].items())


def test_it_stops_when_the_valid_loss_gets_no_better(tmp_path: Path) -> None:
    history = training(tmp_path, **{"train.epochs": 50, "train.patience": 2, "optim.lr": 0.03}).run(Ear(), 1e9)
    losses = [row["valid_loss"] for row in history]
    assert len(losses) < 50  # noise cannot be learned for long
    assert losses.index(min(losses)) == len(losses) - 3
    best = RunRecord(tmp_path).best()
    assert best
    assert best["epoch"] == losses.index(min(losses)) + 1


def test_a_loss_that_is_no_number_is_told_with_step_recordings_and_checkpoint(tmp_path: Path) -> None:
    run = training(tmp_path)
    with pytest.raises(Killed):
        run.run(Ear(UPDATES + 1), checkpoint_s=1e9)
    again = training(tmp_path)
    good = RunRecord(tmp_path).checkpoint()
    again.tables.signal[:] = math.nan
    with pytest.raises(Diverged, match=rf"at step {UPDATES} \(recordings in the batch: a1, a2, a3\).*last\.pt") as error:
        again.run(Ear(), checkpoint_s=0)
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
