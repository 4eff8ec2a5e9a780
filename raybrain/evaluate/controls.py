"""Controls: what accuracy is left once what goes in, or what was learned about it, is taken away. It should be chance.

Each control replaces the model's estimates by others and ranks them exactly as the model's own, against the same candidates.
An accuracy above chance says that segments can be told apart by something else than what went in at that moment
(arXiv 2605.24524 finds 66 % with noise in place of the brain where segments differ in length).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from raybrain.metrics import TOP, chance_interval, mean_candidates, mean_chance, topk
from raybrain.tasks.candidates import Pool, candidate_counts
from raybrain.tasks.retrieve import Estimate, rank_rows
from raybrain.train.step import Learner

SEGMENTS = 1000  # of a study at most, spread evenly over all of its test segments
SHIFT_S = 10.0  # beyond the longest window in use and the response to it
SEED = 2036
DRAWS = 20  # of another segment; with two candidates one row in a million is left with its own
WHAT = {
    "model": "the trained model, on the same segments",
    "random": "random estimates",
    "untrained": "the encoder before training",
    "other segment": "the input of another segment, at random",
    "noise": "Gaussian noise in place of the input",
    "shifted": f"the input {SHIFT_S:g} s later or earlier in the recording",
}


@dataclass(frozen=True)
class Models:
    """The trained model, and the same one as it was before training."""

    trained: Learner
    untrained: Learner


@torch.no_grad()
def control_rows(models: Models, pools: Sequence[Pool]) -> pd.DataFrame:
    """One row per study and control: top-k accuracies, chance, and the range in which 99.9 % of independent guesses end.

    The model itself is the first row; the task says which controls follow. Up to 1,000 segments of each study are ranked.
    """
    models.trained.network.eval()
    models.untrained.network.eval()
    rows = []
    for study in sorted({pool.study for pool in pools}):
        some = _thinned([pool for pool in pools if pool.study == study])
        rows += [{"study": study} | _control_row(models, some, name) for name in ("model", *models.trained.task.controls)]
    return pd.DataFrame(rows)


def _control_row(models: Models, pools: Sequence[Pool], name: str) -> dict[str, Any]:
    ranked = [rank_rows(models.trained, pool, slice(None), estimate=ESTIMATES[name](models, pool)) for pool in pools]
    segment = torch.cat([some.segment for some in ranked])
    counts = candidate_counts(pools)
    row: dict[str, Any] = {"control": name, "segments": len(segment), "candidates": mean_candidates(counts)}
    for k in TOP:
        row |= {f"top{k}": topk(segment, k), f"chance{k}": mean_chance(k, counts)}
    row["low10"], row["high10"] = chance_interval(mean_chance(10, counts), len(segment), level=0.999)
    for measure in models.trained.task.measures:
        row[measure] = float(torch.cat([some.measures[measure] for some in ranked]).double().mean())
    return row


def _thinned(pools: Sequence[Pool]) -> list[Pool]:
    """The pools of a study with fewer segments to rank, and all of their candidates."""
    total = sum(len(pool.rows) for pool in pools)
    return [_spread(pool, max(1, len(pool.rows) * min(SEGMENTS, total) // total)) for pool in pools]


def _spread(pool: Pool, count: int) -> Pool:
    kept = torch.linspace(0, len(pool.rows) - 1, count).round().long()
    return replace(pool, rows=pool.rows[kept], targets=pool.targets[kept])


def _model(models: Models, pool: Pool) -> Estimate:
    return models.trained.estimates


def _untrained(models: Models, pool: Pool) -> Estimate:
    return models.untrained.estimates


def _random(models: Models, pool: Pool) -> Estimate:
    learner = models.trained
    shape = learner.aimed(pool.stands[:1]).shape[1:]

    def estimate(rows: Tensor) -> Tensor:
        drawn = torch.randn(len(rows), *shape, generator=_generator(rows))
        return drawn.to(learner.place.device, learner.place.dtype)

    return estimate


def _other(models: Models, pool: Pool) -> Estimate:
    """What goes in of another segment: each row's partner shows another candidate wherever there are several."""
    partner = {int(row): int(other) for row, other in zip(pool.rows, pool.rows[_partners(pool.targets)], strict=True)}
    return lambda rows: models.trained.estimates(torch.tensor([partner[int(row)] for row in rows]))


def _partners(targets: Tensor) -> Tensor:
    """For each row another one at random, drawn again while it shows the same candidate."""
    make = torch.Generator().manual_seed(SEED)
    drawn = torch.randint(len(targets), targets.shape, generator=make)
    for _ in range(DRAWS):
        drawn = torch.where(targets[drawn] == targets, torch.randint(len(targets), targets.shape, generator=make), drawn)
    return drawn


def _noise(models: Models, pool: Pool) -> Estimate:
    learner = models.trained

    def estimate(rows: Tensor) -> Tensor:
        batch = learner.given(rows)
        noise = torch.randn(batch.signal.shape, generator=_generator(rows))
        return learner.encoded(replace(batch, signal=noise.to(batch.signal)))

    return estimate


def _shifted(models: Models, pool: Pool) -> Estimate:
    learner = models.trained
    elsewhere = learner.tables.shifted(SHIFT_S)
    return lambda rows: learner.encoded(learner.given(rows, tables=elsewhere))


def _generator(rows: Tensor) -> torch.Generator:
    return torch.Generator().manual_seed(SEED * 1_000_003 + int(rows[0]))


ESTIMATES: dict[str, Callable[[Models, Pool], Estimate]] = {
    "model": _model,
    "random": _random,
    "untrained": _untrained,
    "other segment": _other,
    "noise": _noise,
    "shifted": _shifted,
}
