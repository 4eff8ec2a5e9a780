from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raybrain.batch import Batch, Shapes, step_draws
from raybrain.config import InputError, override
from raybrain.encoders.attention import AttentionConfig, SpatialAttention
from raybrain.encoders.base import Encoder, SpeechEncoder
from raybrain.encoders.conformer import Conformer
from raybrain.encoders.conv_rnn import ConvRNN
from raybrain.encoders.deep_mel import DeepMel
from raybrain.encoders.simple_conv import DualPath, DualPathConfig, SimpleConv, SpectrumConfig, Upsample
from raybrain.encoders.sound_side import WaveEncoder

ROWS, LAYOUTS = 5, 2
SHAPES = Shapes(channels=9, subjects=("s/1", "s/2", "s/3"), features=4, times=43, rate_hz=120.0)
FRONT = {"attention.channels": 6, "attention.dimensions": 8, "initial_linear": 5, "subject_size": 3, "hidden": 8}
TINY: dict[str, Encoder] = {
    "simple_conv": override(SimpleConv(), {**FRONT, "depth": 4}),
    "conv_rnn": override(ConvRNN(), {**FRONT, "depth": 2}),
    "conformer": override(Conformer(), {**FRONT, "depth": 2, "block.heads": 2, "block.kernel": 3}),
}
PAPER_SIZE = 9_565_054

FRONT_OPTIONS: list[dict[str, Any]] = [
    {},
    {"attention.on": False},
    {"attention.dropout_radius": 0.0},
    {"attention.per_subject": True},
    {"attention.rescale": False, "attention.sensors.count": 6},
    {"initial.depth": 2, "initial.activation": "gelu"},
    {"subject_layer.channels": 7, "subject_layer.identity": True},
    {"subject_layer.shared.on": True, "subject_layer.channels": 7},
    {"subject_layer.shared.on": True, "subject_layer.shared.own": "channels"},
    {"initial_linear": None},
    {"subject": "embedding"},
    {"subject": "none"},
    {"attention.on": False, "initial_linear": None, "subject": "none"},
]
CONV_OPTIONS: list[dict[str, Any]] = [
    {"depth": 1},
    {"conv.kernel": 5},
    {"conv.kernel": 1},
    {"conv.dilation_period": None},
    {"conv.dilation_growth": 3},
    {"conv.skip": False},
    {"conv.batch_norm": False},
    {"conv.activation": "relu"},
    {"conv.activation": "leaky_relu"},
    {"conv.glu.every": 0},
    {"conv.glu.every": 1, "conv.glu.context": 0},
    {"conv.groups": 4},
    {"conv.growth": 1.5},
    {"conv.layer_scale": 0.1},
    {"conv.rewrite": True, "conv.post_skip": True},
    {"conv.dropout.input": 0.3, "conv.dropout.layers": 0.3},
]
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *[(name, options) for name in TINY for options in FRONT_OPTIONS],
    *[("simple_conv", options) for options in CONV_OPTIONS],
    ("simple_conv", {"final": False}),
    ("simple_conv", {"final_depth": 1}),
    ("simple_conv", {"final_depth": 3}),
    ("simple_conv", {"final": False, "depth": 1, "conv.groups": 3}),
    ("simple_conv", {"dual_path.on": True, "dual_path.blocks": 2, "dual_path.size": 3, "dual_path.chunk": 10}),
    *[
        ("simple_conv", {"spectrum.on": True, "spectrum.n_fft": 8, "spectrum.hop": 4, "spectrum.kind": kind, **more})
        for kind in ("complex", "power")
        for more in ({"spectrum.upsample": "linear"}, {"spectrum.upsample": "transposed"}, {"dual_path.on": True})
    ],
    ("conv_rnn", {"depth": 3, "stride": 3, "kernel": 5}),
    ("conv_rnn", {"local.on": True, "local.context": 3, "local.dropout": 0.3, "activation": "relu"}),
    ("conv_rnn", {"lstm.dropout.input": 0.3, "lstm.dropout.layers": 0.3}),
    ("conv_rnn", {"batch_norm": False, "lstm.layers": 1, "lstm.bidirectional": False}),
    ("conv_rnn", {"lstm.layers": 0, "local.on": True, "local.layers": 2, "growth": 1.5, "final_depth": 2}),
    ("conv_rnn", {"dropout.input": 0.3, "dropout.layers": 0.3}),
    ("conformer", {"stride": 1}),
    ("conformer", {"stride": 3, "block.expansion": 1}),
    ("conformer", {"block.dropout": 0.0, "block.drop_path": 0.0}),
    *[(name, {"instance_norm": True}) for name in ("simple_conv", "conv_rnn")],
]


