"""MLflow servers: refusals in one line, and one with Postgres and a bucket that many write to, and that goes away."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from raybrain.config import InputError
from raybrain.tracking.mlflow import MLflow
from raybrain.train.log_training import EpochLog, patiently
from raybrain.tune.log_sweep import begin_sweep_log
from raybrain.tune.sweep_record import SweepRecord
from tests.mlflow_server import free_port, mlflow_server
from tests.postgres import Postgres
from tests.s3_server import moto_server
from tests.sweeps import history_of, space


class Refuses(BaseHTTPRequestHandler):
    """Answers whatever is asked with a refusal."""

    answer: ClassVar[tuple[int, str]] = (401, "")

    def do_GET(self) -> None:
        code, text = (200, "OK") if self.path.endswith("/health") else self.answer
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@{host}")
        yield host
        server.shutdown()


@pytest.mark.parametrize(
    ("code", "text", "line"),
    [
        (401, "You are not authenticated", "asks for another login (401); type export MLFLOW_TRACKING_USERNAME="),
        (
            403,
            "Invalid Host header - possible DNS rebinding attack detected",
            "start it with mlflow server --allowed-hosts HOST,",
        ),
        (
            403,
            '{"error_code": "PERMISSION_DENIED", "message": "not yours"}',
            "does not allow this (PERMISSION_DENIED: not yours)",
        ),
    ],
)
def test_a_server_that_does_not_let_us_in_is_one_line(
    code: int, text: str, line: str, refusing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Refuses, "answer", (code, text))
    with pytest.raises(InputError) as error:
        MLflow().open(tmp_path)
    assert line.replace("HOST", refusing) in str(error.value)
    assert "\n" not in str(error.value) and "secret" not in str(error.value)


def test_a_sweep_whose_run_was_deleted_has_a_new_one_with_all_its_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store, record = MLflow().open(tmp_path), SweepRecord(tmp_path / "sweeps" / "s")
    before = begin_sweep_log(space(), store, record)
    trials = [store.start(f"trial {number}", parent=before.id) for number in range(3)]
    other = store.start("of another sweep", parent="f" * 32)
    client = MlflowClient(store.address)
    assert begin_sweep_log(space(), store, record) == before
    client.delete_run(before.id)
    after = begin_sweep_log(space(), store, record)
    assert after.id != before.id and record.tracking() == after.key
    parents = [client.get_run(run.id).data.tags["mlflow.parentRunId"] for run in (*trials, other)]
    assert parents == [after.id] * 3 + ["f" * 32]


WRITER = """
import sys
from pathlib import Path
from raybrain.tracking.mlflow import MLflow
store = MLflow().open(Path(sys.argv[1]))
for number in range(3):
    run = store.start(f"run {number}", params={"number": number})
    for step in range(20):
        run.metrics({"loss": 1 / (1 + step)}, step)
    run.set_status("FINISHED")
"""


def write_together(home: Path, writers: int = 4) -> None:
    """So many processes write runs at once."""
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(home)], stderr=subprocess.PIPE, text=True) for _ in range(writers)
    ]
    ended = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * writers, ended


def finished_runs(uri: str) -> int:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    (experiment,) = client.search_experiments(filter_string="name = 'raybrain'")
    return len(client.search_runs([experiment.experiment_id], "attributes.status = 'FINISHED'"))


@pytest.mark.slow
def test_many_writers_of_a_file_wait_for_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_together(tmp_path)
    assert finished_runs(f"sqlite:///{tmp_path / 'mlflow.db'}") == 12


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket of a real S3 server on this machine, which asks for a login as the environment has it."""
    import boto3

    port = free_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "planted",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")  # the one that boto3 goes by
    with moto_server(port):
        made = boto3.resource("s3").Bucket("lab")
        made.create()
        yield made


@pytest.mark.slow
def test_a_server_with_postgres_and_a_bucket_that_goes_away_and_comes_back(
    postgres: Postgres, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings: dict[str, Any] = {"database": postgres.database("mlflow"), "artifacts": "s3://lab/mlflow", "port": free_port()}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{settings['port']}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    (tmp_path / "model.json").write_text(json.dumps({"a": 1}))
    history = history_of([0.5, 0.4, 0.3])
    with mlflow_server(tmp_path / "server", **settings):
        write_together(tmp_path / "home", writers=3)
        assert finished_runs(f"http://127.0.0.1:{settings['port']}") == 9
        store = MLflow().open(tmp_path / "home")
        run = store.start("training")
        log = EpochLog(run)
        log.add(history[:1])
    log.add(history[:2])  # nobody is there
    assert "the tracking store does not answer" in capsys.readouterr().out
    with pytest.raises(InputError, match="does not answer"):
        MLflow().open(tmp_path / "home")
    with mlflow_server(tmp_path / "server", **settings):
        log.add(history)
        patiently(store, lambda: run.artifact(tmp_path / "model.json"))  # as a training does it: a server is slow at first
        assert run.last_step("valid_loss") == 3
        from mlflow import MlflowClient

        client = MlflowClient(f"http://127.0.0.1:{settings['port']}")
        assert [point.step for point in client.get_metric_history(run.id, "valid_loss")] == [1, 2, 3]
    assert [item.key.rpartition("/")[2] for item in bucket.objects.filter(Prefix="mlflow/")] == ["model.json"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and postgres.password.encode() in path.read_bytes()]
