"""A home in a bucket of a real S3 server: the same numbers as on a disk, from any machine, whatever was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution

import raybrain
from raybrain import flow
from raybrain.bucket import copies, lease
from raybrain.cluster import Cluster
from raybrain.train.record import run_records
from raybrain.tune.space import SearchSpace
from tests.conftest import TINY, Ended
from tests.s3_server import SECRET, S3Server
from tests.test_flow import without_ray

CHANGES = dict(setting.split("=", 1) for setting in TINY) | {"train.epochs": "2"}


class Machines:
    """Machines of their own copies of a home."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch

    def cluster(self, name: str, address: str) -> Cluster:
        """Go on as a machine; where it works."""
        self.monkeypatch.setenv("RAYBRAIN_COPIES", str(self.folder / name))
        copies._known.clear()
        return Cluster(home=Path(address))


@pytest.fixture
def machines(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    return Machines(tmp_path, monkeypatch)


def scores(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name not in ("seconds", "data_wait")} for row in history]


@pytest.mark.slow
def test_the_same_numbers_as_on_a_disk_and_nothing_is_done_twice(
    ray_cluster: None, home: Path, machines: Machines, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    experiment = raybrain.recipe("quickstart", CHANGES)
    local = raybrain.answer(experiment, Cluster(home=home))
    first = raybrain.answer(experiment, machines.cluster("one", "s3://lab/same"))
    assert first.table.equals(local.table)
    assert scores(first.trained.history) == scores(local.trained.history)
    without_ray(monkeypatch)
    second = raybrain.answer(experiment, machines.cluster("two", "s3://lab/same"))
    assert second.table.equals(local.table) and second.trained.history == first.trained.history
    machines.cluster("three", "s3://lab/same")
    model = raybrain.load(experiment.signature, home="s3://lab/same")
    assert model.metrics == raybrain.load(experiment.signature, home=home).metrics
    text = capfd.readouterr()
    assert "a database cannot lie in s3://lab/same: what MLFLOW_TRACKING_URI could name is on this machine" in text.err
    written = [path for path in machines.folder.rglob("*") if path.is_file()]
    assert SECRET not in text.out + text.err and not [path for path in written if SECRET.encode() in path.read_bytes()]


@pytest.mark.slow
def test_a_sweep_goes_on_on_another_machine(
    ray_cluster: None, machines: Machines, s3: S3Server, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYBRAIN_OPTUNA_STORAGE", database)
    parameters = {"encoder.hidden": CategoricalDistribution([16, 20])}
    fixed = CHANGES | {"train.epochs": 1}
    space = SearchSpace(recipe="quickstart", parameters=parameters, fixed=fixed, scheduler="none", trials=1, name="bucket")
    raybrain.sweep(space, machines.cluster("one", "s3://lab/sweep"))
    again = raybrain.sweep(space, machines.cluster("two", "s3://lab/sweep"), trials=2)
    assert len(again.table) == 2 and len(run_records(Cluster(home=Path("s3://lab/sweep")).home)) == 2
    where = machines.cluster("three", "s3://lab/sweep")
    reported, page = flow.report("bucket", where)
    assert page.exists() and [float(row["top10"]) for row in reported.rows()] == [again.best.table["top10"].iloc[-1]]
    assert not [name for name in s3.names("sweep/") if name.endswith((".db", ".lock")) or "/ray/" in name]


@pytest.mark.slow
def test_a_killed_training_goes_on_on_another_machine(
    ray_cluster: None, home: Path, machines: Machines, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = CHANGES | {"train.epochs": "3", "train.seed": "7"}
    command = ["train", "quickstart", *(f"{key}={value}" for key, value in changes.items()), "--home", "s3://lab/killed"]
    machines.cluster("one", "s3://lab/killed")
    code = [sys.executable, "-c", "from raybrain.cli import main; main()", *command]
    process = subprocess.Popen(code, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 600
        while not [name for name in s3.names("killed/runs/") if "/last-" in name]:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.5)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    monkeypatch.setattr(lease, "LEASE_S", 1.0)
    experiment = raybrain.recipe("quickstart", changes)
    answer = raybrain.answer(experiment, machines.cluster("two", "s3://lab/killed"))
    whole = raybrain.answer(experiment, Cluster(home=home))
    assert answer.table.equals(whole.table) and scores(answer.trained.history) == scores(whole.trained.history)


def test_homes_that_cannot_be(s3: S3Server, raybrain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYBRAIN_COPIES", str(tmp_path))

    def refused(*arguments: str) -> str:
        ended: Ended = raybrain(*arguments)
        assert ended.code == 2 and ended.err.count("\n") == 1 and not ended.out, ended
        assert SECRET not in ended.err
        return ended.err

    assert "no bucket 'absent' for s3://absent/x; make it first" in refused("prepare", "quickstart", "--home", "s3://absent/x")
    assert "no home s3://lab/never" in refused("report", "x", "--home", "s3://lab/never")
    assert "no home can be on ftp://" in refused("prepare", "quickstart", "--home", "ftp://lab/x")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    begun = time.monotonic()
    gone = refused("prepare", "quickstart", "--home", "s3://lab/no-network")
    assert "s3://lab/no-network does not answer" in gone and time.monotonic() - begun < 30
    assert not list(tmp_path.rglob("*.json"))
