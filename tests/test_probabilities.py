"""Scores become probabilities that are right in the mean."""

import math

import pytest
import torch

from raybrain.probabilities import calibrated, calibration_error, probabilities

ROWS, CANDIDATES = 4000, 12


def drawn(temperature: float, rows: int = ROWS) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores, and targets that are drawn with the probabilities that these scores have at a temperature."""
    generator = torch.Generator().manual_seed(0)
    scores = 5 * torch.randn(rows, CANDIDATES, generator=generator)
    return scores, torch.multinomial((scores.double() / temperature).softmax(1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize("temperature", [0.5, 3.0, 40.0])
def test_the_temperature_under_which_scores_were_drawn_is_recovered(temperature: float) -> None:
    known = calibrated([drawn(temperature)])
    assert known is not None and known.rows == ROWS
    assert known.temperature == pytest.approx(temperature, rel=0.1)
    assert known.error < 0.03


def test_lots_with_other_numbers_of_candidates_share_one() -> None:
    scores, targets = drawn(3.0)
    fewer, true = drawn(3.0, 2000)
    both = calibrated([(scores, targets), (torch.cat([fewer, fewer - 1000], dim=1), true)])
    assert both is not None and both.rows == ROWS + 2000
    assert both.temperature == pytest.approx(3.0, rel=0.1)


def test_scores_times_a_number_have_a_temperature_times_that_number() -> None:
    scores, targets = drawn(3.0)
    one, other = calibrated([(scores, targets)]), calibrated([(1e-6 * scores, targets)])
    assert one and other
    assert other.temperature == pytest.approx(1e-6 * one.temperature, rel=1e-3)
    assert (other.error, other.entropy) == (pytest.approx(one.error, abs=1e-3), pytest.approx(one.entropy, rel=1e-3))


def test_nothing_is_known_where_nothing_is_ranked() -> None:
    nothing = torch.empty(0, 5), torch.empty(0, dtype=torch.long)
    assert calibrated([]) is None
    assert calibrated([nothing, (torch.zeros(3, 1), torch.zeros(3, dtype=torch.long))]) is None
    assert calibrated([(torch.zeros(3, 4), torch.zeros(3, dtype=torch.long))]) is None


def test_of_scores_that_know_nothing_all_are_as_likely() -> None:
    scores, _ = drawn(1.0)
    known = calibrated([(scores, torch.arange(ROWS) % CANDIDATES)])
    assert known
    assert probabilities(scores, known.temperature).max() < 2 / CANDIDATES
    assert known.entropy == pytest.approx(math.log(CANDIDATES), rel=0.01)


def test_the_calibration_error_by_hand() -> None:
    sure = torch.tensor([0.91] * 50 + [0.21] * 100, dtype=torch.float64)
    right = torch.tensor(([True] * 25 + [False] * 25) + ([True] * 25 + [False] * 75))
    assert calibration_error(sure, right) == pytest.approx((50 * (0.91 - 0.5) + 100 * (0.25 - 0.21)) / 150)
    few = torch.tensor([0.3, 0.7, 0.5], dtype=torch.float64)  # one bin, since single rows are right or wrong and never half
    assert calibration_error(few, torch.tensor([True, False, False])) == pytest.approx(0.5 - 1 / 3)
    assert calibration_error(torch.ones(3), torch.tensor([True] * 3)) == 0
