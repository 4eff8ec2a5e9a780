"""Training that starts from a trained model: what fits is taken by name, what does not begins anew, and a line says which."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from raybrain.config import InputError, override
from raybrain.experiment import Experiment
from raybrain.features.scale import FeatureScale
from raybrain.identity import contents, locate
from raybrain.model_folder import CARD, ModelCard, read_card, read_weights, write_model
from raybrain.network import Network, Parts
from raybrain.plain import tree
from raybrain.train import warm_start
from raybrain.train.closed_form import fitted
from raybrain.train.loop import Training
from raybrain.train.order import contrast
from raybrain.train.record import RunRecord
from raybrain.train.step import Place
from raybrain.train.tables import Tables
from raybrain.train.warm_start import CannotStart
from tests.train.test_loop import UPDATES, Ear, Killed, go, result
from tests.train.test_loop import asked as asked_of_all
from tests.workers import random_tables

ENCODE = {
    "task": "encode",
    "encoder.attention.on": False,
    "encoder.augment.mixup": 0,
    "encoder.augment.sensors.radius": 0,
}
Make = Callable[..., Path]
Change = Callable[[Tables], Tables]
PLAIN: dict[str, Any] = {"encoder.tokens.depth": 0, "encoder.subject_layer.shared.on": False}


def asked(changes: dict[str, Any]) -> Experiment:
    """The small experiment with a front that is not tried here."""
    return asked_of_all(PLAIN | changes)


def keep(folder: Path, changes: dict[str, Any], seed: int = 3) -> Path:
    """A model of random weights, of an experiment that is like the small one but for some changes."""
    experiment = asked(changes)
    shapes = experiment.task.shapes(random_tables(experiment, torch.float32).shapes)
    torch.manual_seed(seed)
    network = Network(Parts.of(experiment), shapes)
    card = ModelCard(
        signature=experiment.signature,
        data="digest",
        experiment=tree(contents(experiment)),
        versions={},
        shapes=shapes,
        window=random_tables(experiment).window,
        recordings={},
        features=(FeatureScale("noise", 25.0, (0.0,), (1.0,), 0.0),),
        metrics={},
    )
    write_model(folder, card, network.state_dict())
    return folder


def knowing(model: Path, *subjects: str) -> Path:
    """A model as it is, but of fewer subjects: the others were left out."""
    write_model(model, replace(read_card(model), trained=subjects), read_weights(model))
    return model


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda **changes: keep(tmp_path / "trained" / "model", changes)


def same(tables: Tables) -> Tables:
    return tables


def others(tables: Tables) -> Tables:
    """The second subject, and somebody new."""
    return replace(tables, meta={**tables.meta, "subjects": [["a", "2"], ["b", "1"]]})


def renamed(tables: Tables) -> Tables:
    """As many sensors, of another cap."""
    layouts = [{**layout, "channels": [f"x{name}" for name in layout["channels"]]} for layout in tables.meta["layouts"]]
    return replace(tables, meta={**tables.meta, "layouts": layouts})


def begun(folder: Path, model: Path, change: Change = same, dimensions: int = 5, **changes: Any) -> Training:
    experiment = locate(asked({"start.model": str(model), **changes}), folder)
    tables = change(random_tables(experiment, torch.float32, dimensions))
    sizes = contrast(experiment.train, 1, len(tables.rows["train"]))
    return Training(experiment, tables, sizes, Place(), RunRecord(folder / "run"))


def weights(run: Training) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in run.learner.network.state_dict().items()}


def test_all_of_it_is_taken_where_all_of_it_fits(make: Make, tmp_path: Path) -> None:
    model = make()
    for folder in (model, model.parent):
        run = begun(tmp_path, folder)
        assert all(torch.equal(value, read_weights(model)[name]) for name, value in weights(run).items())
        total = f"{sum(value.numel() for value in read_weights(model).values()):,}"
        assert run.begun.endswith(f" in {model}: {total} of {total} weights") and run.begun.startswith(
            "starts from simple_conv "
        )
        assert not begun(tmp_path, folder, **{"start.model": ""}).begun


@pytest.mark.parametrize("mode", ["mean", "anew"])
def test_subjects_go_by_name(mode: str, make: Make, tmp_path: Path) -> None:
    settings = {"encoder.attention.per_subject": True, "start.subjects": mode}
    model = make(**settings)
    run, before = begun(tmp_path, model, others, **settings), read_weights(model)
    drawn = weights(begun(tmp_path, model, others, **settings | {"start.model": ""}))
    mine = ("encoder.front.subject_layer.weights", "encoder.front.attention.heads")
    for name, value in weights(run).items():
        if name in mine:
            assert torch.equal(value[0], before[name][1])
            assert torch.equal(value[1], before[name].mean(dim=0) if mode == "mean" else drawn[name][1])
        else:
            assert torch.equal(value, before[name])
    how = "the mean over its subjects" if mode == "mean" else "drawn"
    assert run.begun.endswith(f"; those of b/1 {how}")


def test_a_line_is_fitted_to_the_data_around_that_of_the_model(make: Make, tmp_path: Path) -> None:
    """Sensors of another cap have a line of their own, somebody new not the mean of others; nothing random is left."""
    line = {"encoder.ridge.on": True, "encoder.ridge.line.penalties": (1e-3,), "train.epochs": 1}
    model = make(**line)
    tried = [(renamed, "mean", "anew encoder.line.weights (other sensors)"), (same, "mean", "weights")]
    for change, mode, words in (*tried, (others, "mean", "b/1 the mean"), (others, "anew", "b/1 drawn")):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        run = begun(tmp_path, model, change, **line, **{"start.subjects": mode})
        assert words in run.begun
        go(run)
        experiment = override(Experiment(), {"encoder": "ridge", "encoder.penalties": (1e-3,), "window.offset_s": 0.1})
        alone = fitted(experiment, run.tables, Place()).network.encoder
        found = run.learner.network.encoder.line
        torch.testing.assert_close(found.weights, alone.weights, rtol=0.05, atol=0.01)


def test_whom_the_model_was_not_trained_with_it_does_not_know(make: Make, tmp_path: Path) -> None:
    model = knowing(make(), "a/1")
    run, before = begun(tmp_path, model), read_weights(model)["encoder.front.subject_layer.weights"]
    assert torch.equal(weights(run)["encoder.front.subject_layer.weights"], before[[0, 0]])
    assert run.begun.endswith("; those of a/2 the mean over its subjects")


def test_who_was_left_out_of_the_model_it_does_not_know(make: Make, tmp_path: Path) -> None:
    """Whoever came first is left out, so that the first one who was trained with is the second one of its study."""
    model = knowing(make(), "a/2")
    run, before = begun(tmp_path, model), read_weights(model)["encoder.front.subject_layer.weights"]
    assert torch.equal(weights(run)["encoder.front.subject_layer.weights"], before[[1, 1]])
    assert run.begun.endswith("; those of a/1 the mean over its subjects")


@pytest.mark.parametrize("per_subject", [False, True])
def test_somebody_new_begins_with_what_all_share(per_subject: bool, make: Make, tmp_path: Path) -> None:
    settings = {"encoder.subject_layer.shared.on": True, "encoder.attention.per_subject": per_subject}
    model = make(**settings)
    run, before = begun(tmp_path, model, others, **settings), read_weights(model)
    drawn = weights(begun(tmp_path, model, others, **settings | {"start.model": ""}))
    for name in ("encoder.front.subject_layer.down", "encoder.front.subject_layer.up"):
        assert torch.equal(weights(run)[name], torch.stack([before[name][1], drawn[name][1]]))
    assert run.begun.endswith("; those of b/1 the mean over its subjects" if per_subject else "; those of b/1 drawn")


def test_what_belongs_to_other_sensors_begins_anew(make: Make, tmp_path: Path) -> None:
    settings = {"encoder.attention.on": False}
    model = make(**settings)
    run, before = begun(tmp_path, model, renamed, **settings), read_weights(model)
    drawn = weights(begun(tmp_path, model, renamed, **settings | {"start.model": ""}))
    changed = {name for name, value in weights(run).items() if not torch.equal(value, before[name])}
    assert changed == {"encoder.front.linear.weight"}
    assert torch.equal(weights(run)["encoder.front.linear.weight"], drawn["encoder.front.linear.weight"])
    assert run.begun.endswith("; anew encoder.front.linear.weight (other sensors)")
    assert "anew" not in begun(tmp_path, make(), renamed).begun, "attention reads where sensors are, not which"


def test_what_estimates_other_features_begins_anew(make: Make, tmp_path: Path) -> None:
    run = begun(tmp_path, make(), dimensions=6)
    assert run.begun.count("other features") == 2 and "encoder.final.2.weight (other features)" in run.begun


def test_what_the_loss_has_learned_is_taken_if_it_has_it(make: Make, tmp_path: Path) -> None:
    linear = {"loss.linear": 3}
    assert "anew loss.estimate_map.weight (not in it)" in begun(tmp_path, make(), **linear).begun
    assert "anew" not in begun(tmp_path, make(**linear), **linear).begun
    assert "anew" not in begun(tmp_path, make(**linear)).begun


def test_subjects_may_come_and_go(make: Make, tmp_path: Path) -> None:
    alike = {"encoder.subject": "none"}
    assert "anew encoder.front.subject_layer.weights (not in it)" in begun(tmp_path, make(**alike)).begun
    assert "anew" not in begun(tmp_path, make(), **alike).begun
    shared = {"encoder.subject_layer.shared.on": True}
    assert begun(tmp_path, make(**alike), **shared).begun.count("not in it") == 3, "what all subjects share goes with it"


@pytest.mark.parametrize(
    ("model", "here", "message"),
    [
        ({"encoder": "conformer", "encoder.block.heads": 2}, {}, r"with encoder=conformer, not simple_conv; type encoder=conf"),
        ({"encoder.depth": 3, "encoder.hidden": 6}, {}, r"another network \(.*\); type encoder.depth=3 encoder.hidden=6$"),
        ({}, {"encoder.depth": 1}, r"another network \(encoder.* differ\); type encoder.depth=2$"),
        (ENCODE, {}, r"was trained with task=encode, not decode; type task=encode"),
    ],
)
def test_another_network_is_refused(
    model: dict[str, Any], here: dict[str, Any], message: str, make: Make, tmp_path: Path
) -> None:
    folder = make(**model)
    with pytest.raises(InputError, match=message):
        warm_start.check(asked({"start.model": str(folder), **here}))
    with pytest.raises(CannotStart, match=message):
        begun(tmp_path, folder, **here)


def test_a_model_that_is_not_there_or_another_one_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"no model in {tmp_path}/nowhere; type start.model=FOLDER"):
        warm_start.check(asked({"start.model": str(tmp_path / "nowhere")}))
    model = make()
    experiment = locate(asked({"start.model": str(model)}), tmp_path)
    keep(model, {}, seed=4)
    with pytest.raises(InputError, match=r"was asked for; type start.model="):
        warm_start.check(experiment)
    (model / CARD).write_text((model / CARD).read_text().replace("noise", "voice"))
    with pytest.raises(InputError, match="damaged or was changed"):
        warm_start.check(asked({"start.model": str(model)}))


def test_the_signature_names_what_is_in_the_folder(make: Make, tmp_path: Path) -> None:
    model = make()
    first = asked({"start.model": str(model)})
    assert first.signature != asked({}).signature
    assert locate(first, tmp_path).signature == first.signature
    moved = shutil.copytree(model.parent, tmp_path / "elsewhere")
    assert asked({"start.model": str(moved)}).signature == first.signature
    known, signature = locate(first, tmp_path), first.signature
    shutil.rmtree(model.parent)
    assert known.signature == signature, "what it was is known though it is gone"
    assert asked({"start.model": str(keep(model, {}, seed=4))}).signature != signature
    ridge = override(Experiment(), {"encoder": "ridge", "start.model": str(model)})
    assert ridge.as_read().signature == override(Experiment(), {"encoder": "ridge"}).as_read().signature


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bits(make: Make, tmp_path: Path) -> None:
    model = make()
    go(begun(tmp_path / "whole", model))
    with pytest.raises(Killed):
        go(begun(tmp_path / "killed", model), Ear(2), checkpoint_s=0)
    run = begun(tmp_path / "killed", model)
    with pytest.raises(Killed):
        go(run, Ear(UPDATES + 1), checkpoint_s=0)
    assert not run.begun, "it goes on from its checkpoint"
    go(begun(tmp_path / "killed", model), checkpoint_s=0)
    (one, first), (other, second) = result(tmp_path / "whole" / "run"), result(tmp_path / "killed" / "run")
    assert first == second and all(torch.equal(one[name], other[name]) for name in one)
    plain = begun(tmp_path / "plain", model, **{"start.model": ""})
    go(plain)
    assert result(tmp_path / "plain" / "run")[1] != first
