"""Moments: what training needs to know of all frames of a feature, from sums that tasks gather where there are many.

A task reads some stimuli and returns a few numbers for each; these are added up here, in the order of their names. Ray Data's
own aggregates (``AggregateFnV2``) add in whatever order tasks end, on which floating-point sums depend: the scale of a feature,
and the name of a dataset with it, would be another each time. What is added up here are two numbers a dimension and stimulus.
"""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raybrain.config import InputError
from raybrain.features.base import Feature, Stimulus
from raybrain.prepare.parallel import each
from raybrain.store import Frames

RAREST = 10.0  # the largest weight of a class, and the inverse of the smallest
MANY_BYTES, TASK_BYTES = 2**28, 2**26  # of frames that tasks read rather than this process, and of one task


@dataclass(frozen=True)
class FrameSums:
    """Sums over the frames of a stimulus during words, or over all of them: count, and total and squares of each dimension."""

    count: int
    total: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, feature: Feature, values: np.ndarray, stimulus: Stimulus, wordless: bool) -> "FrameSums":
        """Those of the frames ``values`` [frames size] of a stimulus; of all frames if ``wordless``."""
        spoken = np.full(len(values), wordless)
        for word in stimulus.words:
            spoken[feature.span(word, len(values))] = True
        values = values[spoken].astype(np.float64)
        return cls(len(values), values.sum(axis=0), (values**2).sum(axis=0))


def frame_statistics(feature: Feature, frames: Frames, train: Mapping[str, Stimulus]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the frames of ``train`` during words; over all frames if there are no words.

    Returns:
        Two arrays [size]; all dimensions share one value unless the feature is scaled by dimension. 0 and 1 for classes.
    """
    count, total, squares = 0, np.zeros(feature.size), np.zeros(feature.size)
    if feature.scale != "none" and not feature.categories:
        for moments in _gathered(feature, frames, train):
            count, total, squares = count + moments.count, total + moments.total, squares + moments.squares
    if count == 0:
        return np.zeros(feature.size), np.ones(feature.size)
    mean, square = total / count, squares / count
    if feature.scale == "all":
        mean, square = np.full(feature.size, mean.mean()), np.full(feature.size, square.mean())
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
    return mean, np.where(deviation > 1e-12, deviation, 1.0)


def _gathered(feature: Feature, frames: Frames, train: Mapping[str, Stimulus]) -> Iterator[FrameSums]:
    """The moments of each stimulus, in the order of their names."""
    wordless = not any(stimulus.words for stimulus in train.values())
    sizes = frames.sizes(train)
    if sum(sizes.values()) < MANY_BYTES:
        yield from (FrameSums.of(feature, frames.read(key), train[key], wordless) for key in sorted(train))
        return

    def measure(row: dict[str, Any]) -> dict[str, Any]:
        some: dict[str, Stimulus] = pickle.loads(row["task"])
        try:
            moments = {key: FrameSums.of(feature, frames.read(key), stimulus, wordless) for key, stimulus in some.items()}
        except InputError as error:
            return {"moments": b"", "error": str(error), "count": 0}
        return {"moments": pickle.dumps(moments), "error": "", "count": len(some)}

    known: dict[str, FrameSums] = {}
    tasks = [{key: train[key] for key in keys} for keys in _shares(sizes)]
    for row in each(tasks, measure, f"prepare: scale of {feature.name}", total=len(train)):
        if row["error"]:
            raise InputError(row["error"])
        known |= pickle.loads(row["moments"])
    yield from (known[key] for key in sorted(train))


def _shares(sizes: Mapping[str, int]) -> Iterator[Sequence[str]]:
    """The names, in groups of about TASK_BYTES."""
    share, held = list[str](), 0
    for key in sorted(sizes):
        share, held = [*share, key], held + sizes[key]
        if held >= TASK_BYTES:
            yield share
            share, held = [], 0
    if share:
        yield share


def class_weights(feature: Feature, frames: Frames, train: Mapping[str, Stimulus]) -> np.ndarray:
    """The weight of each class in a loss, [categories]: the inverse of its frequency in ``train``.

    A class with ``n_c`` of ``n`` frames has the weight ``n / (K n_c)``, where ``K`` classes occur at all, so that the mean
    weight over frames is 1; weights are limited to 1 / RAREST and RAREST. A class that does not occur has the weight RAREST.
    """
    if not feature.categories:
        return np.zeros(0)
    counts = np.zeros(feature.categories)
    for key in train:
        counts += np.bincount(frames.read(key)[:, 0].astype(int), minlength=feature.categories)
    occurs = counts > 0
    weights = np.full(feature.categories, RAREST)
    weights[occurs] = counts.sum() / (occurs.sum() * counts[occurs])
    return weights.clip(1 / RAREST, RAREST)
