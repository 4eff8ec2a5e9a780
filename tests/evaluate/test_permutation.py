"""The band of exchanged candidates: by hand, against permutations that are ranked one by one, and as often right as it says."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from raybrain.evaluate import permutation
from raybrain.evaluate.permutation import Alike, Leaders, TimeOrder, band, permuted
from raybrain.metrics import TOP, chance_interval, leaders, ranks, topk


def standing(scores: Tensor, targets: Tensor) -> Leaders:
    return Leaders(targets, *leaders(scores, TOP[-1]), scores.shape[1])


def apart(count: int) -> TimeOrder:
    """Candidates of sentences of their own."""
    return TimeOrder(np.arange(count), np.arange(count))


def test_leaders_have_the_ranks_they_would_have_if_they_were_true() -> None:
    scores = torch.tensor([[5.0, 1.0, 3.0, 3.0], [2.0, 2.0, 2.0, 2.0], [float("nan"), 0.0, 1.0, -1.0]])
    number, rank = leaders(scores, 2)
    assert number[0].tolist() in ([0, 2], [0, 3]) and rank[0].tolist() == [1, 3], "the second ties with the third"
    assert (rank[1] > 2).all(), "all tie, so none is among the first two"
    assert number[2].tolist() == [2, 1] and rank[2].tolist() == [1, 2]
    scores = torch.randint(0, 6, (50, 9), generator=torch.Generator().manual_seed(0)).float()
    number, rank = leaders(scores, 10)
    for column in range(9):
        assert torch.equal(rank[:, column], ranks(scores, number[:, column]))


def test_every_draw_is_the_accuracy_of_candidates_that_are_ranked_again() -> None:
    make = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 8, (60, 23), generator=make).float()  # with ties
    targets = torch.randint(0, 20, (60,), generator=make)  # some repeated, some never true
    heard = TimeOrder(np.random.default_rng(1).permutation(23), np.arange(23) // 3)
    drawn = permuted([(standing(scores, targets), heard)], draws=100)
    exchanged = np.concatenate(
        [heard.exchanged(rng, n) for rng in [np.random.default_rng([permutation.SEED, 0])] for n in (64, 36)]
    )
    expected = [[topk(ranks(scores, torch.from_numpy(other)[targets]), k) for k in TOP] for other in exchanged]
    np.testing.assert_allclose(drawn, expected, atol=1e-9)


def test_pools_add_up() -> None:
    some = [(standing(torch.eye(n), torch.arange(n)), apart(n)) for n in (8, 30)]
    both, each = permuted(some, draws=50), [permuted([one], draws=50) for one in some]
    np.testing.assert_allclose(both[:, 2].mean(), 1 / 38 * (8 * each[0][:, 2].mean() + 30 * each[1][:, 2].mean()), atol=0.05)
    assert (permuted(some[:1], draws=50)[:, 2] <= 1).all()


def test_one_candidate_is_always_right() -> None:
    one = [(standing(torch.zeros(4, 1), torch.zeros(4, dtype=torch.long)), apart(1))]
    assert set(band(one).values()) == {1.0}


def test_neighbours_stay_neighbours() -> None:
    order, sentence = np.array([3, 0, 1, 2, *range(4, 40)]), np.array([1, 1, 2, 0, *(3 + np.arange(36) // 4)])
    others = TimeOrder(order, sentence).exchanged(np.random.default_rng(0), 500)
    assert (np.sort(others, axis=1) == np.arange(40)).all(), "each is exchanged for one"
    place = np.argsort(order)
    for left, right in itertools.pairwise(order):
        apart_by = (place[others[:, right]] - place[others[:, left]]) % 40
        assert (apart_by == 1).mean() > (0.99 if sentence[left] == sentence[right] else 0.0)
    assert len({tuple(row) for row in others}) > 490
    assert len({int(number) for number in others[:, 7]}) == 40, "each comes everywhere"


def test_few_sentences_are_cut_into_pieces() -> None:
    others = TimeOrder(np.arange(28), np.zeros(28, dtype=int)).exchanged(np.random.default_rng(0), 200)
    assert len({tuple(row) for row in others}) > 190, "not the turns of one sentence"
    assert ((others[:, 1] - others[:, 0]) % 28 == 1).mean() > 0.9
    few = TimeOrder(np.arange(3), np.zeros(3, dtype=int)).exchanged(np.random.default_rng(0), 200)
    assert len({tuple(row) for row in few}) == 6


def test_alike_are_exchanged_among_themselves() -> None:
    group = np.array([0, 1, 0, 2, 1, 0])
    others = Alike(group).exchanged(np.random.default_rng(0), 100)
    assert (group[others] == group).all() and (np.sort(others, axis=1) == np.arange(6)).all()
    assert {int(number) for number in others[:, 0]} == {0, 2, 5} and (others[:, 3] == 3).all()


def test_guesses_that_are_the_same_for_several_subjects_have_a_wider_band() -> None:
    """Of 20 draws of estimates that know nothing, one in fifty may leave a band of 99.9 %; a band of guesses more do leave."""
    make, count, subjects, outside, guessed = torch.Generator().manual_seed(0), 60, 6, 0, 0
    low, high = chance_interval(10 / count, count * subjects, level=0.999)
    for _ in range(20):
        scores = torch.randn(count, count, generator=make).repeat(subjects, 1)
        targets = torch.arange(count).repeat(subjects)
        known, accuracy = band([(standing(scores, targets), apart(count))]), topk(ranks(scores, targets), 10)
        assert known["band_low10"] <= 10 / count <= known["band_high10"]
        outside += not known["band_low10"] <= accuracy <= known["band_high10"]
        guessed += not low <= accuracy <= high
    assert outside == 0 and guessed > 1


def test_a_habit_is_no_knowledge() -> None:
    """Whoever always names the same candidates is right as often as these are true, whichever they are."""
    scores = torch.zeros(90, 30)
    scores[:, 4] = 1.0
    targets = torch.cat([torch.arange(30), torch.full((60,), 4)])
    known = band([(standing(scores, targets), apart(30))])
    assert topk(ranks(scores, targets), 1) == known["band_high1"] == pytest.approx(61 / 90), "one in thirty is that one"
    assert known["band_low1"] == pytest.approx(1 / 90)
