"""Controls: what accuracy is left once what goes in, or what was learned about it, is taken away. It should be chance.

Most controls replace the model's estimates by others and rank them exactly as the model's own, against the same candidates. An
accuracy above its band (:mod:`raybrain.evaluate.permutation`) says that segments can be told apart by something else than what
went in at that moment (arXiv 2605.24524 finds 66 % with noise in place of the brain where segments differ in length).

The last ones ask whether something simple explains the model's own accuracy (:mod:`raybrain.evaluate.explained`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from raybrain.evaluate.explained import GROUPS, Courses, explained_row, why_unknown
from raybrain.evaluate.permutation import band
from raybrain.evaluate.silence import Silence
from raybrain.evaluate.standing import Ranking, heard, ranking
from raybrain.metrics import TOP, chance_interval, mean_candidates, mean_chance, reciprocal_rank, topk
from raybrain.tasks.candidates import Pool, candidate_counts
from raybrain.tasks.retrieve import Estimate
from raybrain.train.step import Learner

SEGMENTS = 1000  # of a study at most, spread evenly over all of its test segments
SHIFT_S = 10.0  # beyond the longest window in use and the response to it
FLAT = 0.1  # what is flat changes at most so much of what is usual; a resampled jump rings on for a while
USUAL = 0.9  # the share of samples that change at most as usual: less than that may be flat
SEED = 2036
DRAWS = 20  # of another segment; with two candidates one row in a million is left with its own
WHAT = {
    "model": "the trained model, on the same segments",
    "random": "random estimates",
    "untrained": "the encoder before training",
    "other segment": "the input of another segment, at random",
    "noise": "Gaussian noise in place of the input",
    "shifted": f"the input {SHIFT_S:g} s later or earlier in the recording",
    "flat": "noise wherever the input varies; what is flat stays so",
    "silence": "the input of a stretch in which nothing is heard",
    "place": "the model, had it told apart places in the sentence alone",
    "length": "the model, had it told apart how much is heard alone",
    "envelope": "the model's estimates, by their envelope alone",
}
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Models:
    """The trained model, and the same one as it was before training; silence for its input, where that is known."""

    trained: Learner
    untrained: Learner
    silence: Silence | None = None


@torch.no_grad()
def control_rows(models: Models, pools: Sequence[Pool]) -> tuple[pd.DataFrame, Rows]:
    """One row per study and control: top-k accuracies, chance, and the range in which 99.9 % of them end if nothing is known.

    The model itself is the first row; the task says which controls follow. Up to 1,000 segments of each study are ranked.
    ``low10`` and ``high10`` are of independent guesses, the bands of permutations.

    Returns:
        The rows; and study, control and reason for each control that a study cannot have.
    """
    models.trained.network.eval()
    models.untrained.network.eval()
    rows, absent = [], []
    for study in sorted({pool.study for pool in pools}):
        some = _Controls.of(models, [pool for pool in pools if pool.study == study])
        for name in ("model", *models.trained.task.controls):
            if reason := some.why_not(name):
                absent.append({"study": study, "control": name, "reason": reason})
            else:
                rows.append({"study": study} | some.row(name))
    return pd.DataFrame(rows), absent


@dataclass(frozen=True)
class _Controls:
    """The controls of a study, beside what is known of its model."""

    models: Models
    pools: Sequence[Pool]
    courses: Courses
    model: Sequence[Ranking]

    @classmethod
    def of(cls, models: Models, pools: Sequence[Pool]) -> "_Controls":
        some = _thinned(pools)
        courses = Courses.of(models.trained, some)
        model = [ranking(models.trained, pool, courses.shown, models.trained.task.measures) for pool in some]
        return cls(models, some, courses, model)

    def why_not(self, name: str) -> str:
        """Why there is no such control here; empty if there is."""
        if name == "silence":
            return "" if any(len(pool.rows) for pool in self._quiet()) else self._no_silence()
        if name == "envelope" and self.models.trained.shapes.features == 1:
            return "what is aimed at has one dimension: it is the course of that"
        return why_unknown(self._groups(name)) if name in GROUPS else ""

    def row(self, name: str) -> dict[str, Any]:
        """The row of a control."""
        if name == "model":
            return self._row(name, self.pools, self.model)
        if name in GROUPS:
            unknown = self._row(name, self.pools, self.model) | dict.fromkeys(["mrr", *self.models.trained.task.measures])
            return unknown | explained_row([one.standing for one in self.model], self._groups(name))
        if name == "envelope":
            return self._row(name, self.pools, [ranking(self.courses, pool, self.courses.estimates) for pool in self.pools])
        pools = self._quiet() if name == "silence" else self.pools
        model, measures = self.models.trained, self.models.trained.task.measures
        made = [ranking(model, pool, ESTIMATES[name](self.models, pool), measures) for pool in pools if len(pool.rows)]
        return self._row(name, [pool for pool in pools if len(pool.rows)], made)

    def _row(self, name: str, pools: Sequence[Pool], some: Sequence[Ranking]) -> dict[str, Any]:
        ranks = torch.cat([one.ranks for one in some])
        counts, measures = candidate_counts(pools), self.models.trained.task.measures
        row: dict[str, Any] = {"control": name, "segments": len(ranks), "candidates": mean_candidates(counts)}
        for k in TOP:
            row |= {f"top{k}": topk(ranks, k), f"chance{k}": mean_chance(k, counts)}
        row["low10"], row["high10"] = chance_interval(mean_chance(10, counts), len(ranks), level=0.999)
        for measure in measures:
            values = [one.measures[measure] for one in some if measure in one.measures]
            row[measure] = float(torch.cat(values).double().mean()) if values else None
        exchange = [heard(self.models.trained.tables, pool) for pool in pools]
        row["mrr"] = reciprocal_rank(ranks)
        return row | band(list(zip([one.standing for one in some], exchange, strict=True))) | {f"known{k}": None for k in TOP}

    def _groups(self, name: str) -> list[np.ndarray]:
        return [GROUPS[name](self.models.trained.tables, pool) for pool in self.pools]

    def _quiet(self) -> list[Pool]:
        """The pools with those segments alone that have silence to borrow."""
        silence = self.models.silence
        covered = torch.zeros(len(self.models.trained.tables.start), dtype=torch.bool) if silence is None else silence.covered
        return [_among(pool, covered[pool.rows]) for pool in self.pools]

    def _no_silence(self) -> str:
        window = self.models.trained.tables.window
        return f"no recording has a stretch of {window.samples / window.rate_hz:.1f} s in which nothing is heard"


def _thinned(pools: Sequence[Pool]) -> list[Pool]:
    """The pools of a study with fewer segments to rank, and all of their candidates."""
    total = sum(len(pool.rows) for pool in pools)
    return [_spread(pool, max(1, len(pool.rows) * min(SEGMENTS, total) // total)) for pool in pools]


def _spread(pool: Pool, count: int) -> Pool:
    return _among(pool, torch.linspace(0, len(pool.rows) - 1, count).round().long())


def _among(pool: Pool, some: Tensor) -> Pool:
    """A pool with some of its segments, and all of its candidates."""
    return replace(pool, rows=pool.rows[some], targets=pool.targets[some])


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
    return _noisy(models.trained, lambda signal, noise: noise)


def _flat(models: Models, pool: Pool) -> Estimate:
    return _noisy(models.trained, lambda signal, noise: torch.where(is_flat(signal), signal, noise))


def _noisy(learner: Learner, mixed: Callable[[Tensor, Tensor], Tensor]) -> Estimate:
    def estimate(rows: Tensor) -> Tensor:
        batch = learner.given(rows)
        noise = torch.randn(batch.signal.shape, generator=_generator(rows))
        return learner.encoded(replace(batch, signal=mixed(batch.signal, noise.to(batch.signal))))

    return estimate


def is_flat(signal: Tensor) -> Tensor:
    """Where channels hardly differ from the sample before, or from the one after; [batch 1 time], of [batch channels time]."""
    change = signal.diff(dim=2).abs().mean(dim=1, keepdim=True)
    same = change <= FLAT * change.quantile(USUAL)
    return F.pad(same, (1, 0)) | F.pad(same, (0, 1))


def _shifted(models: Models, pool: Pool) -> Estimate:
    learner = models.trained
    elsewhere = learner.tables.shifted(SHIFT_S)
    return lambda rows: learner.encoded(learner.given(rows, tables=elsewhere))


def _silence(models: Models, pool: Pool) -> Estimate:
    learner, silence = models.trained, models.silence
    assert silence is not None, "no row was covered"
    return lambda rows: learner.encoded(learner.given(rows, tables=silence.tables))


def _generator(rows: Tensor) -> torch.Generator:
    return torch.Generator().manual_seed(SEED * 1_000_003 + int(rows[0]))


ESTIMATES: dict[str, Callable[[Models, Pool], Estimate]] = {
    "random": _random,
    "untrained": _untrained,
    "other segment": _other,
    "noise": _noise,
    "shifted": _shifted,
    "flat": _flat,
    "silence": _silence,
}
