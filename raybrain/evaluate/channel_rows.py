"""Channel rows: how well each channel of the brain is estimated, beside ridge regression and what other people's brains tell.

The forward model of the field (Crosse et al. 2016): the correlation of an estimate with what was recorded, over all test
segments of a subject one after another, averaged over subjects.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from raybrain.batch import Layout
from raybrain.encoders.ridge import Moments, Ridge, RidgeMaps, solve
from raybrain.experiment import Experiment
from raybrain.tasks.candidates import Pool
from raybrain.tasks.encode import shared_channels
from raybrain.train.closed_form import fits_of, fitted
from raybrain.train.step import Learner

ROWS_AT_ONCE = 64
UNIQUE = "unique_"  # begins the name of a column of one feature


@torch.no_grad()
def channel_rows(learner: Learner, baseline: Experiment, pools: Sequence[Pool]) -> pd.DataFrame:
    """A row for each study and channel.

    Columns: study, channel, its place ``x`` and ``y`` on a flat head, the number of ``subjects``; their mean ``correlation``,
    that of ``ridge`` regression, and ``ceiling``: that of the mean over the others who heard the same, as an upper reference
    (none where nobody shares a stimulus). Where there are several features, ``unique_NAME`` is by how much the correlation of
    ridge regression falls without that one, fitted anew; where the others divide the penalty among them, they do so anew, too.

    Args:
        learner: with its best weights.
        baseline: the experiment that asks for ridge regression on the same data.
        pools: of the test split.
    """
    ridge = fitted(baseline, learner.tables, learner.place)
    tables, rows = learner.tables, torch.cat([pool.rows for pool in pools])
    names = shared_channels(tables.shapes.layouts)
    own, line, upper = (_Correlations(len(tables.shapes.subjects), len(names)) for _ in range(3))
    for some in torch.split(rows, ROWS_AT_ONCE):
        who, aimed = tables.subject.cpu()[tables.recording.cpu()[some]], learner.stored(some)
        own.add(who, learner.estimates(some), aimed)
        line.add(who, ridge.estimates(some), aimed)
    for who, others, aimed in _with_others(learner, rows):
        upper.add(who, others, aimed)
    columns = {"correlation": own.values(), "ridge": line.values(), "ceiling": upper.values(), **_unique(ridge, baseline, rows)}
    studies = [name.partition("/")[0] for name in tables.shapes.subjects]
    tested = torch.unique(tables.subject.cpu()[tables.recording.cpu()[rows]]).tolist()
    frames = []
    for study in sorted({studies[one] for one in tested}):
        people = [one for one in tested if studies[one] == study]
        known = {"study": study, **_places(names, tables.shapes.layouts), "subjects": len(people)}
        frames.append(pd.DataFrame(known | {name: _mean(values[people]) for name, values in columns.items()}))
    return pd.concat(frames, ignore_index=True)


@dataclass
class _Correlations:
    """Correlations of each channel of each subject, [subjects channels], from sums over whatever passes by."""

    subjects: int
    channels: int
    sums: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.sums = torch.zeros(6, self.subjects, self.channels, dtype=torch.float64)

    def add(self, who: Tensor, one: Tensor, other: Tensor) -> None:
        """Add segments, [rows channels time] each, of these subjects; only moments at which ``other`` is not all zero."""
        x, y = one.cpu().double(), other.cpu().double()
        heard = (y != 0).any(dim=1, keepdim=True).expand_as(y).double()
        parts = (heard, x * heard, y * heard, x * x * heard, y * y * heard, x * y * heard)
        self.sums.index_add_(1, who.cpu(), torch.stack([part.sum(dim=2) for part in parts]))

    def values(self) -> np.ndarray:
        """NaN where nothing varies."""
        _, x, y, xx, yy, xy = self.sums / self.sums[0]
        spread = (xx - x.square()).clamp(min=0) * (yy - y.square()).clamp(min=0)
        values: np.ndarray = ((xy - x * y) / spread.sqrt()).where(spread > 0, torch.nan).numpy()
        return values


def _with_others(learner: Learner, rows: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Segments that several subjects heard: whose each is, the mean over the other subjects, and the segments themselves."""
    tables = learner.tables
    candidate, recording = tables.candidate.cpu()[rows], tables.recording.cpu()[rows]
    order = torch.argsort(candidate, stable=True)
    _, counts = torch.unique_consecutive(candidate[order], return_counts=True)
    for mine in torch.split(order, counts.tolist()):
        who, local = torch.unique(tables.subject.cpu()[recording[mine]], return_inverse=True)
        if len(who) < 2:
            continue
        aimed = learner.stored(rows[mine]).cpu().double()
        mean = torch.zeros(len(who), *aimed.shape[1:], dtype=aimed.dtype).index_add_(0, local, aimed)
        mean /= torch.bincount(local)[:, None, None]
        yield who[local], (mean.sum(dim=0) - mean[local]) / (len(who) - 1), aimed


def _unique(ridge: Learner, baseline: Experiment, rows: Tensor) -> dict[str, np.ndarray]:
    """By how much the correlation of ridge regression falls without each feature, [subjects channels]."""
    shapes, module = ridge.tables.shapes, ridge.network.encoder
    if len(shapes.slices) < 2:
        return {}
    config = baseline.encoder
    assert isinstance(module, RidgeMaps) and isinstance(config, Ridge)
    size = len(shapes.subjects), ridge.shapes.features
    falls = {f"{UNIQUE}{part.name}": np.full(size, np.nan) for part in shapes.slices}
    who = ridge.tables.subject.cpu()[ridge.tables.recording.cpu()[rows]]
    for one in fits_of(baseline, ridge.tables):
        for subject in one.subjects:
            if not len(mine := rows[who == subject]):
                continue
            train, valid, test = (_moments(ridge, some, module.lags) for some in (one.train, one.valid, mine))
            judge = valid if valid.windows else train
            sizes = {group.name: group.stop - group.start for group in module.groups}
            every = config.ways(list(sizes.values()))
            whole = test.correlation(solve(train, judge, config, shapes.rate_hz, every)[0])
            for part in shapes.slices:
                rest = torch.tensor([n for n in range(ridge.shapes.channels) if not part.start <= n < part.stop])
                others = config.ways([size for name, size in sizes.items() if name != part.name])
                weights, _ = solve(train.of(rest), judge.of(rest), config, shapes.rate_hz, others)
                falls[f"{UNIQUE}{part.name}"][subject] = (whole - test.of(rest).correlation(weights)).cpu().numpy()
    return falls


def _moments(learner: Learner, rows: Tensor, lags: range) -> Moments:
    made = Moments(lags)
    for some in torch.split(rows, ROWS_AT_ONCE):
        made.add(learner.given(some).usable, learner.stored(some))
    return made


def _places(names: Sequence[str], layouts: Sequence[Layout]) -> dict[str, list[str] | list[float]]:
    """Each channel with its place in the first layout in which that is known; NaN where it is not."""
    known: dict[str, tuple[float, float]] = {}
    for layout in layouts:
        for name, place, valid in zip(layout.channels, layout.positions, layout.valid, strict=True):
            if valid:
                known.setdefault(name, place)
    x, y = zip(*(known.get(name, (np.nan, np.nan)) for name in names), strict=True)
    return {"channel": list(names), "x": list(x), "y": list(y)}


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean over subjects, of those of whom there is a value; NaN where there is none."""
    count = np.isfinite(values).sum(axis=0)
    mean: np.ndarray = np.nansum(values, axis=0) / np.where(count > 0, count, np.nan)
    return mean
