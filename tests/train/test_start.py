"""Training that starts from ridge regression: before the first step it is ridge regression, and what is kept is no worse."""

from dataclasses import fields as dataclass_fields
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from raybrain.batch import Batch
from raybrain.config import InputError, override
from raybrain.encoders.ridge_start import RidgeStart
from raybrain.experiment import Experiment
from raybrain.train.closed_form import fitted
from raybrain.train.fitting import CannotFit
from raybrain.train.loop import Training
from raybrain.train.messages import Steps
from raybrain.train.order import contrast
from raybrain.train.record import RunRecord, best_epoch
from raybrain.train.step import Place
from raybrain.train.tables import Tables
from tests.train.test_loop import UPDATES, Ear, Killed, asked, go, result
from tests.workers import random_tables

RIDGE: dict[str, Any] = {"encoder.ridge.on": True, "window.offset_s": 0}


class Planted(Tables):
    """Five channels carry some of what is heard, under noise."""

    def brain(self, rows: Tensor, draws: Tensor) -> Batch:
        batch = super().brain(rows, draws)
        return replace(batch, signal=torch.cat([self.speech(rows) + 8 * batch.signal[:, :5], batch.signal[:, 5:]], dim=1))


def training(folder: Path, train: Tensor | None = None, **changes: Any) -> Training:
    experiment = asked(RIDGE | changes)
    plain = random_tables(experiment, torch.float32)
    tables = Planted(**{field.name: getattr(plain, field.name) for field in dataclass_fields(plain)})
    if train is not None:
        tables = replace(tables, rows={**tables.rows, "train": train})
    sizes = contrast(experiment.train, 1, len(tables.rows["train"]))
    return Training(experiment, tables, sizes, Place(), RunRecord(folder))


def network(run: Training) -> RidgeStart:
    encoder = run.learner.network.encoder
    assert isinstance(encoder, RidgeStart)
    return encoder.eval()


def of_ridge(run: Training, rows: Tensor) -> Tensor:
    """What ridge regression alone estimates."""
    experiment = override(Experiment(), {"encoder": "ridge", "window.offset_s": 0})
    with torch.no_grad():
        return fitted(experiment, run.tables, Place()).estimates(rows)


@pytest.mark.parametrize("encoder", [{}, {"encoder": "conv_rnn", "encoder.lstm.layers": 1}], ids=["simple_conv", "conv_rnn"])
def test_before_the_first_step_it_is_ridge_regression(encoder: dict[str, Any], tmp_path: Path) -> None:
    run = training(tmp_path, **encoder, **{"train.epochs": 1})
    ear = Ear()
    history = go(run, ear)
    assert len(history) == 1 and [(step.epoch, step.step, step.of) for step in ear.of(Steps)] == [(0, 1, 2), (0, 2, 2)]
    rows = run.tables.rows["valid"]
    with torch.no_grad():
        estimates, gain = run.learner.estimates(rows), network(run).log_gain.exp()
    assert gain != 1
    assert torch.equal(estimates, gain * of_ridge(run, rows))
    assert history[0]["valid_top10"] > 0.8, "chance is 62.5 %"


def test_the_gain_makes_the_train_loss_smallest(tmp_path: Path) -> None:
    run = training(tmp_path, **{"train.epochs": 1})
    loss = go(run)[0]["train_loss"]
    rows, line = run.tables.rows["train"], network(run)
    losses, groups = {}, [rows[number::12] for number in range(12)]
    for factor in (0.8, 1.0, 1.25):
        with torch.no_grad():
            made = [(factor * run.learner.estimates(some), run.learner.aimed(some)) for some in groups]
            losses[factor] = float(torch.stack([run.learner.network.loss(*pair, torch.arange(8)) for pair in made]).mean())
    assert losses[1.0] == min(losses.values()) == pytest.approx(loss, rel=1e-5)
    assert line.log_gain.requires_grad


