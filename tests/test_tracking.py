"""Runs read back by a client of their own, databases opened by many at once, and servers that are not there."""

import csv
import json
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raybrain.config import InputError
from raybrain.tracking import Run, Tracker, tracking_uri, versions
from tests.conftest import REPO


def fresh_client(uri: str) -> Any:
    import mlflow  # here, because collecting tests should not load it

    return mlflow.MlflowClient(tracking_uri=uri)


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "new folder"


@pytest.fixture(scope="module")
def tracker(home: Path) -> Tracker:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Tracker.open(home)


@pytest.fixture
def client(tracker: Tracker) -> Any:
    return fresh_client(tracker.uri)


@pytest.fixture
def mute_server() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(Path("runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert tracking_uri(Path("runs")).startswith("sqlite")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://lab:5000")
    assert tracking_uri(Path("runs")) == "http://lab:5000"


def test_parent_and_child(tracker: Tracker, client: Any) -> None:
    parent = tracker.start("sweep", tags={"space": "quickstart"})
    child = tracker.start("trial", parent=parent.id, params={"data.features.mel#0.bands": 40, "long": "x" * 9000})
    run = client.get_run(child.id)
    assert run.info.run_name == "trial" and run.info.status == "RUNNING"
    assert run.data.tags["mlflow.parentRunId"] == parent.id
    assert versions().items() <= run.data.tags.items()
    assert run.data.params["data.features.mel_0.bands"] == "40"
    assert len(run.data.params["long"]) == 6000 and run.data.params["long"].endswith("...")
    child.end("KILLED")
    parent.end()
    assert [client.get_run(r.id).info.status for r in (parent, child)] == ["FINISHED", "KILLED"]


def test_metrics(tracker: Tracker, client: Any) -> None:
    run = tracker.start("metrics")
    for step in range(3):
        run.metrics({"valid/top10": step / 10, "loss": float("nan") if step == 1 else 1.0}, step)
    assert [(m.step, m.value) for m in client.get_metric_history(run.id, "valid/top10")] == [(0, 0.0), (1, 0.1), (2, 0.2)]
    assert [m.step for m in client.get_metric_history(run.id, "loss")] == [0, 2]
    assert client.get_run(run.id).data.tags["not_finite.loss"] == "nan at step 1"
    run.metrics({"loss": float("inf")}, 3)
    assert client.get_run(run.id).data.tags["not_finite.loss"] == "inf at step 3"


def test_more_than_mlflow_takes_at_once(tracker: Tracker, client: Any) -> None:
    run = tracker.start("many", params={f"p{i}": i for i in range(230)})
    run.metrics({f"m{i}": i for i in range(1100)}, step=0)
    data = client.get_run(run.id).data
    assert len(data.params) == 230 and len(data.metrics) == 1100


def test_tables_and_files(tracker: Tracker, client: Any, home: Path, tmp_path: Path) -> None:
    run = tracker.start("artifacts")
    run.table("subjects", [{"subject": "01", "top10": 0.4}, {"subject": "02", "note": "a, b"}])
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("<html>")
    run.artifact(tmp_path / "report")
    run.artifact(tmp_path / "report" / "index.html", folder="pages")
    kept = Path(client.download_artifacts(run.id, "", str(tmp_path)))
    assert (kept / "tables/subjects.csv").read_text() == 'subject,top10,note\n01,0.4,\n02,,"a, b"\n'
    assert [row["subject"] for row in csv.DictReader((kept / "tables/subjects.csv").open())] == ["01", "02"]
    assert (kept / "report/index.html").exists() and (kept / "pages/index.html").exists()
    assert (home / "mlartifacts" / run.id / "artifacts" / "tables" / "subjects.csv").exists()


def test_resume(tracker: Tracker, client: Any) -> None:
    run = tracker.start("resumed", params={"depth": 4})
    run.end("FAILED")
    again = tracker.resume(run.id)
    assert again == run
    assert client.get_run(run.id).info.status == "RUNNING"
    again.params({"depth": 4})
    again.metrics({"loss": 1.0}, step=5)
    again.end()
    assert client.get_run(run.id).info.status == "FINISHED"
    client.delete_run(run.id)
    assert tracker.resume(run.id) is None
    assert tracker.resume("0" * 32) is None and tracker.resume("") is None


def test_a_home_may_be_moved(tmp_path: Path) -> None:
    """Where artifacts lie is a column of two of MLflow's own tables: a private part, so the version is bounded."""
    (tmp_path / "a.txt").write_text("a")
    code = """
import json, sys
from pathlib import Path
from raybrain.tracking import Tracker
run = Tracker.open(Path("before")).start("run")
run.artifact(Path("a.txt"))
print(json.dumps(run.entry(Path("before"))))
"""  # in a process of its own, as MLflow remembers where the artifacts of a run lie
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPO)})
    entry = json.loads(done.stdout)
    moved = (tmp_path / "before").rename(tmp_path / "it's after")
    tracker = Tracker.open(moved)
    again = Run.known(entry, moved)
    assert again.uri == tracker.uri
    assert tracker.has(again.id)
    again.table("rows", [{"a": 1}])
    assert sorted(path.name for path in (moved / "mlartifacts" / again.id / "artifacts").rglob("*.*")) == ["a.txt", "rows.csv"]
    later = tracker.start("later")
    later.artifact(tmp_path / "a.txt")
    assert (moved / "mlartifacts" / later.id / "artifacts" / "a.txt").exists()
    assert not (tmp_path / "before").exists()
    elsewhere = Run("http://lab:5000", "id")
    assert Run.known(elsewhere.entry(moved), moved) == elsewhere


