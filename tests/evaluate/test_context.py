"""Windows of one sentence support each other; windows grouped at random do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from raybrain.evaluate.context import WEIGHTS, Scored, _choose, _gains, _shuffled, context_rows
from raybrain.metrics import topk
from raybrain.tasks.candidates import Pool
from tests.evaluate.test_rank import Oracle, learner, marked_tables, pools

SENTENCES, EACH = 40, 8


def heard(signal: float, seed: int = 0) -> Scored:
    """Scores of a model that knows a little of each window; every sentence is heard once, window after window."""
    make = torch.Generator().manual_seed(seed)
    count = SENTENCES * EACH
    scores = torch.randn(count, count, generator=make) + signal * torch.eye(count)
    unit = torch.arange(count) // EACH
    return Scored(scores, torch.arange(count), unit.clone(), {"sentence": unit, "sound": torch.zeros_like(unit)})


def test_context_helps_and_random_groups_do_not() -> None:
    some = heard(signal=3.0)
    kind, weight = _choose([heard(signal=3.0, seed=1)])
    assert kind == "sentence" and weight > 0
    plain, context = some.ranks(kind, 0.0), some.ranks(kind, weight)
    random = some.ranks(kind, weight, _shuffled(some.stretch))
    assert topk(context, 1) > topk(plain, 1) + 0.1
    assert topk(random, 1) <= topk(plain, 1)
    assert _gains(plain, context) and not _gains(plain, random)


def test_where_nothing_is_known_context_is_chance() -> None:
    some = heard(signal=0.0)
    for weight in WEIGHTS:
        for stretch in (some.stretch, _shuffled(some.stretch)):
            assert topk(some.ranks("sentence", weight, stretch), 10) == pytest.approx(10 / 320, abs=0.04)


def test_a_window_alone_keeps_its_ranks() -> None:
    some = heard(signal=2.0)
    alone = replace(some, stretch=torch.arange(len(some.targets)))
    assert torch.equal(alone.ranks("sentence", 4.0), some.ranks("sentence", 0.0))


def test_a_context_that_is_the_same_for_all_changes_nothing() -> None:
    some = heard(signal=2.0)
    assert torch.equal(some.ranks("sound", 1.0), some.ranks("sound", 0.0))


def test_support_by_hand() -> None:
    """Two windows of a sentence of two candidates, beside a sentence of one."""
    scores = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 3.0]])
    some = Scored(scores, torch.tensor([0, 1]), torch.tensor([0, 0]), {"sentence": torch.tensor([0, 0, 1])})
    fit = [[np.log((np.exp(2) + 1) / 2), 1.0], [np.log((1 + np.exp(1)) / 2), 3.0]]
    expected = torch.tensor([[fit[1][0], fit[1][0], fit[1][1]], [fit[0][0], fit[0][0], fit[0][1]]], dtype=torch.float32)
    torch.testing.assert_close(some._support(some.units["sentence"], some.stretch), expected)


def test_a_row_for_each_study() -> None:
    tables = marked_tables()
    said = [{**known, "sentence": str(number // 4)} for number, known in enumerate(tables.meta["candidates"])]
    tables = replace(tables, meta=tables.meta | {"candidates": said})
    test: list[Pool] = pools(tables, "test")
    (row,) = context_rows(learner(tables, Oracle), pools(tables, "valid_words"), test)
    assert row["study"] == "s" and row["segments"] == 16
    assert row["plain1"] == row["context1"] == 1.0, "it is right already"
    assert row["weight"] == 0.0 and row["random1"] == 1.0 and not row["odd"]
    assert context_rows(learner(tables, Oracle), [], test) == [row]
