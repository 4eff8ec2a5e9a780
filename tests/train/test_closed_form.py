"""A fit in closed form is a training like any other: one epoch, killed anywhere the same, for any number of workers."""

from dataclasses import fields as dataclass_fields
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from raybrain.config import InputError, override
from raybrain.encoders.base import FittedEncoder
from raybrain.experiment import Experiment
from raybrain.train.closed_form import ClosedForm, fitted
from raybrain.train.fitting import fits
from raybrain.train.messages import Steps
from raybrain.train.order import contrast
from raybrain.train.record import RunRecord
from raybrain.train.step import Place
from raybrain.train.tables import Tables
from tests.train.test_loop import Ear, Killed, go, result
from tests.workers import in_workers, random_tables

RIDGE: dict[str, Any] = {
    "encoder": "ridge",
    "train.batch_size": 16,
    "train.contrast_size": 8,
    "window.offset_s": 0.1,
}


def question(**changes: Any) -> Experiment:
    return override(Experiment(), RIDGE | changes)


def closed_form(folder: Path, place: Place | None = None, tables: Tables | None = None, **changes: Any) -> ClosedForm:
    experiment, place = question(**changes), place or Place()
    data = tables or random_tables(experiment, torch.float32)
    sizes = contrast(experiment.train, place.world, len(data.rows["train"]))
    return ClosedForm(experiment, data, sizes, place, RunRecord(folder))


def test_what_a_fit_does_not_read_does_not_name_it() -> None:
    changes = {"train.epochs": 7, "train.patience": 3, "optim.lr": 0.5, "optim.schedule": ("3:lr=0.1",)}
    assert question(**changes).signature == question().signature
    assert question(**changes).as_read().train.epochs == 1
    assert override(question(**changes), {"encoder": "simple_conv"}) == override(
        Experiment(), RIDGE | changes | {"encoder": "simple_conv"}
    )
    assert override(Experiment(), changes).train.epochs == 7, "what is trained by steps reads all of them"
    assert question(**{"encoder.tmax_s": 0.2}).signature != question().signature


def test_killed_after_any_fit_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = closed_form(tmp_path / "whole")
    history = go(whole)
    assert len(history) == 1 and history[0]["epoch"] == 1 and 0 < history[0]["valid_top10"] <= 1
    assert whole.sizes.updates_per_epoch == len(whole.fits) == 2
    for after in (1, 1):
        with pytest.raises(Killed):
            go(closed_form(tmp_path / "killed"), Ear(after), checkpoint_s=0)
    ear = Ear()
    again = closed_form(tmp_path / "killed")
    assert again.done == 2, "both fits were kept"
    go(again, ear, checkpoint_s=0)
    assert not ear.of(Steps)
    (one, first), (other, second) = result(tmp_path / "whole"), result(tmp_path / "killed")
    assert first == second and all(torch.equal(one[name], other[name]) for name in one)
    assert go(closed_form(tmp_path / "whole"), Ear(1), checkpoint_s=0) == history, "what is done takes no step"


def test_it_finds_what_was_planted(tmp_path: Path) -> None:
    """Five channels carry the features as they are heard; the train loss of it is lower, and valid windows are found."""
    experiment = question(**{"window.offset_s": 0})
    tables = random_tables(experiment, torch.float32)
    plain = go(closed_form(tmp_path / "noise", tables=tables, **{"window.offset_s": 0}))[0]
    heard = tables.speech(torch.arange(len(tables.start)))

    class Planted(Tables):
        def brain(self, rows: torch.Tensor, draws: torch.Tensor) -> Any:
            batch = super().brain(rows, draws)
            return replace(batch, signal=torch.cat([heard[rows], batch.signal[:, 5:]], dim=1))

    carrying = Planted(**{field.name: getattr(tables, field.name) for field in dataclass_fields(tables)})
    planted = go(closed_form(tmp_path / "planted", tables=carrying, **{"window.offset_s": 0}))[0]
    assert planted["valid_top1"] == 1.0 > plain["valid_top1"]
    assert planted["train_loss"] < plain["train_loss"]


def test_who_has_no_train_segments_gets_the_map_of_all() -> None:
    experiment = question()
    tables = random_tables(experiment, torch.float32)
    train = tables.rows["train"]
    mine = train[tables.subject[tables.recording[train]] == 0]
    held_out = replace(tables, rows={**tables.rows, "train": mine})
    assert [one.subjects for one in fits(tables, per_subject=True)] == [(0,), (1,)]
    assert [one.subjects for one in fits(tables, per_subject=False)] == [(0, 1)]
    assert [one.subjects for one in fits(held_out, per_subject=True)] == [(0,), (1,)]
    assert fits(held_out, per_subject=True)[1].train.tolist() == mine.tolist()
    encoder = fitted(question(**{"encoder.penalties": (1.0,)}), held_out, Place()).network.encoder
    assert torch.equal(encoder.weights[0], encoder.weights[1]), "the train segments of all are those of the first"
    both = fitted(experiment, tables, Place()).network.encoder
    assert not torch.equal(both.weights[0], both.weights[1])


def test_what_must_be_trained_beside_it_is_refused(tmp_path: Path) -> None:
    assert isinstance(question().encoder, FittedEncoder)
    with pytest.raises(InputError, match=r"speech_encoder=deep_mel must be trained; type speech_encoder=stored"):
        question(speech_encoder="deep_mel")
    with pytest.raises(InputError, match=r"the loss has weights that must be trained; type another loss, such as loss=mse"):
        closed_form(tmp_path, **{"loss.linear": 3})


def _fit(rank: int, run: Path) -> None:
    go(closed_form(run, Place(rank, 2)))


def test_two_workers_fit_the_very_same(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers: sums in another order differ in the last bit
    go(closed_form(tmp_path / "one"))
    torch.set_num_threads(threads)
    in_workers(_fit, 2, tmp_path / "two")
    two, other = result(tmp_path / "two")
    weights, history = result(tmp_path / "one")
    assert all(torch.equal(weights[name], two[name]) for name in weights)
    gaps = {name: abs(history[0][name] - other[0][name]) for name in history[0]}
    assert max(gaps.values()) < 1e-6
