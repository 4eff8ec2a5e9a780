"""Explained: what accuracy would be left of a model if it knew no more than some simple thing of what was heard.

``place`` and ``length``: candidates at the same place in the sentence, or of which equally much is heard in the window, are
exchanged for each other at random. What the model knows beyond that must make it better than all of this.

``envelope``: the model's own estimates and the candidates are reduced to one course each, that of the first principal component
of what is aimed at, which is the loudness where that is a spectrum; courses are ranked by their correlation.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from raybrain.batch import Shapes
from raybrain.evaluate.permutation import Alike, Leaders, permuted
from raybrain.metrics import TOP
from raybrain.tasks.base import Task
from raybrain.tasks.candidates import Pool
from raybrain.train.step import Learner
from raybrain.train.tables import Tables

LENGTH_S = 0.1  # lengths that differ by less are the same
SHOWN = 128  # candidates whose frames tell the principal component
EVERY = 4  # which of their frames do


def places(tables: Tables, pool: Pool) -> np.ndarray:
    """The place in the sentence of each candidate of a pool."""
    numbers = tables.candidate.cpu()[pool.stands].tolist()
    return np.array([tables.meta["candidates"][number]["word_index"] for number in numbers])


def lengths(tables: Tables, pool: Pool) -> np.ndarray:
    """A number for how much is heard in the window of each candidate of a pool."""
    whole: np.ndarray = np.floor(tables.heard_s(pool.stands).numpy() / LENGTH_S + 1e-6).astype(int)
    return whole


GROUPS: dict[str, Callable[[Tables, Pool], np.ndarray]] = {"place": places, "length": lengths}


def why_unknown(groups: Sequence[np.ndarray]) -> str:
    """Why exchanging candidates inside of groups says nothing; empty if it says something."""
    alone = sum(count == 1 for some in groups for count in Counter(some.tolist()).values())
    if 2 * alone <= sum(map(len, groups)):
        return ""
    return "most candidates have no other one to be exchanged for"


def explained_row(standings: Sequence[Leaders], groups: Sequence[np.ndarray]) -> dict[str, Any]:
    """Accuracies of a model whose candidates are exchanged inside of groups, their band, and what knowing the group gives.

    ``known10`` is the top-10 accuracy of a decoder that knows the group of the true candidate exactly, and nothing else.
    """
    accuracies = permuted([(standing, Alike(group)) for standing, group in zip(standings, groups, strict=True)])
    row: dict[str, Any] = {f"top{k}": float(mean) for k, mean in zip(TOP, accuracies.mean(axis=0), strict=True)}
    for k, low, high in zip(TOP, accuracies.min(axis=0), accuracies.max(axis=0), strict=True):
        row |= {f"band_low{k}": float(low), f"band_high{k}": float(high)}
    return row | known(standings, groups)


def known(standings: Sequence[Leaders], groups: Sequence[np.ndarray]) -> dict[str, float]:
    """The accuracies of a decoder that knows the group of the true candidate, and draws one of that group."""
    sizes = []
    for standing, group in zip(standings, groups, strict=True):
        _, number, count = np.unique(group, return_inverse=True, return_counts=True)
        sizes.append(count[number][standing.targets.numpy()])
    every = np.concatenate(sizes)
    return {f"known{k}": float((np.minimum(k, every) / every).mean()) for k in TOP}


def component(vectors: Tensor) -> Tensor:
    """The first principal component of some vectors [vectors dimensions]; of length 1."""
    centred = vectors.double() - vectors.double().mean(dim=0)
    first: Tensor = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
    return first.to(vectors.dtype)


def sampled(aimed: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Some frames of what is aimed at in some segments, [frames dimensions]; ``aimed`` gives [rows dimensions time]."""
    spread = rows[torch.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).round().long()]
    parts = [aimed(some)[:, :, ::EVERY].transpose(1, 2).flatten(0, 1).float() for some in torch.split(spread, 16)]
    return torch.cat(parts)


def correlations(estimates: Tensor, candidates: Tensor) -> Tensor:
    """Of each estimate [rows time] with each candidate [candidates time], [rows candidates]; 0 for what is constant."""
    sides = [F.normalize(some - some.mean(dim=1, keepdim=True), dim=1) for some in (estimates, candidates)]
    return sides[0] @ sides[1].T


@dataclass
class Courses:
    """A ranker that knows of each estimate the course of one component alone; it keeps those that it was shown.

    Attributes:
        learner: the model.
        direction: the component, [dimensions].
        task: that of the model.
        shapes: those of the model, with one dimension.
        kept: the course of each segment, [1 time].
    """

    learner: Learner
    direction: Tensor
    task: Task
    shapes: Shapes
    kept: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, learner: Learner, pools: Sequence[Pool]) -> "Courses":
        """That of the first principal component of the candidates."""
        with torch.no_grad():
            direction = component(sampled(learner.aimed, torch.cat([pool.stands for pool in pools])))
        return cls(learner, direction, learner.task, replace(learner.shapes, features=1))

    @property
    def device(self) -> torch.device:
        """What it computes on."""
        return self.learner.device

    def shown(self, rows: Tensor) -> Tensor:
        """The estimates of the model, of which the courses are kept."""
        estimates = self.learner.estimates(rows)
        for row, course in zip(rows.tolist(), self._course(estimates).cpu(), strict=True):
            self.kept[row] = course
        return estimates

    def estimates(self, rows: Tensor) -> Tensor:
        """The courses of estimates that were shown, [rows 1 time]."""
        return torch.stack([self.kept[row] for row in rows.tolist()]).to(self.device)

    def aimed(self, rows: Tensor) -> Tensor:
        """The courses of candidates, [rows 1 time]."""
        return self._course(self.learner.aimed(rows))

    def scores(self, estimates: Tensor, candidates: Tensor) -> Tensor:
        """Their correlations, [rows candidates]."""
        return correlations(estimates[:, 0], candidates[:, 0])

    def _course(self, values: Tensor) -> Tensor:
        return torch.einsum("bdt,d->bt", values.float(), self.direction.to(values.device))[:, None]
