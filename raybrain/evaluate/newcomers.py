"""Newcomers: how well somebody is decoded whom nothing was trained with, over minutes of calibration, beside ridge regression.

The minutes are the first of the subject's train split, and of these the last quarter says which steps are kept; the test is
theirs as of everybody. So what they are tested on was heard by nobody while anything was trained or calibrated. Signals are
scaled as ever, by the whole train split of a recording: that looks at more of it than the minutes, but not at what was heard.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from raybrain.batch import Batch
from raybrain.encoders.base import FittedModule
from raybrain.experiment import Experiment
from raybrain.metrics import TOP, mean_candidates, mean_chance, topk
from raybrain.network import Parts
from raybrain.tasks.candidates import Pool, candidate_counts
from raybrain.tasks.retrieve import rank_rows
from raybrain.train.adapt import Adapter, LabelledWindows, TooFew, parted
from raybrain.train.closed_form import fitted
from raybrain.train.rows import subject_rows
from raybrain.train.step import Learner
from raybrain.train.tables import Tables

ROWS_AT_ONCE = 64
Rows = list[dict[str, Any]]


def newcomer_rows(learner: Learner, experiment: Experiment, baseline: Experiment, pools: Sequence[Pool]) -> tuple[Rows, Rows]:
    """A row for each subject who was left out and each number of minutes.

    Columns: study, subject, ``asked`` minutes of calibration, ``minutes`` (fewer at last, where there are not so many), the
    number of labelled ``windows`` in them, test ``segments`` and ``candidates``; for each k of TOP the accuracy ``top``,
    ``chance``, ``ridge``: of a map of all who were trained with, fitted to the minutes around that, and ``alone``: of a map of
    the minutes alone, None without any; and ``how`` it was calibrated.

    Args:
        learner: with its best weights.
        experiment: that was trained.
        baseline: the experiment that asks for ridge regression on the same data.
        pools: of the test split.

    Returns:
        The rows; and study and reason where minutes are too few, or a subject is not tested.
    """
    tables = learner.tables
    who = tables.subject.cpu()[tables.recording.cpu()]
    line = fitted(baseline, tables, learner.place)
    model, ridge = (
        _Model(one, subject_rows(Parts.of(asked), one.shapes), learner.trained)
        for one, asked in ((learner, experiment), (line, baseline))
    )
    rows, absent = [], []
    for number in tables.named(experiment.train.leave_out).tolist():
        study, name = tables.meta["subjects"][number]
        test = [replace(pool, rows=pool.rows[mine], targets=pool.targets[mine]) for pool, mine in _theirs(pools, who == number)]
        if not test:
            absent.append(_absent(study, f"{name} has no test segments that test.subjects asks for"))
            continue
        for asked, minutes, windows in _portions(tables, number, experiment.test.minutes):
            try:
                rows.append({"asked": asked, "minutes": minutes} | _row(model, ridge, number, windows, test))
            except TooFew as error:
                absent.append(_absent(study, f"{minutes:.1f} minutes of {name}: {error}"))
    return rows, absent


def _absent(study: str, reason: str) -> dict[str, Any]:
    return {"study": study, "control": "newcomers", "reason": reason}


def _theirs(pools: Sequence[Pool], mine: Tensor) -> Iterator[tuple[Pool, Tensor]]:
    """Pools that have segments of somebody, and which of theirs these are."""
    for pool in pools:
        if mine[pool.rows].any():
            yield pool, mine[pool.rows]


def _portions(tables: Tables, subject: int, minutes: Sequence[float]) -> Iterator[tuple[float, float, Tensor]]:
    """What was asked for, how many minutes that is, and the segments in them; where there are no more it ends."""
    rows = tables.rows["calibration"].cpu()
    rows = rows[tables.subject.cpu()[tables.recording.cpu()[rows]] == subject]
    for asked in minutes:
        some, covered = first_minutes(tables, rows, asked)
        yield asked, covered if len(some) == len(rows) else asked, some
        if len(some) == len(rows):
            return


def _row(model: "_Model", ridge: "_Model", subject: int, windows: Tensor, test: Sequence[Pool]) -> dict[str, Any]:
    study, name = model.learner.tables.meta["subjects"][subject]
    counts = candidate_counts(test)
    one, how = model.calibrated(subject, windows)
    other, _ = ridge.calibrated(subject, windows)
    alone = dict.fromkeys([f"alone{k}" for k in TOP])
    return {
        "study": study,
        "subject": name,
        "windows": len(windows),
        "segments": counts.total(),
        "candidates": mean_candidates(counts),
        **one.accuracies("top", test),
        **{f"chance{k}": mean_chance(k, counts) for k in TOP},
        **other.accuracies("ridge", test),
        **(ridge.alone(subject, windows).accuracies("alone", test) if len(windows) else alone),
        "how": how,
    }


def first_minutes(tables: Tables, rows: Tensor, minutes: float) -> tuple[Tensor, float]:
    """Those of some segments that lie within the first so many minutes of what they cover, in time, and how much they cover."""
    recording, start = tables.recording.cpu()[rows], tables.start.cpu()[rows]
    rows = rows[torch.argsort(start, stable=True)]  # one recording after another, as they stand in the signal
    recording, start = tables.recording.cpu()[rows], tables.start.cpu()[rows]
    length = tables.window.samples
    more = torch.full((len(rows),), length)
    more[1:] = torch.where(recording[1:] == recording[:-1], (start[1:] - start[:-1]).clamp(max=length), length)
    covered = more.cumsum(0) / tables.window.rate_hz / 60
    inside = covered <= minutes + 1e-9
    return rows[inside], float(covered[inside][-1]) if inside.any() else 0.0


@dataclass(frozen=True)
class _Segments(LabelledWindows):
    """Segments of the tables as labelled windows."""

    learner: Learner
    rows: Tensor

    def batches(self, numbers: Tensor) -> Iterator[Batch]:
        for some in torch.split(self.rows[numbers], ROWS_AT_ONCE):
            yield self.learner.given(some)

    def stored(self, numbers: Tensor) -> Tensor:
        return self.learner.stored(self.rows[numbers])


@dataclass(frozen=True)
class _Model:
    """A trained model, and the names of its parameters that have a row for each subject."""

    learner: Learner
    names: Sequence[str]
    known: Sequence[int]

    def calibrated(self, subject: int, rows: Tensor) -> tuple["_Model", str]:
        """This model after a fit to some segments, and how that was done; itself if there are none, or nothing to fit."""
        if not len(rows) or not self.names:
            return self, "" if self.names else "this encoder does not tell subjects apart"
        made = self._copy()
        windows = _Segments(made.learner, rows)
        done = Adapter(made.learner.network, self.names, subject, self.known, windows).run(*self._parted(rows))
        return made, done.how

    def alone(self, subject: int, rows: Tensor) -> "_Model":
        """This model, of ridge regression, after a fit to some segments and nothing else."""
        made = self._copy()
        module, windows = made.learner.network.encoder, _Segments(made.learner, rows)
        assert isinstance(module, FittedModule)
        module.fit([subject], *map(windows.pairs, self._parted(rows)))
        return made

    def accuracies(self, name: str, pools: Sequence[Pool]) -> dict[str, float]:
        """Top-k accuracies over the segments of some pools."""
        ranks = torch.cat([rank_rows(self.learner, pool, slice(None)).segment for pool in pools])
        return {f"{name}{k}": topk(ranks, k) for k in TOP}

    def _copy(self) -> "_Model":
        made = copy.copy(self.learner)
        made.network = copy.deepcopy(self.learner.network)
        made.encode = made.network.encoder
        return replace(self, learner=made)

    def _parted(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return parted(self.learner.tables.start.cpu()[rows], self.learner.tables.window.samples)