@pytest.mark.parametrize("loss", ["info_nce", "siglip"])
def test_where_a_loss_asks_for_the_direction_alone_the_line_is_as_large_as_ever(loss: str, tmp_path: Path) -> None:
    gains = {}
    for kind in ("contrastive", loss):
        run = training(tmp_path / kind, loss=kind, **{"train.epochs": 1})
        history = go(run)
        gains[kind] = float(network(run).log_gain)
        valid = history[0]["valid_loss"]
    assert gains[loss] == gains["contrastive"]
    run = training(tmp_path / "further", loss=loss, **{"train.epochs": 3, "optim.lr": 1e-3})
    further = go(run)
    assert max(row["valid_loss"] for row in further) < 1.2 * valid, "steps go on from where the line is"


def test_what_is_kept_is_never_worse_than_the_start(tmp_path: Path) -> None:
    run = training(tmp_path, **{"train.epochs": 4, "optim.lr": 1.0})  # far too fast to get better
    history = go(run)
    assert best_epoch(history)["epoch"] == 1 and len(history) == 4
    best = RunRecord(tmp_path).best()
    assert best and best["epoch"] == 1
    run.learner.restore({"model": best["model"]})
    assert run.validation.loss() == history[0]["valid_loss"] < min(row["valid_loss"] for row in history[1:])
    rows = run.tables.rows["valid"]
    with torch.no_grad():
        assert torch.equal(run.learner.estimates(rows), network(run).log_gain.exp() * of_ridge(run, rows))


def test_the_line_is_kept_unless_it_is_to_be_trained(tmp_path: Path) -> None:
    for trained in (False, True):
        run = training(tmp_path / str(trained), **{"encoder.ridge.trained": trained, "train.epochs": 1})
        go(run)
        before = network(run).line.weights.detach().clone()
        go(training(tmp_path / str(trained), **{"encoder.ridge.trained": trained}))
        after = RunRecord(tmp_path / str(trained)).checkpoint()
        assert after and len(after["state"]["history"]) == 3
        assert torch.equal(after["model"]["encoder.line.weights"], before) != trained
        assert after["model"]["encoder.log_gain"] != network(run).log_gain, "the gain is trained in any case"


def test_killed_again_and_again_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    go(training(tmp_path / "whole"))
    for after in (1, 2, 1, 4, UPDATES + 1, 2):
        with pytest.raises(Killed):
            go(training(tmp_path / "killed"), Ear(after), checkpoint_s=0)
    ear = Ear()
    go(training(tmp_path / "killed"), ear, checkpoint_s=0)
    assert all(step.epoch > 0 for step in ear.of(Steps)), "it is not fitted twice"
    (one, first), (other, second) = result(tmp_path / "whole"), result(tmp_path / "killed")
    assert first == second and all(torch.equal(one[name], other[name]) for name in one)


def test_who_has_no_train_segments_gets_the_line_of_all(tmp_path: Path) -> None:
    mine = torch.arange(0, 96, 3)
    run = training(tmp_path, mine, **{"train.epochs": 1, "encoder.ridge.line.penalties": (1.0,)})
    go(run)
    weights = network(run).line.weights
    assert torch.equal(weights[0], weights[1]), "the train segments of all are those of the first"
    own = training(tmp_path / "own", **{"train.epochs": 1})
    go(own)
    assert not torch.equal(network(own).line.weights[0], network(own).line.weights[1])


def test_the_line_is_exact_in_mixed_precision(tmp_path: Path) -> None:
    run = training(tmp_path, **{"train.epochs": 1})
    go(run)
    batch = run.learner.given(run.tables.rows["valid"])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        mixed = network(run)(batch)
    assert torch.equal(mixed, run.learner.estimates(run.tables.rows["valid"]))


def test_what_cannot_start_from_a_line_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"speech_encoder=deep_mel makes something else of it; type speech_encoder=stored"):
        override(Experiment(), RIDGE | {"speech_encoder": "deep_mel"})
    added = {"encoder.final": False, "encoder.depth": 2, "encoder.hidden": 5, "encoder.conv.glu.every": 0}
    with pytest.raises(CannotFit, match=r"does not give its estimate; type encoder.ridge.on=false"):
        go(training(tmp_path, **added))
