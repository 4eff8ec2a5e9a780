"""A tracker of a user's own is one file: everything that is written to a tracker is written to it."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from raybrain.cluster import Cluster
from raybrain.config import InputError, override
from raybrain.experiment import Experiment
from raybrain.identity import versions
from raybrain.store import Store
from raybrain.tracking.base import Tracker
from raybrain.train import fit, log_training
from raybrain.train.fit import Call, CannotTrain, Trained, recall, train, work
from raybrain.train.job import TrainJob
from raybrain.train.messages import Nobody
from raybrain.train.record import RunRecord
from raybrain.train.step import Place
from tests.conftest import REPO, TINY
from tests.train.test_loop import SETTINGS
from tests.workers import random_tables

LINES = '''
"""Runs as lines of JSON."""
import json, uuid
from dataclasses import dataclass
from pathlib import Path
from raybrain.tracking.base import TrackedRun, Tracker, TrackingStore

@dataclass(frozen=True)
class LinesRun(TrackedRun):
    def write(self, **line):
        with (Path(self.address) / f"{self.id}.jsonl").open("a") as file:
            print(json.dumps(line, default=str), file=file)
    def lines(self):
        return [json.loads(line) for line in (Path(self.address) / f"{self.id}.jsonl").read_text().splitlines()]
    def metrics(self, values, step): self.write(step=step, metrics=dict(values))
    def params(self, values): self.write(params=dict(values))
    def tags(self, values): self.write(tags=dict(values))
    def artifact(self, path, folder=None): self.write(file=path.name, folder=folder)
    def last_step(self, metric):
        return max((line["step"] for line in self.lines() if metric in line.get("metrics", {})), default=0)
    def status(self): return [line["status"] for line in self.lines() if "status" in line][-1]
    def set_status(self, status): self.write(status=status)

class LinesStore(TrackingStore):
    def start(self, name, parent=None, params=None, tags=None):
        run = LinesRun(self.address, uuid.uuid4().hex)
        run.write(name=name, parent=parent, status="RUNNING", params=params, tags=tags)
        return run
    def run(self, run_id):
        run = LinesRun(self.address, run_id)
        return run if (Path(self.address) / f"{run_id}.jsonl").exists() else None

class Lines(Tracker, name="lines"):
    folder: str = "lines"
    def open(self, home):
        (home / self.folder).mkdir(parents=True, exist_ok=True)
        return LinesStore(str(home / self.folder))
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    file = tmp_path / "lines_tracker.py"
    file.write_text(LINES)
    monkeypatch.setenv("RAYBRAIN_PLUGINS", str(file))
    monkeypatch.setattr(Tracker, "_kinds", dict(Tracker.kinds()))
    yield file
    sys.path.remove(str(tmp_path))
    del sys.modules["lines_tracker"]


def lines_of(folder: Path) -> list[list[dict[str, Any]]]:
    """The lines of every run."""
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in sorted(folder.glob("*.jsonl"))]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugin: Path) -> TrainJob:
    """A training on random data, which keeps a folder for a model as a real one does."""
    experiment = override(Experiment(), SETTINGS)
    tables = random_tables(experiment, torch.float32)
    monkeypatch.setattr(TrainJob, "tables", lambda self, device: tables)
    monkeypatch.setattr(fit, "keep_model", lambda job, *others: job.record.model.mkdir(exist_ok=True))
    monkeypatch.setattr(RunRecord, "has_model", property(lambda self: self.model.exists()))
    cluster = override(Cluster(home=tmp_path), {"tracker": "lines", "tracker.folder": "mine"})
    record, code = RunRecord(tmp_path / "run"), versions(experiment)
    return TrainJob(experiment, cluster, Store(tmp_path), (), "digest", "brain", {}, record, code)


def trained(job: TrainJob, audience: Any = None) -> Trained | None:
    call = Call(lambda job: work(job, Place(), audience or Nobody()), "train", pytest.fail, name="mine")
    return train(job, job.cluster.tracking_store(), call)


class Impatient(Nobody):
    """Has enough after the first epoch."""

    def stops(self, epoch: int) -> bool:
        return True


def test_a_training_is_logged_once_however_often_it_is_begun(job: TrainJob, tmp_path: Path) -> None:
    assert trained(job, Impatient()) is None
    done = trained(job)
    again = trained(job)
    assert done and again and (again.history, again.tracking) == (done.history, done.tracking)
    (lines,) = lines_of(tmp_path / "mine")
    assert (lines[0]["name"], lines[0]["tags"]["signature"]) == ("mine", job.experiment.signature)
    assert lines[0]["params"]["encoder.depth"] == 2
    assert [line["step"] for line in lines if "metrics" in line] == [1, 2, 3]
    assert [line["file"] for line in lines if "file" in line] == ["model", "experiment.json"]
    assert [line["status"] for line in lines if "status" in line] == ["RUNNING", "RUNNING", "FINISHED"]
    assert next(line["tags"]["step.candidates"] for line in lines if "step.candidates" in line.get("tags", {})) == 10


def test_what_another_store_does_not_know_is_logged_there(job: TrainJob, tmp_path: Path) -> None:
    first = trained(job)
    other = override(job.cluster, {"tracker.folder": "other"})
    again = recall(job, other.tracking_store())
    assert first and again and again.history == first.history and again.tracking.key != first.tracking.key
    assert job.record.tracking() == again.tracking.key
    (lines,) = lines_of(tmp_path / "other")
    assert [line["step"] for line in lines if "metrics" in line] == [1, 2, 3]
    third = recall(job, other.tracking_store())
    assert third and third.tracking == again.tracking, "there it is known now"


def test_two_who_log_a_training_anew_at_once_log_it_once(
    job: TrainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second looks when the first has found that the store does not know it, and not logged it yet."""
    assert trained(job)
    before, store = job.record.result(), override(job.cluster, {"tracker.folder": "other"}).tracking_store()
    starting, second_starts, start = threading.Event(), threading.Event(), type(store).start

    def slowly(self: Any, *arguments: Any, **named: Any) -> Any:
        if starting.is_set():
            second_starts.set()
        starting.set()
        second_starts.wait(0.5)
        return start(self, *arguments, **named)

    monkeypatch.setattr(type(store), "start", slowly)
    found: list[Trained | None] = []
    first = threading.Thread(target=lambda: found.append(recall(job, store)))
    first.start()
    starting.wait()
    found.append(recall(job, store))
    first.join()
    assert len(lines_of(tmp_path / "other")) == 1
    assert job.record.result() == before, "it was trained when it was trained"
    assert found[0] and found[1] and found[0].tracking == found[1].tracking


