"""The part of the front that knows people: a matrix that all share, and what each has beside it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from raybrain.batch import Batch, Keys, step_draws
from raybrain.config import override
from raybrain.encoders.subject_layer import SharedSubjectLayer, SubjectLayerConfig, subject_layer
from raybrain.experiment import recipe
from tests.encoders.test_encoders import SHAPES, TINY, random_batch

CHANNELS, AFTER, SUBJECTS, ROWS, TIMES = 5, 4, 3, 6, 7
OWN = ["low_rank", "channels"]


def layer(own: str, **changes: Any) -> SharedSubjectLayer:
    torch.manual_seed(0)
    settings = {"channels": AFTER, "shared.on": True, "shared.own": own, **changes}
    module = subject_layer(override(SubjectLayerConfig(), settings), CHANNELS, SUBJECTS)
    assert isinstance(module, SharedSubjectLayer)
    return module


def moved(module: SharedSubjectLayer) -> SharedSubjectLayer:
    """As after some training."""
    with torch.no_grad():
        for name in module.new_rows():
            module.get_parameter(name).normal_()
    return module


def given() -> tuple[Tensor, Tensor, Keys]:
    signal = torch.randn(ROWS, CHANNELS, TIMES, generator=torch.Generator().manual_seed(1))
    return signal, torch.arange(ROWS) % SUBJECTS, Keys.of(step_draws(0, 0), torch.arange(ROWS))


@pytest.mark.parametrize("own", OWN)
def test_all_begin_with_what_they_share(own: str) -> None:
    module, (signal, subject, keys) = layer(own), given()
    alone = module.shared.T @ signal
    torch.testing.assert_close(module(signal, subject, keys), alone)
    assert not torch.allclose(moved(module).eval()(signal, subject, keys), alone)


@pytest.mark.parametrize("own", OWN)
def test_each_subject_has_a_matrix(own: str) -> None:
    module, (signal, subject, keys) = moved(layer(own)).eval(), given()
    expected = module.matrices()[subject].transpose(1, 2) @ signal
    torch.testing.assert_close(module(signal, subject, keys), expected)


@pytest.mark.parametrize("own", OWN)
def test_some_segments_do_with_what_is_shared_while_training(own: str) -> None:
    module, (signal, subject, keys) = moved(layer(own, **{"shared.dropout": 0.5})), given()
    alone, own_too = module.shared.T @ signal, module.eval()(signal, subject, keys)
    mixed = module.train()(signal, subject, keys)
    without = [torch.allclose(row, other, atol=1e-6) for row, other in zip(mixed, alone, strict=True)]
    assert 0 < sum(without) < ROWS
    for row, bare in enumerate(without):
        torch.testing.assert_close(mixed[row], (alone if bare else own_too)[row])


@pytest.mark.parametrize("own", OWN)
def test_who_is_not_trained_with_keeps_what_is_shared(own: str) -> None:
    torch.manual_seed(0)
    settings = {"subject_layer.shared.on": True, "subject_layer.shared.own": own}
    network, batch = override(TINY["simple_conv"], settings).build(SHAPES), random_batch()
    known = Batch(**{**vars(batch), "subject": torch.zeros_like(batch.subject)})
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        network(known).square().mean().backward()
        optimizer.step()
    module = network.front.subject_layer
    assert isinstance(module, SharedSubjectLayer)
    matrices = module.matrices()
    assert torch.equal(matrices[1], module.shared) and not torch.allclose(matrices[0], module.shared)


def test_nobody_need_be_known_where_something_is_shared() -> None:
    changes: dict[str, Any] = {"train.subjects": 2, "encoder.subject_layer.shared.on": True}
    recipe("quickstart", changes)
    with pytest.raises(ValueError, match=r"type test\.subjects=2, or encoder\.attention\.per_subject=false"):
        recipe("quickstart", {**changes, "encoder.attention.per_subject": True})
