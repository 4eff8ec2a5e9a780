"""Pretrained token encoders: small ones with random weights, saved here as those of others are."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raybrain.batch import Shapes
from raybrain.config import InputError, override
from raybrain.encoders.base import Encoder
from raybrain.encoders.checkpoint import CheckpointConfig, matched
from raybrain.encoders.foundation import Foundation
from raybrain.experiment import Experiment
from raybrain.identity import locate, signature
from raybrain.train import warm_start
from raybrain.train.order import contrast
from raybrain.train.step import Learner, Place
from tests.encoders.test_encoders import SHAPES, random_batch
from tests.workers import random_tables

SMALL: dict[str, Any] = {
    "attention.channels": 6,
    "attention.dimensions": 8,
    "initial_linear": 3,
    "hidden": 8,
    "samples": 4,
    "patch": 7,
}
BERT = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 5}
SERIES = {"context_length": 96, "patch_length": 8, "patch_stride": 8, "d_model": 12, "num_hidden_layers": 2}
TINY = '{"model_type": "bert", "max_position_embeddings": 9, "hidden_size": 12}'
OPTIONS: list[dict[str, Any]] = [{}, {"sensors": True}, {"sensors": True, "instance_norm": True, "rate_hz": 100.0}]
PLUGIN = '''
import torch
from torch import nn

class Net(nn.Module):
    """As LaBraM does: patches of each channel, an embedding of its place and of its time, a transformer."""

    width = 6

    def __init__(self, patch, sensors):
        super().__init__()
        self.sensors = sensors
        self.patch = nn.Conv1d(1, 6, patch, stride=patch)
        self.place = nn.Linear(2, 6)
        self.time = nn.Embedding(50, 6)
        self.block = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.5, batch_first=True)

    def forward(self, signal, positions, valid):
        x = self.patch(signal.flatten(0, 1)[:, None]).transpose(1, 2)
        x = (x + self.time.weight[: x.shape[1]]).unflatten(0, signal.shape[:2]) + self.place(positions)[:, :, None]
        hidden = ~valid.repeat_interleave(x.shape[2], dim=1)
        return self.block(x.flatten(1, 2), src_key_padding_mask=hidden)

def make(settings, shapes):
    return Net(settings["patch"], shapes.channels)

class Together(nn.Conv1d):
    """One token for all channels together every 5 samples."""

    width, per_channel = 4, False

    def forward(self, signal, positions, valid):
        return super().forward(signal).transpose(1, 2)

def together(settings, shapes):
    return Together(shapes.channels, 4, 5, 5)

def flat(settings, shapes):
    net = nn.Linear(1, 1)
    net.width = 4
    net.forward = lambda signal, positions, valid: signal[..., :4].mean(dim=1)
    return net
'''


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import transformers

    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(1)
    transformers.BertForMaskedLM(transformers.BertConfig(**BERT, max_position_embeddings=32)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import transformers

    folder = tmp_path_factory.mktemp("series")
    torch.manual_seed(1)
    config = transformers.PatchTSTConfig(**SERIES, num_attention_heads=2, ffn_dim=24, num_input_channels=4)
    transformers.PatchTSTModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network of somebody else's, with its checkpoint."""
    from safetensors.torch import save_file

    (tmp_path / "labramlike.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "labramlike", raising=False)
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"patch": 5}))
    import labramlike  # type: ignore[import-not-found]

    torch.manual_seed(1)
    save_file({f"net.{name}": value for name, value in labramlike.Net(5, 1).state_dict().items()}, folder / "model.safetensors")
    return folder


def asked(path: Path | str, **changes: Any) -> Foundation:
    encoder = override(Encoder.kind("foundation")(), SMALL | {"checkpoint.path": str(path), **changes})
    assert isinstance(encoder, Foundation)
    return locate(encoder, Path())


