"""Three faults that people plant without knowing, each flagged by the control meant for it, wherever a result is shown."""

import sys
from pathlib import Path
from typing import Any

import pytest

import raybrain
from raybrain.cli.common import show_answer
from raybrain.cluster import Cluster
from raybrain.studies.base import Study
from tests.conftest import REPO, TINY
from tests.test_commands import runs
from tests.test_integrity import in_this_process

STUDIES = ("repeating", "padded", "earphones")
SMALL = dict(setting.split("=", 1) for setting in TINY if "studies" not in setting)
SIZES = {"subjects": 1, "minutes": 2, "channels": 16, "rate_hz": 125}


@pytest.mark.slow
def test_each_fault_is_flagged_by_the_control_meant_for_it(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    in_this_process(monkeypatch)
    monkeypatch.setattr(Study, "_kinds", dict(Study.kinds()))
    monkeypatch.setenv("RAYBRAIN_PLUGINS", str(REPO / "tests" / "faulty_studies.py"))
    monkeypatch.delitem(sys.modules, "faulty_studies", raising=False)
    settings: dict[str, Any] = {"data.studies": ",".join(STUDIES)}
    settings |= {f"data.studies.{study}.{name}": value for study in STUDIES for name, value in SIZES.items()}
    settings |= {"data.studies.repeating.signal": 3, "data.studies.padded.signal": 0}
    settings |= {"data.segments.over_bad": True}  # else what is flat is left out before anybody is trained with it
    settings |= SMALL | {"train.epochs": 10, "data.splits.mode": "paper"}  # splits by blocks, whatever is said in them
    answer = raybrain.answer(raybrain.recipe("quickstart", settings), Cluster(home=tmp_path / "home"))
    marks = {(mark["study"], mark["control"]): mark for mark in answer.result()["marks"]}
    assert marks["", "split audit"]["value"] == 1, "a sentence that is said again"
    assert marks["earphones", "lags"]["value"] == pytest.approx(0, abs=0.025)
    padded = marks["padded", "flat"]
    assert padded["value"] > 0.8 and padded["value"] > padded["band"][1]
    assert {study for study, _ in marks} == {"", "earphones", "padded"}
    assert {control for study, control in marks if study == "earphones"} == {"lags"}
    capfd.readouterr()
    show_answer(answer)
    out = capfd.readouterr().out
    assert all(f"MARKED by {mark['control']}" in out and mark["meaning"] in out for mark in marks.values())
    run = runs(answer.trained.tracking.address)[answer.trained.tracking.id]
    assert {"flat (padded)", "lags (earphones)", "split audit"} <= set(run.data.tags["marks"].split(", "))
    assert run.data.metrics["test_marks"] == len(marks)
