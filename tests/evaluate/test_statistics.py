"""Tests and intervals of differences: as known and as scipy has them, with ties, for one subject, for identical models."""

import itertools

import numpy as np
import pytest
from scipy.stats import rankdata, wilcoxon

from raybrain.evaluate.statistics import (
    Comparison,
    PairedDifference,
    compare,
    holm,
    mean_interval,
    segments_interval,
    signed_rank,
)


def enumerated(differences: np.ndarray) -> float:
    """The two-sided p-value over all signs of the ranks, ties with their mean ranks; zeros are left out."""
    kept = differences[differences != 0]
    ranks = rankdata(np.abs(kept))
    sums = [
        sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign)
        for signs in itertools.product((0, 1), repeat=len(kept))
    ]
    found, middle = ranks[kept > 0].sum(), ranks.sum() / 2
    return float(np.mean([abs(value - middle) >= abs(found - middle) - 1e-9 for value in sums]))


@pytest.mark.parametrize(
    "differences",
    [
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        [1.0, 2.0, -3.0, 4.0, 5.0, 6.0, -0.5],
        [1.0, 1.0, -1.0, 2.0, 2.0, 3.0],  # ties
        [0.0, 0.0, 1.0, 1.0, 2.0, -1.0],  # and zeros
        [0.1, 0.3 - 0.2, 0.1, 0.4 - 0.3, -0.2],  # ties but for rounding
    ],
)
def test_few_subjects_are_tested_exactly(differences: list[float]) -> None:
    p, exact = signed_rank(np.array(differences))
    assert exact
    assert p == pytest.approx(enumerated(np.round(differences, 9)))


def test_known_p_values() -> None:
    assert signed_rank(np.arange(1.0, 6)) == (pytest.approx(2 / 2**5), True)
    assert signed_rank(np.arange(1.0, 13)) == (pytest.approx(2 / 2**12), True)
    many = np.random.default_rng(0).normal(0.1, 1, 200)
    assert signed_rank(many) == (pytest.approx(wilcoxon(many).pvalue), False)
    tied = np.repeat([1.0, -2.0, 3.0], 10)
    assert signed_rank(tied) == (pytest.approx(wilcoxon(tied).pvalue), False)


def test_one_subject_cannot_be_tested_and_equal_ones_do_not_differ() -> None:
    assert signed_rank(np.array([0.3])) == (None, True)
    assert compare({("s", "1"): 0.2}, {("s", "1"): 0.5}) == Comparison(1, pytest.approx(0.3), None, True)
    assert signed_rank(np.zeros(5)) == (1.0, True)
    same = PairedDifference.of([np.zeros(10), np.zeros(7)])
    assert (same.mean, same.over_subjects, same.over_segments, same.p) == (0.0, (0.0, 0.0), (0.0, 0.0), 1.0)


def test_holm_as_in_his_example() -> None:
    """Four tests: the smallest times four, the next times three, and never less than one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []
    assert holm([None]) == [None]


def test_intervals_of_a_difference() -> None:
    """Over subjects an interval is wide where subjects differ; over segments it is narrow where there are many of them."""
    rng = np.random.default_rng(1)
    alike = [np.where(rng.random(1000) < 0.3, 1.0, 0.0) for _ in range(6)]
    apart = [np.full(1000, value) for value in (-0.2, 0.0, 0.1, 0.3, 0.5, 0.7)]
    one, other = PairedDifference.of(alike), PairedDifference.of(apart)
    assert one.over_segments == pytest.approx((0.3 - 0.0116, 0.3 + 0.0116), abs=0.012)
    assert other.over_segments == (pytest.approx(other.mean), pytest.approx(other.mean))
    assert other.over_subjects is not None
    assert other.over_subjects[0] < 0.05 < 0.45 < other.over_subjects[1]
    assert other.subjects, other.segments == (6, 6000)
    assert PairedDifference.of(alike[:1]).over_subjects is None
    assert mean_interval(np.array([0.0, 1.0])) == (0.0, 1.0)
    with pytest.raises(ValueError, match="at least one subject"):
        PairedDifference.of([])


def test_subjects_count_alike_in_segments_intervals() -> None:
    few, many = np.array([1.0] * 5 + [0.0] * 5), np.zeros(10_000)
    low, high = segments_interval([few, many])
    assert (low + high) / 2 == pytest.approx(0.25, abs=0.02)
    binomial = np.random.default_rng(0).binomial(10, 0.5, 100_000) / 20
    assert (low, high) == pytest.approx(tuple(np.quantile(binomial, [0.025, 0.975])), abs=0.026)


def test_intervals_over_segments_cover_the_truth() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(100):
        low, high = segments_interval([rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.6, 0.3], size=150) for _ in range(4)])
        inside += low <= 0.2 <= high
    assert inside >= 88
