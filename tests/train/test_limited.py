"""Fewer subjects and fewer hours are trained on, by the first names and the first minutes; what is tested stays."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from raybrain.config import InputError, override
from raybrain.evaluate.baseline import baseline_of
from raybrain.experiment import Experiment, TrainConfig, recipe
from raybrain.train.fitting import fits
from raybrain.train.tables import Tables
from tests.workers import SMALL, random_tables


@pytest.fixture
def tables() -> Tables:
    return random_tables(override(Experiment(), SMALL), torch.float32)


def limited_to(tables: Tables, left_out: bool = False, **changes: Any) -> Tables:
    return tables.limited(TrainConfig(**changes), left_out)


def who(tables: Tables, split: str) -> set[int]:
    return set(tables.subject[tables.recording[tables.rows[split]]].tolist())


def test_the_first_subjects_are_trained_with(tables: Tables) -> None:
    limited = limited_to(tables, subjects=1)
    assert (who(tables, "train"), who(limited, "train"), who(limited, "valid")) == ({0, 1}, {0}, {0})
    tested = replace(tables, rows={**tables.rows, "test": torch.arange(20)})
    assert torch.equal(limited_to(tested, subjects=1).rows["test"], torch.arange(20))
    kept = [row for row in tables.rows["train"].tolist() if tables.subject[tables.recording[row]] == 0]
    assert limited.rows["train"].tolist() == kept, "in the order in which they were"
    assert limited_to(tables, subjects=2).rows["train"].tolist() == tables.rows["train"].tolist()
    assert limited_to(tables) is tables


def test_valid_subjects_that_are_held_out_stay(tables: Tables) -> None:
    """The second one is the valid split of held-out subjects: nobody was left out who could have been trained with."""
    subject = tables.subject[tables.recording]
    rows = {"train": torch.nonzero(subject == 0)[:, 0], "valid": torch.nonzero(subject == 1)[:, 0]}
    held_out = replace(tables, rows={**tables.rows, **rows})
    assert torch.equal(limited_to(held_out, subjects=1).rows["valid"], rows["valid"])


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.99])
def test_the_first_share_of_each_recording_is_trained_on(tables: Tables, share: float) -> None:
    limited, train = limited_to(tables, share=share), tables.rows["train"]
    for recording in range(3):
        mine = train[tables.recording[train] == recording]
        earliest = sorted(mine.tolist(), key=lambda row: int(tables.start[row]))[: math.ceil(share * len(mine))]
        now = limited.rows["train"]
        assert sorted(now[tables.recording[now] == recording].tolist()) == sorted(earliest)
    assert torch.equal(limited.rows["valid"], tables.rows["valid"])


def test_who_is_held_out_and_neither_validated_nor_tested_has_no_fit(tables: Tables) -> None:
    """As in held-out subjects: all are tested with the map of everybody who is trained with."""
    subject = tables.subject[tables.recording]
    first, second = (torch.nonzero(subject == number)[:, 0] for number in (0, 1))
    apart = replace(tables, rows={"train": first, "valid": second[:5], "test": second[5:]})
    assert [one.subjects for one in fits(apart, per_subject=True, held_out=True)] == [(0, 1)]
    sessions = replace(tables, rows={"train": torch.cat([first[:4], second[:4]]), "valid": second[4:6], "test": first[4:]})
    one, other = fits(sessions, per_subject=True, held_out=True)
    assert (one.subjects, other.subjects) == ((0,), (1,))
    assert one.valid.tolist() == second[4:6].tolist(), "judged by the valid segments of others, as it has none"


def test_the_baseline_is_trained_on_as_little() -> None:
    less = recipe("quickstart", {"train.share": 0.5, "train.subjects": 2, "test.subjects": 1})
    assert baseline_of(less).train.share == 0.5
    assert baseline_of(less).train.subjects == 2
    assert baseline_of(less).signature != baseline_of(recipe("quickstart", {"test.subjects": 1})).signature


def test_who_is_tested_must_be_known_to_the_encoder() -> None:
    for changes in ({"train.subjects": 2}, {"train.subjects": 2, "test.subjects": 3}):
        with pytest.raises(InputError, match=r"type test\.subjects=2, or encoder\.subject=none"):
            recipe("quickstart", changes)
    recipe("quickstart", {"train.subjects": 2, "test.subjects": 2})
    recipe("quickstart", {"train.subjects": 2, "encoder.subject": "none"})
    recipe("quickstart", {"train.subjects": 2, "encoder": "ridge"})
    with pytest.raises(InputError, match=r"train\.share"):
        recipe("quickstart", {"train.share": 0})
