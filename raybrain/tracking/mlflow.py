"""MLflow: runs in the database of a home, or on a server. The only module that imports mlflow."""

import contextlib
import functools
import http.client
import json
import logging
import math
import os
import re
import shlex
import sqlite3
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from raybrain.config import InputError, first_line
from raybrain.integrity import explaining_database
from raybrain.secrets import credentials
from raybrain.storage import aside, remove_left_over, shown
from raybrain.tracking.base import Status, TrackedRun, Tracker, TrackingStore, versions

PARAM_LENGTH, TAG_LENGTH, KEY_LENGTH = 6000, 8000, 250  # MLflow's limits
PARAMS_AT_ONCE, METRICS_AT_ONCE, ORPHANS_AT_ONCE = 100, 1000, 1000
AWAY = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED", "REQUEST_LIMIT_EXCEEDED")
PROBE_S = 3.0
LOCK_S = 300.0
PARENT, NOTE, KIND = "mlflow.parentRunId", "mlflow.note.content", "mlflow.experimentKind"
SHARED_VIEW, VIEW_NAME = "mlflow.sharedViewState.", "raybrain"
WHAT_IT_SHOWS = (
    "One run per experiment, one parent run per sweep with its trials below it. test_top10 is the accuracy on the test split, "
    "beside test_chance10 and test_baseline10, which is ridge regression on the same windows; the tag marks says which "
    "controls are not as they should be, the tags changed.* what differs from the defaults."
)
SHOWN = {
    "metrics": ("test_top10", "test_chance10", "test_baseline10", "test_top1", "valid_loss"),
    "tags": ("marks", "below_baseline", "signature"),
    "params": ("encoder.name", "train.seed"),
}
VIEW = {  # as MLflow's page keeps it
    "searchFilter": "",
    "orderByKey": "metrics.`test_top10`",
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "modelVersionFilter": "All Runs",
    "datasetsFilter": [],
    "selectedColumns": [f"{kind}.`{name}`" for kind, names in SHOWN.items() for name in names],
}


def tracking_uri(home: Path) -> str:
    """Where runs are kept: $MLFLOW_TRACKING_URI, or a database in ``home``. Absolute, because Ray changes the folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _database(home)


def _database(home: Path) -> str:
    return f"sqlite:///{home.expanduser().absolute() / 'mlflow.db'}"


def server_version(uri: str) -> str:
    """The version of MLflow behind a tracking store: the server's, or for a file the one installed here.

    Raises:
        InputError: if a server does not answer.
    """
    if not uri.startswith(("http://", "https://")):
        return metadata.version("mlflow")
    _probe(uri)
    try:
        with urllib.request.urlopen(f"{shown(uri).rstrip('/')}/version", timeout=PROBE_S) as answer:
            return str(answer.read(50).decode(errors="replace"))
    except (OSError, http.client.HTTPException):
        return "unknown"  # a proxy may let only some paths through


class MLflow(Tracker, name="mlflow"):
    """MLflow: the server at $MLFLOW_TRACKING_URI, or else a database in the home folder.

    Attributes:
        experiment: the MLflow experiment that runs belong to.
    """

    experiment: str = "raybrain"

    def open(self, home: Path) -> "MLflowStore":
        """The experiment of this name.

        Raises:
            InputError: if a tracking server does not answer, or the experiment was deleted.
        """
        import filelock

        uri, home = tracking_uri(home), home.expanduser().absolute()
        if uri.startswith(("http://", "https://")):
            _probe(uri)
            with _explaining_refusal(uri):
                return MLflowStore(shown(uri), _experiment_id(uri, self.experiment, artifacts=None))
        home.mkdir(parents=True, exist_ok=True)
        _mlflow()  # takes seconds: not while others wait for the lock
        artifacts = (home / "mlartifacts").as_uri()
        own = uri == _database(home)
        with filelock.FileLock(home / "mlflow.lock", timeout=LOCK_S):  # MLflow makes its tables without one, and fails
            with _explaining_damage(home) if own else _explaining_version(shown(uri), '"$MLFLOW_TRACKING_URI"'):
                if own and not (home / "mlflow.db").exists():
                    _make_database(home, self.experiment, artifacts)
                number = _experiment_id(uri, self.experiment, artifacts)
            if own:
                _follow_home(home, artifacts, number)
        return MLflowStore(shown(uri), number)

    def lies_in(self, home: Path) -> bool:
        """Whether no other database is named."""
        return tracking_uri(home) == _database(home)

    def page(self, home: Path, port: int) -> tuple[list[str], dict[str, str]]:
        """MLflow's own page. The address goes by the environment, where others on this machine cannot read a password."""
        command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
        return command, {"MLFLOW_BACKEND_STORE_URI": tracking_uri(home)}

    def view(self, home: Path, port: int) -> str:
        """The table of runs with the columns that matter, best first. It is a shared view, which MLflow keeps as a tag."""
        store = self.open(home)
        client, number = _client(store.address), store.experiment_id
        known = client.get_experiment(number).tags
        own = {f"{SHARED_VIEW}{VIEW_NAME}": json.dumps(VIEW)}
        for key, value in {NOTE: WHAT_IT_SHOWS, KIND: "custom_model_development", **known, **own}.items():
            if known.get(key) != value:  # what a person wrote stays
                client.set_experiment_tag(number, key, value)
        return f"http://127.0.0.1:{port}/#/experiments/{number}/runs?viewStateShareKey={VIEW_NAME}"

    def describe(self, home: Path) -> str:
        """The address, with the version of the server or of what is installed here."""
        uri = tracking_uri(home)
        return f"{shown(uri)}, MLflow {server_version(uri)}"


