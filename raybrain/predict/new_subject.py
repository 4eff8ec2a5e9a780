"""New subject: whom a model has not seen.

Without anything known it has what all share, if the model has that, or else the mean of all others' weights. With some labelled
minutes it begins as whichever known subject fits them best, and is fitted to them from there. Only what a model has of each
subject is fitted, by the model's own loss; everything else stays. The last labelled windows are held out: they say when to
stop, and whether the fit is better than none.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from raybrain.config import InputError
from raybrain.encoders.base import FittedModule, NewRows, Pair
from raybrain.network import Network
from raybrain.predict.new_recording import NewRecording
from raybrain.predict.stretches import Speech
from raybrain.probabilities import calibrated

if TYPE_CHECKING:
    from raybrain.predict.model import Model

HELD = 0.25  # of the labelled windows
FEWEST = 10  # windows to fit, and as many to hold out
LOOKED_AT = 64  # windows, evenly spread, when known subjects are compared
BATCH, STEPS, LR = 48, 60, 1e-2
EVERY, PATIENCE = 5, 3  # steps between two looks at what is held out; stop after so many that are hardly better
BETTER = 0.98  # times the best surprise so far
SEED = 2036


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

    def spread(self, count: int) -> "Labelled":
        """About so many of them, evenly spread."""
        return self.some(slice(None, None, max(1, -(-len(self) // count))))

    def parted(self, samples: int) -> "tuple[Labelled, Labelled]":
        """What is fitted, and what is held out: the last of them, of which no window of ``samples`` overlaps the former.

        Raises:
            InputError: if there are too few.
        """
        cut = int(len(self) * (1 - HELD))
        fitted = self.some(slice(cut))
        held = self.some(self.starts >= (fitted.starts.max() + samples if len(fitted) else 0))
        if min(len(fitted), len(held)) < FEWEST:
            raise InputError(
                f"{len(self)} labelled windows are too few to calibrate on ({len(fitted)} to fit and {len(held)} to hold out;"
                f" {FEWEST} of both are needed); label more of the recording, or type a higher --minutes"
            )
        return fitted, held


@dataclass(frozen=True)
class Material:
    """A recording, what was heard in it, and as whom the model takes it."""

    recording: NewRecording
    speech: Speech

    def given(self, model: "Model", some: Labelled, subject: str) -> Iterator[Tensor]:
        """Estimates of some windows, a few at a time."""
        new = self.recording
        for batch in model.batches(new.values, some.starts, subject=subject, scaler=new.scaler, layout=new.layout):
            yield model.network.encoder(batch)

    def stored(self, some: Labelled) -> Tensor:
        """What was heard in them, [windows features time]."""
        return self.speech.windows(some.of, some.start_s)

    def pairs(self, model: "Model", some: Labelled, subject: str) -> Iterator[Pair]:
        """What goes in, and what is aimed at."""
        new, at = self.recording, 0
        for batch in model.batches(new.values, some.starts, subject=subject, scaler=new.scaler, layout=new.layout):
            yield batch.signal, self.stored(some.some(slice(at, at + len(batch)))).to(batch.signal)
            at += len(batch)

    @torch.no_grad()
    def entropy(self, model: "Model", some: Labelled, subject: str) -> float:
        """How unlikely the truth is among all windows of ``some``, at the temperature that is best for it."""
        scores = model.scores(torch.cat(list(self.given(model, some, subject))), self.stored(some))
        known = calibrated([(scores, torch.arange(len(some)))])
        return known.entropy if known else math.inf


def added(model: "Model", name: str) -> "Model":
    """A model with one more subject: who has what all share, if there is that, and else the mean of all others' weights.

    Raises:
        InputError: if there is a subject of that name, or the encoder does not take more subjects.
    """
    from raybrain.predict.model import Model, parts

    if name in model.subjects:
        raise InputError(f"the model has a subject {name!r} already; type another name")
    shapes = replace(model.shapes, subjects=(*model.subjects, name))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = Network(parts(model.card), shapes)
    wider, fresh = network.state_dict(), _fresh(network)
    weights = {}
    for key, value in model.network.state_dict().items():
        more = wider[key].shape != value.shape
        if more and wider[key].shape != (len(shapes.subjects), *value.shape[1:]):
            encoder = model.card.experiment["encoder"]["name"]
            raise InputError(f"encoder={encoder} takes no new subject: its weights {key} do not have a row for each")
        if more:
            row = wider[key][-1:].to(value) if key in fresh else value.mean(dim=0, keepdim=True)
        weights[key] = torch.cat([value, row]) if more else value
    return Model(model.path, replace(model.card, shapes=shapes), weights, str(model.device))


def _fresh(network: Network) -> set[str]:
    """The names of the weights of which somebody new has a row as it is made."""
    return {f"{path}.{name}" for path, part in network.named_modules() if isinstance(part, NewRows) for name in part.new_rows()}


def calibrate(model: "Model", name: str, material: Material, fitted: Labelled, held: Labelled) -> "tuple[Model, str]":
    """A model with a new subject that was fitted to labelled windows, and a line that says what that changed.

    Args:
        model: that does not know the subject.
        name: of the subject.
        material: the recording and what was heard in it.
        fitted: windows to fit.
        held: windows that say when to stop.

    Raises:
        InputError: if the encoder does not take new subjects.
    """
    wide = added(model, name)
    own = _own(model, wide)
    before = material.entropy(wide, held, name)
    if not own:
        return wide, "this encoder does not tell subjects apart, so there is nothing to calibrate"
    few = fitted.spread(LOOKED_AT)
    likest = min(wide.subjects, key=lambda subject: material.entropy(wide, few, subject))
    start = wide.subjects.index(likest)
    with torch.no_grad():
        for weights in own:
            weights[-1] = weights[start]
    begun = material.entropy(wide, held, name)
    if isinstance(wide.network.encoder, FittedModule):
        how, after = _fit(wide, name, material, (fitted, held), own, begun)
    else:
        how, after = _steps(wide, name, material, (fitted, held), own, begun)
    likest = "the mean of the known subjects" if likest == name else likest
    return wide, (
        f"calibrated on {len(fitted)} labelled windows, from {likest} on, {how}; mean surprise at {len(held)} further ones"
        f" {before:.2f} -> {after:.2f} nats (all as likely: {math.log(len(held)):.2f})"
    )


def _own(model: "Model", wide: "Model") -> list[Tensor]:
    """The weights that have a row for each subject."""
    before = model.network.state_dict()
    return [value for key, value in wide.network.named_parameters() if value.shape != before[key].shape]


def _fit(
    wide: "Model", name: str, material: Material, windows: tuple[Labelled, Labelled], own: Iterable[Tensor], begun: float
) -> tuple[str, float]:
    """Fit in closed form; what was there stays if it is better on what is held out."""
    fitted, held = windows
    rows = [weights[-1].clone() for weights in own]
    module = wide.network.encoder
    assert isinstance(module, FittedModule)
    module.fit([len(wide.subjects) - 1], material.pairs(wide, fitted, name), material.pairs(wide, held, name))
    after = material.entropy(wide, held, name)
    if after < begun:
        return "fitted in closed form", after
    with torch.no_grad():
        for weights, row in zip(own, rows, strict=True):
            weights[-1] = row
    return "a fit in closed form is no better", begun


def _steps(
    wide: "Model", name: str, material: Material, windows: tuple[Labelled, Labelled], own: list[Tensor], begun: float
) -> tuple[str, float]:
    """Some steps of Adam on what the model has of a subject; what is best on what is held out is kept."""
    fitted, held = windows
    best, kept, taken = begun, [weights[-1].detach().clone() for weights in own], 0
    for parameter in wide.network.parameters():
        parameter.requires_grad_(False)
    for weights in own:
        weights.requires_grad_(True)  # those of other subjects have no gradient, so that Adam leaves them
    optimizer = torch.optim.Adam(own, lr=LR)
    drawn = np.random.default_rng(SEED)
    for step in range(1, STEPS + 1):
        rows = np.sort(drawn.permutation(len(fitted))[:BATCH])
        _step(wide, name, material, fitted.some(rows), optimizer)
        if step % EVERY:
            continue
        now = material.entropy(wide, held, name)
        if now < BETTER * best:
            best, kept, taken = now, [weights[-1].detach().clone() for weights in own], step
        elif step >= taken + EVERY * PATIENCE:
            break
    with torch.no_grad():
        for weights, row in zip(own, kept, strict=True):
            weights[-1] = row
            weights.requires_grad_(False)
    return f"{taken} steps of Adam", best


def _step(wide: "Model", name: str, material: Material, some: Labelled, optimizer: torch.optim.Optimizer) -> None:
    with torch.backends.cudnn.flags(enabled=False):  # whose LSTMs have no gradient in evaluation mode
        estimates = torch.cat(list(material.given(wide, some, name)))
        with torch.no_grad():
            aimed = wide.network.aimed(material.stored(some).to(estimates))
        loss = wide.network.loss(estimates, aimed, torch.arange(len(some), device=estimates.device)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
