"""What every run leaves behind: settings, scores, tables and figures in MLflow. The only module that imports mlflow.

Without a server everything lies under one home folder. A :class:`Tracker` and a :class:`Run` are plain values, so they travel
to a Ray worker and go on there; run ids are always explicit, because MLflow's active run, and the variables that
``set_experiment`` exports, misdirect workers::

    tracker = Tracker.open(Path("runs"))
    sweep = tracker.start("sweep", tags={"space": "quickstart"})
    trial = tracker.start("trial 0", parent=sweep.id, params={"optim.lr": 3e-4})
    trial.metrics({"valid/top10": 0.41}, step=1)
    trial.end()
"""

import contextlib
import csv
import functools
import http.client
import io
import logging
import math
import os
import platform
import re
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

from raybrain.config import InputError

Status = Literal["FINISHED", "FAILED", "KILLED"]

PARAM_LENGTH, TAG_LENGTH, KEY_LENGTH = 6000, 8000, 250  # MLflow's limits
PARAMS_AT_ONCE, METRICS_AT_ONCE = 100, 1000
PROBE_S = 3.0
LOCK_S = 300.0


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
        with urllib.request.urlopen(f"{uri.rstrip('/')}/version", timeout=PROBE_S) as answer:
            return str(answer.read(50).decode(errors="replace"))
    except (OSError, http.client.HTTPException):
        return "unknown"  # a proxy may let only some paths through


@functools.cache
def versions() -> dict[str, str]:
    """What a result depends on besides its settings: ``version.torch``, ``version.git`` and so on, as far as known."""
    found = {"version.python": platform.python_version()}
    for package in ("raybrain", "torch", "ray", "mlflow"):
        try:
            found[f"version.{package}"] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    checkout = Path(__file__).parents[1]
    if (checkout / ".git").exists():  # else git would answer for whatever checkout an environment lies in
        command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
            found["version.git"] = done.stdout.strip()
        except (OSError, subprocess.SubprocessError):
            pass
    return found