def built(encoder: Foundation, shapes: Shapes = SHAPES) -> nn.Module:
    """A network with the weights of its checkpoint."""
    torch.manual_seed(0)
    network = encoder.build(shapes)
    network.load_state_dict(encoder.pretrained(network), strict=False)
    return network


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name.removeprefix("tokens.model."): value for name, value in network.state_dict().items() if "tokens.model" in name}


def test_the_weights_of_a_transformer_are_taken_and_used(bert: Path) -> None:
    import transformers

    trained = transformers.BertModel.from_pretrained(bert, add_pooling_layer=False).eval()
    network = built(asked(bert)).train()
    for name, value in trained.state_dict().items():
        assert torch.equal(weights(network)[name], value)
    signal = torch.randn(2, 3, 21)
    tokens, span = network.tokens(signal, torch.zeros(2, 3, 2), torch.ones(2, 3, dtype=torch.bool), None)
    assert tokens.shape == (2, 3, 3, 12) and span == 1
    part = network.tokens
    embedded = part.embedding(signal.unflatten(-1, (3, 7))) + part.place.weight.T[:, None]
    numbers = torch.arange(3).repeat(3)[None].expand(2, -1)
    expected = trained(inputs_embeds=embedded.flatten(1, 2), position_ids=numbers).last_hidden_state
    torch.testing.assert_close(tokens.flatten(1, 2), expected)
    assert network.training and not part.model.training, "dropout of its own would differ between workers"


def test_a_model_of_time_series_sees_each_channel_alone(series: Path) -> None:
    import transformers

    trained = transformers.PatchTSTModel.from_pretrained(series).eval()  # of four channels
    network = built(asked(series))
    signal = torch.randn(2, 3, 90)
    tokens, span = network.tokens(signal, torch.zeros(2, 3, 2), torch.ones(2, 3, dtype=torch.bool), None)
    four = nn.functional.pad(signal[:, [0, 1, 2, 0]], (0, 6)).transpose(1, 2)
    torch.testing.assert_close(tokens[:, [0, 1, 2, 0]], trained(past_values=four).last_hidden_state)
    assert tokens.shape == (2, 3, 12, 12) and span == 96 / 90
    with pytest.raises(InputError, match=r"takes 96 samples, and a window has 97; type a lower encoder.rate_hz"):
        network.tokens(torch.randn(2, 3, 97), torch.zeros(2, 3, 2), torch.ones(2, 3, dtype=torch.bool), None)


@pytest.mark.parametrize("kind", ["bert", "series", "plugin"])
@pytest.mark.parametrize(
    "options", [{}, {"sensors": True}, {"sensors": True, "instance_norm": True, "rate_hz": 100.0}], ids=str
)
def test_every_kind_of_it_trains(kind: str, options: dict[str, Any], request: pytest.FixtureRequest) -> None:
    code = {"checkpoint.code": "labramlike:make"} if kind == "plugin" else {}
    network = built(asked(request.getfixturevalue(kind), **code, **options)).train()
    estimate = network(random_batch())
    assert estimate.shape == (len(random_batch()), SHAPES.features, SHAPES.times)
    estimate.square().mean().backward()
    without = [name for name, part in network.named_parameters() if part.requires_grad and part.grad is None]
    assert not without, "their gradient would be 0 with several workers and none with one"
    if "model.encoder.layer.0.attention.self.query.weight" in dict(network.tokens.named_parameters()):
        assert network.tokens.model.encoder.layer[0].attention.self.query.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", ["bert", "series", "plugin"])
def test_invalid_sensors_say_nothing_and_their_order_means_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    code = {"checkpoint.code": "labramlike:make"} if kind == "plugin" else {}
    network = built(asked(request.getfixturevalue(kind), **code, sensors=True)).double().eval()
    batch = random_batch().to(torch.device("cpu"), torch.float64)
    noise = torch.where(batch.valid[batch.layout][..., None], batch.signal, 5.0)
    assert torch.equal(network(batch), network(replace(batch, signal=noise)))
    order = torch.randperm(SHAPES.channels, generator=torch.Generator().manual_seed(1))
    moved = replace(batch, signal=batch.signal[:, order], positions=batch.positions[:, order], valid=batch.valid[:, order])
    torch.testing.assert_close(network(moved), network(batch), rtol=1e-9, atol=1e-9)


