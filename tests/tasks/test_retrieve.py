"""Ranks of hand-made cases: ties, duplicates, one candidate, estimates that are no numbers; for any tiles and shares."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from raybrain.batch import Shapes
from raybrain.config import InputError
from raybrain.evaluate.segment_rows import share_of
from raybrain.experiment import Experiment
from raybrain.losses.base import inner_products
from raybrain.metrics import predictions, reciprocal_rank
from raybrain.tasks import retrieve
from raybrain.tasks.base import Task
from raybrain.tasks.candidates import Pool
from raybrain.tasks.retrieve import Ranked, rank_rows


@dataclass
class Given:
    """Estimates and candidates by row."""

    made: Tensor
    wanted: Tensor
    asked: list[int] = field(default_factory=list)  # how many candidates were made, each time
    task: Task = field(default_factory=lambda: Experiment().task)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def shapes(self) -> Shapes:
        return Shapes(1, ("s/1",), *self.wanted.shape[1:], rate_hz=100.0)

    def estimates(self, rows: Tensor) -> Tensor:
        return self.made[rows]

    def aimed(self, rows: Tensor) -> Tensor:
        self.asked.append(len(rows))
        return self.wanted[rows]

    def scores(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        return inner_products(estimates, candidates)


def ranked(made: Any, wanted: Any, words: list[int] | None = None) -> Ranked:
    """Each row aims at the candidate of its number; rows are [features] with one sample each."""
    made, wanted = (torch.tensor(values, dtype=torch.float32)[:, :, None] for values in (made, wanted))
    every = torch.arange(len(wanted))
    pool = Pool("s", every[: len(made)], every[: len(made)], every, torch.tensor(words or range(len(wanted))))
    return rank_rows(Given(made, wanted), pool, slice(None))


def test_known_ranks() -> None:
    found = ranked(made=[[3, 2, 1], [3, 2, 1], [3, 2, 1]], wanted=[[1, 0, 0], [0, 1, 0], [0, 0, 1]], words=[0, 1, 1])
    assert found.segment.tolist() == [1, 2, 3]
    assert found.word.tolist() == [1, 2, 2]
    assert found.predicted.tolist() == [0, 0, 0]
    assert found.margin.tolist() == pytest.approx([1, -1, -2])
    assert reciprocal_rank(found.segment) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)


def test_whatever_ties_stands_before_the_truth() -> None:
    same = ranked(made=[[0, 0], [0, 0]], wanted=[[1, 0], [0, 1]])
    assert same.segment.tolist() == [2, 2] and same.predicted.tolist() == [1, 0] and same.margin.tolist() == [0, 0]
    twice = ranked(made=[[5, 1], [5, 1], [1, 5]], wanted=[[1, 0], [1, 0], [0, 1]])
    assert twice.segment.tolist() == [2, 2, 1] and twice.predicted.tolist() == [1, 0, 2]


def test_one_candidate_is_right() -> None:
    one = ranked(made=[[-2, 1]], wanted=[[1, 0]])
    assert one.segment.tolist() == one.word.tolist() == [1]
    assert one.predicted.tolist() == [0] and one.margin.tolist() == [float("inf")]


def test_no_score_is_lower_than_all() -> None:
    first, margin = predictions(torch.tensor([[float("nan"), 1.0, 2.0]]), torch.tensor([0]))
    assert first.tolist() == [2] and margin.tolist() == [-float("inf")]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_estimates_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="the estimates of 1 of 2 segments of s are not finite"):
        ranked(made=[[1, 0], [bad, 0]], wanted=[[1, 0], [0, 1]])


def large(rows: int = 300, candidates: int = 37, copies: int = 5) -> tuple[Given, Pool]:
    """More rows than a lot holds; some candidates are the same as others, far apart."""
    make = torch.Generator().manual_seed(0)
    wanted = torch.randn(candidates, 6, 11, generator=make)
    wanted[-copies:] = wanted[:copies]
    targets = torch.arange(rows) % candidates
    made = wanted[targets] + 3 * torch.randn(rows, 6, 11, generator=make)
    data = Given(made, torch.cat([wanted, torch.zeros(rows - candidates, 6, 11)]))
    return data, Pool("s", torch.arange(rows), targets, torch.arange(candidates), torch.arange(candidates) % 9)


def same(one: Ranked, other: Ranked) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("segment", "word", "predicted"))


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "made again"])
def test_tiles_of_any_size_rank_the_same(keep: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data, pool = large()
    whole = rank_rows(data, pool, slice(None))
    assert data.asked == [37]
    copied = (pool.targets < 5) | (pool.targets >= 32)
    assert int(whole.segment[copied].min()) == 2, "its copy ties with it"
    monkeypatch.setattr(retrieve, "free_bytes", lambda device: 2**40 if keep else 0)
    for size in range(1, 38):
        monkeypatch.setattr(retrieve, "TILE_BYTES", size * 4 * 66)
        data, pool = large()
        tiled = rank_rows(data, pool, slice(None))
        assert same(tiled, whole), size
        torch.testing.assert_close(tiled.margin, whole.margin)
        assert sum(data.asked) == 37 * (1 if keep or size == 37 else 2), "two lots of rows"


def test_shares_are_whole_lots_and_together_everything() -> None:
    data, pool = large(rows=1000)
    whole = rank_rows(data, pool, slice(None))
    for shards in (1, 2, 3, 7):
        parts = [rank_rows(data, pool, share_of(pool, shard, shards)) for shard in range(shards)]
        for name in ("segment", "word", "predicted", "margin"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
