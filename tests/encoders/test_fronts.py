"""Of every encoder with a front: what sensors are invalid or padding says nothing, and their order means nothing."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from raybrain.batch import Batch
from raybrain.config import override
from raybrain.encoders.base import Encoder
from raybrain.encoders.front import FrontEncoder, built
from tests.encoders.test_encoders import LAYOUTS, ROWS, SHAPES, random_batch
from tests.train.test_every_kind import ENCODER, kinds
from tests.workers import RANDOM

FRONTED = [name for name in kinds(Encoder) if issubclass(Encoder.kind(name), FrontEncoder)]
MODES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "all random": {name.removeprefix("encoder."): value for name, value in RANDOM.items() if "augment" in name},
    "fewer sensors, each subject's own attention": {"attention.sensors.count": 5, "attention.per_subject": True},
    "normalised": {"instance_norm": True},
    "tokens of sensors": {"tokens.depth": 2, "tokens.hidden": 8, "tokens.heads": 2, "tokens.stride": 7},
    "from ridge": {"ridge.on": True},
}


def network(name: str, changes: dict[str, Any], channels: int = SHAPES.channels) -> nn.Module:
    kind = Encoder.kind(name)
    small = {key: value for key, value in ENCODER.items() if key.partition(".")[0] in kind.model_fields}
    torch.manual_seed(0)
    return built(override(kind(), small | changes), replace(SHAPES, channels=channels))


def padded(batch: Batch, more: int = 3, size: float = 5.0) -> Batch:
    """With further channels, and anything in those that are invalid."""
    make = torch.Generator().manual_seed(1)
    signal = torch.cat([batch.signal, torch.zeros(ROWS, more, SHAPES.times)], dim=1)
    positions = torch.cat([batch.positions, torch.zeros(LAYOUTS, more, 2)], dim=1)
    valid = torch.cat([batch.valid, torch.zeros(LAYOUTS, more, dtype=torch.bool)], dim=1)
    noise, places = (torch.rand(part.shape, generator=make) * size for part in (signal, positions))
    signal = torch.where(valid[batch.layout][..., None], signal, noise)
    return replace(batch, signal=signal, positions=torch.where(valid[..., None], positions, places), valid=valid)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", FRONTED)
def test_what_is_in_invalid_and_padded_channels_changes_no_bit(name: str, mode: str, training: bool) -> None:
    module = network(name, MODES[mode], SHAPES.channels + 3)
    outs = [module.train(training)(padded(random_batch(), size=size)) for size in (0.0, 5.0)]
    assert not (padded(random_batch(), size=5.0).signal == padded(random_batch(), size=0.0).signal).all()
    assert torch.equal(*outs)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "from ridge"])  # whose line has weights of each sensor
@pytest.mark.parametrize("name", FRONTED)
def test_padding_changes_nothing(name: str, mode: str) -> None:
    for training in (True, False):
        narrow, wide = (network(name, MODES[mode], SHAPES.channels + more).train(training) for more in (0, 3))
        torch.testing.assert_close(wide(padded(random_batch())), narrow(random_batch()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["as it is", "fewer sensors, each subject's own attention", "normalised", "tokens of sensors"])
@pytest.mark.parametrize("name", FRONTED)
def test_the_order_of_sensors_does_not_matter(name: str, mode: str) -> None:
    batch, order = random_batch(), torch.randperm(SHAPES.channels, generator=torch.Generator().manual_seed(1))
    moved = replace(batch, signal=batch.signal[:, order], positions=batch.positions[:, order], valid=batch.valid[:, order])
    for training in (True, False):
        module = network(name, MODES[mode]).double().train(training)
        one, other = (module(some.to(torch.device("cpu"), torch.float64)) for some in (batch, moved))
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_a_layout_without_valid_sensors_gives_numbers() -> None:
    batch = random_batch()
    none = replace(batch, valid=torch.zeros_like(batch.valid))
    module = network("simple_conv", MODES["tokens of sensors"])
    module(none).sum().backward()
    assert all(part.grad is None or part.grad.isfinite().all() for part in module.parameters())


def test_tokens_read_what_sensors_record_and_where_they_are() -> None:
    batch = random_batch()
    module = network("simple_conv", MODES["tokens of sensors"]).eval()
    nn.init.zeros_(module.front.attention.heads)  # which then weighs all sensors alike, wherever they are
    swapped = replace(batch, positions=batch.positions.flip(1), valid=batch.valid)
    whole = replace(batch, valid=torch.ones_like(batch.valid))
    assert not torch.allclose(module(replace(whole, positions=swapped.positions)), module(whole), atol=1e-4)
    louder = replace(whole, signal=whole.signal.clone())
    louder.signal[:, 0, 0] += 1
    changed = (module(louder) - module(whole)).abs().amax(dim=(0, 1))
    assert changed[-1] > 1e-6, "a patch looks at others"
