"""A worker in a plain process: no Ray, an audience that is called, and the same result as anywhere."""

from pathlib import Path
from typing import Any

import pytest
import torch

from raybrain.cluster import Cluster
from raybrain.config import override
from raybrain.experiment import Experiment
from raybrain.identity import versions
from raybrain.store import Store
from raybrain.train import worker
from raybrain.train.messages import Epochs, Message, Nobody, Started, Steps
from raybrain.train.record import RunRecord
from raybrain.train.step import Place
from raybrain.train.worker import TrainJob, work
from tests.train.test_loop import SETTINGS, UPDATES
from tests.workers import random_tables


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainJob:
    experiment = override(Experiment(), SETTINGS)
    tables = random_tables(experiment, torch.float32)
    monkeypatch.setattr(TrainJob, "tables", lambda self, device: tables)
    monkeypatch.setattr(worker, "keep_model", lambda *arguments: None)  # it needs a store that says how data are scaled
    record, cluster, code = RunRecord(tmp_path / "run"), Cluster(home=tmp_path), versions(experiment)
    return TrainJob(experiment, cluster, Store(tmp_path), (), "digest", "brain", {}, record, code)


class Ear:
    """Remembers what it hears, and has enough after some epochs."""

    def __init__(self, enough: int | None = None) -> None:
        self.enough = enough
        self.heard: list[Message] = []

    def hear(self, message: Message) -> None:
        self.heard.append(message)

    def stops(self, epoch: int) -> bool:
        return epoch == self.enough

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]


def test_an_audience_hears_of_sizes_steps_and_epochs_and_may_stop_it(job: TrainJob) -> None:
    ear = Ear(enough=2)
    ending = work(job, Place(), ear)
    assert [len(message.history) for message in ear.of(Epochs)] == [1, 2]
    assert ending.history == list(ear.of(Epochs)[-1].history) == job.record.history() and ending.reason is None
    assert isinstance(ear.heard[0], Started) and "batch 16 = 1 worker" in ear.heard[0].line
    assert ear.of(Steps)[-1] == Steps(1, UPDATES, UPDATES)
    assert job.record.sizes() and job.record.state == "new", "who begins and ends a run is not the worker"


def test_after_a_restart_it_hears_again_of_what_is_done(job: TrainJob) -> None:
    work(job, Place(), Ear(enough=1))
    ear = Ear()
    ending = work(job, Place(), ear)
    assert [len(message.history) for message in ear.of(Epochs)] == [1, 2, 3] == [row["epoch"] for row in ending.history]
    assert {message.epoch for message in ear.of(Steps)} == {1, 2}
    assert work(job, Place(), Nobody()) == ending, "what is complete takes no step"


def test_what_a_restart_would_not_help_is_returned(job: TrainJob) -> None:
    job.tables(torch.device("cpu")).signal[:] = float("nan")
    ending = work(job, Place(), Nobody())
    assert ending.history == [] and ending.reason and "the loss is not finite" in ending.reason
