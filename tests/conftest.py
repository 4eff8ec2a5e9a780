"""Shared by all tests: where the shared data lie, one Ray cluster a run of pytest, one prepared synthetic study."""

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import Postgres, postgres_server, programs
from tests.s3_server import ENVIRONMENT, S3Server, s3_server

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # before Ray is imported; a token of the user's would be asked for
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
if "PYTEST_XDIST_WORKER" in os.environ:  # two processes that take all cores each wait for each other most of the time
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("MLFLOW_TRACKING_URI", None)
os.environ.pop("RAY_ADDRESS", None)
os.environ.update(ENVIRONMENT)

REPO = Path(__file__).parent.parent
SHARED = Path(os.environ.get("RAYBRAIN_SHARED", REPO.parent / "shared"))
TINY = [
    "data.studies.synthetic.subjects=2",
    "data.studies.synthetic.minutes=2",
    "data.studies.synthetic.channels=16",
    "data.studies.synthetic.rate_hz=125",
    "data.studies.synthetic.signal=3",
    "data.features.mel.bands=20",
    "encoder.depth=2",
    "encoder.hidden=24",
    "encoder.attention.channels=12",
    "encoder.initial_linear=12",
    "encoder.attention.dimensions=128",
    "train.batch_size=16",
    "train.contrast_size=16",
    "train.epochs=3",
    "optim.lr=3e-3",
]
TINY_SWEEP = [setting for setting in TINY if not setting.startswith("encoder.hidden")]  # what the quickstart sweep can be asked


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes share all the fast tests, or all the slow ones, each with a Ray of its own; a few run one by one."""
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return 2 if everything and config.option.markexpr in ("not slow", "slow") else 0


def hear_ctrl_c() -> None:
    """For a process that tests start: a shell tells what it runs in the background to be deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def semireal() -> Path:
    folder = SHARED / "data" / "semireal_bids"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One Ray for all tests; raybrain joins it because it is there."""
    from raybrain.cluster import Cluster, ray_session

    with ray_session(Cluster(home=Path("/nonexistent"))):
        yield


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, what it printed, and the JSON of its last line if asked for."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.strip().splitlines()[-1])


@pytest.fixture
def raybrain(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a raybrain command in this process, as a person would type it."""
    from raybrain.cli import main

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["raybrain", *arguments])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return run


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Folders of small models, made when first asked for."""
    from tests import tiny_models

    folder = tmp_path_factory.mktemp("models")
    return cache(lambda kind: tiny_models.save(folder / kind, kind))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder that tests share, so that the tiny study is prepared once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database of sweeps that nobody needs after a loss of power: half of the time would go into waiting for the disk."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def hurry(connection: Any, _record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", hurry)
    yield f"sqlite:///{tmp_path_factory.mktemp('optuna') / 'all.db'}"
    event.remove(Engine, "connect", hurry)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One Postgres server for all tests; each takes a database of its own with ``postgres.database("name")``."""
    if programs() is None:
        pytest.skip("Postgres is not installed: apt-get install postgresql")
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """One S3 server for all tests; each takes a home of its own in the bucket ``lab``."""
    with s3_server() as server:
        yield server


@pytest.fixture
def bench(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Makes sweeps of one home, in a database that all share, as on a cluster."""
    from raybrain.tune.study import STORAGE
    from tests.sweeps import Bench

    monkeypatch.setenv(STORAGE, database)

    def make(asked: Any, trials: int = 0, name: str = "s", kind: Any = Bench) -> Any:
        return kind(tmp_path / f"{tmp_path.name}-{name}", asked, trials)

    return make
