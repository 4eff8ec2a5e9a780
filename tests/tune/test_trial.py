"""What a trial tells Ray Tune, however its training ends."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import ray.train
from ray import tune

from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.experiment import Experiment
from raybrain.identity import versions
from raybrain.plain import tree
from raybrain.store import Store
from raybrain.tracking.base import TrackingStore
from raybrain.train.fit import Ending
from raybrain.train.job import TrainJob
from raybrain.train.messages import Epochs, Message
from raybrain.train.record import RunRecord, with_kept
from raybrain.tune import trial
from raybrain.tune.trial import TrialTraining
from tests.sweeps import history_of, sizes_of

HISTORY = history_of([0.5, 0.4, 0.3])
Fit = Callable[[TrainJob, Callable[[Message], object]], Ending]


class Trial:
    """A trial of two workers whose training is pretended."""

    def __init__(self, folder: Path, store: TrackingStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.experiment = Experiment.model_validate({"train": {"epochs": 3}})
        record, code = RunRecord(folder / "runs" / "a"), versions(self.experiment)
        self.cluster = Cluster(home=folder, workers=2)
        self.job = TrainJob(self.experiment, self.cluster, Store(folder), (), "digest", "brain", {}, record, code)
        self.store = store
        self.reports: list[dict[str, Any]] = []
        self.fit: Fit = lambda job, hear: Ending(HISTORY)
        monkeypatch.setattr(tune, "report", self.reports.append)
        monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "here"))
        monkeypatch.setattr(trial, "trial_job", lambda *arguments: self.job)
        monkeypatch.setattr(trial, "fit", lambda job, exchange, hear, judged: self.fit(job, hear))
        monkeypatch.setattr("raybrain.train.record.is_whole_model", lambda folder: True)
        monkeypatch.setattr("raybrain.train.fit.log_result", Mock())

    def run(self) -> list[dict[str, Any]]:
        """Run it; what it told Tune."""
        self.reports.clear()
        call = TrialTraining({}, self.cluster, self.store, "sweep s", self.store.start("sweep").id, Mock())
        call({"experiment": tree(self.experiment), "line": "depth=2"})
        return list(self.reports)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TrackingStore:
    return Cluster(home=tmp_path_factory.mktemp("home")).tracking_store()


@pytest.fixture
def one(tmp_path: Path, store: TrackingStore, monkeypatch: pytest.MonkeyPatch) -> Trial:
    return Trial(tmp_path, store, monkeypatch)


def heard(epochs: int) -> Fit:
    """A training of so many epochs; the workers were restarted after the first."""

    def fit(job: TrainJob, hear: Callable[[Message], object]) -> Ending:
        for count in (1, *range(1, epochs + 1)):
            hear(Epochs(tuple(HISTORY[:count])))
        return Ending(HISTORY[:epochs])

    return fit


def test_every_epoch_is_reported_once(one: Trial) -> None:
    one.fit = heard(3)
    assert one.run() == [{**with_kept(HISTORY[:count]), "node": "here"} for count in (1, 2, 3)]
    assert one.job.record.state == "finished"


def test_what_was_stopped_is_not_finished(one: Trial) -> None:
    one.fit = heard(2)
    assert [report["epoch"] for report in one.run()] == [1, 2]
    assert one.job.record.state == "begun"


def fails(error: BaseException) -> Fit:
    def fit(job: TrainJob, hear: Callable[[Message], object]) -> Ending:
        raise error

    return fit


@pytest.mark.parametrize(
    ("fit", "report"),
    [
        (lambda job, hear: Ending([], "the loss is not finite"), {"reason": "the loss is not finite", "again": False}),
        (fails(InputError("the disk is full")), {"reason": "the disk is full", "again": True}),
        (fails(ray.train.TrainingFailedError("no\nmemory")), {"reason": "memory", "again": True}),
    ],
)
def test_a_failure_says_why_and_whether_to_try_again(fit: Fit, report: dict[str, Any], one: Trial) -> None:
    one.fit = fit
    assert one.run() == [report]
    assert one.job.record.state == ("begun" if report["again"] else "failed")


def test_what_is_wrong_with_raybrain_is_left_to_tune(one: Trial) -> None:
    one.fit = fails(RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        one.run()


def test_what_another_process_trains_is_waited_for_and_taken_over(one: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, over = threading.Event(), threading.Event()

    def other() -> None:
        with one.job.record.own("train", print):
            begun.set()
            over.wait()
            one.job.record.keep_sizes(sizes_of())
            one.job.record.finish(one.experiment.signature, "digest", HISTORY)

    def report(metrics: dict[str, Any]) -> None:
        one.reports.append(metrics)
        over.set()

    monkeypatch.setattr(tune, "report", report)
    thread = threading.Thread(target=other)
    thread.start()
    begun.wait()
    one.fit = fails(AssertionError("it is trained already"))
    busy, result = one.run()
    thread.join()
    assert "(train, since " in busy["busy"] and str(one.job.record.path) in busy["busy"]
    assert result == {**with_kept(HISTORY), "node": "here"}
