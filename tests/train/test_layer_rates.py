"""What is frozen does not move by a bit, parts learn at their own rates, and all of it goes on exactly after a restart."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from raybrain.config import InputError, override
from raybrain.experiment import LayersConfig, OptimConfig
from raybrain.train.layer_rates import rates
from raybrain.train.loop import Training
from raybrain.train.record import RunRecord
from tests.train.test_loop import Ear, Killed, asked, go, result, training
from tests.train.test_optimizer import CONFORMER, give_gradients, optimizer
from tests.workers import MODERN

FROZEN = {"optim.layers.frozen": "front,convs.layers.0"}


def weights(run: Training) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in run.learner.network.state_dict().items()}


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("optim", [{}, {"optim.kind": "adamw", "optim.weight_decay": 0.1}, {"optim.weight_decay": 0.1}])
def test_what_is_frozen_stays_as_it_is(optim: dict[str, Any], tmp_path: Path) -> None:
    run = training(tmp_path, **FROZEN, **optim)
    before = weights(run)
    go(run)
    names = moved(before, weights(run))
    assert names and not [name for name in names if name.startswith(("encoder.front.", "encoder.convs.layers.0."))]
    kept = [name for name in before if name.startswith("encoder.convs.layers.0.") and "running" in name]
    assert kept, "batch norm has seen nothing new"
    assert len(run.learner.parameters) == sum(p.requires_grad for p in run.learner.network.parameters()) < len(before)


def test_what_is_thawed_is_trained_from_then_on(tmp_path: Path) -> None:
    run = training(tmp_path, **FROZEN, **{"optim.layers.thaw": 2})
    before, ear = weights(run), Ear(enough=2)
    go(run, ear)
    assert not [name for name in moved(before, weights(run)) if ".front." in name]
    run = training(tmp_path, **FROZEN, **{"optim.layers.thaw": 2})
    go(run)
    assert [name for name in moved(before, weights(run)) if ".front." in name]


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    layers = {"optim.layers.decay": 0.5, "optim.layers.frozen": "front", "optim.layers.thaw": 1}
    settings = CONFORMER | MODERN | layers
    go(training(tmp_path / "whole", **settings))
    for after in (3, 5):
        with pytest.raises(Killed):
            go(training(tmp_path / "killed", **settings), Ear(after), checkpoint_s=0)
    go(training(tmp_path / "killed", **settings), checkpoint_s=0)
    (one, first), (other, second) = result(tmp_path / "whole"), result(tmp_path / "killed")
    assert first == second and all(torch.equal(one[name], other[name]) for name in one)
    one_last, other_last = (RunRecord(tmp_path / name).checkpoint() for name in ("whole", "killed"))
    assert one_last and other_last
    for name, value in one_last.get("average", {}).items():
        assert torch.equal(value, other_last["average"][name])


def test_the_last_layer_learns_at_the_full_rate() -> None:
    network = optimizer(encoder={}).network
    factors = rates(network, LayersConfig(decay=0.5))
    assert {factor for name, factor in factors.items() if name.startswith("encoder.final.")} == {1.0}
    assert {factor for name, factor in factors.items() if name.startswith("encoder.convs.layers.1.")} == {0.5}
    assert {factor for name, factor in factors.items() if name.startswith("encoder.convs.layers.0.")} == {0.25}
    assert {factor for name, factor in factors.items() if name.startswith("encoder.front.")} == {0.125}
    conformer = rates(optimizer().network, LayersConfig(decay=0.5))
    layers = ("front", "patches", "blocks.0", "blocks.1", "norm", "samples", "final")
    for number, layer in enumerate(layers):
        mine = {factor for name, factor in conformer.items() if name.startswith(f"encoder.{layer}.")}
        assert mine == {0.5 ** (len(layers) - 1 - number)}, layer


@pytest.mark.parametrize("kind", ["adam", "adamw", "muon"])
def test_each_part_moves_at_its_own_rate(kind: str) -> None:
    layers = LayersConfig(rates=("front:0.1", "front.linear:0.5", "encoder.final:2"))
    made = optimizer(kind=kind, lr=0.01, layers=layers)
    factors = rates(made.network, layers)
    seen = set()
    for one in made.optimizers:
        for group in one.param_groups:
            names = {name for name, p in made.network.named_parameters() if any(p is other for other in group["params"])}
            assert {factors[name] for name in names} == {group.get("rate", 1.0)}
            assert group["lr"] == pytest.approx(0.01 * group.get("rate", 1.0))
            seen |= names
    assert seen == {name for name, p in made.network.named_parameters() if p.requires_grad}
    assert factors["encoder.front.linear.weight"] == 0.5 and factors["encoder.front.attention.heads"] == 0.1
    before = {name: p.detach().clone() for name, p in made.network.named_parameters()}
    give_gradients(made)
    made.step(0)
    step = {name: float((p.detach() - before[name]).abs().max()) for name, p in made.network.named_parameters()}
    assert step["encoder.final.weight"] == pytest.approx(0.02, rel=1e-3)
    assert step["encoder.front.linear.bias"] == pytest.approx(0.005, rel=1e-3)


def test_beside_a_line_parts_have_the_same_names() -> None:
    network = optimizer(encoder=CONFORMER | {"encoder.ridge.on": True}).network
    factors = rates(network, LayersConfig(rates=("front:0.1", "log_gain:3")))
    assert factors["encoder.network.front.linear.weight"] == 0.1 and factors["encoder.log_gain"] == 3


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match=r"no part 'frnt' of the network, did you mean 'front'\? Allowed: "):
        optimizer(layers=LayersConfig(frozen=("frnt",)))
    with pytest.raises(InputError, match=r"no part 'block' of the network, did you mean 'blocks'"):
        optimizer(layers=LayersConfig(rates=("block:0.1",)))
    with pytest.raises(InputError, match=r"optim.layers.frozen=encoder leaves nothing to train; type fewer parts"):
        optimizer(layers=LayersConfig(frozen=("encoder",)))
    for wrong in ("front", "front:x", "front:0", "front:-1", "front:1e999", "front:1:2"):
        with pytest.raises(InputError, match="is no rate of a part; type PART:FACTOR"):
            override(OptimConfig(), {"layers.rates": wrong})
    with pytest.raises(InputError, match="front has two rates; type one of both"):
        override(OptimConfig(), {"layers.rates": "front:0.1,front:0.2"})
    with pytest.raises(InputError, match=r"thaw=3 says when frozen parts are trained, and none are; type frozen=PART with it"):
        override(OptimConfig(), {"layers.thaw": 3})
    with pytest.raises(InputError, match=r"optim.layers.thaw=3, but training ends with train.epochs=3; type less, or none"):
        asked({"optim.layers.frozen": "front", "optim.layers.thaw": 3})


def test_the_same_question_has_one_spelling() -> None:
    one = asked({"optim.layers.rates": "front:0.10,final:1", "optim.layers.frozen": "convs.layers.0,front"})
    other = asked({"optim.layers.rates": " front : 1e-1", "optim.layers.frozen": "front,convs.layers.0,front"})
    assert one == other and one.signature == other.signature != asked({}).signature
