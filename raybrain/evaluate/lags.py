"""Lags: how well the loudness of what is heard can be told from the recording so much before or after it; a curve.

A brain responds later than it hears: its curve is highest some 50 to 250 ms after the sound, and broad. What reaches the
sensors as the sound itself, from the coils of earphones or the cable of an amplifier, is highest at 0. A trained model cannot
tell these apart, since whatever it reads it does best at the lag it was trained with. So each lag gets a decoder of its own:
linear, one for each subject, from all channels at that lag to the envelope (the first principal component of the stored
features), by ridge regression on some windows of the train split; its estimates of test windows are ranked by correlation
against all candidates. These are the decoders of single lags of O'Sullivan et al., Cerebral Cortex 25, 1697-1706, 2015.

Dimension letters: W windows, S samples with those before and after, C channels, L lags, T samples of a window.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from raybrain.evaluate.explained import component, correlations, sampled
from raybrain.evaluate.standing import heard
from raybrain.metrics import TOP, mean_chance, ranks, topk
from raybrain.tasks.candidates import Pool, candidate_counts
from raybrain.train.tables import Tables

REACH_S, STEP_S = 1.0, 0.025
TRAIN = 100  # windows of each subject
TEST = 500  # segments of a study, spread evenly
RIDGE = 0.1  # of the mean variance of a channel
SEED = 2036
DRAWS = 999  # curves with candidates exchanged
AT_ONCE = 64  # candidates
AT_SOUND_S = 0.025  # a peak so near to the sound is no response to it


@dataclass(frozen=True)
class _Lags:
    """Lags in samples, and how the recording is cut so that all of them lie inside."""

    tables: Tables
    samples: Tensor  # [L]

    @classmethod
    def of(cls, tables: Tables) -> "_Lags":
        step = max(1, round(STEP_S * tables.window.rate_hz))
        reach = int(REACH_S * tables.window.rate_hz) // step
        return cls(tables, torch.arange(-reach, reach + 1) * step)

    @property
    def most(self) -> int:
        return int(self.samples[-1])

    def inside(self, rows: Tensor) -> Tensor:
        """Those segments before and after which there is enough of their recording, which reaches over all segments."""
        tables = self.tables
        start, recording = tables.start.cpu(), tables.recording.cpu()
        first = torch.full((len(tables.subject),), int(start.max())).scatter_reduce(0, recording, start, "amin")
        last = torch.zeros(len(tables.subject), dtype=start.dtype).scatter_reduce(0, recording, start, "amax")
        enough = (start - self.most >= first[recording]) & (start + self.most <= last[recording])
        return rows[enough[rows]]

    def cut(self, rows: Tensor) -> Tensor:
        """The recording around some segments, each channel centred, [W S C]."""
        tables, length = self.tables, self.tables.window.times + 2 * self.most
        window = replace(tables.window, samples=length, offset_samples=0, baseline_samples=0)
        rows = rows.to(tables.device)
        cut = window.cut(tables.signal, tables.start[rows] - self.most, tables.centre[tables.recording[rows]])
        return (cut - cut.mean(dim=2, keepdim=True)).transpose(1, 2)

    def courses(self, rows: Tensor, direction: Tensor) -> Tensor:
        """The envelope of what is heard in some segments, centred, [W T]."""
        courses = torch.einsum("wdt,d->wt", self.tables.speech(rows.to(self.tables.device)).float(), direction)
        return courses - courses.mean(dim=1, keepdim=True)


@torch.no_grad()
def lag_rows(tables: Tables, pools: Sequence[Pool]) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """One row per study and lag: accuracies, and the mean correlation of the estimated with the true envelope.

    ``lag_s`` is by how much later than the sound the recording is read. ``noise`` is what the highest correlation of a curve
    reaches once in a thousand times if candidates are exchanged (:mod:`raybrain.evaluate.permutation`).

    Returns:
        The rows; and study and reason where there can be no curve.
    """
    rows, absent = [], []
    for study in sorted({pool.study for pool in pools}):
        lags = _Lags.of(tables)
        made = _curve(lags, [_thinned(lags, pool) for pool in pools if pool.study == study])
        rows += [{"study": study} | row for row in made]
        if not made:
            reason = f"no subject has train and test windows with {REACH_S:g} s of recording before and after"
            absent.append({"study": study, "control": "lags", "reason": reason})
    return pd.DataFrame(rows), absent


def _thinned(lags: _Lags, pool: Pool) -> Pool:
    """The pool with up to TEST segments of subjects who have train windows, and all candidates."""
    tables = lags.tables
    subject, recording = tables.subject.cpu(), tables.recording.cpu()
    known = torch.unique(subject[recording[lags.inside(tables.rows["train"].cpu())]])
    rows = lags.inside(pool.rows)
    rows = rows[torch.isin(subject[recording[rows]], known)]
    rows = rows[torch.linspace(0, len(rows) - 1, min(TEST, len(rows))).round().long()]
    target = dict(zip(pool.rows.tolist(), pool.targets.tolist(), strict=True))
    return replace(pool, rows=rows, targets=torch.tensor([target[row] for row in rows.tolist()], dtype=torch.long))


def _curve(lags: _Lags, pools: Sequence[Pool]) -> list[dict[str, Any]]:
    pools = [pool for pool in pools if len(pool.rows)]
    if not pools:
        return []
    tables, total = lags.tables, sum(len(pool.rows) for pool in pools)
    direction = component(sampled(tables.speech, torch.cat([pool.stands for pool in pools]).to(tables.device)))
    weights = _weights(lags, pools, direction)
    parts = [_pool_curve(lags, pool, direction, weights, number) for number, pool in enumerate(pools)]
    noise = float(np.sum([part.exchanged for part in parts], axis=0).max()) / total
    counts, rows = candidate_counts(pools), []
    for number, lag in enumerate(lags.samples.tolist()):
        standing = torch.cat([part.ranks[number] for part in parts])
        correlation = sum(float(part.correlation[number]) for part in parts) / total
        row = {"lag_s": lag / tables.window.rate_hz, "segments": total, "correlation": correlation, "noise": noise}
        rows.append(row | {f"top{k}": topk(standing, k) for k in TOP} | {"chance10": mean_chance(10, counts)})
    return rows


def _weights(lags: _Lags, pools: Sequence[Pool], direction: Tensor) -> dict[int, Tensor]:
    """The decoders of all subjects that are tested, [C L] each."""
    tables = lags.tables
    subject = tables.subject.cpu()[tables.recording.cpu()]
    train = lags.inside(tables.rows["train"].cpu())
    made = {}
    for one in torch.unique(torch.cat([subject[pool.rows] for pool in pools])).tolist():
        mine = train[subject[train] == one]
        mine = mine[torch.linspace(0, len(mine) - 1, min(TRAIN, len(mine))).round().long()]
        made[one] = _fitted(lags.cut(mine), lags.courses(mine, direction), lags)
    return made


def _fitted(signal: Tensor, courses: Tensor, lags: _Lags) -> Tensor:
    """Ridge regression on the channels at each lag, [C L], from signal [W S C] and courses [W T]."""
    wanted = signal.new_zeros(*signal.shape[:2], len(lags.samples))
    for number, lag in enumerate(lags.samples.tolist()):
        wanted[:, lags.most + lag : lags.most + lag + courses.shape[1], number] = courses
    seen = signal.flatten(0, 1)
    covariance = seen.T @ seen / len(seen)
    covariance.diagonal().add_(RIDGE * covariance.diagonal().mean() + torch.finfo(seen.dtype).tiny)
    weights: Tensor = torch.linalg.solve(covariance.double(), (seen.T @ wanted.flatten(0, 1) / len(seen)).double())
    return weights.to(seen.dtype)


@dataclass(frozen=True)
class _PoolCurve:
    """Of a pool: ranks [L W], sums of correlations [L], and the highest sum of any lag with candidates exchanged [draws]."""

    ranks: Tensor
    correlation: Tensor
    exchanged: np.ndarray


def _pool_curve(lags: _Lags, pool: Pool, direction: Tensor, weights: Mapping[int, Tensor], number: int) -> _PoolCurve:
    tables = lags.tables
    candidates = torch.cat([lags.courses(some, direction) for some in torch.split(pool.stands, AT_ONCE)])
    estimated = torch.cat(list(_estimated(lags, pool, weights)))  # [W T L]
    exchanged = heard(tables, pool).exchanged(np.random.default_rng([SEED, number]), DRAWS)[:, pool.targets.numpy()]
    others, row = torch.from_numpy(exchanged), torch.arange(len(pool.rows))
    standing, sums, highest = [], [], np.full(DRAWS, -np.inf)
    for lag in range(len(lags.samples)):
        scores = correlations(estimated[:, :, lag], candidates).cpu()
        standing.append(ranks(scores, pool.targets))
        sums.append(scores[row, pool.targets].sum())
        highest = np.maximum(highest, scores[row, others].sum(dim=1).numpy())
    return _PoolCurve(torch.stack(standing), torch.stack(sums), highest)


def _estimated(lags: _Lags, pool: Pool, weights: Mapping[int, Tensor]) -> Iterator[Tensor]:
    """The envelope that each lag's decoder estimates in the segments of a pool, [W T L] at a time."""
    tables, times = lags.tables, lags.tables.window.times
    subject = tables.subject.cpu()[tables.recording.cpu()[pool.rows]].tolist()
    for row, one in zip(torch.split(pool.rows, 1), subject, strict=True):
        made = lags.cut(row) @ weights[one]  # [1 S L]
        yield torch.stack(
            [made[:, lags.most + lag : lags.most + lag + times, n] for n, lag in enumerate(lags.samples.tolist())], dim=2
        )


def peak(curve: pd.DataFrame) -> "pd.Series[Any] | None":
    """The row of a study's curve with the highest correlation; None if that might be chance, or is where the curve ends."""
    number = int(curve["correlation"].argmax())
    highest = curve.iloc[number]
    return highest if highest["correlation"] > highest["noise"] and 0 < number < len(curve) - 1 else None
