"""A model folder is whole or absent, and whatever is wrong with one is said in a line."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from raybrain.batch import FeatureSlice, Layout, Shapes
from raybrain.config import InputError
from raybrain.features.scale import FeatureScale
from raybrain.model_folder import CARD, WEIGHTS, KnownRecording, ModelCard, is_model, read_card, read_weights, write_model
from raybrain.probabilities import Calibration
from raybrain.signal.window import Window

MODEL = ModelCard(
    signature="0123456789ab",
    data="digest",
    experiment={"encoder": {"name": "simple_conv", "depth": 2}},
    versions={"raybrain": "0.1.0", "encoder": 1, "loss": "a hash"},
    shapes=Shapes(
        channels=2,
        subjects=("s/01", "s/02"),
        features=3,
        times=50,
        rate_hz=120.0,
        layouts=(Layout(("Cz", "Pz"), ((0.1, 1 / 3), (0.5, 0.75)), ((0.0, 0.01, 0.1), None), (True, False)),),
        slices=(FeatureSlice("mel", 0, 3, (0.5, 2.0)),),
    ),
    window=Window(120.0, -0.5, 61, 11, offset_samples=11, clamp=20.0),
    recordings={"s_sub-01": KnownRecording("s/01", 0, (1e-13, 2.0), (1 / 3, 1.0))},
    features=(FeatureScale("mel", 125.0, (0.1,), (1 / 7,), -5.0),),
    metrics={"epoch": 3, "valid_loss": 0.1},
    calibration=Calibration(0.5, 0.01, 1.5, 200),
)
VALUES = {"encoder.weight": torch.arange(6.0).reshape(2, 3).T, "encoder.count": torch.tensor(3), "loss.empty": torch.empty(0)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "model", MODEL, VALUES)
    return tmp_path / "model"


def test_what_is_read_is_what_was_written(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [CARD, WEIGHTS]
    assert read_card(folder) == MODEL
    weights = read_weights(folder)
    assert weights.keys() == VALUES.keys()
    assert all(torch.equal(weights[name], value) for name, value in VALUES.items())
    changed = replace(MODEL, signature="another")
    write_model(folder, changed, VALUES)
    assert read_card(folder) == changed


def test_a_model_of_an_earlier_version_does_not_know_how_sure_it_is(folder: Path) -> None:
    content = json.loads((folder / CARD).read_text())
    sums = content.pop("sha256")
    del content["calibration"]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (folder / CARD).write_text(json.dumps(content | {"sha256": sums | {CARD: digest}}))
    assert read_card(folder) == replace(MODEL, calibration=None)


def test_it_appears_whole_or_not_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"half of")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space"):
        write_model(folder, MODEL, VALUES)
    with pytest.raises(OSError, match="No space"):
        write_model(folder.parent / "other", MODEL, VALUES)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert read_card(folder) == MODEL


def bytes_changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) - 5] ^= 1
    path.write_bytes(bytes(content))


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def digit_changed(path: Path) -> None:
    path.write_text(path.read_text().replace('"valid_loss": 0.1', '"valid_loss": 0.2'))


def of_other_weights(path: Path) -> None:
    write_model(path.parent.parent / "other", MODEL, {"encoder.weight": torch.zeros(2)})
    (path.parent.parent / "other" / WEIGHTS).replace(path)


def of_another_format(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    (WEIGHTS, bytes_changed, r"model\.safetensors is damaged or another model's"),
    (WEIGHTS, cut_off, r"model\.safetensors is damaged or another model's"),
    (WEIGHTS, of_other_weights, r"model\.safetensors is damaged or another model's"),
    (WEIGHTS, Path.unlink, r"model\.safetensors is missing"),
    (CARD, digit_changed, r"model\.json is damaged or was changed"),
    (CARD, lambda path: path.write_text(path.read_text().replace('"valid_loss": 0.1', '"valid_loss": NaN')), r"was changed"),
    (CARD, lambda path: path.write_text('{"format": 1, "sha256": null}'), r"model\.json is damaged or was changed"),
    (CARD, cut_off, r"damaged file .*model\.json"),
    (CARD, Path.unlink, r"no model in "),
    (CARD, lambda path: path.write_text("[1, 2]"), r"is no model of raybrain's"),
    (CARD, lambda path: path.write_text('{"hidden_size": 768}'), r"is no model of raybrain's"),
    (CARD, of_another_format, r"has the format 99, and this version of raybrain reads 1"),
]


@pytest.mark.parametrize(("name", "damage", "line"), DAMAGE, ids=[f"{n}, {d.__name__}" for n, d, _ in DAMAGE])
def test_damage_is_noticed(name: str, damage: Callable[[Path], object], line: str, folder: Path) -> None:
    damage(folder / name)
    with pytest.raises(InputError, match=line) as error:
        read_card(folder)
        read_weights(folder)
    assert "\n" not in str(error.value)
    assert is_model(folder) == (damage is not Path.unlink or name != CARD)


def test_a_card_of_other_content_is_refused_by_name(folder: Path) -> None:
    write_model(folder, replace(MODEL, window=replace(MODEL.window, samples="many")), VALUES)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"is no model of raybrain's: window\.samples: ") as error:
        read_card(folder)
    assert "\n" not in str(error.value)
