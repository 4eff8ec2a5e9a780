"""Retrieve: rank every estimate against the candidates of its pool, in bounded memory.

Défossez et al. 2023, Methods, "Evaluation".
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from raybrain.batch import Shapes
from raybrain.config import InputError
from raybrain.excerpts import digests, first_of_same
from raybrain.metrics import TOP, mean_chance, predictions, ranks, word_ranks
from raybrain.tasks.base import Task
from raybrain.tasks.candidates import Pool, candidate_counts

ROWS_AT_ONCE = 256
TILE_BYTES = 128 * 2**20
KEPT_SHARE = 0.25  # of the memory that is free, that candidates may take until all estimates are ranked
Estimate = Callable[[Tensor], Tensor]  # from rows to estimates [rows features time]


class Ranker(Protocol):
    """A network with its data."""

    task: Task
    shapes: Shapes

    @property
    def device(self) -> torch.device:
        """What it computes on."""

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
        predicted: index of the candidate that stands first; another than the true one where it ties with that.
        margin: the score of the true candidate less that of the best other one.
        measures: further measures of the task.
    """

    segment: Tensor
    word: Tensor
    predicted: Tensor
    margin: Tensor
    measures: dict[str, Tensor]


def rank_rows(ranker: Ranker, pool: Pool, mine: slice, estimate: Estimate | None = None) -> Ranked:
    """Rank the segments ``mine`` of a pool, a few at a time; ``estimate`` stands in for the ranker's own estimates.

    Raises:
        InputError: if an estimate is not finite.
    """
    parts_of: dict[str, list[Tensor]] = {name: [] for name in ("segment", "word", "predicted", "margin", *ranker.task.measures)}
    words = pool.words
    with torch.no_grad():
        for rows, targets, estimates, scores in scored(ranker, pool, mine, estimate):
            target, words = targets.to(scores.device), words.to(scores.device)
            predicted, margin = predictions(scores, target)
            values = {"predicted": predicted, "margin": margin, "segment": ranks(scores, target)}
            values["word"] = word_ranks(scores, target, words)
            if ranker.task.measures:
                values |= ranker.task.measure(estimates, ranker.aimed(rows))
            for name, value in values.items():
                parts_of[name].append(value.cpu())
    none = {name: torch.empty(0, dtype=torch.long) for name in ("segment", "word", "predicted")}
    joined = {name: torch.cat([*parts, none.get(name, torch.empty(0))]) for name, parts in parts_of.items()}
    measures = {name: joined.pop(name) for name in ranker.task.measures}
    return Ranked(**joined, measures=measures)


def scored(
    ranker: Ranker, pool: Pool, mine: slice, estimate: Estimate | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Segments ``mine`` of a pool, a few at a time: rows, targets, estimates, and the scores of all candidates.

    Raises:
        InputError: if an estimate is not finite.
    """
    candidates = _Candidates(ranker, pool)
    lots = (torch.split(some[mine], ROWS_AT_ONCE) for some in (pool.rows, pool.targets))
    for rows, targets in zip(*lots, strict=True):
        estimates = (estimate or ranker.estimates)(rows)
        if bad := int((~torch.isfinite(estimates)).flatten(1).any(dim=1).sum()):
            raise InputError(
                f"the estimates of {bad} of {len(rows)} segments of {pool.study} are not finite, so they cannot be ranked;"
                " train again with a lower optim.lr, or with window.clamp set"
            )
        yield rows, targets, estimates, candidates.scores(estimates)


class _Candidates:
    """The candidates of a pool, in tiles: kept where there is room, else made again for each lot of estimates.

    Candidates that are the same to the last bit have the same score, whichever tiles they are in.
    """

    def __init__(self, ranker: Ranker, pool: Pool) -> None:
        self.ranker = ranker
        size = 4 * ranker.shapes.features * ranker.shapes.times
        self.tiles = torch.split(pool.stands, max(1, TILE_BYTES // size))
        self.keep = len(self.tiles) == 1 or size * len(pool.stands) < KEPT_SHARE * free_bytes(ranker.device)
        self.kept: list[Tensor] = []
        self.first: Tensor | None = None  # of each candidate, the number of the first one that is the same

    def scores(self, estimates: Tensor) -> Tensor:
        parts, sums = [], []
        for tile in self._tiles():
            parts.append(self.ranker.scores(estimates, tile))
            if self.first is None:
                sums.append(digests(tile).cpu())
        if self.first is None:
            first = first_of_same(torch.cat(sums))
            self.first = first if (first != torch.arange(len(first))).any() else first[:0]  # nothing where all differ
        scores = torch.cat(parts, dim=1)
        return scores if len(self.first) == 0 else scores[:, self.first.to(scores.device)]

    def _tiles(self) -> Iterator[Tensor]:
        if self.kept:
            yield from self.kept
            return
        for tile in self.tiles:
            made = self.ranker.aimed(tile)
            if self.keep:
                self.kept.append(made)
            yield made


def free_bytes(device: torch.device) -> int:
    """Memory of a device that nobody uses."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


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
