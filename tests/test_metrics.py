import math

import pytest
import torch

from raybrain.metrics import binomial_interval, chance, chance_interval, ranks, topk, well_above, word_ranks

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("scores", "target", "rank"),
    [
        ([3.0, 2.0, 1.0], 0, 1),
        ([3.0, 2.0, 1.0], 1, 2),
        ([3.0, 2.0, 1.0], 2, 3),
        ([2.0, 2.0, 1.0], 0, 2),  # a tie stands before the truth
        ([0.0, 0.0, 0.0], 1, 3),
        ([NAN, 2.0, 1.0], 2, 2),  # NaN is worse than any number
        ([NAN, 2.0, 1.0], 0, 3),
        ([NAN, NAN, NAN], 0, 3),
        ([-INF, NAN, 1.0], 0, 3),
        ([INF, 2.0, 1.0], 0, 1),
    ],
)
def test_rank(scores: list[float], target: int, rank: int) -> None:
    assert ranks(torch.tensor([scores]), torch.tensor([target])).tolist() == [rank]


def test_ranks_of_several_rows() -> None:
    scores = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    assert ranks(scores, torch.tensor([1, 0])).tolist() == [2, 3]


def test_topk() -> None:
    places = torch.tensor([1, 2, 5, 11])
    assert [topk(places, k) for k in (1, 5, 10)] == [0.25, 0.75, 0.75]


WORDS = torch.tensor([70, 80, 70, 90])


def test_word_ranks_sum_the_probabilities_of_a_word() -> None:
    # word 70 has .3 + .2, word 80 has .4, word 90 has .1
    scores = torch.tensor([[0.3, 0.4, 0.2, 0.1]]).log().expand(4, -1)
    assert word_ranks(scores, torch.arange(4), WORDS).tolist() == [1, 2, 1, 3]


def test_word_ranks_do_not_underflow() -> None:
    scores = torch.tensor([[0.0, 5000.0, 10.0, 5.0]]).expand(4, -1)
    assert word_ranks(scores, torch.arange(4), WORDS).tolist() == [2, 1, 2, 3]


def test_word_ranks_are_pessimistic() -> None:
    assert word_ranks(torch.full((1, 4), NAN), torch.tensor([0]), WORDS).tolist() == [3]
    one_each = torch.arange(4)
    assert word_ranks(torch.zeros(1, 4), torch.tensor([0]), one_each).tolist() == [4]


def test_word_ranks_equal_ranks_where_every_word_is_different() -> None:
    generator = torch.Generator().manual_seed(0)
    scores, targets = torch.randn(20, 9, generator=generator), torch.randint(9, (20,), generator=generator)
    assert torch.equal(word_ranks(scores, targets, torch.randperm(9, generator=generator)), ranks(scores, targets))


def test_chance() -> None:
    assert chance(10, 190) == pytest.approx(0.0526, abs=1e-4)  # brennan2019 in the paper
    assert chance(10, 5) == 1.0
    with pytest.raises(ValueError, match="positive"):
        chance(0, 5)


def test_binomial_interval() -> None:
    # with no success in n the upper end solves (1 - p)^n = tail
    assert binomial_interval(0, 10) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
    assert binomial_interval(10, 10) == (pytest.approx(0.025 ** (1 / 10)), 1.0)
    low, high = binomial_interval(5, 10)
    assert (low, high) == (pytest.approx(0.1871, abs=1e-4), pytest.approx(0.8129, abs=1e-4))  # as printed in tables
    with pytest.raises(ValueError, match="11 of 10"):
        binomial_interval(11, 10)
    with pytest.raises(ValueError, match="level"):
        binomial_interval(1, 10, level=95)


def test_well_above_chance() -> None:
    assert [well_above(accuracy, 0.1) for accuracy in (0.1, 0.19, 0.2)] == [False, False, True]
    assert [well_above(accuracy, 0.6) for accuracy in (0.6, 0.79, 0.8)] == [False, False, True]
    assert well_above(1.0, 1.0)  # ten candidates or fewer: nothing can be told


def test_chance_interval() -> None:
    # of two throws of a coin, one right is the middle half; none or both are a quarter each
    assert chance_interval(0.5, 2, level=0.4) == (0.5, 0.5)
    assert chance_interval(0.5, 2, level=0.6) == (0.0, 1.0)
    with pytest.raises(ValueError, match="rate"):
        chance_interval(1.5, 2)
