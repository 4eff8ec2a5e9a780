"""Retrieve: rank every estimate against the candidates of its pool, in bounded memory.

Défossez et al. 2023, Methods, "Evaluation".
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from raybrain.batch import Shapes
from raybrain.metrics import TOP, mean_chance, ranks, word_ranks
from raybrain.tasks.base import Task
from raybrain.tasks.candidates import Pool, candidate_counts

ROWS_AT_ONCE = 256
TILE_BYTES = 128 * 2**20
Estimate = Callable[[Tensor], Tensor]  # from rows to estimates [rows features time]


class Ranker(Protocol):
    """A network with its data."""

    task: Task
    shapes: Shapes

    def estimates(self, rows: Tensor) -> Tensor:
        """What the network makes of some segments, [rows features time]."""

    def aimed(self, rows: Tensor) -> Tensor:
        """What it should have made of them, [rows features time]."""

    def scores(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """How well each candidate fits each estimate, [rows candidates]."""


@dataclass(frozen=True)
class Ranked:
    """How well some segments of a pool were estimated; a value per segment in each, on the CPU.

    Attributes:
        segment: the rank of the true segment; 1 is best.
        word: the rank of the true word.
        measures: further measures of the task.
    """

    segment: Tensor
    word: Tensor
    measures: dict[str, Tensor]


def rank_rows(ranker: Ranker, pool: Pool, mine: slice, estimate: Estimate | None = None) -> Ranked:
    """Rank the segments ``mine`` of a pool, a few at a time; ``estimate`` stands in for the ranker's own estimates."""
    segment, word = [], []
    measures: dict[str, list[Tensor]] = {name: [] for name in ranker.task.measures}
    candidates = _Candidates(ranker, pool)
    with torch.no_grad():
        for rows, targets in zip(
            torch.split(pool.rows[mine], ROWS_AT_ONCE), torch.split(pool.targets[mine], ROWS_AT_ONCE), strict=True
        ):
            estimates = (estimate or ranker.estimates)(rows)
            scores = candidates.scores(estimates)
            target = targets.to(scores.device)
            segment.append(ranks(scores, target).cpu())
            word.append(word_ranks(scores, target, pool.words.to(scores.device)).cpu())
            if measures:
                for name, values in ranker.task.measure(estimates, ranker.aimed(rows)).items():
                    measures[name].append(values.cpu())
    empty = torch.empty(0, dtype=torch.long)
    joined = {name: torch.cat([*parts, torch.empty(0)]) for name, parts in measures.items()}
    return Ranked(torch.cat([*segment, empty]), torch.cat([*word, empty]), joined)


class _Candidates:
    """The candidates of a pool: kept where one tile holds all of them, else made again for each lot of estimates."""

    def __init__(self, ranker: Ranker, pool: Pool) -> None:
        self.ranker = ranker
        size = 4 * ranker.shapes.features * ranker.shapes.times
        self.tiles = torch.split(pool.stands, max(1, TILE_BYTES // size))
        self.kept: Tensor | None = None

    def scores(self, estimates: Tensor) -> Tensor:
        return torch.cat([self.ranker.scores(estimates, tile) for tile in self._tiles()], dim=1)

    def _tiles(self) -> Iterator[Tensor]:
        if len(self.tiles) > 1:
            yield from (self.ranker.aimed(tile) for tile in self.tiles)
            return
        if self.kept is None:
            self.kept = self.ranker.aimed(self.tiles[0])
        yield self.kept


def tally(ranked: Ranked) -> Tensor:
    """What adds up over workers: hits among the best k, for each k of TOP, then the sum of each further measure; float64."""
    hits = [(ranked.segment <= k).sum() for k in TOP]
    return torch.stack([*(hit.double() for hit in hits), *(values.double().sum() for values in ranked.measures.values())])


def averages(task: Task, pools: Sequence[Pool], tallies: Sequence[Tensor]) -> dict[str, float]:
    """The mean over studies of each study's top-k accuracies, chance and further measures; nothing where there is no pool.

    Args:
        task: whose measures they are.
        pools: what was ranked.
        tallies: of all segments of each pool.
    """
    names = [f"top{k}" for k in TOP]
    studies = sorted({pool.study for pool in pools})
    result = dict.fromkeys([*names, "chance10", *task.measures], 0.0) if studies else {}
    for study in studies:
        mine = [(pool, total) for pool, total in zip(pools, tallies, strict=True) if pool.study == study]
        counts = candidate_counts([pool for pool, _ in mine])
        means = torch.stack([total for _, total in mine]).sum(dim=0) / counts.total()
        values = dict(zip([*names, *task.measures], means.tolist(), strict=True)) | {"chance10": mean_chance(10, counts)}
        for name, value in values.items():
            result[name] += value / len(studies)
    return result
