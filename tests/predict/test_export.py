"""An exported model gives the estimates that the model gives, and says what it takes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import raybrain
from raybrain.batch import Batch, step_draws
from raybrain.config import InputError
from raybrain.predict.export import FORMATS, export
from raybrain.predict.model import Model
from tests.predict.conftest import Make

FRONT = ["encoder.hidden=8", "encoder.attention.channels=6", "encoder.initial_linear=6", "encoder.attention.dimensions=32"]
DEEP = ["speech_encoder=deep_mel", "speech_encoder.depth=2", "speech_encoder.hidden=6", "speech_encoder.output=4"]
KINDS = {
    "simple_conv": [*FRONT, "encoder.conv.layer_scale=0.5"],
    "spectrum": [*FRONT, "encoder.spectrum.on=true", "encoder.spectrum.upsample=transposed"],
    "an embedding": [*FRONT, "encoder.subject=embedding", "encoder.attention.on=false"],
    "deep_mel": [*FRONT, *DEEP],
    "ridge": ["encoder=ridge"],
    "conv_rnn": ["encoder=conv_rnn", *FRONT],
    "from ridge": ["encoder=conformer", *FRONT, "encoder.hidden=32", "encoder.depth=1", "encoder.ridge.on=true"],
}
FAST = {"ridge"}  # tracing takes seconds
ALIKE = {"rtol": 1e-5, "atol": 1e-5}


def kinds() -> list[object]:
    return [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in KINDS]


def made(make: Make, name: str) -> Model:
    return raybrain.load(make(*KINDS[name]))


def given(model: Model, count: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = model.shapes
    valid = torch.ones(shapes.channels, dtype=torch.bool)
    valid[3] = False
    return {
        "signal": torch.randn(count, shapes.channels, shapes.times, generator=generator),
        "positions": torch.tensor(shapes.layouts[0].positions),
        "valid": valid,
        "subject": torch.arange(count) % len(shapes.subjects),
    }


def expected(model: Model, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    signal, positions, valid, subject = inputs.values()
    batch = Batch(signal, subject, torch.zeros_like(subject), positions[None], valid[None], step_draws(0, 0), subject)
    with torch.no_grad():
        estimates: torch.Tensor = model.network.encoder(batch)
    return estimates


@pytest.mark.parametrize("name", kinds())
def test_a_program_of_torch_gives_the_same(name: str, make: Make, tmp_path: Path) -> None:
    model = made(make, name)
    files = [path.name for path in export(model, "torch", tmp_path / "out")]
    sided = model.network.aimed_side is not None
    assert files == ["README.md", "config.json", "encoder.pt2", *(["speech.pt2"] if sided else [])]
    inputs = given(model, 5)
    program = torch.export.load(tmp_path / "out" / "encoder.pt2").module()
    torch.testing.assert_close(program(*inputs.values()), expected(model, inputs), **ALIKE)
    if sided:
        heard = torch.randn(3, model.shapes.features, model.shapes.times)
        speech = torch.export.load(tmp_path / "out" / "speech.pt2").module()
        torch.testing.assert_close(speech(heard), model.network.aimed(heard), **ALIKE)


@pytest.mark.parametrize("name", [one for one in kinds() if one.values[0] != "spectrum"])  # type: ignore[attr-defined]
def test_onnx_gives_the_same(name: str, make: Make, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = made(make, name)
    export(model, "onnx", tmp_path / "out")
    inputs = given(model, 5)
    session = runtime.InferenceSession(tmp_path / "out" / "encoder.onnx")
    assert [one.name for one in session.get_inputs()] == list(inputs)
    (estimates,) = session.run(["estimates"], {name: value.numpy() for name, value in inputs.items()})
    np.testing.assert_allclose(estimates, expected(model, inputs).numpy(), **ALIKE)
    if model.network.aimed_side is not None:
        heard = torch.randn(3, model.shapes.features, model.shapes.times)
        speech = runtime.InferenceSession(tmp_path / "out" / "speech.onnx")
        (aimed,) = speech.run(["candidates"], {"features": heard.numpy()})
        np.testing.assert_allclose(aimed, model.network.aimed(heard).detach().numpy(), **ALIKE)


def test_safetensors_are_a_model_with_a_card(make: Make, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    model = raybrain.load(make(*FRONT))
    files = [path.name for path in export(model, "safetensors", tmp_path / "out")]
    assert files == ["README.md", "config.json", "model.json", "model.safetensors"]
    again = raybrain.load(tmp_path / "out")
    assert again.card == model.card
    inputs = given(model, 2)
    assert torch.equal(expected(again, inputs), expected(model, inputs))
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("raybrain", ["simple_conv"])
    assert config["subjects"] == list(model.subjects) and config["calibration"]["temperature"] == 0.02
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.library_name == "raybrain" and "eeg" in card.data.tags
    assert {result.metric_type: result.metric_value for result in card.data.eval_results} == {
        "valid_loss": 2.0,
        "valid_top10": 0.5,
    }
    assert "synthetic-eeg" in card.text and "3.0%" in card.text


def test_what_cannot_be_written_is_said_in_a_line(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = raybrain.load(make(*FRONT, "encoder.spectrum.on=true"))
    with pytest.raises(InputError, match="no format 'onx', did you mean 'onnx'"):
        export(model, "onx", tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for there in (tmp_path / "mine", tmp_path / "mine" / "notes.txt"):
        with pytest.raises(InputError, match="is there already; type --to DIR"):
            export(model, "safetensors", there)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs onnx and onnxscript, not installed; type pip install 'raybrain\[export\]'"):
        export(model, "onnx", tmp_path / "out")
    monkeypatch.undo()
    monkeypatch.setattr(torch.export, "export", lambda *arguments, **options: _fail())
    with pytest.raises(InputError, match="the encoder of this model cannot be written as pt2") as error:
        export(model, "torch", tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists() and (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    assert set(FORMATS) == {"safetensors", "torch", "onnx"}


def _fail() -> None:
    raise RuntimeError("it has a branch that depends on data\nand more")
