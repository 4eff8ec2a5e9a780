"""Metrics of retrieval: where the true candidate stands among all of them, and what chance would give.

Ranks are pessimistic: whatever ties with the truth stands before it, so a network that answers the same to everything is
last and not first.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

TOP = (1, 5, 10)  # the k of all top-k accuracies that are reported


def ranks(scores: Tensor, targets: Tensor) -> Tensor:
    """The place of the true candidate, 1 for the best: one more than the other candidates that score as high or higher.

    Args:
        scores: [rows candidates]; a NaN counts as lower than everything.
        targets: [rows], index of the true candidate.

    Returns:
        [rows], whole numbers.
    """
    scores = scores.masked_fill(scores.isnan(), -torch.inf)
    return (scores >= scores.gather(1, targets[:, None])).sum(dim=1)


def predictions(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Which candidate stands first, and by how much the true one stands before the best other one.

    Args:
        scores: [rows candidates]; a NaN counts as lower than everything.
        targets: [rows], index of the true candidate.

    Returns:
        [rows] each: the index, of another candidate where it ties with the truth; and the margin, infinite without others.
    """
    scores = scores.masked_fill(scores.isnan(), -torch.inf)
    best, number = scores.scatter(1, targets[:, None], -torch.inf).max(dim=1)
    margin = scores.gather(1, targets[:, None])[:, 0] - best
    return torch.where(margin > 0, targets, number), margin


def leaders(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The candidates that stand first, and the rank that each would have if it were the true one.

    Args:
        scores: [rows candidates]; a NaN counts as lower than everything.
        count: how many; a rank above it says that the candidate ties with some that are not among these.

    Returns:
        [rows count] each, or fewer columns where there are fewer candidates: index and rank.
    """
    scores = scores.masked_fill(scores.isnan(), -torch.inf)
    best, number = scores.topk(min(count + 1, scores.shape[1]), dim=1)
    rank = (best[:, None] >= best[:, :, None]).sum(dim=2)
    return number[:, :count], rank[:, :count]


def word_ranks(scores: Tensor, targets: Tensor, words: Tensor) -> Tensor:
    """The place of the true word among the unique words.

    A word is as likely as all the candidates that carry it together, where a softmax over the scores gives the
    probability of each candidate.

    Args:
        scores: [rows candidates].
        targets: [rows], index of the true candidate.
        words: [candidates], a number for the word each candidate carries.

    Returns:
        [rows], whole numbers.
    """
    unique, word = torch.unique(words, return_inverse=True)
    scores = scores.double().masked_fill(scores.isnan(), -torch.inf)
    column = word.expand_as(scores)
    # logarithms order words as their probabilities do, and unlike them never underflow into ties
    highest = scores.new_full((len(scores), len(unique)), -torch.inf).scatter_reduce(1, column, scores, "amax")
    shift = highest.masked_fill(highest == -torch.inf, 0.0)
    total = torch.zeros_like(shift).scatter_add(1, column, (scores - shift.gather(1, column)).exp())
    return ranks(total.log() + shift, word[targets])


def topk(ranks: Tensor, k: int) -> float:
    """The share of rows whose true candidate is among the best ``k``."""
    return (ranks <= k).double().mean().item()


def reciprocal_rank(ranks: Tensor) -> float:
    """The mean of 1 / rank: 1 if the true candidate always stands first."""
    return (1 / ranks.double()).mean().item()


def chance(k: int, candidates: int) -> float:
    """The top-k accuracy of random scores."""
    if k < 1 or candidates < 1:
        raise ValueError(f"k and candidates must be positive, found k={k} and candidates={candidates}")
    return min(k / candidates, 1.0)


def mean_chance(k: int, counts: Mapping[int, int]) -> float:
    """The top-k accuracy of random scores where rows differ in candidates: ``counts`` has rows by number of candidates."""
    total = sum(counts.values())
    return sum(chance(k, candidates) * (rows / total) for candidates, rows in sorted(counts.items()))


def mean_candidates(counts: Mapping[int, int]) -> int:
    """How many candidates a row has in the mean, where ``counts`` has rows by number of candidates."""
    return round(sum(candidates * rows for candidates, rows in counts.items()) / sum(counts.values()))


def well_above(accuracy: float, rate: float) -> bool:
    """Whether an accuracy is twice that of chance, ``rate``; or half way from chance to 1 where that is nearer."""
    return accuracy >= min(2 * rate, (1 + rate) / 2)


def binomial_interval(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The exact (Clopper-Pearson) confidence interval of a success rate of which ``successes`` of ``n`` were seen."""
    from scipy.stats import beta

    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"successes must be from 0 to n and n positive, found {successes} of {n}")
    tail = _tail(level)
    low = float(beta.ppf(tail, successes, n - successes + 1)) if successes > 0 else 0.0
    high = float(beta.ppf(1 - tail, successes + 1, n - successes)) if successes < n else 1.0
    return low, high


def chance_interval(rate: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Between which accuracies a guess that is right with probability ``rate`` falls in ``n`` independent rows."""
    from scipy.stats import binom

    if not 0 <= rate <= 1 or n < 1:
        raise ValueError(f"rate must be from 0 to 1 and n positive, found rate={rate} and n={n}")
    tail = _tail(level)
    return float(binom.ppf(tail, n, rate)) / n, float(binom.ppf(1 - tail, n, rate)) / n


def _tail(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, found {level}")
    return (1 - level) / 2