def test_tokens_of_sensors_without_places_and_of_all_together_leave_no_weight_unused(bert: Path, plugin: Path) -> None:
    together = {"checkpoint.path": "", "checkpoint.code": "labramlike:together", "subject": "none"}
    for path, changes in ((bert, {"attention.on": False}), ("", together)):
        network = built(asked(path, sensors=True, **changes)) if path else asked(path, sensors=True, **changes).build(SHAPES)
        out = network(random_batch())
        assert out.shape == (len(random_batch()), SHAPES.features, SHAPES.times)
        out.square().sum().backward()
        assert [name for name, part in network.named_parameters() if part.requires_grad and part.grad is None] == []


def test_it_is_known_by_what_is_in_it(bert: Path, plugin: Path, tmp_path: Path) -> None:
    first = asked(bert)
    moved = shutil.copytree(bert, tmp_path / "moved")
    (moved / "README.md").write_text("what people say of it")
    asked_only = override(Foundation(), SMALL | {"checkpoint.path": str(moved)})
    assert signature(asked_only) == signature(asked(moved)) == signature(first) != signature(override(Foundation(), SMALL))
    file = moved / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert signature(asked(moved)) != signature(first)
    with pytest.raises(InputError, match=rf"the checkpoint {first.checkpoint.content} was asked for, and {moved} is "):
        locate(first.model_copy(update={"checkpoint": first.checkpoint.model_copy(update={"path": str(moved)})}), Path())
    coded = signature(asked(plugin, **{"checkpoint.code": "labramlike:make"}))
    source = plugin.parent / "labramlike.py"
    source.write_text(source.read_text().replace("dropout=0.5", "dropout=0.1"))
    assert signature(asked(plugin, **{"checkpoint.code": "labramlike:make"})) != coded, "its code is part of it"


def test_it_is_built_of_its_settings_alone(bert: Path) -> None:
    known = asked(bert)
    nowhere = known.model_copy(update={"checkpoint": known.checkpoint.model_copy(update={"path": ""})})
    again = nowhere.build(SHAPES)
    again.load_state_dict(built(known).state_dict())
    assert torch.equal(again.eval()(random_batch()), built(known).eval()(random_batch()))
    assert signature(nowhere) == signature(known)
    with pytest.raises(InputError, match=r"was asked for, and it is in no folder that is named; type encoder.checkpoint.path="):
        locate(nowhere, Path())


