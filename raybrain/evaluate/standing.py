"""Standing: how the segments of a pool are ranked by any estimates, with all that exchanging candidates needs to know."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raybrain.evaluate.permutation import Leaders, TimeOrder
from raybrain.evaluate.segment_rows import candidate_columns
from raybrain.metrics import TOP, leaders, ranks
from raybrain.tasks.candidates import Pool
from raybrain.tasks.retrieve import Estimate, Ranker, scored
from raybrain.train.tables import Tables


@dataclass(frozen=True)
class Ranking:
    """The segments of a pool, ranked.

    Attributes:
        ranks: [segments], of the true candidates.
        standing: which candidates stand first.
        measures: [segments] each, further measures of the task.
    """

    ranks: Tensor
    standing: Leaders
    measures: dict[str, Tensor]


@torch.no_grad()
def ranking(ranker: Ranker, pool: Pool, estimate: Estimate, measures: Sequence[str] = ()) -> Ranking:
    """Rank the segments of a pool by some estimates, a few at a time.

    Raises:
        InputError: if an estimate is not finite.
    """
    names = ["ranks", "leaders", "leader_ranks", *measures]
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for rows, targets, estimates, scores in scored(ranker, pool, slice(None), estimate):
        values = dict(zip(("leaders", "leader_ranks"), leaders(scores, TOP[-1]), strict=True))
        values["ranks"] = ranks(scores, targets.to(scores.device))
        if measures:
            values |= ranker.task.measure(estimates, ranker.aimed(rows))
        for name in names:
            parts[name].append(values[name].cpu())
    joined = {name: torch.cat(some) for name, some in parts.items()}
    standing = Leaders(pool.targets, joined["leaders"], joined["leader_ranks"], len(pool.stands))
    return Ranking(joined["ranks"], standing, {name: joined[name] for name in measures})


def heard(tables: Tables, pool: Pool) -> TimeOrder:
    """Where the candidates of a pool lie in what was heard."""
    columns = candidate_columns(tables, pool)
    return TimeOrder(np.lexsort([columns["second"], columns["stimulus"]]), columns["sentence"])
