"""Runs read back by a client of their own, databases opened by many at once, and servers that are not there."""

import base64
import csv
import json
import os
import pickle
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from raybrain.config import InputError
from raybrain.storage import shown
from raybrain.tracking.base import RunKey, versions
from raybrain.tracking.mlflow import MLflow, MLflowStore, tracking_uri
from raybrain.train.record import RunRecord
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
def store(home: Path) -> MLflowStore:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return MLflow().open(home)


@pytest.fixture
def client(store: MLflowStore) -> Any:
    return fresh_client(store.address)


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


def test_the_page_shows_what_matters_and_keeps_what_people_wrote(store: MLflowStore, client: Any, home: Path) -> None:
    address = MLflow().view(home, 5123)
    assert address == f"http://127.0.0.1:5123/#/experiments/{store.experiment_id}/runs?viewStateShareKey=raybrain"
    tags = client.get_experiment(store.experiment_id).tags
    shown = json.loads(tags["mlflow.sharedViewState.raybrain"])
    assert shown["orderByKey"] in shown["selectedColumns"] and "tags.`marks`" in shown["selectedColumns"]
    assert "test_baseline10" in tags["mlflow.note.content"]
    client.set_experiment_tag(store.experiment_id, "mlflow.note.content", "ours")
    assert MLflow().view(home, 5123) == address
    assert client.get_experiment(store.experiment_id).tags["mlflow.note.content"] == "ours"


def test_parent_and_child(store: MLflowStore, client: Any) -> None:
    parent = store.start("sweep", tags={"space": "quickstart"})
    child = store.start("trial", parent=parent.id, params={"data.features.mel#0.bands": 40, "long": "x" * 9000})
    run = client.get_run(child.id)
    assert run.info.run_name == "trial" and run.info.status == "RUNNING"
    assert run.data.tags["mlflow.parentRunId"] == parent.id
    assert versions().items() <= run.data.tags.items()
    assert run.data.params["data.features.mel_0.bands"] == "40"
    assert len(run.data.params["long"]) == 6000 and run.data.params["long"].endswith("...")
    child.set_status("KILLED")
    parent.set_status("FINISHED")
    assert [client.get_run(r.id).info.status for r in (parent, child)] == ["FINISHED", "KILLED"]


def test_all_runs_under_one_that_is_gone_are_adopted(store: MLflowStore, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raybrain.tracking.mlflow.ORPHANS_AT_ONCE", 2)
    gone, parent = store.start("gone"), store.start("parent")
    children = [store.start(f"child {number}", parent=gone.id) for number in range(5)]
    store.adopt(gone.id, parent)
    assert [client.get_run(child.id).data.tags["mlflow.parentRunId"] for child in children] == [parent.id] * 5


def test_metrics(store: MLflowStore, client: Any) -> None:
    run = store.start("metrics")
    for step in range(3):
        run.metrics({"valid/top10": step / 10, "loss": float("nan") if step == 1 else 1.0}, step)
    assert [(m.step, m.value) for m in client.get_metric_history(run.id, "valid/top10")] == [(0, 0.0), (1, 0.1), (2, 0.2)]
    assert [m.step for m in client.get_metric_history(run.id, "loss")] == [0, 2]
    assert client.get_run(run.id).data.tags["not_finite.loss"] == "nan at step 1"
    run.metrics({"loss": float("inf")}, 3)
    assert client.get_run(run.id).data.tags["not_finite.loss"] == "inf at step 3"


def test_more_than_mlflow_takes_at_once(store: MLflowStore, client: Any) -> None:
    run = store.start("many", params={f"p{i}": i for i in range(230)})
    run.metrics({f"m{i}": i for i in range(1100)}, step=0)
    data = client.get_run(run.id).data
    assert len(data.params) == 230 and len(data.metrics) == 1100


def test_tables_and_files(store: MLflowStore, client: Any, home: Path, tmp_path: Path) -> None:
    run = store.start("artifacts")
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


def test_resume(store: MLflowStore, client: Any) -> None:
    run = store.start("resumed", params={"depth": 4})
    run.set_status("FAILED")
    again = store.find(run.key)
    assert again == run
    again.set_status("RUNNING")
    assert client.get_run(run.id).info.status == "RUNNING"
    again.params({"depth": 4})
    again.metrics({"loss": 1.0}, step=5)
    again.set_status("FINISHED")
    assert client.get_run(run.id).info.status == "FINISHED"
    client.delete_run(run.id)
    assert store.find(run.key) is None
    assert store.run("0" * 32) is None and store.run("") is None and store.find(None) is None
    assert store.find(RunKey("http://another:5000", again.id)) is None


def test_a_home_may_be_moved(tmp_path: Path) -> None:
    """Where artifacts lie is a column of two of MLflow's own tables: a private part, so the version is bounded."""
    (tmp_path / "a.txt").write_text("a")
    code = """
import json, sys
from pathlib import Path
from raybrain.tracking.mlflow import MLflow
from raybrain.train.record import RunRecord
home = Path("before").absolute()
run = MLflow().open(home).start("run")
run.artifact(Path("a.txt"))
RunRecord(home / "runs" / "a").keep_tracking(run.key)
"""  # in a process of its own, as MLflow remembers where the artifacts of a run lie
    command = [sys.executable, "-c", code]
    subprocess.run(command, check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPO)})
    moved = (tmp_path / "before").rename(tmp_path / "it's after")
    store = MLflow().open(moved)
    again = store.find(RunRecord(moved / "runs" / "a").tracking())
    assert again
    again.table("rows", [{"a": 1}])
    assert sorted(path.name for path in (moved / "mlartifacts" / again.id / "artifacts").rglob("*.*")) == ["a.txt", "rows.csv"]
    later = store.start("later")
    later.artifact(tmp_path / "a.txt")
    assert (moved / "mlartifacts" / later.id / "artifacts" / "a.txt").exists()
    assert not (tmp_path / "before").exists()
    elsewhere = RunKey("http://lab:5000", "id")
    assert RunKey.known(elsewhere.entry(moved), moved) == elsewhere


