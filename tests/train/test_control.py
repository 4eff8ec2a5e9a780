"""A training on noise, or on shuffled pairs, is a control: what it is taught says nothing of what was heard."""

from dataclasses import fields, replace
from typing import Any

import pandas as pd
import pytest
import torch

from raybrain.config import override
from raybrain.experiment import Experiment
from raybrain.report.terminal import control_lines
from raybrain.train.closed_form import fitted
from raybrain.train.order import Contrast
from raybrain.train.step import Learner, Place
from raybrain.train.tables import Tables
from raybrain.train.validation import Validation
from tests.train.test_closed_form import question
from tests.workers import SMALL, random_tables


def learner(control: str) -> Learner:
    experiment = override(Experiment(), SMALL | {"train.control": control})
    return Learner(experiment, random_tables(experiment, torch.float32), Contrast(16, 1, 16, 8, 0, 6), Place())


ROWS = torch.tensor([3, 50, 7, 95])


def test_noise_is_each_segments_own() -> None:
    noisy, plain = learner("noise"), learner("none")
    made = noisy.taught(ROWS).signal
    assert torch.equal(made[[1]], noisy.taught(ROWS[[1]], step=5).signal), "whatever batch and step"
    assert not torch.equal(made[0], made[1]) and abs(float(made.std()) - 1) < 0.1
    assert torch.equal(noisy.given(ROWS).signal, plain.given(ROWS).signal), "it is tested on the brain"
    assert torch.equal(plain.taught(ROWS).signal, plain.given(ROWS).signal)
    assert torch.equal(noisy.wanted(ROWS), plain.stored(ROWS))


def test_shuffled_pairs_are_all_train_segments_in_another_order() -> None:
    shuffled = learner("shuffled")
    train = shuffled.tables.rows["train"]
    partners = shuffled._partners[train]
    assert not (partners == train).any(), "nobody keeps what was heard"
    assert sorted(partners.tolist()) == train.tolist() and (partners != train).double().mean() > 0.9
    assert torch.equal(shuffled.wanted(ROWS), shuffled.stored(shuffled._partners[ROWS]))
    assert torch.equal(shuffled.taught(ROWS).signal, shuffled.given(ROWS).signal)
    valid = shuffled.tables.rows["valid"]
    assert torch.equal(shuffled._partners[valid], valid)


def test_a_step_is_taught_what_the_control_says() -> None:
    shuffled = learner("shuffled")
    rows = torch.arange(16)
    loaded = shuffled.load(rows, rows[:0], step=0)
    assert torch.equal(loaded.aimed, shuffled.stored(shuffled._partners[rows]))
    assert torch.equal(learner("noise").load(rows, rows[:0], step=0).given.signal, learner("noise").taught(rows).signal)


@pytest.mark.parametrize("control", ["noise", "shuffled"])
def test_a_fit_of_a_control_finds_nothing(control: str) -> None:
    tables = random_tables(question(), torch.float32)
    heard = tables.speech(torch.arange(len(tables.start)))

    class Planted(Tables):
        def brain(self, rows: torch.Tensor, draws: torch.Tensor) -> Any:
            batch = super().brain(rows, draws)
            return replace(batch, signal=torch.cat([heard[rows], batch.signal[:, 5:]], dim=1))

    carrying = Planted(**{field.name: getattr(tables, field.name) for field in fields(tables)})
    plain, taught = (
        Validation(fitted(question(**{"train.control": name}), carrying, Place())).retrieval() for name in ("none", control)
    )
    assert plain["valid_top1"] == 1.0 and taught["valid_top1"] < 0.5


def test_a_control_above_chance_is_told() -> None:
    names = {"study": ["a", "b", "b"], "control": ["model", "model", "random"]}
    controls = pd.DataFrame({**names, "top10": [0.12, 0.4, 0.1], "band_low10": 0.05, "band_high10": 0.15, "candidates": 100})
    assert control_lines("none", controls) == []
    fine, odd = control_lines("noise", controls)
    assert "at chance, as it must be" in fine and "ABOVE CHANCE" in odd and "top-10 of b is 40.0%" in odd
