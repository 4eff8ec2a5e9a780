"""Extra negatives that are like the batch: which they are, and that everybody finds the same ones."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from raybrain.config import InputError, override
from raybrain.experiment import Experiment, TrainConfig
from raybrain.train.neighbours import NEAREST, Neighbours, order_of
from raybrain.train.order import Contrast
from raybrain.train.step import Learner, Place
from tests.workers import SMALL, random_tables

SETTINGS: dict[str, Any] = {"train.negatives": "near", "train.extra_negatives": 40, "train.contrast_size": 16}


def made(stimuli: int = 60) -> tuple[Experiment, Learner]:
    """Segments of so many stimuli, none of which overlaps with another one but by chance of its place."""
    experiment = override(Experiment(), SMALL | SETTINGS)
    tables = random_tables(experiment)
    (feature,) = tables.features
    frames = torch.randn(1 + 50 * stimuli, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    number = torch.arange(len(tables.start)) % stimuli
    own = replace(feature, frames=frames, begin=1 + 50 * number, count=torch.full_like(number, 50), first=feature.first * 0)
    tables = replace(tables, features=[own], candidate=torch.full_like(tables.candidate, -1))
    return experiment, Learner(experiment, tables, Contrast(16, 1, 16, 16, 40, 6), Place(dtype=torch.float64))


def test_negatives_are_near_and_neither_the_same_nor_in_the_batch() -> None:
    experiment, learner = made()
    order = order_of(experiment, learner)
    batch, extra = order.batch(3), order.extra(3)
    assert torch.equal(extra, order_of(experiment, learner).extra(3)) and not torch.equal(extra, order.extra(4))
    assert len(extra) == 40 and not set(extra.tolist()) & set(batch.tolist())
    train = learner.tables.rows["train"]
    index, generator = Neighbours.of(learner), torch.Generator().manual_seed(0)
    wanted = learner.wanted(train).flatten(1)
    cosine = torch.nn.functional.cosine_similarity(wanted[:, None], wanted[None], dim=2)
    for query in batch.tolist():
        near = {int(index.near(torch.tensor([query]), batch, generator)) for _ in range(40)}
        assert len(near) <= NEAREST and all((one - query) % 60 for one in near), "not of the same stimulus"
        free = [one for one in range(len(train)) if one not in batch and (one - query) % 60]
        assert cosine[query, sorted(near)].mean() > cosine[query, free].mean() + 0.02


def test_where_everything_is_the_same_any_segment_is_drawn() -> None:
    experiment, learner = made(stimuli=1)
    extra = order_of(experiment, learner).extra(0)
    assert len(extra) == 40 and len(extra.unique()) > 10 and extra.max() < 96


def test_near_negatives_need_a_number() -> None:
    with pytest.raises(InputError, match=r"type train\.extra_negatives=NUMBER"):
        TrainConfig(negatives="near")
