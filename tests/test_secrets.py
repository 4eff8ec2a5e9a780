"""Passwords reach who needs them, and are seen by nobody else."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from raybrain.cluster import Handover, take_over
from raybrain.secrets import credentials, hidden
from tests.conftest import REPO, TINY, TINY_SWEEP
from tests.mlflow_server import behind_login
from tests.s3_server import S3Server


@pytest.mark.parametrize(
    ("address", "login"),
    [
        ("http://me:secret@lab:5000/mlflow", ("me", ":", "secret")),
        ("https://secret@lab", ("secret", "", "")),
        ("http://me:sec/ret@lab:5000", ("me", ":", "sec/ret")),
        ("postgresql+psycopg://me:sec@ret@lab/runs?sslmode=require", ("me", ":", "sec@ret")),
        ("postgresql://me:pa?ss@lab/runs", ("me", ":", "pa?ss")),
        ("postgresql://me:2024/x@lab/runs", ("me", ":", "2024/x")),
        ("http://lab:5000", ("", "", "")),
        ("sqlite:////home/me@lab/mlflow.db", ("", "", "")),
        ("", ("", "", "")),
    ],
)
def test_credentials_of_an_address(address: str, login: tuple[str, str, str]) -> None:
    assert credentials(address) == login


def test_a_text_is_shown_without_what_the_environment_keeps_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:plan%40ted@lab:5000")
    monkeypatch.setenv("RAYBRAIN_OPTUNA_STORAGE", "postgresql://me:planted2@lab/runs")
    monkeypatch.setenv("RAYBRAIN_OSF_TOKEN", "planted3")
    monkeypatch.setenv("A_PASSWORD", "abc")  # would be found in any word
    text = "http://me:plan%40ted@lab:5000 and postgresql://me:planted2@lab/runs, plan@ted, planted3, abcdef"
    assert hidden(text) == "http://lab:5000 and postgresql://lab/runs, ***, ***, abcdef"


def test_a_user_alone_is_a_name_in_a_database_and_may_be_a_token_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYBRAIN_OPTUNA_STORAGE", "postgresql+psycopg://raybrain@postgres/optuna")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://planted@lab")
    assert hidden("raybrain tune quickstart, planted") == "raybrain tune quickstart, ***"


@pytest.mark.parametrize("name", ["password", "sslpassword", "ACCESS_TOKEN", "client_secret", "apikey"])
def test_a_secret_in_a_query_is_hidden_wherever_it_is_repeated(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYBRAIN_OPTUNA_STORAGE", f"postgresql://lab/runs?mode=require&{name}=plan%40ted&user=somebody")
    assert hidden("plan%40ted, plan@ted, require, somebody") == "***, ***, require, somebody"


def test_workers_take_over_what_a_job_hands_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits in the memory of the head, under a name that the runtime environment tells; the values are not in that."""
    kept: dict[Any, Any] = {}
    memory = "ray.experimental.internal_kv._internal_kv"
    monkeypatch.setattr(f"{memory}_put", lambda key, value, namespace: kept.update({key: value}))
    monkeypatch.setattr(f"{memory}_get", lambda key, namespace: kept.get(key))
    monkeypatch.setattr(f"{memory}_del", lambda key, namespace: kept.pop(key))
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "planted")
    handover = Handover()
    given = handover.runtime_env({"PLAIN": "1"})
    assert "planted" not in str(given) and given["env_vars"]["PLAIN"] == "1"
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    monkeypatch.setenv("RAYBRAIN_ENVIRONMENT", given["env_vars"]["RAYBRAIN_ENVIRONMENT"])
    with handover.open():
        take_over()
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "planted" and not kept
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    assert Handover().runtime_env({}) == {"env_vars": {}}


SECRET = "planted-7c1e"