@dataclass(frozen=True)
class Tracker:
    """One experiment of a tracking store."""

    uri: str
    experiment_id: str

    @classmethod
    def open(cls, home: Path, experiment: str = "raybrain") -> Self:
        """The tracker of ``home``, or of $MLFLOW_TRACKING_URI. Makes what is missing; many processes may do so at once.

        Raises:
            InputError: if a tracking server does not answer, or the experiment was deleted.
        """
        import filelock

        uri, home = tracking_uri(home), home.expanduser().absolute()
        if uri.startswith(("http://", "https://")):
            _probe(uri)
            return cls(uri, _experiment_id(uri, experiment, artifacts=None))
        home.mkdir(parents=True, exist_ok=True)
        _mlflow()  # takes seconds: not while others wait for the lock
        with filelock.FileLock(home / "mlflow.lock", timeout=LOCK_S):  # MLflow makes its tables without one, and fails
            return cls(uri, _experiment_id(uri, experiment, artifacts=(home / "mlartifacts").as_uri()))

    def start(
        self,
        name: str,
        parent: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> "Run":
        """A new run, under the run with the id ``parent`` if given. It carries the :func:`versions` as tags."""
        kept = {**versions(), **(tags or {}), **({"mlflow.parentRunId": parent} if parent else {})}
        made = _client(self.uri).create_run(self.experiment_id, run_name=name, tags=_texts(kept, TAG_LENGTH))
        run = Run(self.uri, made.info.run_id)
        run.params(params or {})
        return run

    def resume(self, run_id: str) -> "Run | None":
        """The run with this id, running again; None if it is gone."""
        if not self.has(run_id):
            return None
        _client(self.uri).update_run(run_id, status="RUNNING")
        return Run(self.uri, run_id)

    def has(self, run_id: str) -> bool:
        """Whether there is a run with this id."""
        from mlflow.exceptions import MlflowException

        try:
            found = _client(self.uri).get_run(run_id)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return False
            raise
        return bool(found.info.lifecycle_stage == "active")

    def find(self, tags: Mapping[str, Any]) -> str | None:
        """The id of the newest run that has all of ``tags``, or None."""
        found = _client(self.uri).search_runs(
            [self.experiment_id],
            filter_string=" and ".join(f"tags.`{key}` = {_quoted(text)}" for key, text in _texts(tags, TAG_LENGTH).items()),
            order_by=["attributes.start_time DESC"],
            max_results=1,
        )
        return str(found[0].info.run_id) if found else None


@dataclass(frozen=True)
class Run:
    """One run: what is said here is kept at once."""

    uri: str
    id: str

    @classmethod
    def known(cls, entry: Mapping[str, Any], home: Path) -> Self:
        """The run that an :meth:`entry` in a file of ``home`` speaks of."""
        return cls(entry["uri"] or _database(home), entry["id"])

    def entry(self, home: Path) -> dict[str, Any]:
        """What to keep of the run in a file of ``home``: no address where it is in that home's database, which may be moved."""
        return {"id": self.id, "uri": None if self.uri == _database(home) else self.uri}

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

    def last_step(self, metric: str) -> int:
        """The last step of a metric that is kept; 0 if there is none."""
        history = _client(self.uri).get_metric_history(self.id, metric)
        return max((point.step for point in history), default=0)

    def end_if_running(self, status: Status, tags: Mapping[str, Any]) -> None:
        """End the run, with tags that say why, unless it has ended."""
        if _client(self.uri).get_run(self.id).info.status == "RUNNING":
            self.tags(tags)
            self.end(status)

    def params(self, values: Mapping[str, Any]) -> None:
        """Keep settings. A setting cannot change later: what may, after a resume, is a tag. Long ones are cut off."""
        kept = [_mlflow().entities.Param(key, text) for key, text in _texts(values, PARAM_LENGTH).items()]
        for some in _chunks(kept, PARAMS_AT_ONCE):
            self._log(params=some)

    def tags(self, values: Mapping[str, Any]) -> None:
        """Keep labels, in place of any of the same name."""
        kept = [_mlflow().entities.RunTag(key, text) for key, text in _texts(values, TAG_LENGTH).items()]
        for some in _chunks(kept, PARAMS_AT_ONCE):
            self._log(tags=some)

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep rows as ``tables/<name>.csv``; a column is any key of any row, in order of appearance."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        _client(self.uri).log_text(self.id, text.getvalue(), f"tables/{name}.csv")

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Keep a file, or a folder with all that is in it, under ``folder``."""
        _client(self.uri).log_artifact(self.id, str(path), folder)

    def end(self, status: Status = "FINISHED") -> None:
        """Close the run; until then MLflow shows it as running."""
        _client(self.uri).set_terminated(self.id, status)

    def _log(self, **kept: Any) -> None:
        _client(self.uri).log_batch(self.id, **kept, synchronous=True)


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


@functools.cache
def _client(uri: str) -> Any:
    return _mlflow().MlflowClient(tracking_uri=uri)


def _probe(uri: str) -> None:
    """Ask the server once, because MLflow itself tries for minutes."""
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=PROBE_S).close()
    except urllib.error.HTTPError:
        return  # it answers; whether it lets us in is for MLflow to find out
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(
            f"the MLflow server {uri} does not answer ({reason}); start it, or unset MLFLOW_TRACKING_URI to keep runs in a file"
        ) from None


def _experiment_id(uri: str, name: str, artifacts: str | None) -> str:
    client = _client(uri)
    if (found := client.get_experiment_by_name(name)) is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts))
        except _mlflow().exceptions.MlflowException:  # on a server, another process may just have made it
            if (found := client.get_experiment_by_name(name)) is None:
                raise
    if artifacts and found.artifact_location != artifacts:
        _follow_home(uri, found.artifact_location, artifacts)
    if found.lifecycle_stage != "active":
        raise InputError(
            f"the MLflow experiment {name!r} was deleted; type: "
            f"MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id {found.experiment_id}"
        )
    return str(found.experiment_id)


def _follow_home(uri: str, before: str, now: str) -> None:
    """Tell a database that was moved together with the artifacts where these lie now: it holds their places in full."""
    with contextlib.closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database, database:
        database.execute("UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?", (now, before))
        moved = "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE substr(artifact_uri, 1, ?) = ?"
        database.execute(moved, (now, len(before) + 1, len(before) + 1, f"{before}/"))


def _texts(values: Mapping[str, Any], length: int) -> dict[str, str]:
    return {
        _key(name): text if len(text := str(value)) <= length else f"{text[: length - 3]}..." for name, value in values.items()
    }


def _key(name: str) -> str:
    """``name`` with the letters MLflow allows."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:KEY_LENGTH]


def _quoted(text: str) -> str:
    if "'" in text and '"' in text:
        raise InputError(f"MLflow cannot look for a tag with both kinds of quotes: {text}")
    return f'"{text}"' if "'" in text else f"'{text}'"


def _chunks(values: Sequence[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some