@dataclass(frozen=True)
class MLflowStore(TrackingStore):
    """One experiment of an MLflow server or database."""

    experiment_id: str

    def start(
        self,
        name: str,
        parent: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> "MLflowRun":
        """A new run, under the run with the id ``parent`` if given. It carries the :func:`versions` as tags."""
        kept = {**versions(), **(tags or {}), **({PARENT: parent} if parent else {})}
        made = _client(self.address).create_run(self.experiment_id, run_name=name, tags=_texts(kept, TAG_LENGTH))
        run = MLflowRun(self.address, made.info.run_id)
        run.params(params or {})
        return run

    def adopt(self, gone: str, parent: TrackedRun) -> None:
        """Put the runs under one that is gone under another one."""
        client, orphans, page = _client(self.address), f"tags.`{PARENT}` = '{gone}'", None
        ids: list[str] = []
        while page != "":  # all before the first is changed: a page begins after so many of those that match
            some = client.search_runs([self.experiment_id], orphans, max_results=ORPHANS_AT_ONCE, page_token=page)
            ids += [run.info.run_id for run in some]
            page = some.token or ""
        for run_id in ids:
            client.set_tag(run_id, PARENT, parent.id)

    def is_away(self, error: Exception) -> bool:
        """Whether a server, or a database, does not answer now."""
        return super().is_away(error) or getattr(error, "error_code", None) in AWAY

    def run(self, run_id: str) -> "MLflowRun | None":
        """The run with this id; None if it is gone or deleted."""
        from mlflow.exceptions import MlflowException

        try:
            known = _client(self.address).get_run(run_id)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        return MLflowRun(self.address, run_id) if known.info.lifecycle_stage == "active" else None


@dataclass(frozen=True)
class MLflowRun(TrackedRun):
    """One run of MLflow. Its id is always given: MLflow's active run, and variables it exports, misdirect workers."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Keep scores of a step.

        MLflow turns infinity into 1.8e308, which spoils every plot, so what is not finite becomes a tag instead:
        ``not_finite.loss``: ``nan at step 7``.
        """
        numbers = {name: float(value) for name, value in values.items()}
        now = round(time.time() * 1000)
        kept = [
            _mlflow().entities.Metric(_key(name), value, now, step) for name, value in numbers.items() if math.isfinite(value)
        ]
        for some in _chunks(kept, METRICS_AT_ONCE):
            self._log(metrics=some)
        self.tags({f"not_finite.{n}": f"{value} at step {step}" for n, value in numbers.items() if not math.isfinite(value)})

    def params(self, values: Mapping[str, Any]) -> None:
        """Keep settings; long ones are cut off."""
        kept = [_mlflow().entities.Param(key, text) for key, text in _texts(values, PARAM_LENGTH).items()]
        for some in _chunks(kept, PARAMS_AT_ONCE):
            self._log(params=some)

    def tags(self, values: Mapping[str, Any]) -> None:
        """Keep labels; long ones are cut off."""
        kept = [_mlflow().entities.RunTag(key, text) for key, text in _texts(values, TAG_LENGTH).items()]
        for some in _chunks(kept, PARAMS_AT_ONCE):
            self._log(tags=some)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a file, or a folder with all that is in it, under ``folder``."""
        _client(self.address).log_artifact(self.id, str(path), folder)

    def last_step(self, metric: str) -> int:
        """The last step of a metric that is kept; 0 if there is none."""
        history = _client(self.address).get_metric_history(self.id, metric)
        return max((point.step for point in history), default=0)

    def status(self) -> Status:
        """Whether it is running, or how it ended."""
        status: Status = _client(self.address).get_run(self.id).info.status
        return status

    def set_status(self, status: Status) -> None:
        """Say that it is running, or how it ended."""
        if status == "RUNNING":
            _client(self.address).update_run(self.id, status=status)
        else:
            _client(self.address).set_terminated(self.id, status)

    def _log(self, **kept: Any) -> None:
        _client(self.address).log_batch(self.id, **kept, synchronous=True)


@functools.cache
def _mlflow() -> Any:
    """mlflow, which phones home and logs at length unless told otherwise before its import. A person's own wish goes first."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # training waits for an answer meanwhile
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    import mlflow
    import mlflow.entities
    import mlflow.exceptions

    if "MLFLOW_LOGGING_LEVEL" not in os.environ:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow


def _client(address: str) -> Any:
    """A client of an address that may be shown, with the user and password that the environment has for it.

    Those of a server go where MLflow looks for them, apart from the address, which it repeats in its errors.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if shown(uri) != address:
        return _client_of(address)
    user, _, password = credentials(uri)
    if not (user and password and uri.startswith(("http://", "https://"))):
        return _client_of(uri)
    os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(user), unquote(password)
    return _client_of(address)


@functools.cache
def _client_of(uri: str) -> Any:
    return _mlflow().MlflowClient(tracking_uri=uri)


def _probe(uri: str) -> None:
    """Ask the server once, because MLflow itself tries for minutes."""
    try:
        urllib.request.urlopen(f"{shown(uri).rstrip('/')}/health", timeout=PROBE_S).close()
    except urllib.error.HTTPError:
        return  # it answers; whether it lets us in is for MLflow to find out
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(
            f"the MLflow server {shown(uri)} does not answer ({reason}); start it, "
            "or unset MLFLOW_TRACKING_URI to keep runs in a file"
        ) from None


@contextlib.contextmanager
def _explaining_damage(home: Path) -> Iterator[None]:
    """Turn what is raised about a damaged database of a home, or one of another version, into one line."""
    file = home / "mlflow.db"
    cure = f"type mv {shlex.quote(str(file))} {shlex.quote(f'{file}.damaged')}: what is finished is then logged again"
    with _explaining_version(str(file), shlex.quote(_database(home))), explaining_database(file, cure):
        yield


@contextlib.contextmanager
def _explaining_version(database: str, address: str) -> Iterator[None]:
    """Turn what MLflow raises about tables of another version into one line, with the address as it is to be typed."""
    try:
        yield
    except _mlflow().exceptions.MlflowException as error:
        if "mlflow db upgrade" not in str(error):
            raise
        line = str(error).partition(". ")[0]
        command = f"mlflow db upgrade {address}"
        raise InputError(f"{database} is of another version of MLflow ({line}); copy it, then type {command}") from None


@contextlib.contextmanager
def _explaining_refusal(uri: str) -> Iterator[None]:
    """Turn the ways in which a server does not let us in into one line each."""
    try:
        yield
    except _mlflow().exceptions.MlflowException as error:
        server, host = shown(uri), urllib.parse.urlsplit(shown(uri)).netloc
        if error.error_code == "UNAUTHENTICATED":
            login = "export MLFLOW_TRACKING_USERNAME=NAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            raise InputError(f"the MLflow server {server} asks for another login (401); type {login}") from None
        if "Invalid Host header" in str(error):
            cure = f"start it with mlflow server --allowed-hosts {host},localhost:*, or name it as it knows itself"
            raise InputError(f"the MLflow server {server} does not answer to the name {host} (403); {cure}") from None
        if error.error_code == "PERMISSION_DENIED":
            reason = first_line(error)
            raise InputError(f"the MLflow server {server} does not allow this ({reason}); ask whoever runs it") from None
        raise


def _make_database(home: Path, experiment: str, artifacts: str) -> None:
    """Make the database of a home whole or not at all: where MLflow is killed between two tables, it can never go on."""
    file = home / "mlflow.db"
    remove_left_over(home.glob(f".{file.name}-*"), stale_s=0)  # whoever comes here has the lock
    with aside(file) as temporary:
        _client_of(f"sqlite:///{temporary}").create_experiment(experiment, artifact_location=artifacts)


def _experiment_id(uri: str, name: str, artifacts: str | None) -> str:
    client = _client(shown(uri))
    if (experiment := client.get_experiment_by_name(name)) is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts))
        except _mlflow().exceptions.MlflowException:  # on a server, another process may just have made it
            if (experiment := client.get_experiment_by_name(name)) is None:
                raise
    if experiment.lifecycle_stage != "active":
        where = "" if "MLFLOW_TRACKING_URI" in os.environ else f"MLFLOW_TRACKING_URI={uri} "
        cure = f"{where}mlflow experiments restore --experiment-id {experiment.experiment_id}"
        raise InputError(f"the MLflow experiment {name!r} was deleted; type: {cure}")
    return str(experiment.experiment_id)


def _follow_home(home: Path, artifacts: str, experiment_id: str) -> None:
    """Tell a database that was moved together with the artifacts where these lie now: it holds their places in full."""
    before = _client_of(_database(home)).get_experiment(experiment_id).artifact_location
    if before == artifacts:
        return
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        database.execute("UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?", (artifacts, before))
        moved = "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE substr(artifact_uri, 1, ?) = ?"
        database.execute(moved, (artifacts, len(before) + 1, len(before) + 1, f"{before}/"))


def _texts(values: Mapping[str, Any], length: int) -> dict[str, str]:
    return {
        _key(name): text if len(text := str(value)) <= length else f"{text[: length - 3]}..." for name, value in values.items()
    }


def _key(name: str) -> str:
    """``name`` with the letters MLflow allows."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:KEY_LENGTH]


def _chunks(values: Sequence[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some
