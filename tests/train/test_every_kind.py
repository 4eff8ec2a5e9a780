"""Every encoder with every loss in every task: two steps, and shapes as documented. New kinds come in by themselves."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from raybrain.config import Choice, InputError, override
from raybrain.encoders.base import Encoder, FittedEncoder, SpeechEncoder
from raybrain.encoders.front import FrontEncoder
from raybrain.experiment import Experiment
from raybrain.losses.base import Loss
from raybrain.network import Network, Parts
from raybrain.tasks.base import Task
from raybrain.train.closed_form import fitted
from raybrain.train.order import Order, contrast
from raybrain.train.start import fit_line, set_gain, start_fits
from raybrain.train.step import Learner, Place
from raybrain.train.tables import Tables
from tests.workers import RANDOM, TIMES, random_tables

ENCODER = {
    "hidden": 8,
    "depth": 1,
    "attention.channels": 6,
    "attention.dimensions": 8,
    "initial_linear": 5,
}
PLACES = [Place()]
if torch.cuda.is_available():
    PLACES.append(Place(device=torch.device("cuda"), autocast=True))


def kinds(family: type[Choice]) -> list[str]:
    """Those of raybrain: plug-ins and the examples of docstrings may be known too."""
    known = family.kinds().items()
    return sorted(name for name, kind in known if kind.__module__.startswith("raybrain.") and not name.startswith("doc_"))


def small(encoder: str) -> dict[str, Any]:
    """Settings that make a kind small, as far as it has them."""
    fields = Encoder.kind(encoder).model_fields
    return {f"encoder.{name}": value for name, value in ENCODER.items() if name.partition(".")[0] in fields}


def beside(task: str, encoder: str) -> dict[str, Any]:
    """What may be beside an encoder in a task: a line, random changes, the start of the brain's window."""
    if not issubclass(Encoder.kind(encoder), FrontEncoder):
        return {}
    settings = {name: value for name, value in RANDOM.items() if "augment" in name} | {"encoder.ridge.on": True}
    if Task.kind(task).has_sensors:
        return settings
    return settings | {"encoder.augment.mixup": 0, "encoder.augment.sensors.radius": 0, "task.prompt_s": 0.3}


def asked(task: str, encoder: str, loss: str, more: bool) -> Experiment:
    settings: dict[str, Any] = {"task": task, "encoder": encoder, "loss": loss, **small(encoder)}
    if not Task.kind(task).has_sensors and "attention" in Encoder.kind(encoder).model_fields:
        settings["encoder.attention.on"] = False
    if not issubclass(Encoder.kind(encoder), FittedEncoder):
        settings["optim.lr"] = 1e-3
    settings |= beside(task, encoder) if more else {}
    return override(Experiment(), settings | {"train.batch_size": 8, "train.contrast_size": 4, "train.extra_negatives": 3})


def learners(task: str, encoder: str, place: Place, more: bool) -> Iterator[tuple[Learner, Tables]]:
    """A learner for each loss that the others allow; one that is refused says what to type."""
    for loss in kinds(Loss):
        try:
            experiment = asked(task, encoder, loss, more)
            tables = random_tables(experiment, place.dtype)
            sizes = contrast(experiment.train, 1, len(tables.rows["train"]))
            if issubclass(Encoder.kind(encoder), FittedEncoder):
                yield fitted(experiment, tables, place), tables
                continue
            learner = Learner(experiment, tables, sizes, place)
        except InputError as error:
            assert "type " in str(error), f"{loss}: {error}"
            continue
        if lines := start_fits(experiment, tables):
            for one in lines:
                fit_line(learner, [one])
            assert math.isfinite(set_gain(learner))
        order = Order(tables.rows["train"], sizes, experiment.train.seed)
        before = {name: value.clone() for name, value in learner.network.named_parameters()}
        first = learner.optimizer.steps.start
        for step in range(first, first + 2):
            total = learner.update(learner.load(order.batch(step), order.extra(step), step))
            assert total.shape == () and total.isfinite(), f"{loss}, step {step}"
        moved = {name for name, value in learner.network.named_parameters() if not torch.equal(value, before[name])}
        assert moved, loss
        assert all(value.isfinite().all() for value in learner.network.parameters()), loss
        yield learner, tables


@pytest.mark.parametrize("more", [False, True], ids=["alone", "with all beside it"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.device.type)
@pytest.mark.parametrize("encoder", kinds(Encoder))
@pytest.mark.parametrize("task", kinds(Task))
def test_every_encoder_trains_with_every_loss(task: str, encoder: str, place: Place, more: bool) -> None:
    seen = 0
    for learner, tables in learners(task, encoder, place, more):
        learner.network.eval()
        rows = tables.rows["valid"][:5]
        with torch.no_grad():
            given, aimed = learner.given(rows), learner.aimed(rows)
            estimates = learner.encoded(given)
            losses = learner.network.loss(estimates, aimed, torch.arange(5, device=place.device))
            scores = learner.scores(estimates, aimed)
        shapes = learner.shapes
        assert given.signal.shape == (5, shapes.channels, shapes.times) and given.positions.shape[1:] == (shapes.channels, 2)
        assert given.segment.tolist() == rows.tolist() and given.valid.shape == given.positions.shape[:2]
        assert estimates.shape == aimed.shape == (5, shapes.features, shapes.times)
        assert losses.shape == (5,) and scores.shape == (5, 5)
        assert torch.finfo(losses.dtype).bits >= 32 and torch.finfo(scores.dtype).bits >= 32
        assert all(values.isfinite().all() for values in (estimates, losses, scores))
        seen += 1
    assert seen >= len(kinds(Loss)) - 2, "most losses go with every encoder"


@pytest.mark.parametrize("speech", kinds(SpeechEncoder))
def test_every_speech_side_gives_what_it_says(speech: str) -> None:
    settings = {"speech_encoder": speech, **small("simple_conv")}
    settings |= {"speech_encoder.strides": "5"} if speech == "wave" else {}
    experiment = override(Experiment(), settings)
    shapes = replace(random_tables(experiment).shapes, times=TIMES)
    network = Network(Parts.of(experiment), shapes)
    aimed = network.aimed(torch.randn(3, shapes.features, TIMES))
    assert aimed.shape == (3, experiment.speech_encoder.size(shapes.features), TIMES)
