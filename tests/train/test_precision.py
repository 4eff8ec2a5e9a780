"""bfloat16 on a CPU that emulates it is said to be slow, and doctor tells what is best."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import raybrain
from raybrain.cluster import Cluster
from raybrain.config import InputError, override
from raybrain.doctor.findings import Finding
from raybrain.doctor.machine import examine
from raybrain.train import precision
from raybrain.train.precision import bfloat16_slowdown, slow_precision

EMULATED = "this CPU emulates bfloat16: it takes 18 times as long as float32"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Makes this a machine without GPUs, on which bfloat16 takes so many times as long."""

    def make(slowdown: float) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(precision, "bfloat16_slowdown", lambda: slowdown)

    return make


def finding(cluster: Cluster) -> Finding:
    return next(found for found in examine(cluster) if found.what == "precision")


def test_it_is_measured_in_a_moment_and_draws_nothing() -> None:
    state = torch.get_rng_state()
    assert 0.01 < bfloat16_slowdown() < 1000
    assert torch.equal(torch.get_rng_state(), state)


def test_emulated_bfloat16_is_slow_and_what_nobody_asks_for_is_not_measured(
    machine: Callable[[float], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(home=tmp_path)
    asked = override(cluster, {"precision": "bfloat16"})
    machine(18.0)
    assert slow_precision(asked) == f"{EMULATED}; leave out precision=bfloat16"
    found = finding(asked)
    assert (found.state, found.result, found.advice) == ("warn", EMULATED, "leave out precision=bfloat16")
    found = finding(cluster)
    assert found.state == "ok" and found.result.startswith("float32 is best here; bfloat16 takes 18 times as long")
    machine(0.5)
    assert slow_precision(asked) == ""
    assert finding(cluster).result == "bfloat16 is 2 times as fast as float32 here: --cluster precision=bfloat16"
    machine(1.1)
    assert finding(cluster).result == "float32; bfloat16 is about as fast here"
    monkeypatch.setattr(precision, "bfloat16_slowdown", lambda: pytest.fail("it was measured"))
    assert slow_precision(cluster) == slow_precision(override(cluster, {"precision": "float32"})) == ""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert slow_precision(asked) == "", "the GPU computes it"


def test_who_asks_for_it_is_warned(
    machine: Callable[[float], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def stop(*arguments: object) -> None:
        raise InputError("here it ends")

    machine(18.0)
    monkeypatch.setattr("raybrain.flow.prepare", stop)
    with pytest.raises(InputError, match="here it ends"):
        raybrain.answer(raybrain.recipe("quickstart"), Cluster(home=tmp_path, precision="bfloat16"))
    assert f"warning: {EMULATED}; leave out precision=bfloat16" in capfd.readouterr().err