def random_batch(shapes: Shapes = SHAPES, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    valid = torch.ones(LAYOUTS, shapes.channels, dtype=torch.bool)
    valid[1, -2:] = False
    return Batch(
        signal=torch.randn(ROWS, shapes.channels, shapes.times, generator=generator),
        subject=torch.randint(len(shapes.subjects), (ROWS,), generator=generator),
        layout=torch.arange(ROWS) % LAYOUTS,
        positions=torch.rand(LAYOUTS, shapes.channels, 2, generator=generator),
        valid=valid,
        draws=step_draws(seed=seed, step=0),
        segment=torch.arange(ROWS) + 10,
    )


def built(name: str, shapes: Shapes = SHAPES) -> nn.Module:
    torch.manual_seed(0)
    return TINY[name].build(shapes)


def attention(**options: Any) -> SpatialAttention:
    torch.manual_seed(0)
    return SpatialAttention(AttentionConfig(channels=6, dimensions=8, **options))


def weights(module: SpatialAttention, batch: Batch) -> Tensor:
    return module.weights(batch.positions, batch.valid, batch.draws).detach()


def test_encoders_are_found() -> None:
    assert set(TINY) <= set(Encoder.kinds())
    assert {"deep_mel", "stored"} <= set(SpeechEncoder.kinds())


def test_the_paper_setting_has_the_paper_size() -> None:
    network = SimpleConv().build(
        Shapes(channels=208, subjects=tuple(f"s/{n}" for n in range(27)), features=1024, times=343, rate_hz=120.0)
    )
    assert sum(p.numel() for p in network.parameters()) == PAPER_SIZE


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_every_option_trains(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = override(TINY[name], options).build(SHAPES)
    estimate = network(random_batch())
    assert estimate.shape == (ROWS, SHAPES.features, SHAPES.times)
    estimate.square().sum().backward()
    for parameter_name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, parameter_name
        assert parameter.grad is None or parameter.grad.isfinite().all(), parameter_name


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
def test_every_option_depends_on_the_batch_only(name: str, options: dict[str, Any]) -> None:
    network, batch = override(TINY[name], options).build(SHAPES), random_batch()
    first = network(batch)
    torch.rand(1)
    assert torch.equal(network(batch), first)


@pytest.mark.parametrize(
    ("name", "options"), [("simple_conv", {}), ("simple_conv", {"spectrum.on": True}), ("conv_rnn", {}), ("conformer", {})]
)
def test_autocast(name: str, options: dict[str, Any]) -> None:
    network, batch = override(TINY[name], options).build(SHAPES).eval(), random_batch()
    with torch.autocast("cpu", torch.bfloat16):
        estimate = network(batch)
    torch.testing.assert_close(estimate.float(), network(batch), rtol=0.1, atol=0.02)


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (SimpleConv(), {"attention.dimensions": 2000}, "type 1922 or 2048"),
        (SimpleConv(), {"conv.kernel": 4}, "kernel must be odd"),
        (SimpleConv(), {"conv.groups": 3}, "groups=3 must divide"),
        (SimpleConv(), {"conv.layer_scale": 0.1, "conv.skip": False}, "skip=true"),
        (SimpleConv(), {"spectrum.n_fft": 8, "spectrum.hop": 9}, "hop=9"),
        (SimpleConv(), {"subject": "vector"}, "subject"),
        (SimpleConv(), {"depth": 0}, "depth"),
        (ConvRNN(), {"kernel": 3}, "type one of 2, 4, 6"),
        (Conformer(), {"hidden": 20}, "type 16"),
        (Conformer(), {"block.kernel": 4}, "type 5"),
        (ConvRNN(), {"hidden": 10, "local.on": True}, "local.heads=4 must divide 10 channels; type local.heads=5"),
    ],
)
def test_what_cannot_be_is_refused(config: Encoder, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        override(config, options)


def test_a_frame_longer_than_the_segment_is_refused() -> None:
    config = override(SimpleConv(), {"spectrum.on": True, "spectrum.n_fft": SHAPES.times + 1})
    with pytest.raises(InputError, match="n_fft"):
        config.build(SHAPES)


def test_deep_mel() -> None:
    config = DeepMel(output=7, depth=3, hidden=8)
    network = config.build(SHAPES.features)
    out = network(torch.randn(ROWS, SHAPES.features, SHAPES.times))
    assert out.shape == (ROWS, config.size(SHAPES.features), SHAPES.times)


@pytest.mark.parametrize("strides", ["6", "2,3", "3,2"])
def test_wave_encoder_sees_one_wave_and_keeps_time(strides: str) -> None:
    config = override(WaveEncoder(), {"strides": strides, "output": 7, "channels": 8, "depth": 2, "hidden": 8})
    network = config.build(6).eval()
    wave = torch.randn(2, 50 * 6)
    frames = wave.reshape(2, 50, 6).transpose(1, 2).requires_grad_()
    out = network(frames)
    assert out.shape == (2, config.size(6), 50)
    out[:, :, 25].sum().backward()
    assert frames.grad is not None
    seen = torch.nonzero(frames.grad.abs().sum(dim=(0, 1)))[:, 0]
    assert seen.min() < 25 < seen.max() and seen.max() - 25 <= 25 - seen.min() <= 8  # dilations 1 and 2, gates, kernels
    later = torch.roll(wave, 6 * 10, dims=1).reshape(2, 50, 6).transpose(1, 2)
    torch.testing.assert_close(network(later)[:, :, 25:35], out[:, :, 15:25])
    network.train()(frames).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters() if p.requires_grad)