def test_one_of_the_hub_is_pinned_to_a_commit(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    commit = "c0ffee" * 6 + "c0ff"
    cached = tmp_path / "models--lab--brain"
    shutil.copytree(bert, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=rf"say which; type encoder.checkpoint.revision={commit} for the one on this machine"):
        asked("lab/brain")
    assert signature(asked("lab/brain", **{"checkpoint.revision": commit})) == signature(asked(bert))
    with pytest.raises(InputError, match=r"no model 'lab/other' on this machine; type hf download lab/other, or"):
        asked("lab/other")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint.path": "/nowhere"}, r"no checkpoint in /nowhere: it needs config.json and model.safetensors"),
        ({"checkpoint.code": "nothing_here:make"}, r"no module nothing_here that Python can import"),
        ({"checkpoint.code": "labramlike:mak"}, r"no function mak in labramlike; type encoder.checkpoint.code=labramlike:FUNC"),
        ({"checkpoint.code": "labramlike"}, r"checkpoint.code"),
        ({"checkpoint.code": "labramlike:flat"}, r"gives \[5, 4\], and not tokens \[5, a multiple of 3, 4\]"),
        ({"checkpoint.settings": "[]"}, r"settings is a JSON object"),
        ({"checkpoint.settings": '{"model_type": "labram"}'}, r"transformers' 'labram' makes no network of these settings"),
        ({"checkpoint.settings": '{"hidden_size": 3}'}, r"config.json names no model_type of transformers; type encoder.check"),
        ({"sensors": True, "augment.noise": 0.1}, r"type encoder.sensors=false, or leave encoder.augment"),
        ({"sensors": True, "augment.mixup": 0.1}, r"type encoder.sensors=false, or leave encoder.augment"),
        (
            {"sensors": True, "checkpoint.code": "labramlike:together"},
            r"knows subjects, and encoder.subject=layer; type encoder.su",
        ),
        ({"sensors": True, "checkpoint.settings": '{"model_type": "fnet"}'}, r"FNetModel takes no attention_mask"),
        ({"checkpoint.settings": '{"model_type": "vit"}'}, r"ViTModel takes no inputs_embeds"),
        (
            {"patch": 1, "checkpoint.settings": '{"model_type": "bert", "max_position_embeddings": 9, "hidden_size": 12}'},
            r"9 places",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_a_line(changes: dict[str, Any], message: str, plugin: Path) -> None:
    with pytest.raises(InputError, match=message) as error:
        asked("", **changes).build(SHAPES)(random_batch())
    assert "\n" not in str(error.value)


def test_weights_of_another_network_are_refused(bert: Path, series: Path, tmp_path: Path) -> None:
    mixed = shutil.copytree(bert, tmp_path / "mixed")
    shutil.copy(series / "model.safetensors", mixed)
    with pytest.raises(InputError, match=r"has no weights for embeddings.position_embeddings.weight and \d+ more"):
        built(asked(mixed))
    config = json.loads((bert / "config.json").read_text())
    shutil.copy(bert / "model.safetensors", mixed)
    (mixed / "config.json").write_text(json.dumps(config | {"intermediate_size": 20}))
    with pytest.raises(InputError, match=r"has other sizes than its settings say: encoder.layer.0.interm"):
        built(asked(mixed))
    (mixed / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"model.safetensors holds no weights"):
        built(asked(mixed))


def test_settings_have_one_spelling() -> None:
    one, other = (CheckpointConfig(settings=text) for text in ('{"b": 1, "a": 2}', '{ "a":2,"b":1 }'))
    assert one == other


def test_a_name_in_front_makes_no_difference() -> None:
    bare, value = {"block.weight": torch.ones(1)}, torch.ones(1)
    for wanted, given in ((bare, {"bert.block.weight": value}), ({"net.block.weight": torch.ones(1)}, bare), (bare, bare)):
        assert matched(wanted, given, "here").keys() == wanted.keys()
    with pytest.raises(InputError, match=r"the checkpoint here has no weights for block.weight; is it of this network\?"):
        matched(bare, {"other.weight": value}, "here")


def test_training_begins_with_its_weights(bert: Path, tmp_path: Path) -> None:
    settings = {f"encoder.{name}": value for name, value in SMALL.items()}
    changes = {"encoder": "foundation", "encoder.checkpoint.path": str(bert), "train.batch_size": 8, "train.contrast_size": 4}
    for ridge in (False, True):
        experiment = override(Experiment(), settings | changes | {"encoder.ridge.on": ridge})
        warm_start.check(experiment)
        experiment = locate(experiment, tmp_path)
        tables = random_tables(experiment, torch.float32)
        learner = Learner(experiment, tables, contrast(experiment.train, 1, len(tables.rows["train"])), Place())
        assert warm_start.begin(learner, experiment).summary.startswith(f"starts from {bert}: ")
        network = learner.network.encoder.get_submodule("network") if ridge else learner.network.encoder
        assert torch.equal(weights(network)["encoder.layer.0.output.dense.weight"], trained(bert))


def trained(folder: Path) -> Tensor:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")["bert.encoder.layer.0.output.dense.weight"]