def test_homes_that_share_a_database_leave_each_others_artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")
    (tmp_path / "a.txt").write_text("a")
    first, second = (MLflow().open(tmp_path / name) for name in ("one", "two"))
    for store in (second, first):
        run = store.start("run")
        run.artifact(tmp_path / "a.txt")
        assert (tmp_path / "one" / "mlartifacts" / run.id / "artifacts" / "a.txt").exists()


def test_a_tracker_goes_on_in_another_process(store: MLflowStore, client: Any, tmp_path: Path) -> None:
    run = store.start("elsewhere")
    (tmp_path / "run").write_bytes(pickle.dumps(run))
    code = """
import pickle, sys
import raybrain.tracking.mlflow
assert "mlflow" not in sys.modules
run = pickle.load(open("run", "rb"))
run.metrics({"loss": 2.0}, step=1)
run.set_status("FINISHED")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
    assert client.get_run(run.id).data.metrics == {"loss": 2.0}
    assert client.get_run(run.id).info.status == "FINISHED"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.slow
def test_a_database_that_was_killed_while_it_was_made_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    def killed(self: Any, *arguments: Any, **more: Any) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(mlflow.MlflowClient, "create_experiment", killed)
        MLflow().open(tmp_path)
    assert not (tmp_path / "mlflow.db").exists()
    (tmp_path / f".mlflow.db-{'0' * 32}").write_bytes(b"half of it")
    known = MLflow().open(tmp_path).start("one")
    assert fresh_client(tracking_uri(tmp_path)).get_run(known.id).info.run_name == "one"
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlflow.lock"}


def test_four_open_a_fresh_database_at_once(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from raybrain.tracking.mlflow import MLflow
store = MLflow().open(Path("fresh"))
store.start("hello").set_status("FINISHED")
print(store.address, store.experiment_id)
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
    gone = MLflow(experiment="gone").open(home)
    client.delete_experiment(gone.experiment_id)
    with pytest.raises(InputError, match="mlflow experiments restore"):
        MLflow(experiment="gone").open(home)


@pytest.fixture
def copied(store: MLflowStore, home: Path, tmp_path: Path) -> Path:
    """A copy of the database of a home, in another home."""
    file = tmp_path / "copied home" / "mlflow.db"
    file.parent.mkdir()
    with sqlite3.connect(home / "mlflow.db") as source, sqlite3.connect(file) as copy:
        source.backup(copy)
    source.close()
    copy.close()
    return file


def test_a_database_of_another_version_is_told_with_the_command_that_upgrades_it(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(copied) as database:
        database.execute("UPDATE alembic_version SET version_num = '0a8213491aaa'")
    database.close()
    with pytest.raises(InputError, match=f"type mlflow db upgrade 'sqlite:///{copied}'$") as error:
        MLflow().open(copied.parent)
    assert "found version 0a8213491aaa" in str(error.value) and "type mv" not in str(error.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copied}")  # of another home
    with pytest.raises(InputError, match=r'type mlflow db upgrade "\$MLFLOW_TRACKING_URI"$'):
        MLflow().open(copied.parent / "another")


def test_a_mistake_of_our_own_is_not_taken_for_a_damaged_database(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raybrain.tracking.mlflow._client", lambda address: {}["a mistake"])
    with pytest.raises(KeyError, match="a mistake"):
        MLflow().open(copied.parent)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9", "http://no-such-host.invalid:5000", "http://", "http://me:secret@127.0.0.1:9", "mute"]
)
def test_a_server_that_does_not_answer(address: str, mute_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = mute_server if address == "mute" else address
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    began = time.monotonic()
    with pytest.raises(InputError, match="unset MLFLOW_TRACKING_URI") as error:
        MLflow().open(tmp_path)
    assert time.monotonic() - began < 10
    assert shown(address) in str(error.value) and "\n" not in str(error.value) and "secret" not in str(error.value)
    assert os.listdir(tmp_path) == []


# user and password


class Answers(BaseHTTPRequestHandler):
    """As much of an MLflow server as a run needs; remembers with which credentials it was asked."""

    asked: ClassVar[list[str | None]] = []

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.path.endswith("/health"):
            self.asked.append(self.headers.get("Authorization"))
        experiment = {"experiment_id": "1", "name": "raybrain", "lifecycle_stage": "active"}
        run = {"info": {"run_id": "abc", "status": "RUNNING", "lifecycle_stage": "active"}, "data": {}}
        body = json.dumps({"experiment": experiment, "run": run}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Answers.asked.clear()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_user_and_password_are_used_and_not_kept(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@{server}")
    store = MLflow().open(tmp_path)
    run = store.start("run", params={"depth": 4})
    again = pickle.loads(pickle.dumps(run))  # as it travels to a worker, which has the same environment
    again.metrics({"loss": 1.0}, step=1)
    assert store.address == run.key.address == f"http://{server}"
    assert b"secret" not in pickle.dumps((store, run))
    assert set(Answers.asked) == {"Basic " + base64.b64encode(b"me:secret").decode()} and len(Answers.asked) >= 4
    record = RunRecord(tmp_path / "run")
    record.keep_tracking(run.key)
    assert store.find(record.tracking()) == run
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
    assert "secret" not in MLflow().describe(tmp_path) and server in MLflow().describe(tmp_path)
    command, environment = MLflow().page(tmp_path, 5000)
    assert "secret" not in " ".join(command) and "secret" in environment["MLFLOW_BACKEND_STORE_URI"]


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("http://me:secret@lab:5000/mlflow", "http://lab:5000/mlflow"),
        ("https://secret@lab", "https://lab"),
        ("http://me:sec/ret@lab:5000", "http://lab:5000"),
        ("postgresql+psycopg://me:sec@ret@lab/runs?password=secret", "postgresql+psycopg://lab/runs"),
        ("sqlite:////home/me@lab/mlflow.db", "sqlite:////home/me@lab/mlflow.db"),
        ("/data/me@lab", "/data/me@lab"),
        ("https://lab:80/a?b=c", "https://lab:80/a"),
        ("postgresql://me:sec?ret@lab/runs", "postgresql://lab/runs"),
        ("postgresql://me:sec#ret@lab/runs?sslmode=require", "postgresql://lab/runs"),
        ("postgresql://me:2024/secret@lab/runs", "postgresql://***@lab/runs"),  # 2024 may be a port
        ("https://sec/ret@lab/", "https://***@lab/"),
        ("https://lab:80/a@b", "https://***@b"),
        ("http://me:secret@se/cret@lab:5000", "http://***"),
        ("http://lab/runs?password=sec@ret", "http://***"),
        ("http://me:2024?sec@ret", "http://***"),
    ],
)
def test_an_address_is_shown_without_secrets(address: str, kept: str) -> None:
    assert shown(address) == kept
