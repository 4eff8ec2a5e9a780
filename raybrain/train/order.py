"""Order: which segments a step sees. It depends on the seed and the step alone, so every worker knows it without a word.

That is what makes candidates free: a worker that ranks its estimates against the whole group needs the group's segment
indices, and these it can compute.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from raybrain.config import InputError
from raybrain.experiment import TrainConfig

EXTRA = 1_000_000_007  # keeps the draws of extra negatives apart from those of the epochs


@dataclass(frozen=True)
class Contrast:
    """The resolved sizes of a step.

    ``candidates`` is what each estimate is ranked against: its group and the extra negatives.
    """

    batch: int
    workers: int
    per_worker: int
    group: int
    extra: int
    updates_per_epoch: int

    @property
    def candidates(self) -> int:
        """Candidates an estimate is ranked against."""
        return self.group + self.extra

    def describe(self) -> str:
        """One line for people."""
        across = "inside a worker" if self.per_worker % self.group == 0 else "across workers"
        return (
            f"batch {self.batch} = {self.workers} worker{'s' * (self.workers > 1)} x {self.per_worker}; groups of {self.group} "
            f"({across}) + {self.extra} extra negatives = {self.candidates} candidates; "
            f"{self.updates_per_epoch} updates an epoch"
        )


@dataclass(frozen=True)
class RunSizes:
    """What a training is made of: the sizes of a step, trained parameters, where the data lie, and how many they are."""

    contrast: Contrast
    parameters: int
    data: str
    train_segments: int = 0  # of a run of an earlier version this is not known
    train_subjects: int = 0

    def flat(self) -> dict[str, Any]:
        """All of them by name."""
        others = {name: value for name, value in vars(self).items() if name != "contrast"}
        return {**asdict(self.contrast), "candidates": self.contrast.candidates, **others}

    def describe(self) -> str:
        """One line for people."""
        return f"{self.contrast.describe()}; data in {self.data}"

    @classmethod
    def read(cls, known: Mapping[str, Any]) -> Self:
        """Those that :meth:`flat` gave, of an earlier version too."""
        contrast = Contrast(**{name: known[name] for name in Contrast.__dataclass_fields__})
        return cls(contrast, **{name: known[name] for name in cls.__dataclass_fields__ if name in known})


def resolve(config: TrainConfig, workers: int) -> TrainConfig:
    """``config`` with ``batch_size_per_worker`` turned into ``batch_size``."""
    if config.batch_size_per_worker is None:
        return config
    return config.model_copy(update={"batch_size": config.batch_size_per_worker * workers, "batch_size_per_worker": None})


def contrast(config: TrainConfig, workers: int, segments: int = sys.maxsize) -> Contrast:
    """The sizes of a step over ``workers``, with ``segments`` in the train split (without a number, however many it takes).

    Raises:
        InputError: if the batch does not divide; the message names the nearest sizes that do.
    """
    config = resolve(config, workers)
    batch, group = config.batch_size, config.contrast_size or config.batch_size
    if batch > segments:
        raise InputError(f"train.batch_size={batch}, but there are {segments} train segments; type {segments} or less")
    if batch % workers:
        step = math.lcm(workers, group) if group < batch else workers
        below = batch // step * step
        near = [str(size) for size in (below, below + step) if 0 < size <= segments]
        also = " (and train.contrast_size with it)" if group == batch and config.contrast_size else ""
        nearest = " or ".join(near) or f"a multiple of {workers}"
        raise InputError(f"train.batch_size={batch} does not divide among {workers} workers; nearest: {nearest}{also}")
    if batch % group:
        sizes = [size for size in range(1, batch + 1) if batch % size == 0]
        divisors = sorted(sorted(sizes, key=lambda size: abs(size - group))[:2])
        raise InputError(
            f"train.contrast_size={group} does not divide train.batch_size={batch}; "
            f"nearest: {' or '.join(str(size) for size in divisors)}"
        )
    if config.extra_negatives > segments:
        raise InputError(f"train.extra_negatives={config.extra_negatives}, but there are {segments} train segments")
    updates = min(segments // batch, config.updates_per_epoch)
    return Contrast(batch, workers, batch // workers, group, config.extra_negatives, updates)


@dataclass
class Order:
    """The segments of each step: a fresh permutation an epoch, and extra negatives a step.

    Attributes:
        rows: [segments], the train split.
        sizes: the sizes of a step.
        seed: of the permutations.
    """

    rows: Tensor
    sizes: Contrast
    seed: int
    _permuted: tuple[int, Tensor] = field(default_factory=lambda: (-1, torch.empty(0)))

    def batch(self, step: int) -> Tensor:
        """The segments of a step over all workers, [batch]; a worker's share and the groups are slices of it."""
        epoch, update = divmod(step, self.sizes.updates_per_epoch)
        known, permuted = self._permuted
        if epoch != known:
            drawn = torch.randperm(len(self.rows), generator=self._generator(epoch))
            permuted = self.rows[drawn.to(self.rows.device)]
            self._permuted = epoch, permuted  # at once, since another thread may ask too
        return permuted[update * self.sizes.batch : (update + 1) * self.sizes.batch]

    def extra(self, step: int) -> Tensor:
        """The segments that serve as extra negatives in a step, [extra]; drawn with replacement."""
        if not self.sizes.extra:
            return self.rows[:0]
        drawn = torch.randint(len(self.rows), (self.sizes.extra,), generator=self._generator(EXTRA + step))
        return self.rows[drawn.to(self.rows.device)]

    def _generator(self, key: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.seed * 1_000_003 + key) % 2**63)
