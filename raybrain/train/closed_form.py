"""Closed form: an encoder that is fitted rather than trained by steps. The same in a Ray worker, a trial and a notebook."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import Tensor

from raybrain.config import InputError
from raybrain.encoders.base import FittedEncoder, FittedModule, Pair
from raybrain.events import BY_RECORDING
from raybrain.experiment import Experiment
from raybrain.train.bookkeeper import Bookkeeper
from raybrain.train.loop import Diverged
from raybrain.train.order import Contrast, RunSizes
from raybrain.train.record import Row, RunRecord, is_complete
from raybrain.train.resume import resumed
from raybrain.train.step import Learner, Place
from raybrain.train.tables import Tables
from raybrain.train.validation import Validation

ROWS_AT_ONCE = 64
LOSS_GROUPS = 16  # of the train split, on which the train loss is measured: there are no steps to average it over


@dataclass(frozen=True)
class Fit:
    """Subjects that share a fit, and the segments it is made from."""

    subjects: tuple[int, ...]
    train: Tensor
    valid: Tensor


def fits(tables: Tables, per_subject: bool, held_out: bool = False) -> list[Fit]:
    """A fit for each subject; of all train segments for those who have none, or for everybody.

    Where whole subjects, sessions or recordings are ``held_out``, a subject who has no valid segments is judged by those of
    all, and one who is not tested either has no fit of its own.
    """
    who = {split: tables.subject[tables.recording[rows]] for split, rows in tables.rows.items()}
    known = torch.unique(who["train"]).tolist() if per_subject else []
    if held_out:
        known = [one for one in known if one in who["valid"] or one in who["test"]]
    made = []
    for one in known:
        train, valid = (tables.rows[split][who[split] == one] for split in ("train", "valid"))
        made.append(Fit((one,), train, tables.rows["valid"] if held_out and not len(valid) else valid))
    if others := tuple(number for number in range(len(tables.shapes.subjects)) if number not in known):
        made.append(Fit(others, tables.rows["train"], tables.rows["valid"]))
    return made


def fits_of(experiment: Experiment, tables: Tables) -> list[Fit]:
    """The fits that an experiment asks for."""
    assert isinstance(experiment.encoder, FittedEncoder)
    return fits(tables, experiment.encoder.per_subject, experiment.data.splits.mode in BY_RECORDING)


def fit(learner: Learner, some: Sequence[Fit]) -> None:
    """Make up to ``place.world`` fits, one on each worker; all of them have all of them afterwards."""
    module, place = learner.network.encoder, learner.place
    assert isinstance(module, FittedModule)
    if place.rank < len(some):
        mine = some[place.rank]
        module.fit(mine.subjects, _taught(learner, mine.train), _pairs(learner, mine.valid))
    if place.world == 1:
        return
    for owner, one in enumerate(some):
        for parameter in module.parameters():
            part = parameter.data[list(one.subjects)]
            dist.broadcast(part, owner)
            parameter.data[list(one.subjects)] = part


def _taught(learner: Learner, rows: Tensor) -> Iterator[Pair]:
    for some in torch.split(rows, ROWS_AT_ONCE):
        yield learner.taught(some).signal, learner.wanted(some)


def _pairs(learner: Learner, rows: Tensor) -> Iterator[Pair]:
    for some in torch.split(rows, ROWS_AT_ONCE):
        yield learner.given(some).signal, learner.stored(some)


class CannotFit(InputError):
    """Something beside the encoder has weights: fitting again would only meet them again."""


class ClosedForm:
    """A fit in one epoch, whose steps are rounds of fits: in each of them every worker makes one.

    Raises:
        CannotFit: if something beside the encoder would have to be trained.
    """

    def __init__(self, experiment: Experiment, tables: Tables, sizes: Contrast, place: Place, record: RunRecord) -> None:
        assert isinstance(experiment.encoder, FittedEncoder)
        self.config, self.record = experiment.as_read().train, record
        self.learner = Learner(experiment, tables, sizes, place)
        if trained := [name for name, _ in self.learner.network.named_parameters() if not name.startswith("encoder.")]:
            part = trained[0].partition(".")[0]
            raise CannotFit(
                f"encoder={experiment.encoder.name} is fitted, not trained, and the {part} has weights that must be trained;"
                f" type another {part}, such as loss=mse"
            )
        self.fits = fits_of(experiment, tables)
        self.sizes = replace(sizes, updates_per_epoch=len(self.fits))
        self.validation = Validation(self.learner)
        self.done, self.seconds = 0, 0.0
        self.history: list[Row] = []
        self._resume()

    def describe(self, sizes: RunSizes) -> str:
        """What it is made of, in one line for people."""
        return f"{len(self.fits)} fits in closed form, {sizes.parameters:,} weights; data in {sizes.data}"

    def run(self, books: Bookkeeper, checkpoint_s: float) -> list[Row]:
        """Fit what is not fitted yet, and return the history: one epoch.

        Args:
            books: is told of fits and of the epoch, on every worker.
            checkpoint_s: seconds between checkpoints.

        Raises:
            Diverged: if what was fitted is not finite.
            InputError: if a checkpoint cannot be written.
        """
        if books.resumed(self.history) or is_complete(self.history, self.config):
            return self.history
        before, began, saved = self.seconds, time.monotonic(), time.monotonic()
        while self.done < len(self.fits):
            some = self.fits[self.done : self.done + self.learner.place.world]
            fit(self.learner, some)
            self.done += len(some)
            self.seconds = before + time.monotonic() - began
            if time.monotonic() - saved >= checkpoint_s:
                self._save()
                saved = time.monotonic()
            books.step(0, self.done, len(self.fits))
        self._finish(began, before)
        books.epoch(self.history)
        return self.history

    def _finish(self, began: float, before: float) -> None:
        valid, train = self.validation.loss(), self._train_loss()
        if not math.isfinite(valid):
            raise Diverged(f"the valid loss is {valid} after the fit; are there numbers in the signal that are not finite?")
        retrieval = self.validation.retrieval()
        self.seconds = before + time.monotonic() - began
        losses = {"train_loss": train, "valid_loss": valid}
        self.history.append({"epoch": 1, **losses, **retrieval, "seconds": self.seconds, "data_wait": 0.0})
        if self.learner.place.rank == 0:
            self.record.keep_best({"model": self.learner.state()["model"], "epoch": 1})
        self._save()

    @torch.no_grad()
    def _train_loss(self) -> float:
        """The mean loss of some groups, spread evenly over the train split; the same on every worker."""
        learner, losses = self.learner, []
        learner.network.eval()
        rows, group = learner.tables.rows["train"], learner.sizes.group
        count = min(LOSS_GROUPS, max(1, len(rows) // group))
        spread = torch.linspace(0, len(rows) - 1, min(count * group, len(rows)), dtype=torch.float64).round().long()
        picked = rows[spread.to(rows.device)]
        for number in range(count):
            losses.append(learner.group_losses(picked[number::count]).double().mean())
        return float(torch.stack(losses).mean())

    def _save(self) -> None:
        if self.learner.place.rank == 0:
            state = {"step": self.done, "history": self.history, "seconds": self.seconds}
            self.record.keep_checkpoint({"model": self.learner.state()["model"], "state": state})

    def _resume(self) -> None:
        """Go on from the last checkpoint, if there is one."""
        if known := resumed(self.learner, self.record):
            self.done, self.history, self.seconds = known["step"], known["history"], known["seconds"]


def fitted(experiment: Experiment, tables: Tables, place: Place) -> Learner:
    """A learner that is fitted here and now, and of which nothing is kept."""
    assert isinstance(experiment.encoder, FittedEncoder)
    learner = Learner(experiment, tables, Contrast(1, 1, 1, 1, 0, 1), replace(place, compile=False))
    for one in fits_of(experiment, tables):
        fit(learner, [one])
    learner.network.eval()
    return learner