def test_wave_encoder_needs_frames_of_its_size() -> None:
    with pytest.raises(InputError, match=r"strides=5,3,3,3 make frames of 135 samples.*120 dimensions.*wave:135"):
        WaveEncoder().build(120)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("training", [True, False])
def test_two_layouts_in_a_batch_equal_each_alone(name: str, training: bool) -> None:
    # batch norm would make segments depend on one another in training
    off = {"simple_conv": {"conv.batch_norm": False}, "conv_rnn": {"batch_norm": False}}.get(name, {})
    network = override(TINY[name], off).build(SHAPES).train(training)
    batch = random_batch()
    together = network(batch)
    for layout in range(LAYOUTS):
        rows = batch.layout == layout
        alone = replace(
            batch,
            signal=batch.signal[rows],
            subject=batch.subject[rows],
            layout=torch.zeros(int(rows.sum()), dtype=torch.long),
            segment=batch.segment[rows],
            positions=batch.positions[layout : layout + 1],
            valid=batch.valid[layout : layout + 1],
        )
        torch.testing.assert_close(network(alone), together[rows])


@pytest.mark.parametrize("name", TINY)
def test_padding_changes_nothing(name: str) -> None:
    more = 3
    batch = random_batch()
    padded = replace(
        batch,
        signal=torch.cat([batch.signal, torch.randn(ROWS, more, SHAPES.times)], dim=1),
        positions=torch.cat([batch.positions, torch.rand(LAYOUTS, more, 2)], dim=1),
        valid=torch.cat([batch.valid, torch.zeros(LAYOUTS, more, dtype=torch.bool)], dim=1),
    )
    wide = built(name, replace(SHAPES, channels=SHAPES.channels + more))
    torch.testing.assert_close(wide(padded), built(name)(batch))


@pytest.mark.parametrize("name", TINY)
def test_the_order_of_sensors_does_not_matter(name: str) -> None:
    batch, order = random_batch(), torch.randperm(SHAPES.channels, generator=torch.Generator().manual_seed(1))
    moved = replace(batch, signal=batch.signal[:, order], positions=batch.positions[:, order], valid=batch.valid[:, order])
    torch.testing.assert_close(built(name)(moved), built(name)(batch))


def test_dropout_bans_sensors_around_the_point_only() -> None:
    batch, radius = random_batch(), 0.3
    module = attention(dropout_radius=radius)
    near = (batch.positions - batch.draws[:2].float()).norm(dim=-1) <= radius
    assert (near & batch.valid).any() and (~near & batch.valid).any(dim=1).all()
    used = (weights(module, batch) > 0).all(dim=1)
    assert torch.equal(used, batch.valid & ~near)
    assert torch.equal((weights(module.eval(), batch) > 0).all(dim=1), batch.valid)
    torch.testing.assert_close(weights(module, batch).sum(dim=-1), torch.ones(LAYOUTS, module.config.channels))


def test_dropout_depends_on_the_draws_only() -> None:
    module, batch = attention(dropout_radius=0.3), random_batch()
    first = weights(module, batch)
    torch.manual_seed(1)
    assert torch.equal(weights(module, batch), first)
    elsewhere = replace(batch, draws=step_draws(seed=0, step=1))
    assert not torch.equal(weights(module, elsewhere), first)


def test_dropout_never_bans_every_sensor() -> None:
    everywhere, batch = attention(dropout_radius=2.0), random_batch()
    assert torch.equal(weights(everywhere, batch), weights(everywhere.eval(), batch))


def test_a_layout_without_known_sensors_gives_zeros() -> None:
    module, batch = attention(), random_batch()
    batch.valid[1] = False
    out = module(batch)
    assert (out[batch.layout == 1] == 0).all() and (out[batch.layout == 0] != 0).any()
    out.sum().backward()
    assert module.heads.grad is not None and module.heads.grad.isfinite().all()


def test_attention_is_computed_in_full_precision_under_autocast() -> None:
    module, batch = attention(), random_batch()
    expected = weights(module, batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(weights(module, batch), expected)


@pytest.mark.parametrize("kind", ["linear", "transposed"])
def test_upsampling_draws_straight_lines_between_frames(kind: str) -> None:
    hop, times = 4, 43
    config = SpectrumConfig.model_validate({"n_fft": 8, "hop": hop, "upsample": kind})
    frames = torch.arange(1 + times // hop, dtype=torch.float32)[None, None] * hop
    out = Upsample(config, channels=1)(frames, times)
    last = int(frames.max())
    expected = torch.arange(times, dtype=torch.float32).clamp(max=last)
    torch.testing.assert_close(out[0, 0].detach(), expected)


def test_the_dual_path_reaches_the_other_end() -> None:
    x = torch.randn(1, 2, SHAPES.times, requires_grad=True)
    DualPath(DualPathConfig(size=3, chunk=10), channels=2)(x)[..., -1].sum().backward()
    assert x.grad is not None
    assert (x.grad[..., [0, 1, SHAPES.times // 2]] != 0).all()
