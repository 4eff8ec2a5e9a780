"""What is kept of a calibration, and what somebody has of whom nothing is known."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from raybrain.batch import Batch
from raybrain.experiment import Experiment
from raybrain.network import Parts
from raybrain.train.adapt import STEPS, Adapter, LabelledWindows
from raybrain.train.loop import Training
from raybrain.train.order import Contrast, contrast
from raybrain.train.record import RunRecord
from raybrain.train.rows import subject_rows
from raybrain.train.step import Learner, Place
from tests.train.test_loop import asked, go
from tests.workers import random_tables

ROWS = "encoder.front.subject_layer.weights"
PLAIN = {"encoder.subject_layer.shared.on": False, "encoder.attention.per_subject": False}
FITTED, HELD = torch.arange(12), torch.arange(12, 24)


class Windows(LabelledWindows):
    """Train segments."""

    def __init__(self, learner: Learner) -> None:
        self.learner, self.rows = learner, learner.tables.rows["train"]

    def batches(self, numbers: Tensor) -> Iterator[Batch]:
        yield self.learner.given(self.rows[numbers])

    def stored(self, numbers: Tensor) -> Tensor:
        return self.learner.stored(self.rows[numbers])


class Scripted(Adapter):
    """Finds the surprise of what is held out as it is told, and that the first subject is the likest."""

    looks: Iterator[float]

    def entropy(self, numbers: Tensor) -> float:
        if numbers is HELD:
            return next(self.looks)
        mine, first = (self.stepped[0][number] for number in (1, 0))
        return 0.0 if torch.equal(mine, first) else 1.0


def adapter() -> Scripted:
    """Of the second subject, with the first as the one who is known."""
    experiment = asked(PLAIN)
    learner = Learner(experiment, random_tables(experiment, torch.float32), Contrast(4, 1, 4, 4, 0, 1), Place())
    learner.network.eval()
    rows = subject_rows(Parts.of(experiment), learner.shapes)
    assert rows == [ROWS]
    return Scripted(learner.network, rows, 1, [0], Windows(learner))


def rows_of(made: Adapter) -> list[Tensor]:
    return [row.clone() for row in made.network.get_parameter(ROWS).detach()]


@pytest.mark.parametrize(
    ("looks", "how", "after"),
    [
        ([3.0, 2.9, 2.0, *[2.5] * 9, 1.0], "55 steps of Adam", 1.0),
        ([3.0, 2.9, 2.99], "0 steps of Adam", 2.9),
    ],
    ids=["through a hump", "the likest as they are"],
)
def test_the_steps_that_are_best_on_what_is_held_out_are_kept(looks: Sequence[float], how: str, after: float) -> None:
    made = adapter()
    made.looks = itertools.chain(looks, itertools.repeat(9.0))
    first, second = rows_of(made)
    done = made.run(FITTED, HELD)
    assert (done.how, done.start, done.before, done.after) == (how, 0, 3.0, after)
    now = rows_of(made)
    assert torch.equal(now[0], first) and not torch.equal(now[1], second)
    assert torch.equal(now[1], first) == (how[0] == "0")


def test_nothing_is_kept_that_is_worse_than_no_calibration() -> None:
    made = adapter()
    made.looks = itertools.chain([3.0], itertools.repeat(3.1, STEPS))
    before = rows_of(made)
    done = made.run(FITTED, HELD)
    assert (done.how, done.start, done.before, done.after) == ("0 steps of Adam", 1, 3.0, 3.0)
    assert all(torch.equal(one, other) for one, other in zip(before, rows_of(made), strict=True))


def begun(folder: Path, experiment: Experiment) -> Training:
    tables = random_tables(experiment, torch.float32).limited(experiment.train)
    return Training(experiment, tables, contrast(experiment.train, 1, len(tables.rows["train"])), Place(), RunRecord(folder))


@pytest.mark.parametrize(
    "fewer", [{"train.leave_out": "2"}, {"train.subjects": 1, "test.subjects": 1}], ids=["named", "counted"]
)
def test_who_was_not_trained_with_has_the_mean_of_the_others(fewer: dict[str, object], tmp_path: Path) -> None:
    training = begun(tmp_path, asked(PLAIN | fewer | {"train.epochs": 1}))
    go(training)
    assert training.learner.trained == [0]
    best = RunRecord(tmp_path).best()
    assert best
    known, unknown = best["model"][ROWS]
    assert torch.equal(unknown, known)
