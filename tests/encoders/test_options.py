"""Options of the encoders, each against what it must equal, for want of numbers of the reference."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raybrain.batch import Batch, Keys, step_draws
from raybrain.config import override
from raybrain.encoders.attention import AttentionConfig, SpatialAttention
from raybrain.encoders.conv_rnn import LocalAttention, LocalConfig
from raybrain.encoders.deep_mel import DeepMel
from raybrain.encoders.draws import Dropout
from raybrain.encoders.front import Front
from tests.encoders.test_encoders import ROWS, SHAPES, TINY, random_batch


def built(name: str, changes: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    return override(TINY[name], changes).build(SHAPES)


def attention(**changes: Any) -> SpatialAttention:
    torch.manual_seed(0)
    return SpatialAttention(override(AttentionConfig(), {"channels": 6, "dimensions": 8, **changes}), len(SHAPES.subjects))


def front(batch: Batch, **changes: Any) -> tuple[Front, Tensor]:
    module = built("simple_conv", changes).front
    assert isinstance(module, Front)
    return module, module(batch)


def test_attention_of_each_subject_starts_as_the_shared_one_and_is_its_own() -> None:
    batch = random_batch()
    shared, own = attention(), attention(per_subject=True)
    assert own.heads.shape == (len(SHAPES.subjects), *shared.heads.shape)
    torch.testing.assert_close(own(batch), shared(batch))
    torch.testing.assert_close(own.usage(batch.positions, batch.valid), shared.usage(batch.positions, batch.valid))
    first = own(batch)
    with torch.no_grad():
        own.heads[1] += torch.randn_like(own.heads[1])
    changed = (own(batch) != first).flatten(1).any(dim=1)
    assert torch.equal(changed, batch.subject == 1) and changed.any() and not changed.all()


def test_attention_dropout_may_leave_the_other_weights_as_they_are() -> None:
    batch = random_batch()
    plain, grown = (attention(dropout_radius=0.3, rescale=rescale) for rescale in (False, True))
    left, all_of_it = (module.weights(batch.positions, batch.valid, batch.draws) for module in (plain, grown))
    whole = plain.eval().weights(batch.positions, batch.valid, batch.draws)
    kept = left > 0
    assert not kept.all() and torch.equal(kept, all_of_it > 0) and torch.equal(left, torch.where(kept, whole, 0))
    torch.testing.assert_close(left / left.sum(dim=-1, keepdim=True), all_of_it)


def test_the_usage_penalty_is_of_how_unevenly_sensors_are_used() -> None:
    batch, module = random_batch(), attention(usage_penalty=10.0, dropout_radius=0.0)
    assert attention().penalty(batch) is None
    with torch.no_grad():
        module.heads.zero_()
    even = module.penalty(batch)
    assert even is not None and even.item() == pytest.approx(0, abs=1e-5)
    module = attention(usage_penalty=10.0)
    weights = module.eval().weights(batch.positions, batch.valid, batch.draws).mean(dim=1)
    uneven = (batch.valid.sum(dim=1) * weights.square().sum(dim=1) - 1).mean()
    penalty = module.train().penalty(batch)
    assert penalty is not None and penalty.item() == pytest.approx(10 * uneven.item(), rel=1e-4) and penalty > 0.1
    few = replace(batch, signal=batch.signal[:1], subject=batch.subject[:1], layout=batch.layout[:1])
    assert module.penalty(few) == penalty
    penalty.backward()
    assert module.heads.grad is not None and module.heads.grad.abs().sum() > 0


def test_fewer_sensors_are_the_same_ones_in_any_order_and_precision() -> None:
    batch = random_batch()
    module = attention(**{"sensors.count": 4})
    used = module.used(batch.positions, batch.valid)
    assert (used.sum(dim=1) == 4).all() and not (used & ~batch.valid).any()
    order = torch.randperm(SHAPES.channels)
    assert torch.equal(module.used(batch.positions[:, order], batch.valid[:, order]), used[:, order])
    assert torch.equal(module.used(batch.positions.double(), batch.valid), used)
    assert torch.equal((module.eval().weights(batch.positions, batch.valid, batch.draws) > 0).any(dim=1), used)
    others = attention(**{"sensors.count": 4, "sensors.seed": 1}).used(batch.positions, batch.valid)
    assert not torch.equal(others, used)
    everything = attention(**{"sensors.count": 99}).used(batch.positions, batch.valid)
    assert torch.equal(everything, batch.valid)


def test_the_initial_map_may_be_deeper() -> None:
    batch = random_batch()
    shallow, plain = front(batch, subject="none")
    _, bent = front(batch, subject="none", **{"initial.activation": "relu"})
    torch.testing.assert_close(bent, plain.relu())
    deep, out = front(batch, subject="none", **{"initial.depth": 2})
    assert isinstance(deep.deeper, nn.Sequential) and len(deep.deeper) == 1
    torch.testing.assert_close(out, deep.deeper(plain))
    assert shallow.deeper is None


def test_subject_layers_may_start_as_the_identity_and_have_another_size() -> None:
    batch = random_batch()
    _, none = front(batch, subject="none")
    _, same = front(batch, **{"subject_layer.identity": True})
    assert torch.equal(same, none)
    _, fewer = front(batch, **{"subject_layer.identity": True, "subject_layer.channels": 3})
    assert torch.equal(fewer, none[:, :3])
    module, other = front(batch, **{"subject_layer.channels": 8})
    assert other.shape[1] == module.channels == 8


def test_the_svd_penalty_is_the_mean_singular_value() -> None:
    batch = random_batch()
    assert front(batch)[0].penalty(batch) is None
    module, _ = front(batch, svd_penalty=0.5, **{"subject_layer.identity": True})
    assert module.linear is not None
    penalty, subjects, size = module.penalty(batch), len(SHAPES.subjects), 5
    values = torch.linalg.svdvals(module.linear.weight[..., 0])
    expected = 0.5 * (values.sum() + subjects * size) / (len(values) + subjects * size)
    assert penalty is not None
    torch.testing.assert_close(penalty, expected)
    penalty.backward()
    with torch.no_grad():
        module.linear.weight[0, 0] = float("nan")
    broken = module.penalty(batch)
    assert broken is not None and broken.isnan(), "for training to say so"
    assert module.subject_layer is not None and module.subject_layer.weights.grad is not None
    torch.testing.assert_close(module.subject_layer.weights.grad[0], torch.eye(size) * 0.5 / (len(values) + subjects * size))


@pytest.mark.parametrize("option", ["post_skip", "rewrite"])
def test_what_layers_may_go_on_with(option: str) -> None:
    batch = random_batch()
    plain, more = (built("simple_conv", {"conv.glu.every": 0, **new}) for new in ({}, {f"conv.{option}": True}))
    missing, unexpected = more.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and {name.split(".")[3] for name in missing} == {option}
    layers = more.convs.layers
    if option == "post_skip":
        assert torch.equal(more(batch), plain(batch))
        return
    more.eval(), plain.eval()
    x = torch.randn(ROWS, 8, SHAPES.times)
    layer, simple = layers[1], plain.convs.layers[1]
    torch.testing.assert_close(layer(x), layer.rewrite(simple(x) - x) + x)


def test_layers_drop_numbers_while_training_only() -> None:
    batch = random_batch()
    plain = built("simple_conv", {})
    for where in ("input", "layers"):
        dropped = built("simple_conv", {f"conv.dropout.{where}": 0.5})
        assert not torch.equal(dropped.train()(batch), plain.train()(batch))
        dropped.load_state_dict(plain.state_dict())
        assert torch.equal(dropped.eval()(batch), plain.eval()(batch))


def test_the_speech_side_drops_by_segment_too() -> None:
    x, keys = torch.randn(ROWS, 4, 43), Keys.of(step_draws(0, 0), torch.arange(ROWS) % 2)
    config = override(DeepMel(), {"depth": 2, "hidden": 6, "output": 3, "conv.batch_norm": False, "conv.dropout.layers": 0.5})
    network = config.build(4)
    out = network(x[:1].expand(ROWS, -1, -1), keys)
    torch.testing.assert_close(out[::2], out[:1].expand_as(out[::2]))
    assert not torch.equal(out[0], out[1]) and not torch.equal(out[0], network(x)[0])


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_output_has_so_many_layers(depth: int) -> None:
    final = built("simple_conv", {"final_depth": depth}).final
    kinds = [type(layer) for layer in final]
    assert kinds == [nn.Conv1d, nn.GELU] * (depth - 1) + [nn.ConvTranspose1d]


def test_local_attention_sees_its_neighbours_alone() -> None:
    module = LocalAttention(8, LocalConfig(on=True, heads=2, context=3), "local")
    x, keys = torch.randn(2, 8, 30, requires_grad=True), Keys.of(step_draws(0, 0), torch.arange(2))
    out = module(x, keys)
    assert out.shape == x.shape
    out[:, :, 15].sum().backward()
    assert x.grad is not None
    seen = torch.nonzero(x.grad.abs().sum(dim=(0, 1)))[:, 0].tolist()
    assert seen == list(range(12, 19))
    with torch.no_grad():  # all as likely: the mean of the neighbourhood
        module.mixed.weight[:16].zero_()
        module.mixed.bias[:16].zero_()
        value = (module.norm(x.transpose(1, 2)) @ module.mixed.weight[16:].T + module.mixed.bias[16:])[:, 12:19].mean(dim=1)
        torch.testing.assert_close(module(x, keys)[:, :, 15], x[:, :, 15] + module.out(value))


@pytest.mark.parametrize("name", TINY)
def test_no_two_places_of_a_network_draw_the_same(name: str) -> None:
    options = {"conv_rnn": {"local.on": True, "local.layers": 2}}.get(name, {})
    modules = [*built(name, options).modules(), *DeepMel(depth=3, hidden=4).build(4).modules()]
    places = [module.number for module in modules if isinstance(module, Dropout)]
    assert len(places) > 4 and len(set(places)) == len(places)