def test_a_training_that_fails_or_is_interrupted_says_so(job: TrainJob, tmp_path: Path) -> None:
    def interrupted(epoch: int) -> bool:
        raise KeyboardInterrupt

    impatient = Impatient()
    impatient.stops = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trained(job, impatient)
    (lines,) = lines_of(tmp_path / "mine")
    assert lines[-1] == {"status": "KILLED"}
    job.tables(torch.device("cpu")).signal[:] = float("nan")
    with pytest.raises(CannotTrain, match="the loss is not finite"):
        trained(job)
    (lines,) = lines_of(tmp_path / "mine")
    assert lines[-1] == {"status": "FAILED"}
    assert job.record.state == "failed"


def test_a_store_that_does_not_answer_holds_no_training_up(
    job: TrainJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lines_tracker import LinesRun  # type: ignore[import-not-found]

    real, calls = LinesRun.metrics, []

    def sometimes(self: Any, values: Any, step: int) -> None:
        calls.append(step)
        if len(calls) in (2, 3, 4):
            raise ConnectionError
        real(self, values, step)

    monkeypatch.setattr(LinesRun, "metrics", sometimes)
    monkeypatch.setattr(log_training, "PATIENCE_S", 0.0)
    assert trained(job, Impatient()) is None
    with pytest.raises(InputError, match=r"does not answer .*what is trained is kept, and the same command logs it"):
        trained(job)
    assert job.record.state == "begun"
    assert trained(job)
    (lines,) = lines_of(tmp_path / "mine")
    assert [line["step"] for line in lines if "metrics" in line] == [1, 2, 3]


def test_a_store_that_starts_anew_is_waited_for(
    job: TrainJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from lines_tracker import LinesRun

    real, calls = LinesRun.artifact, []

    def later(self: Any, *arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) < 3:
            raise ConnectionError("it starts anew")
        real(self, *arguments)

    monkeypatch.setattr(LinesRun, "artifact", later)
    monkeypatch.setattr(log_training, "PAUSE_S", 0.01)
    assert trained(job)
    assert capsys.readouterr().out.count("the tracking store does not answer (it starts anew); waiting for it") == 1
    (lines,) = lines_of(tmp_path / "mine")
    assert [line["file"] for line in lines if "file" in line] == ["model", "experiment.json"]
    assert [line["step"] for line in lines if "metrics" in line] == [1, 2, 3]


def test_a_tracker_without_a_page_says_where_runs_are(plugin: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"the tracker 'lines' has no page of its own; runs are kept at {tmp_path}/lines"):
        Tracker.parse("lines").page(tmp_path, 5000)


@pytest.mark.slow
def test_a_tracker_of_a_users_own_from_prepare_to_table(plugin: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from raybrain.cli import main; main()", "train", "quickstart", *TINY, "train.epochs=1"]
    command += ["--home", str(tmp_path / "home"), "--cluster", "tracker=lines", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout.strip().splitlines()[-1])
    assert ended["tracking_uri"] == str(tmp_path / "home" / "lines")
    (lines,) = lines_of(tmp_path / "home" / "lines")
    files = [line["file"] for line in lines if "file" in line]
    assert files == [
        "model",
        "experiment.json",
        "test_subjects.csv",
        "test_studies.csv",
        "test_controls.csv",
        "test_context.csv",
        "test_errors.csv",
        "test_breakdown.csv",
        "test_lags.csv",
        "test_marks.csv",
        "test_subjects.png",
    ]
    assert [line["step"] for line in lines if "valid_loss" in line.get("metrics", {})] == [1]
    assert any("test_top10" in line.get("metrics", {}) for line in lines)
    assert lines[-1]["file"] == "test_subjects.png" and {"status": "FINISHED"} in lines
    assert not (tmp_path / "home" / "mlflow.db").exists()
