"""The optimiser does what its settings say, and goes on exactly after a restart."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from raybrain.config import InputError, override
from raybrain.experiment import Experiment, OptimConfig
from raybrain.network import Network, Parts
from raybrain.train.optimizer import Optimizer
from raybrain.train.record import RunRecord
from tests.train.test_loop import UPDATES, Ear, Killed, go, result, training
from tests.workers import MODERN, SMALL, random_tables

CONFORMER: dict[str, Any] = {"encoder": "conformer", "encoder.block.heads": 2}


def optimizer(steps: range = range(10), encoder: dict[str, Any] | None = None, **changes: Any) -> Optimizer:
    experiment = override(Experiment(), SMALL | (CONFORMER if encoder is None else encoder))
    torch.manual_seed(0)
    network = Network(Parts.of(experiment), random_tables(experiment, torch.float32).shapes)
    return Optimizer(network, OptimConfig(**changes), steps)


def give_gradients(made: Optimizer, size: float = 1.0) -> None:
    for parameter in made.parameters:
        parameter.grad = torch.full_like(parameter, size)


def test_the_learning_rate_grows_then_falls() -> None:
    made = optimizer(range(6, 26), warmup=4, decay_to=0.1)
    factors = [made.factor(step) for step in range(6, 26)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0] and factors[4] == 1.0
    assert factors[4:] == sorted(factors[4:], reverse=True) and factors[12] == pytest.approx(0.55)
    assert 0.1 < factors[-1] < 0.12
    for step in (6, 13):
        give_gradients(made)
        made.step(step)
        assert {group["lr"] for one in made.optimizers for group in one.param_groups} == {3e-4 * made.factor(step)}
    assert optimizer().factor(9) == 1.0


@pytest.mark.parametrize("size", [1e-6, 1.0])
def test_long_gradients_are_cut(size: float) -> None:
    made = optimizer(clip=0.5)
    give_gradients(made, size)
    made.step(0)
    length = math.sqrt(sum(float(p.grad.square().sum()) for p in made.parameters if p.grad is not None))
    assert length == pytest.approx(min(0.5, size * math.sqrt(sum(p.numel() for p in made.parameters))), rel=1e-4)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_weight_decay_shrinks_matrices_alone(kind: str) -> None:
    made = optimizer(kind=kind, weight_decay=0.5, lr=0.1)
    before = [parameter.detach().clone() for parameter in made.parameters]
    give_gradients(made, 0.0)
    made.step(0)
    for parameter, was in zip(made.parameters, before, strict=True):
        torch.testing.assert_close(parameter.detach(), was * (0.95 if parameter.ndim >= 2 else 1.0))


def test_muon_gets_the_matrices_inside() -> None:
    adam, muon = optimizer(kind="muon").optimizers
    inside = [parameter for group in muon.param_groups for parameter in group["params"]]
    assert len(inside) == 2 * (2 * 2 + 2 + 2)  # feed-forward parts, attention and convolution of each of two blocks
    assert all(parameter.ndim == 2 for parameter in inside)
    count = sum(len(group["params"]) for one in (adam, muon) for group in one.param_groups)
    assert count == len(optimizer().parameters)
    with pytest.raises(InputError, match=r"this encoder has none inside; type optim.kind=adamw"):
        optimizer(encoder={}, kind="muon")
    with pytest.raises(InputError, match=r"this encoder has none inside"):  # the maps of a loss are not inside of it
        optimizer(encoder={"loss.linear": 3}, kind="muon")


def test_the_average_follows_the_weights() -> None:
    made = optimizer(average=0.9, lr=0.1)
    first, expected = made.parameters[0], made.parameters[0].detach().clone()
    for step in range(4):
        give_gradients(made)
        made.step(step)
        kept = min(0.9, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * first.detach()
    own = first.detach().clone()
    with made.averaged():
        torch.testing.assert_close(first.detach(), expected)
    assert torch.equal(first, own) and not torch.allclose(own, expected)


def test_with_all_of_it_killed_again_and_again_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    settings = CONFORMER | MODERN | {"encoder.ridge.on": True, "train.epochs": 3, "optim.schedule": "2:lr=0.002"}
    history = go(training(tmp_path / "whole", **settings))
    for after in (3, 4, UPDATES + 1):
        with pytest.raises(Killed):
            go(training(tmp_path / "killed", **settings), Ear(after), checkpoint_s=0)
    go(training(tmp_path / "killed", **settings), checkpoint_s=0)
    (one, first), (other, second) = result(tmp_path / "whole"), result(tmp_path / "killed")
    assert first == second and all(torch.equal(one[name], other[name]) for name in one)
    one_last, other_last = (RunRecord(tmp_path / name).checkpoint() for name in ("whole", "killed"))
    assert one_last and other_last
    assert all(torch.equal(value, other_last["average"][name]) for name, value in one_last["average"].items())
    again = training(tmp_path / "whole", **settings)
    best = RunRecord(tmp_path / "whole").best()
    assert best
    again.learner.restore({"model": best["model"]})
    assert again.validation.loss() == min(row["valid_loss"] for row in history), "what is kept is what was validated"


def test_a_checkpoint_of_one_optimiser_alone_is_read(tmp_path: Path) -> None:
    """As those of earlier versions are."""
    made = optimizer()
    give_gradients(made)
    made.step(0)
    again = optimizer()
    again.restore({"optimizer": made.state()["optimizer"]})
    assert str(again.state()) == str(made.state())
