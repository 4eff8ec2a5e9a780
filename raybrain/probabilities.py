"""Probabilities: scores of candidates as probabilities, and how far these can be believed.

Temperature scaling: Guo et al. 2017, "On Calibration of Modern Neural Networks". Scores are divided by one number, fitted where
the truth is known, before a softmax: their order stays, and how sure they are becomes right in the mean.

Dimension letters: R rows (estimates), N candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

BINS, ROWS_A_BIN = 15, 10  # of equal width, of the expected calibration error; fewer where a bin would hold hardly any rows
RANGE = 1e4  # times, and divided by, the spread of the scores: where the temperature is looked for
DIGITS = 4  # of what is kept: further ones depend on the order in which processors add
Lot = tuple[Tensor, Tensor]  # scores [R N], and the index of the true candidate of each row, [R]


@dataclass(frozen=True)
class Calibration:
    """How scores become probabilities.

    Attributes:
        temperature: what scores are divided by before a softmax over the candidates.
        error: expected calibration error on the rows it was fitted on: how far the probability of the first candidate is from
            the share of rows in which it is the true one.
        entropy: mean negative logarithm of the probability of the true candidate.
        rows: how many rows it was fitted on.
    """

    temperature: float
    error: float
    entropy: float
    rows: int


def probabilities(scores: Tensor, temperature: float) -> Tensor:
    """The probability of each candidate, [R N] float64."""
    return (scores.double() / temperature).softmax(dim=1)


def calibrated(lots: Sequence[Lot]) -> Calibration | None:
    """The temperature under which the true candidates are most likely; None where nothing is ranked against anything.

    Args:
        lots: scores and targets; lots may differ in candidates.
    """
    from scipy.optimize import minimize_scalar

    lots = [(scores.double().cpu(), targets.cpu()) for scores, targets in lots if len(scores) and scores.shape[1] > 1]
    rows = sum(len(scores) for scores, _ in lots)
    spread = sum(float(scores.std(dim=1).sum()) for scores, _ in lots) / max(rows, 1)
    if spread == 0:  # or nothing at all
        return None

    def entropy(log: float) -> float:
        temperature = spread * float(torch.tensor(log, dtype=torch.float64).exp())
        return sum(float(F.cross_entropy(scores / temperature, targets, reduction="sum")) for scores, targets in lots) / rows

    bound = float(torch.tensor(RANGE).log())
    best = minimize_scalar(entropy, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-6})
    temperature = _short(spread * float(torch.tensor(best.x, dtype=torch.float64).exp()))
    first = [probabilities(scores, temperature).max(dim=1) for scores, _ in lots]
    sure = torch.cat([values for values, _ in first])
    right = torch.cat([index == targets for (_, index), (_, targets) in zip(first, lots, strict=True)])
    return Calibration(temperature, _short(calibration_error(sure, right)), _short(float(best.fun)), rows)


def calibration_error(sure: Tensor, right: Tensor) -> float:
    """The expected calibration error: the mean over rows of how far a bin's mean probability is from its share of right ones.

    Args:
        sure: [R], the probability of what was chosen.
        right: [R], whether it was right.
    """
    bins = max(1, min(BINS, len(sure) // ROWS_A_BIN))
    number = (sure * bins).long().clamp(max=bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64).index_add(0, number, sure.double() - right.double())
    return float(gaps.abs().sum()) / max(len(sure), 1)


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
