"""Somebody whom nothing was trained with: which minutes they are calibrated on, and that nothing else is touched for it."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from raybrain.config import InputError, override
from raybrain.encoders.base import FittedEncoder
from raybrain.evaluate.baseline import baseline_of
from raybrain.evaluate.newcomers import Rows, first_minutes, newcomer_rows
from raybrain.experiment import Experiment, recipe
from raybrain.train.closed_form import fitted
from raybrain.train.order import Contrast
from raybrain.train.step import Learner, Place
from raybrain.train.tables import Tables
from tests.tasks.test_tasks import words
from tests.workers import SMALL, random_tables

NEW = 1  # the second subject
SHARED = {"encoder.subject_layer.shared.on": True}
LEFT_OUT = {"train.leave_out": "2", "test.minutes": "0,0.5,9", "encoder.attention.on": False}
KINDS: dict[str, dict[str, Any]] = {
    "low rank": SHARED,
    "channels": SHARED | {"encoder.subject_layer.shared.own": "channels"},
    "from ridge": SHARED | {"encoder.ridge.on": True},
    "a matrix each": {},
    "ridge": {"encoder": "ridge"},
}


def tables_of(experiment: Experiment) -> Tables:
    """Segments one after another that are all train segments but for the last of each recording."""
    tables = words(random_tables(experiment, torch.float32))
    place = torch.arange(len(tables.start)) // 3
    start = tables.recording * 400 + place * 7
    test = place >= 36
    rows = {**tables.rows, "train": torch.nonzero(~test)[:, 0], "test": torch.nonzero(test)[:, 0]}
    return replace(tables, start=start, rows=rows).limited(experiment.train)


def asked(kind: str, **changes: Any) -> Experiment:
    settings = SMALL | LEFT_OUT | KINDS[kind] | changes
    if kind == "ridge":
        settings = {name: value for name, value in settings.items() if not name.startswith("encoder.")}
    return override(Experiment(), settings)


def learner_of(experiment: Experiment) -> Learner:
    if isinstance(experiment.encoder, FittedEncoder):
        return fitted(experiment, tables_of(experiment), Place())
    learner = Learner(experiment, tables_of(experiment), Contrast(4, 1, 4, 4, 0, 1), Place())
    learner.network.eval()
    return learner


def curve(learner: Learner, experiment: Experiment) -> tuple[Rows, Rows]:
    pools = learner.task.pools(learner.tables.words("test"))
    return newcomer_rows(learner, experiment, baseline_of(experiment), pools)


@pytest.mark.parametrize("kind", KINDS)
def test_a_curve_over_minutes_and_nothing_else_changes(kind: str) -> None:
    experiment = asked(kind)
    learner = learner_of(experiment)
    before = {name: value.clone() for name, value in learner.network.state_dict().items()}
    rows, absent = curve(learner, experiment)
    assert not absent and [row["asked"] for row in rows] == [0.0, 0.5, 9.0][: len(rows)]
    first, *_, last = rows
    assert (first["minutes"], first["windows"], first["alone1"]) == (0, 0, None)
    mine = learner.tables.subject[learner.tables.recording[learner.tables.rows["calibration"]]]
    assert set(mine.tolist()) == {NEW} and last["windows"] == len(mine), "at last all that there is"
    assert last["minutes"] < 9 and {row["segments"] for row in rows} == {first["segments"]}
    assert first["ridge1"] == first["top1"] or kind != "ridge"
    assert last["how"] and all(0 <= row[f"{name}10"] <= 1 for row in rows[1:] for name in ("top", "ridge", "alone"))
    assert all(torch.equal(value, before[name]) for name, value in learner.network.state_dict().items())


def test_minutes_are_what_windows_cover() -> None:
    tables = tables_of(override(Experiment(), SMALL))
    rows = torch.nonzero(tables.recording == 1)[:, 0].flip(0)
    one_s, every_s = tables.window.samples / tables.window.rate_hz, 7 / tables.window.rate_hz
    some, minutes = first_minutes(tables, rows, (one_s + 2.5 * every_s) / 60)
    assert len(some) == 3 and minutes == pytest.approx((one_s + 2 * every_s) / 60)
    assert tables.start[some].tolist() == sorted(tables.start[rows].tolist())[:3]
    assert first_minutes(tables, rows, 0) == (pytest.approx(some[:0]), 0.0)
    every, all_minutes = first_minutes(tables, torch.arange(len(tables.start)), 99)
    assert len(every) == len(tables.start) and all_minutes > 2 * minutes, "one recording after another"


def test_too_few_minutes_are_said() -> None:
    experiment = asked("ridge", **{"test.minutes": "0,0.1"})
    rows, absent = curve(learner_of(experiment), experiment)
    assert [row["asked"] for row in rows] == [0] and "too few to calibrate on" in absent[0]["reason"]


def test_who_is_left_out_and_not_tested_is_named() -> None:
    experiment = asked("low rank")
    learner = learner_of(experiment)
    pools = learner.task.pools(learner.tables.words("test", 1))
    rows, absent = newcomer_rows(learner, experiment, baseline_of(experiment), pools)
    assert not rows and [one["reason"] for one in absent] == ["2 has no test segments that test.subjects asks for"]


WRONG = {
    "splits": ({"train.leave_out": "1", "data.splits.mode": "subject", "encoder.subject": "none"}, "data.splits.mode=clean"),
    "nobody": ({"test.left_out": True}, "names nobody; type train.leave_out=NAME"),
    "minutes": ({"test.minutes": "0,-1"}, "0 or more, found -1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_one_line(case: str) -> None:
    changes, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        recipe("quickstart", changes)
