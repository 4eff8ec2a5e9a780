"""What `raybrain list features` says of each feature."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pytest

from raybrain.config import InputError
from raybrain.features.base import Feature, Stimulus
from tests.conftest import Ended

Raybrain = Callable[..., Ended]


class Missing(Feature):
    """A feature whose package and model are not there."""

    unit: ClassVar[str] = "meaning"
    packages: ClassVar[tuple[str, ...]] = ("no_such_package",)
    extra: ClassVar[str] = "text"
    model: ClassVar[bool] = True

    @property
    def size(self) -> int:
        raise InputError("the model is not there")

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        raise AssertionError("nothing is extracted")


class Parts(Feature):
    """Seven parts of speech."""

    @property
    def categories(self) -> int:
        return 7

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        raise AssertionError("nothing is extracted")


def test_every_family_is_listed(raybrain: Raybrain) -> None:
    ended = raybrain("list", "schedulers", "--json")
    assert ended.code == 0, ended.err
    assert {"asha", "hyperband", "median", "none", "pbt"} <= set(ended.json["schedulers"])
    everything = raybrain("list", "--json").json
    assert "decode" in everything["tasks"] and "mlflow" in everything["trackers"]
    assert {"stored", "deep_mel"} <= set(everything["speech_encoders"])
    assert all(line for entries in everything.values() for line in entries.values())
    assert "asha" in ended.out and "Stops trials that fall behind after" in ended.out
    assert {"tpe", "cmaes", "random", "qmc", "grid"} <= set(raybrain("list", "samplers", "--json").json["samplers"])


def test_features_are_told_with_what_they_take(raybrain: Raybrain, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {name: kind for name, kind in Feature.kinds().items() if kind.__module__.startswith("raybrain.")}
    monkeypatch.setattr(Feature, "_kinds", kinds | {"missing": Missing, "parts": Parts})
    ended = raybrain("list", "features", "--json")
    assert ended.code == 0, ended.err
    told = {row["name"]: row for row in ended.json["features"]}
    assert set(told) == {*kinds, "missing", "parts"}
    assert all(name in ended.out for name in told)
    mel = told["mel"]
    assert (mel["unit"], mel["size"], mel["rate_hz"], mel["needs"]) == ("log10 power", 120, 125.0, ["sounds"])
    assert (mel["model"], mel["missing"], mel["install"]) == (False, [], "")
    assert (told["parts"]["size"], told["parts"]["unit"]) == (7, "7 classes")
    missing = told["missing"]
    assert (missing["size"], missing["model"], missing["missing"]) == (None, True, ["no_such_package"])
    assert missing["install"] == "pip install 'raybrain[text]'"
    assert missing["install"] in ended.out
    for row in told.values():
        assert row["what"] and row["needs"] and row["rate_hz"] > 0
