"""Ranking: what the losses share that compare each estimate with many candidates. Not a loss itself.

Dimension letters: R rows (estimates), N candidates, F features, T time samples.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.batch import Shapes
from raybrain.config import Config, InputError
from raybrain.excerpts import Excerpts, digests, first_of_same
from raybrain.losses.base import TINY, Loss, LossGroup, LossModule


class SoftTargets(Config):
    """Part of the target goes to candidates that are like the right one (Andonian et al. 2022, "Robust Cross-Modal Learning").

    Attributes:
        weight: how much of it; 0 for none.
        temperature: of the softmax over the cosine similarity of the candidates, as they are compared.
    """

    weight: float = Field(0.0, ge=0, lt=1)
    temperature: PositiveFloat = 0.1


class RankingSettings(Loss):
    """Settings of a loss that compares each estimate with many candidates. Not a kind by itself.

    Attributes:
        pool: average over time first.
        center: subtract from each estimate and each candidate its mean over features and time.
        tmin_s: start of the part of the window to use, relative to the anchor; None for all.
        tmax_s: its end.
        linear: compare after a trained linear map of the features to this size, one for each side; None for none.
        equal: whether candidates that are the same to the last bit count as several, or as one, which is right for every
            estimate that aims at any of them.
        alike: whether those that share a moment of what is heard with the right candidate are negatives or left out.
        soft: targets that are not all or nothing.
    """

    pool: bool = False
    center: bool = False
    tmin_s: float | None = None
    tmax_s: float | None = None
    linear: int | None = Field(None, gt=0)
    equal: Literal["several", "one"] = "several"
    alike: Literal["negative", "left_out"] = "negative"
    soft: SoftTargets = SoftTargets()

    @property
    def plain(self) -> bool:
        """Whether each candidate but one is a negative, and nothing else is to be known of them."""
        return self.equal == "several" and self.alike == "negative" and self.soft.weight == 0

    def window(self, shapes: Shapes) -> slice:
        """The samples to use."""

        def sample(seconds: float) -> int:
            return int((seconds - shapes.tmin_s) * shapes.rate_hz)

        start = 0 if self.tmin_s is None else sample(self.tmin_s)
        stop = shapes.times if self.tmax_s is None else sample(self.tmax_s)
        if not 0 <= start < stop <= shapes.times:
            end = shapes.tmin_s + shapes.times / shapes.rate_hz
            raise InputError(
                f"the loss is to use {self.tmin_s} to {self.tmax_s} s of a window from {shapes.tmin_s:g} to {end:g} s;"
                " type tmin_s and tmax_s within it, tmin_s first"
            )
        return slice(start, stop)


class RankingModule(LossModule):
    """What is compared, and which candidates are right."""

    def __init__(self, config: RankingSettings, shapes: Shapes) -> None:
        super().__init__()
        self.ranking = config
        self.window = config.window(shapes)
        self.estimate_map = nn.Linear(shapes.features, config.linear) if config.linear else None
        self.candidate_map = nn.Linear(shapes.features, config.linear) if config.linear else None

    def sides(self, estimates: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """Both as they are compared, [R F T] and [N F T]."""
        return self._compared(estimates, self.estimate_map), self._compared(candidates, self.candidate_map)

    def kinship(self, candidates: Tensor, group: LossGroup) -> "Kinship":
        """How the candidates of a group relate to each other."""
        config, count = self.ranking, len(candidates)
        first = first_of_same(digests(candidates)) if config.equal == "one" else torch.arange(count, device=candidates.device)
        directions = None
        if config.soft.weight:
            with torch.no_grad():
                directions = unit(self._compared(candidates, self.candidate_map))
        return Kinship(first, group.excerpts if config.alike == "left_out" else None, directions, config.soft)

    def _compared(self, x: Tensor, linear: nn.Linear | None) -> Tensor:
        x = x[..., self.window]
        if self.ranking.pool:
            x = x.mean(dim=-1, keepdim=True)
        if linear is not None:
            x = linear(x.transpose(1, 2)).transpose(1, 2)
        return x - x.mean(dim=(1, 2), keepdim=True) if self.ranking.center else x


@dataclass(frozen=True)
class Kinship:
    """How the candidates of a group relate to each other.

    Attributes:
        first: [N], of each the first one that counts as the same.
        excerpts: where they lie in what was heard, if those that are alike are left out.
        directions: [N values], each of unit length, if targets are soft.
        soft: the settings of soft targets.
    """

    first: Tensor
    excerpts: Excerpts | None
    directions: Tensor | None
    soft: SoftTargets

    @property
    def distinct(self) -> Tensor:
        """The candidates that count, one of each that are the same; indices."""
        return torch.nonzero(self.first == torch.arange(len(self.first), device=self.first.device))[:, 0]

    def right(self, one: Tensor, other: Tensor) -> Tensor:
        """Which pairs of candidates, given as indices, count as the same, [one other]."""
        return self.first[one][:, None] == self.first[other]

    def left_out(self, one: Tensor, other: Tensor) -> Tensor:
        """Which pairs are neither the same nor different enough for a negative, [one other]."""
        if self.excerpts is None:
            return torch.zeros(len(one), len(other), dtype=torch.bool, device=one.device)
        return self.excerpts.alike(one, other) & ~self.right(one, other)

    def entropy(self, logits: Tensor, one: Tensor, other: Tensor) -> Tensor:
        """The cross-entropy of each row of ``logits``, [one other]; right in row n is what equals candidate ``one[n]``."""
        out = self.left_out(one, other)
        wanted = self.right(one, other).to(logits.dtype)
        wanted = wanted / wanted.sum(dim=1, keepdim=True)
        if self.directions is not None:
            likeness: Tensor = F.linear(self.directions[one], self.directions[other]).to(logits.dtype)
            soft: Tensor = (likeness / self.soft.temperature).masked_fill(out, -torch.inf).softmax(dim=1)
            wanted = (1 - self.soft.weight) * wanted + self.soft.weight * soft
        likely = logits.masked_fill(out, -torch.inf).log_softmax(dim=1).masked_fill(out, 0.0)
        losses: Tensor = -(wanted * likely).sum(dim=1)
        return losses


def unit(values: Tensor) -> Tensor:
    """Rows as vectors of unit length, at least float32, [rows values]; one of zeros stays so, and has no gradient."""
    flat = values.flatten(1)
    flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
    length: Tensor = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return torch.where(length > 0, flat / (TINY + length), 0.0)  # a slope of 1 / TINY would be all that Adam ever saw


def cosines(estimates: Tensor, candidates: Tensor) -> Tensor:
    """The cosine similarity over features and time, [rows candidates]; in float32 or better whatever autocast says."""
    with torch.autocast(estimates.device.type, enabled=False):
        one, other = unit(estimates), unit(candidates)
        dtype = torch.promote_types(one.dtype, other.dtype)
        return F.linear(one.to(dtype), other.to(dtype))
