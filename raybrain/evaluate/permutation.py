"""Permutation: the accuracies that estimates which know nothing may reach, from those estimates with candidates exchanged.

If estimates know nothing of what was heard, it makes no difference which candidate is said to be the true one. So the
candidates are exchanged at random, 1,999 times, and the band reaches from the lowest to the highest accuracy of all of these:
estimates that know nothing leave it once in a thousand (an exact permutation test; Ernst, Statistical Science 19, 676-685,
2004). Other than a band of independent guesses it allows for what makes guesses depend on each other:

- what several subjects heard is one candidate, and all of its segments go to the same other one;
- windows overlap their neighbours. Sentences are put in another order as wholes, and all is moved on by a random number of
  places, so neighbours stay neighbours nearly everywhere (block permutation; Winkler et al., NeuroImage 123, 253-268, 2015);
- estimates that prefer some candidates, whatever goes in, keep doing so.

Nothing is ranked again: the candidates that stand among the first few of each estimate say which of them would be hits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raybrain.metrics import TOP

DRAWS = 1999
SEED = 2036
FEWEST = 7  # sentences: fewer do not have a thousand orders, so the time they take is cut into so many pieces
AT_ONCE = 64  # permutations
PLACES = 2**20  # the base of numbers in which hits of each k of TOP are counted at once: of more than all segments


@dataclass(frozen=True)
class TimeOrder:
    """Where the candidates of a pool lie in what was heard, [candidates] each: numbers of sentence and group, and their order.

    Attributes:
        order: the candidates in the order of sounds and of time in these.
        sentence: a number for the sentence of each.
    """

    order: np.ndarray
    sentence: np.ndarray

    def exchanged(self, make: np.random.Generator, count: int) -> np.ndarray:
        """Random permutations that keep neighbours together, [count candidates]: which one each is exchanged for."""
        _, sentence = np.unique(self.sentence[self.order], return_inverse=True)
        total = len(sentence)
        if sentence.max() + 1 < FEWEST:
            sentence = np.arange(total) * min(FEWEST, total) // total
        lengths = np.bincount(sentence)
        turns = np.argsort(make.random((count, len(lengths))), axis=1)  # the sentences in another order
        begins = np.empty_like(turns)
        np.put_along_axis(begins, turns, np.cumsum(lengths[turns], axis=1) - lengths[turns], axis=1)
        begins += make.integers(total, size=(count, 1))
        places = (begins[:, sentence] + _numbers_within(sentence)) % total
        others: np.ndarray = np.empty_like(places)
        others[:, self.order] = self.order[places]
        return others


def _numbers_within(groups: np.ndarray) -> np.ndarray:
    """The how many-th of its group each is, from 0."""
    order = np.argsort(groups, kind="stable")
    within = np.empty_like(order)
    within[order] = np.arange(len(groups)) - np.searchsorted(groups[order], groups[order])
    return within


@dataclass(frozen=True)
class Alike:
    """Candidates that are exchanged for those of the same group alone; ``group`` is a number for that of each."""

    group: np.ndarray

    def exchanged(self, make: np.random.Generator, count: int) -> np.ndarray:
        """Random permutations inside of groups, [count candidates]: which one each is exchanged for."""
        others = np.empty((count, len(self.group)), dtype=np.int64)
        places = np.argsort(self.group + make.random((count, len(self.group))), axis=1)
        others[:, np.argsort(self.group, kind="stable")] = places
        return others


@dataclass(frozen=True)
class Leaders:
    """What of the ranks of a pool's segments a permutation needs; on the CPU.

    Attributes:
        targets: [segments], the true candidate of each.
        leaders: [segments k], the candidates that stand first.
        ranks: [segments k], the ranks that these would have if they were true.
        candidates: how many there are.
    """

    targets: Tensor
    leaders: Tensor
    ranks: Tensor
    candidates: int

    def hits(self) -> tuple[np.ndarray, np.ndarray]:
        """Which candidates are true of some segment, [true]; and of how many segments each one is among the first k of TOP.

        The latter is [true candidates], the numbers for all k in one number of base PLACES.
        """
        true, row = torch.unique(self.targets, return_inverse=True)
        counts = torch.zeros(len(true) * self.candidates, dtype=torch.int64)
        for k in reversed(TOP):
            among = self.ranks <= k
            places = (row[:, None] * self.candidates + self.leaders)[among]
            counts *= PLACES
            counts.index_add_(0, places, torch.ones_like(places))
        return true.numpy(), counts.view(len(true), self.candidates).numpy()


def permuted(pools: Sequence[tuple[Leaders, TimeOrder | Alike]], draws: int = DRAWS) -> np.ndarray:
    """The accuracies of all pools together, for each k of TOP, with candidates exchanged at random; [draws k].

    Args:
        pools: how the segments of each are ranked, and how its candidates are exchanged.
        draws: how often.
    """
    total = np.zeros((draws, len(TOP)))
    for number, (standing, exchange) in enumerate(pools):
        make = np.random.default_rng([SEED, number])
        true, counts = standing.hits()
        for start in range(0, draws, AT_ONCE):
            exchanged = exchange.exchanged(make, min(AT_ONCE, draws - start))[:, true]
            total[start : start + AT_ONCE] += _digits(counts[np.arange(len(true)), exchanged].sum(axis=1))
    return total / sum(len(standing.targets) for standing, _ in pools)


def _digits(numbers: np.ndarray) -> np.ndarray:
    """What was counted for each k of TOP in numbers of that base, [numbers k]."""
    return np.stack([numbers // PLACES**power % PLACES for power in range(len(TOP))], axis=1)


def band(pools: Sequence[tuple[Leaders, TimeOrder | Alike]]) -> dict[str, float]:
    """The lowest and highest accuracies with candidates exchanged, as ``band_low10`` and ``band_high10`` for each k of TOP."""
    accuracies = permuted(pools)
    lows, highs = accuracies.min(axis=0).tolist(), accuracies.max(axis=0).tolist()
    return {
        name: value
        for k, low, high in zip(TOP, lows, highs, strict=True)
        for name, value in ((f"band_low{k}", low), (f"band_high{k}", high))
    }