def test_find(tracker: Tracker) -> None:
    tags = {"signature": "abc", "who": "O'Hara", "seed": 1}
    assert tracker.find(tags) is None
    tracker.start("first", tags=tags)
    time.sleep(0.01)
    second = tracker.start("second", tags=tags)
    tracker.start("other", tags={**tags, "seed": 2})
    assert tracker.find(tags) == second.id
    assert tracker.find({"seed": 1, "signature": "nothing"}) is None


def test_a_tracker_goes_on_in_another_process(tracker: Tracker, client: Any, tmp_path: Path) -> None:
    run = tracker.start("elsewhere")
    (tmp_path / "run").write_bytes(pickle.dumps(run))
    code = """
import pickle, sys
import raybrain.tracking
assert "mlflow" not in sys.modules
run = pickle.load(open("run", "rb"))
run.metrics({"loss": 2.0}, step=1)
run.end()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
    assert client.get_run(run.id).data.metrics == {"loss": 2.0}
    assert client.get_run(run.id).info.status == "FINISHED"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.slow
def test_four_open_a_fresh_database_at_once(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from raybrain.tracking import Tracker
tracker = Tracker.open(Path("fresh"))
tracker.start("hello").end()
print(tracker.uri, tracker.experiment_id)
"""
    command = [sys.executable, "-c", code]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=tmp_path, **pipes) for _ in range(4)]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    assert len(set(said)) == 1, said
    assert said[0][1] == ""
    uri, experiment = said[0][0].split()
    assert len(fresh_client(uri).search_runs([experiment])) == 4


def test_experiment_that_was_deleted(home: Path, client: Any) -> None:
    gone = Tracker.open(home, experiment="gone")
    client.delete_experiment(gone.experiment_id)
    with pytest.raises(InputError, match="mlflow experiments restore"):
        Tracker.open(home, experiment="gone")


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://no-such-host.invalid:5000", "http://", "mute"])
def test_a_server_that_does_not_answer(address: str, mute_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = mute_server if address == "mute" else address
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    began = time.monotonic()
    with pytest.raises(InputError, match="unset MLFLOW_TRACKING_URI") as error:
        Tracker.open(tmp_path)
    assert time.monotonic() - began < 10
    assert address in str(error.value) and "\n" not in str(error.value)
    assert os.listdir(tmp_path) == []
