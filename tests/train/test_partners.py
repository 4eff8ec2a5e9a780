from dataclasses import replace

import torch
from torch import Tensor

from raybrain.batch import Keys, step_draws
from raybrain.config import override
from raybrain.experiment import Experiment
from raybrain.train.order import contrast
from raybrain.train.partners import NEAR_S, Partners
from raybrain.train.step import Learner, Place
from raybrain.train.tables import Tables
from tests.workers import SMALL, random_tables

EXPERIMENT = override(Experiment(), SMALL | {"train.contrast_size": 8, "encoder.augment.mixup": 0.5})


def two_stimuli() -> Tables:
    """Half of the segments hear another thing than the others."""
    tables = random_tables(EXPERIMENT)
    begin = 1 + torch.arange(len(tables.start)) % 2
    return replace(tables, features=[replace(tables.features[0], begin=begin)])


def drawn(tables: Tables, rows: Tensor, step: int = 0) -> tuple[Tensor, Tables]:
    return Partners(tables).of(Keys.of(step_draws(1, step), rows), rows)


def test_partners_hear_the_very_same() -> None:
    tables = two_stimuli()
    rows = tables.rows["train"]
    partners, moved = drawn(tables, rows)
    assert torch.isin(partners, rows).all() and (partners != rows).sum() > 40
    assert torch.equal(tables.recording[partners], moved.recording)
    asked, got = tables.excerpts(rows), moved.excerpts(torch.arange(len(rows)))
    assert torch.equal(asked.stimulus, got.stimulus)
    apart = (asked.start_s - got.start_s).abs()
    inside = (moved.start > Partners(tables).first[moved.recording]) & (moved.start < Partners(tables).last[moved.recording])
    assert apart[inside].max() <= 0.5 / tables.window.rate_hz and apart.max() <= NEAR_S + 0.5 / tables.window.rate_hz
    assert inside.sum() > 80


def test_a_partner_depends_on_step_and_segment_alone() -> None:
    tables = two_stimuli()
    rows = tables.rows["train"]
    whole, _ = drawn(tables, rows)
    some, _ = drawn(tables, rows[[40, 3, 3]])
    assert torch.equal(some, whole[[40, 3, 3]])
    assert not torch.equal(drawn(tables, rows, step=1)[0], whole)


def test_who_hears_alone_is_mixed_with_itself() -> None:
    tables = random_tables(EXPERIMENT)
    alone = replace(tables.features[0], begin=1 + torch.arange(len(tables.start)))
    tables = replace(tables, features=[alone])
    rows = tables.rows["train"]
    partners, moved = drawn(tables, rows)
    assert torch.equal(partners, rows) and torch.equal(moved.start, tables.start[rows])
    sizes = contrast(EXPERIMENT.train, 1, len(rows))
    learner = Learner(EXPERIMENT, tables, sizes, Place(dtype=torch.float64))
    batch = learner.taught(rows[:6], step=1)
    assert batch.partner is not None and torch.equal(batch.partner.signal, batch.signal)
    torch.testing.assert_close(learner.encoded(batch), learner.encoded(replace(batch, partner=None)))


def test_segments_are_mixed_while_training_only() -> None:
    tables = two_stimuli()
    rows = tables.rows["train"]
    learner = Learner(EXPERIMENT, tables, contrast(EXPERIMENT.train, 1, len(rows)), Place(dtype=torch.float64))
    batch = learner.taught(rows[:6], step=1)
    assert batch.partner is not None and batch.partner.signal.dtype == torch.float64
    assert torch.isin(batch.partner.segment, rows).all() and not torch.equal(batch.partner.segment, batch.segment)
    front = learner.network.encoder.front
    mixed, own, other = front(batch), front(replace(batch, partner=None)), front(replace(batch.partner, partner=None))
    share = ((mixed - own) * (other - own)).sum(dim=(1, 2)) / (other - own).square().sum(dim=(1, 2)).clamp(min=1e-9)
    assert share.min() >= 0 and 0.1 < share.max() <= 0.5
    torch.testing.assert_close(mixed, torch.lerp(own, other, share[:, None, None]))
    learner.network.eval()
    assert torch.equal(learner.encoded(batch), learner.encoded(replace(batch, partner=None)))
