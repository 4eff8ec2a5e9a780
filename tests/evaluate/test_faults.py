"""Three faults that people plant without knowing, each flagged by the control meant for it, wherever a result is shown."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPO, TINY
from tests.test_commands import runs

STUDIES = ("repeating", "padded", "earphones")
SMALL = [setting for setting in TINY if "studies" not in setting and not setting.startswith("train.epochs")]
SIZES = ("subjects=1", "minutes=2", "channels=16", "rate_hz=125")


@pytest.mark.slow
def test_each_fault_is_flagged_by_the_control_meant_for_it(tmp_path: Path) -> None:
    settings = [f"data.studies.{study}.{size}" for study in STUDIES for size in SIZES]
    settings += ["data.studies.repeating.signal=3", "data.studies.padded.signal=0", *SMALL, "train.epochs=10"]
    settings += ["data.splits.mode=paper"]  # by blocks, whatever is said in them
    command = [sys.executable, "-c", "from raybrain.cli import main; main()", "train", "quickstart"]
    command += [f"data.studies={','.join(STUDIES)}", *settings, "--home", str(tmp_path), "--json"]
    plugins = str(REPO / "tests" / "faulty_studies.py")
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(REPO), "RAYBRAIN_PLUGINS": plugins}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout.strip().splitlines()[-1])
    marks = {(mark["study"], mark["control"]): mark for mark in ended["marks"]}
    assert marks["", "split audit"]["value"] == 1, "a sentence that is said again"
    assert marks["earphones", "lags"]["value"] == pytest.approx(0, abs=0.025)
    padded = marks["padded", "flat"]
    assert padded["value"] > 0.8 and padded["value"] > padded["band"][1]
    assert {study for study, _ in marks} == {"", "earphones", "padded"}
    assert {control for study, control in marks if study == "earphones"} == {"lags"}
    for mark in ended["marks"]:
        assert f"MARKED by {mark['control']}" in done.stdout and mark["meaning"] in done.stdout
    run = runs(ended["tracking_uri"])[ended["mlflow_run_id"]]
    assert {"flat (padded)", "lags (earphones)", "split audit"} <= set(run.data.tags["marks"].split(", "))
    assert run.data.metrics["test_marks"] == len(marks)
