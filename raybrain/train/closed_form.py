"""Closed form: an encoder that is fitted rather than trained by steps. The same in a Ray worker, a trial and a notebook."""

import math
import time
from dataclasses import replace

import torch

from raybrain.encoders.base import FittedEncoder, FittedModule
from raybrain.events import BY_RECORDING
from raybrain.experiment import Experiment
from raybrain.train.bookkeeper import Bookkeeper
from raybrain.train.fitting import CannotFit, Fit, fit, fits, loss_groups
from raybrain.train.loop import Diverged
from raybrain.train.order import Contrast, RunSizes
from raybrain.train.record import Row, RunRecord, is_complete
from raybrain.train.resume import resumed
from raybrain.train.saving import SaveClock
from raybrain.train.step import Learner, Place
from raybrain.train.tables import Tables
from raybrain.train.validation import Validation


def fits_of(experiment: Experiment, tables: Tables) -> list[Fit]:
    """The fits that an experiment asks for."""
    assert isinstance(experiment.encoder, FittedEncoder)
    return fits(tables, experiment.encoder.per_subject, experiment.data.splits.mode in BY_RECORDING)


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

    def run(self, books: Bookkeeper, clock: SaveClock) -> list[Row]:
        """Fit what is not fitted yet, and return the history: one epoch.

        Args:
            books: is told of fits and of the epoch, on every worker.
            clock: says when a checkpoint is due.

        Raises:
            Diverged: if what was fitted is not finite.
            InputError: if a checkpoint cannot be written.
        """
        if books.resumed(self.history) or is_complete(self.history, self.config):
            return self.history
        before, began = self.seconds, time.monotonic()
        while self.done < len(self.fits):
            some = self.fits[self.done : self.done + self.learner.place.world]
            module = self.learner.network.encoder
            assert isinstance(module, FittedModule)
            fit(self.learner, module, some)
            self.done += len(some)
            self.seconds = before + time.monotonic() - began
            if clock.due:
                self._save()
                clock.saved()
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
        """The mean loss of some groups of the train split; the same on every worker."""
        learner, losses = self.learner, []
        learner.network.eval()
        for some in loss_groups(learner):
            losses.append(learner.group_losses(some).double().mean())
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
    module = learner.network.encoder
    assert isinstance(module, FittedModule)
    for one in fits_of(experiment, tables):
        fit(learner, module, [one])
    learner.network.eval()
    return learner