class Watch:
    """Looks at a command and all that it starts, as long as it lives: command lines and ports."""

    def __init__(self, pid: int) -> None:
        self.process = psutil.Process(pid)
        self.shown: set[str] = set()
        self.open: set[str] = set()
        self.seen = 0

    def look(self) -> None:
        for process in [self.process, *self.process.children(recursive=True)]:
            try:
                line, listening = " ".join(process.cmdline()), process.net_connections()
            except psutil.Error:
                continue
            self.seen += 1
            if SECRET in line:
                self.shown.add(line)
            self.open |= {f"{c.laddr.ip} of {line[:80]}" for c in listening if c.status == psutil.CONN_LISTEN}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with behind_login(tmp_path / "server", "me", SECRET) as address:
        yield address


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary folder of our own, for Ray's sessions; with a short name, as it becomes part of those of sockets."""
    folder = Path(tempfile.mkdtemp(prefix="s-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def places(folder: Path) -> list[str]:
    """The files that hold the secret."""
    found = []
    for path in folder.rglob("*"):
        with suppress(OSError):  # it may vanish meanwhile
            if path.is_file() and not path.is_symlink() and SECRET.encode() in path.read_bytes():
                found.append(str(path))
    return found


HOLD = """
import sys
from pathlib import Path
from raybrain.cluster import Cluster, ray_session
with ray_session(Cluster(home=Path(sys.argv[1]))):
    import ray
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.readline()
"""


@contextmanager
def ray_that_runs(environment: dict[str, str], home: Path) -> Iterator[str]:
    """Somebody's Ray, which knows no secret; its address."""
    plain = {key: value for key, value in environment.items() if SECRET not in value}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(home)], env=plain, **pipes)
    assert process.stdout
    yield process.stdout.readline().strip()
    process.communicate("\n", timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("joined", [False, True], ids=["own Ray, two workers", "a Ray that runs, a home in a bucket"])
def test_planted_secrets_are_found_nowhere_and_ports_are_closed(
    server: str, s3: S3Server, tmp_path: Path, temporary: Path, joined: bool
) -> None:
    """In no file of the home, of Ray's session or of MLflow, no command line, no output; and nothing listens to the outside.

    One trains, the other one sweeps.
    """
    secrets = {"MLFLOW_TRACKING_URI": server, "RAYBRAIN_OPTUNA_STORAGE": f"sqlite:///{tmp_path}/all.db?password={SECRET}"}
    environment = {**os.environ, **secrets, "PYTHONPATH": str(REPO), "TMPDIR": str(temporary), "RAY_AUTH_MODE": "token"}
    environment["RAY_AUTH_TOKEN_PATH"] = str(tmp_path / "token")
    if joined:
        environment |= {"AWS_SECRET_ACCESS_KEY": SECRET, "RAYBRAIN_COPIES": str(tmp_path / "copies")}
        environment["RAYBRAIN_OPTUNA_STORAGE"] = f"sqlite:///{tmp_path}/all.db"  # which a sweep opens; it takes no password
    (tmp_path / "token").write_text("0123456789abcdef" * 4)
    verb = ["tune", "quickstart", "--trials", "1", *TINY_SWEEP] if joined else ["train", "quickstart", "--workers", "2", *TINY]
    command = [sys.executable, "-c", "from raybrain.cli import main; main()", *verb, "--json"]
    command += ["--home", "s3://lab/secrets" if joined else str(tmp_path / "home")]
    with ExitStack() as stack:
        if joined:
            command += ["--address", stack.enter_context(ray_that_runs(environment, tmp_path / "theirs"))]
        pipes: dict[str, Any] = {"stdout": (tmp_path / "out").open("w"), "stderr": subprocess.STDOUT}
        process = subprocess.Popen(command, env=environment, **pipes)
        watch, during, looks = Watch(process.pid), [], 0
        while process.poll() is None:
            watch.look()
            looks += 1
            if looks % 20 == 0:
                during = places(temporary) or during
            time.sleep(0.1)
        assert process.returncode == 0, (tmp_path / "out").read_text()
        during = places(temporary) or during
    assert watch.seen > 100 and not watch.shown and not during
    assert not places(tmp_path / "home") and not places(tmp_path / "server") and not places(tmp_path)
    assert not [name for name in s3.names() if SECRET.encode() in s3.content(name)]
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'server' / 'runs.db'}")
    run, *sweep = client.search_runs([client.get_experiment_by_name("raybrain").experiment_id])  # type: ignore[union-attr]
    assert run.info.status == "FINISHED" and len(client.get_metric_history(run.info.run_id, "valid_loss")) == 3
    assert len(sweep) == int(joined)
    if not joined:
        assert any("RayTrainWorker" in place for place in watch.open)  # where two workers met
        assert {place.partition(" ")[0].removeprefix("::ffff:") for place in watch.open} == {"127.0.0.1"}, watch.open
        assert (tmp_path / "token").stat().st_mode & 0o077 == 0
