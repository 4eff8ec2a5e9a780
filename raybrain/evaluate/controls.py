"""Controls: what accuracy is left once the brain, or what was learned about it, is taken away. It should be chance.

Each control replaces the model's estimates by others and ranks them exactly as the model's own, against the same candidates.
An accuracy above chance says that segments can be told apart by something else than what the brain did at that moment
(arXiv 2605.24524 finds 66 % with noise in place of the brain where segments differ in length).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor

from raybrain.metrics import TOP, chance, chance_interval, topk
from raybrain.train.retrieval import Estimate, Pool, rank_rows
from raybrain.train.step import Learner
from raybrain.train.tables import Tables

SEGMENTS = 1000  # of a study at most, spread evenly over all of its test segments
SHIFT_S = 10.0  # beyond the longest window in use and the response to it
SEED = 2036
DRAWS = 20  # of another segment; with two candidates one row in a million is left with its own
WHAT = {
    "model": "the trained model, on the same segments",
    "random": "random estimates",
    "untrained": "the encoder before training",
    "other segment": "the brain of another segment, at random",
    "noise": "Gaussian noise in place of the brain",
    "shifted": f"the brain {SHIFT_S:g} s later or earlier in the recording",
}


@dataclass(frozen=True)
class Models:
    """The trained model, and the same one as it was before training."""

    trained: Learner
    untrained: Learner


@torch.no_grad()
def control_rows(models: Models, pools: list[Pool]) -> pd.DataFrame:
    """A row a study and control: top-k accuracies, chance, and the range in which 99.9 % of independent guesses end.

    The model itself is the first row. Up to 1,000 segments of each study are ranked.
    """
    rows = []
    models.trained.model.eval()
    models.untrained.model.eval()
    for pool in pools:
        some = _thinned(pool)
        count = len(some.stands)
        for name, make in ESTIMATES.items():
            segment, _ = rank_rows(models.trained, some, slice(None), estimate=make(models, some))
            row = {"study": pool.study, "control": name, "segments": len(some.rows), "candidates": count}
            for k in TOP:
                row |= {f"top{k}": topk(segment, k), f"chance{k}": chance(k, count)}
            row["low10"], row["high10"] = chance_interval(chance(10, count), len(some.rows), level=0.999)
            rows.append(row)
    return pd.DataFrame(rows)


def _thinned(pool: Pool) -> Pool:
    """The pool with fewer segments to rank, and all of its candidates."""
    kept = torch.linspace(0, len(pool.rows) - 1, min(SEGMENTS, len(pool.rows))).round().long()
    return replace(pool, rows=pool.rows[kept], targets=pool.targets[kept])


def _model(models: Models, pool: Pool) -> Estimate:
    return models.trained.estimates


def _untrained(models: Models, pool: Pool) -> Estimate:
    return models.untrained.estimates


def _random(models: Models, pool: Pool) -> Estimate:
    learner = models.trained
    shape = learner.speech(pool.stands[:1]).shape[1:]

    def estimate(rows: Tensor) -> Tensor:
        drawn = torch.randn(len(rows), *shape, generator=_generator(rows))
        return drawn.to(learner.place.device, learner.place.dtype)

    return estimate


def _other(models: Models, pool: Pool) -> Estimate:
    """Another segment's brain: each row's partner shows another candidate wherever there are several."""
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
        batch = learner.brain(rows)
        noise = torch.randn(batch.signal.shape, generator=_generator(rows))
        return learner.encoded(replace(batch, signal=noise.to(batch.signal)))

    return estimate


def _shifted(models: Models, pool: Pool) -> Estimate:
    learner = models.trained
    elsewhere = replace(learner.tables, start=shifted_starts(learner.tables))

    def estimate(rows: Tensor) -> Tensor:
        batch = elsewhere.batch(rows.to(elsewhere.device), learner.brain(rows[:1]).draws)
        return learner.encoded(batch.to(learner.place.device, learner.place.dtype))

    return estimate


def shifted_starts(tables: Tables) -> Tensor:
    """Where each segment starts if its brain is taken ``SHIFT_S`` later, or earlier where the recording ends before.

    A recording reaches from its first segment to its last; in one too short for either, the start moves by half of it.
    """
    count = len(tables.subject)
    shift = round(SHIFT_S * tables.window.rate_hz)
    first = tables.start.new_full((count,), int(tables.start.max())).scatter_reduce(0, tables.recording, tables.start, "amin")
    last = tables.start.new_zeros(count).scatter_reduce(0, tables.recording, tables.start, "amax")
    first, last = first[tables.recording], last[tables.recording]
    later, earlier = tables.start + shift, tables.start - shift
    half = first + (tables.start - first + (last - first) // 2) % (last - first + 1)
    return torch.where(later <= last, later, torch.where(earlier >= first, earlier, half))


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
