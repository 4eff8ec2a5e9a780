"""Context: candidates of one sentence, or of one sound, support each other, as people hear sentences and not windows.

Rescoring at inference, after arXiv 2605.24524: windows that follow each other in a recording, until the sentence ends, were
heard in one stretch. Each candidate's score gains by how well its sentence fits the other windows of that stretch. Which
windows belong together is known from time alone; which sentence it was is not. How much the context counts, and whether
it is of sentences or sounds, is chosen on the valid split. Its control groups the same windows at random: it must gain nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raybrain.metrics import TOP, ranks, reciprocal_rank, topk
from raybrain.tasks.candidates import Pool
from raybrain.tasks.retrieve import scored
from raybrain.train.step import Learner

SEGMENTS = 1000  # of a study about so many, in whole stretches spread evenly over all
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
SEED = 2036
GAIN = 3.29  # standard deviations that random groups must gain to be odd: one in a thousand


@dataclass(frozen=True)
class Scored:
    """Segments of a pool in the order in which they were heard.

    Attributes:
        scores: [segments candidates], of each segment with mean 0 and deviation 1.
        targets: [segments], index of the true candidate.
        stretch: [segments], a number for the stretch each was heard in.
        units: of each kind of context, [candidates], a number for the sentence or sound of each.
    """

    scores: Tensor
    targets: Tensor
    stretch: Tensor
    units: dict[str, Tensor]

    def ranks(self, kind: str, weight: float, stretch: Tensor | None = None) -> Tensor:
        """The rank of the true candidates, with a context that counts ``weight`` times; of other stretches if given."""
        if weight == 0:
            return ranks(self.scores, self.targets)
        support = self._support(self.units[kind], self.stretch if stretch is None else stretch)
        return ranks(self.scores + weight * support, self.targets)

    def _support(self, unit: Tensor, stretch: Tensor) -> Tensor:
        """How well the unit of each candidate fits the other segments of a stretch, [segments candidates]."""
        fit = _log_mean_exp(self.scores, unit)
        total = torch.zeros(int(stretch.max()) + 1, fit.shape[1], dtype=fit.dtype).index_add(0, stretch, fit)
        others = torch.bincount(stretch)[stretch] - 1
        mean = (total[stretch] - fit) / others.clamp(min=1)[:, None]
        return torch.where(others[:, None] > 0, mean, 0.0)[:, unit]


def _log_mean_exp(scores: Tensor, unit: Tensor) -> Tensor:
    """Over the candidates of each unit, [segments units]."""
    count = int(unit.max()) + 1
    column = unit.expand_as(scores)
    highest = scores.new_full((len(scores), count), -torch.inf).scatter_reduce(1, column, scores, "amax")
    total = torch.zeros_like(highest).scatter_add(1, column, (scores - highest.gather(1, column)).exp())
    return (total / torch.bincount(unit, minlength=count)).log() + highest


def context_rows(learner: Learner, valid: Sequence[Pool], test: Sequence[Pool]) -> list[dict[str, Any]]:
    """One row per study: top-k accuracies plain, with context, and with the context of random groups.

    Args:
        learner: the trained model.
        valid: the pools that the kind of context and its weight are chosen on.
        test: the pools that are ranked.
    """
    kind, weight = _choose([_scored(learner, pool) for pool in valid])
    rows = []
    for study in sorted({pool.study for pool in test}):
        some = [_scored(learner, pool) for pool in test if pool.study == study]
        plain = torch.cat([one.ranks(kind, 0.0) for one in some])
        context = torch.cat([one.ranks(kind, weight) for one in some])
        random = torch.cat([one.ranks(kind, weight, _shuffled(one.stretch)) for one in some])
        row: dict[str, Any] = {"study": study, "of": kind, "weight": weight, "segments": len(plain)}
        for k in TOP:
            row |= {f"plain{k}": topk(plain, k), f"context{k}": topk(context, k), f"random{k}": topk(random, k)}
        row["odd"] = _gains(plain, random)
        rows.append(row)
    return rows


def _choose(valid: Sequence[Scored]) -> tuple[str, float]:
    """The kind of context and the weight with the highest mean reciprocal rank; of equals the lowest weight."""
    tried = [("sentence", 0.0), *((kind, weight) for weight in WEIGHTS[1:] for kind in ("sentence", "sound"))]
    if not valid:
        return tried[0]
    values = [reciprocal_rank(torch.cat([one.ranks(*way) for one in valid])) for way in tried]
    return tried[int(np.argmax(values))]


def _gains(plain: Tensor, other: Tensor) -> bool:
    """Whether more segments come first than before than could be by chance (McNemar)."""
    won, lost = int(((other == 1) & (plain > 1)).sum()), int(((other > 1) & (plain == 1)).sum())
    return won - lost > GAIN * math.sqrt(won + lost)


def _shuffled(stretch: Tensor) -> Tensor:
    """Groups of the same sizes, of segments at random."""
    return stretch[torch.randperm(len(stretch), generator=torch.Generator().manual_seed(SEED))]


def _scored(learner: Learner, pool: Pool) -> Scored:
    """The scores of about SEGMENTS segments of a pool, whole stretches."""
    tables = learner.tables
    known = [tables.meta["candidates"][number]["sentence"] for number in tables.candidate.cpu()[pool.stands].tolist()]
    sentence = _numbers(known)
    order = np.lexsort([tables.start.cpu()[pool.rows].numpy(), tables.recording.cpu()[pool.rows].numpy()])
    rows, targets = pool.rows[order], pool.targets[order]
    change = torch.ones(len(rows), dtype=torch.bool)
    heard, recording = sentence[targets], tables.recording.cpu()[rows]
    change[1:] = (heard[1:] != heard[:-1]) | (recording[1:] != recording[:-1])
    stretch = change.cumsum(0) - 1
    every = max(1, round(len(rows) / SEGMENTS))
    kept = torch.nonzero(stretch % every == 0)[:, 0]
    thinned = Pool(pool.study, rows[kept], targets[kept], pool.stands, pool.words)
    scores = torch.cat([part.float().cpu() for *_, part in scored(learner, thinned, slice(None))])
    centred = scores - scores.mean(dim=1, keepdim=True)
    spread = centred.square().mean(dim=1, keepdim=True).sqrt()
    units = {"sentence": sentence, "sound": _numbers(tables.heard(pool.stands)[0].tolist())}
    return Scored(centred / torch.where(spread > 0, spread, 1.0), targets[kept], _numbers(stretch[kept].tolist()), units)


def _numbers(values: Sequence[Any]) -> Tensor:
    """The number of each value among all different ones."""
    return torch.from_numpy(np.unique(np.array(values), return_inverse=True)[1])
