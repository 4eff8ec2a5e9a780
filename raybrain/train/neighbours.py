"""Neighbours: which train segments aim at something like another one does, by an index that is small and exact.

What a segment aims at is averaged over parts of its window and projected onto a few random directions (Johnson and
Lindenstrauss 1984); where it points then is kept in whole numbers of seven bits. Products of those are exact in float32, so
that the same neighbours come out whatever computes them, in whatever order.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from raybrain.experiment import Experiment
from raybrain.train.order import EXTRA, Order
from raybrain.train.step import Learner

PARTS = 8  # of a window
DIRECTIONS = 64
LARGEST = 127
NEAREST = 16  # neighbours that one is drawn from
ROWS_AT_ONCE, QUERIES_AT_ONCE = 64, 16


@dataclass
class Neighbours:
    """The index of some segments.

    Attributes:
        learner: says what each segment aims at, and where that lies in what was heard.
        rows: [segments], ascending.
        codes: [segments directions], whole numbers as float32.
    """

    learner: Learner
    rows: Tensor
    codes: Tensor

    @classmethod
    def of(cls, learner: Learner) -> "Neighbours":
        """That of the train split: one pass over what is aimed at, by the first worker."""
        rows = learner.tables.rows["train"]
        made = _codes(learner, rows) if learner.place.rank == 0 else None
        content = learner.place.first(None if made is None else made.cpu().numpy().tobytes())
        assert content is not None
        codes = torch.frombuffer(bytearray(content), dtype=torch.int8).view(len(rows), DIRECTIONS)
        return cls(learner, rows, codes.to(rows.device, torch.float32))

    def near(self, rows: Tensor, batch: Tensor, generator: torch.Generator) -> Tensor:
        """For each of some segments one of its nearest neighbours, drawn.

        No neighbour is in the batch or shares a moment of what is heard; where there is no such segment, any one is drawn.

        Args:
            rows: [queries], segments of the index.
            batch: [batch], segments that are there already.
            generator: of the draws.
        """
        count, device = min(NEAREST, len(self.rows)), self.rows.device
        drawn = torch.rand(len(rows), generator=generator, dtype=torch.float64).to(device)
        others = torch.randint(len(self.rows), (len(rows),), generator=generator).to(device)
        excerpts, everyone = self.learner.excerpts(self.rows), torch.arange(len(self.rows), device=device)
        here = torch.zeros(len(self.rows), dtype=torch.bool, device=device)
        here[torch.searchsorted(self.rows, batch)] = True
        picked: list[Tensor] = []
        for some in torch.split(torch.searchsorted(self.rows, rows), QUERIES_AT_ONCE):
            likeness = (self.codes[some] @ self.codes.T).long() * len(everyone) - everyone  # no two are the same
            lowest = torch.iinfo(likeness.dtype).min
            likeness = likeness.masked_fill(here | excerpts.alike(some, everyone), lowest)
            best, places = likeness.topk(count, dim=1)
            number = (drawn[len(picked) * QUERIES_AT_ONCE :][: len(some)] * (best > lowest).sum(dim=1)).long()
            chosen = places.gather(1, number[:, None])[:, 0]
            fallback = others[len(picked) * QUERIES_AT_ONCE :][: len(some)]
            picked.append(torch.where(best[:, 0] > lowest, chosen, fallback))
        return self.rows[torch.cat(picked)]


@dataclass
class NearOrder(Order):
    """An order whose extra negatives are like the segments of the batch."""

    neighbours: Neighbours | None = None

    def extra(self, step: int) -> Tensor:
        """Neighbours of segments of the batch; each segment has as many of them as another, but for one."""
        assert self.neighbours is not None
        batch, generator = self.batch(step), self._generator(EXTRA + step)
        turns = -(-self.sizes.extra // len(batch))
        drawn = torch.cat([torch.randperm(len(batch), generator=generator) for _ in range(turns)])[: self.sizes.extra]
        return self.neighbours.near(batch[drawn.to(batch.device)], batch, generator)


def order_of(experiment: Experiment, learner: Learner) -> Order:
    """The order that an experiment asks for."""
    rows, train = learner.tables.rows["train"], experiment.train
    if train.negatives == "uniform":
        return Order(rows, learner.sizes, train.seed)
    return NearOrder(rows, learner.sizes, train.seed, neighbours=Neighbours.of(learner))


@torch.no_grad()
def _codes(learner: Learner, rows: Tensor) -> Tensor:
    """[segments directions], int8."""
    parts = []
    for some in torch.split(rows, ROWS_AT_ONCE):
        values = torch.nn.functional.adaptive_avg_pool1d(learner.wanted(some).float(), PARTS).flatten(1)
        generator = torch.Generator().manual_seed(values.shape[1])
        onto = torch.randint(0, 2, (values.shape[1], DIRECTIONS), generator=generator).to(values) * 2 - 1
        parts.append((values @ onto).double())
    projected = torch.cat(parts)
    projected = projected - projected.mean(dim=0)
    projected /= torch.linalg.vector_norm(projected, dim=1, keepdim=True).clamp(min=1e-12)
    return (projected * (LARGEST / projected.abs().max().clamp(min=1e-12))).round().to(torch.int8)
