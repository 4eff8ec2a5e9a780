"""New subject: whom a model has not seen.

Without anything known it has what all share, if the model has that, or else the mean of all others' weights. With some labelled
minutes what a model has of each subject is fitted to these (:mod:`raybrain.train.adapt`); everything else stays. The last
labelled windows are held out: they say which steps of the fit are kept, and whether it is better than none.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from raybrain.batch import Batch
from raybrain.config import InputError
from raybrain.network import Network
from raybrain.predict.new_recording import NewRecording
from raybrain.predict.stretches import Speech
from raybrain.train.adapt import SEED, Adapter, LabelledWindows, TooFew, begun, parted
from raybrain.train.rows import subject_rows

if TYPE_CHECKING:
    from raybrain.predict.model import Model


@dataclass(frozen=True)
class Labelled:
    """Windows of a recording of which it is known what was heard, in order of time.

    Attributes:
        starts: [windows], the first sample of each.
        of: [windows], which sound.
        start_s: [windows], the second of it at which the window begins.
    """

    starts: np.ndarray
    of: np.ndarray
    start_s: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def some(self, which: "np.ndarray | slice") -> "Labelled":
        """Some of them."""
        return Labelled(self.starts[which], self.of[which], self.start_s[which])

    def parted(self, samples: int) -> "tuple[Labelled, Labelled]":
        """What is fitted, and what is held out: the last of them, of which no window of ``samples`` overlaps the former.

        Raises:
            InputError: if there are too few.
        """
        try:
            fitted, held = parted(torch.from_numpy(self.starts), samples)
        except TooFew as error:
            raise InputError(f"{error}; label more of the recording, or type a higher --minutes") from None
        return self.some(fitted.numpy()), self.some(held.numpy())


@dataclass(frozen=True)
class Material:
    """A recording and what was heard in it."""

    recording: NewRecording
    speech: Speech


@dataclass(frozen=True)
class _Windows(LabelledWindows):
    """Labelled windows of a recording, as a model takes them."""

    model: "Model"
    material: Material
    labelled: Labelled

    def batches(self, numbers: Tensor) -> Iterator[Batch]:
        new, starts = self.material.recording, self.labelled.starts[numbers.numpy()]
        anybody = self.model.subjects[0]
        yield from self.model.batches(new.values, starts, subject=anybody, scaler=new.scaler, layout=new.layout)

    def stored(self, numbers: Tensor) -> Tensor:
        some = self.labelled.some(numbers.numpy())
        return self.material.speech.windows(some.of, some.start_s)


def added(model: "Model", name: str) -> "Model":
    """A model with one more subject: who has what all share, if there is that, and else the mean of all others' weights.

    Raises:
        InputError: if there is a subject of that name, or the encoder does not take more subjects.
    """
    from raybrain.predict.model import Model, parts

    if name in model.subjects:
        raise InputError(f"the model has a subject {name!r} already; type another name")
    trained = (*model.subjects, name)
    if name in model.shapes.subjects:  # left out of training, but given what somebody begins with
        return Model(model.path, replace(model.card, trained=trained), model.network.state_dict(), str(model.device))
    shapes = replace(model.shapes, subjects=(*model.shapes.subjects, name))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = Network(parts(model.card), shapes)
    weights, wider = {}, network.state_dict()
    for key, value in model.network.state_dict().items():
        more = wider[key].shape != value.shape
        if more and wider[key].shape != (len(shapes.subjects), *value.shape[1:]):
            encoder = model.card.experiment["encoder"]["name"]
            raise InputError(f"encoder={encoder} takes no new subject: its weights {key} do not have a row for each")
        weights[key] = torch.cat([value, wider[key][-1:].to(value)]) if more else value
    made = Model(model.path, replace(model.card, shapes=shapes, trained=trained), weights, str(model.device))
    with torch.no_grad():
        rows = subject_rows(parts(model.card), shapes)
        for key, row in begun(made.network, rows, _numbers(model)).items():
            made.network.get_parameter(key)[-1] = row
    return made


def calibrate(model: "Model", name: str, material: Material, fitted: Labelled, held: Labelled) -> "tuple[Model, str]":
    """A model with a new subject that was fitted to labelled windows, and a line that says what that changed.

    Args:
        model: that does not know the subject.
        name: of the subject.
        material: the recording and what was heard in it.
        fitted: windows to fit.
        held: windows that say which steps are kept.

    Raises:
        InputError: if the encoder does not take new subjects.
    """
    from raybrain.predict.model import parts

    wide = added(model, name)
    rows = subject_rows(parts(wide.card), wide.shapes)
    if not rows:
        return wide, "this encoder does not tell subjects apart, so there is nothing to calibrate"
    both = Labelled(*(np.concatenate(pair) for pair in zip(vars(fitted).values(), vars(held).values(), strict=True)))
    subject, numbers = wide.shapes.subjects.index(name), torch.arange(len(both))
    adapter = Adapter(wide.network, rows, subject, _numbers(model), _Windows(wide, material, both))
    done = adapter.run(numbers[: len(fitted)], numbers[len(fitted) :])
    start = "what is known of nobody" if done.start == subject else wide.shapes.subjects[done.start]
    return wide, (
        f"calibrated on {len(fitted)} labelled windows, from {start} on, {done.how}; mean surprise at {len(held)} further ones"
        f" {done.before:.2f} -> {done.after:.2f} nats (all as likely: {math.log(len(held)):.2f})"
    )


def _numbers(model: "Model") -> list[int]:
    """The rows of those whom a model knows."""
    return [model.shapes.subjects.index(name) for name in model.subjects]
