"""Loop: steps, epochs, validation, early stopping and checkpoints. The same in a Ray worker, a sweep's trial and a notebook."""

import math
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from raybrain.config import InputError
from raybrain.experiment import Experiment
from raybrain.network import Parts
from raybrain.train.adapt import settled
from raybrain.train.bookkeeper import Bookkeeper
from raybrain.train.feed import Feed
from raybrain.train.neighbours import order_of
from raybrain.train.order import Contrast, RunSizes
from raybrain.train.record import Row, RunRecord, is_complete
from raybrain.train.resume import resumed
from raybrain.train.saving import SaveClock
from raybrain.train.start import fit_line, set_gain, start_fits
from raybrain.train.step import Learner, Place
from raybrain.train.tables import Tables
from raybrain.train.validation import Validation
from raybrain.train.warm_start import begin

CHECK_STEPS = 20  # between two looks at the loss, each of which waits for the device
EXPLODED = 1e4  # times the first loss


@dataclass
class State:
    """Where a run stands. ``history`` has one row per finished epoch; ``loss`` adds up the unfinished one's losses."""

    step: int
    loss: Tensor
    first: Tensor  # loss of the first step
    bad_step: Tensor  # the first step with a loss that is not finite or has exploded; -1 for none
    best: float = math.inf
    history: list[Row] = field(default_factory=list)
    seconds: float = 0.0


class Diverged(InputError):
    """The loss is not finite or has exploded: training again would only do so again."""


class Training:
    """One run of training on one of ``place.world`` workers.

    Raises:
        CannotStart: if it cannot start from the model that it is to start from.
    """

    def __init__(self, experiment: Experiment, tables: Tables, sizes: Contrast, place: Place, record: RunRecord) -> None:
        self.config, self.tables, self.sizes, self.place, self.record = experiment.train, tables, sizes, place, record
        self.optim, self.parts = experiment.optim, Parts.of(experiment)
        self.learner = Learner(experiment, tables, sizes, place)
        self.fits = start_fits(experiment, tables)
        self.order = order_of(experiment, self.learner)
        self.feed = Feed(
            lambda step: self.learner.load(self.order.batch(step), self.order.extra(step), step),
            place.device,
            ahead=tables.device.type == "cpu",
        )
        self.begun, self.lined = "", tuple[int, ...]()  # from what its weights are, where they were not drawn
        self.started = experiment.start.on
        self.state = self._resume(experiment)
        self.validation = Validation(self.learner)

    def describe(self, sizes: RunSizes) -> str:
        """What it is made of, in one line for people."""
        fitted = f"; the first epoch is {len(self.fits)} fits in closed form" if self.fits else ""
        return sizes.describe() + fitted + (f"; {self.begun}" if self.begun else "")

    def run(self, books: Bookkeeper, clock: SaveClock) -> list[Row]:
        """Train to the end, or until the bookkeeper says to stop, and return the history.

        Args:
            books: is told of steps and epochs, on every worker.
            clock: says when a checkpoint inside an epoch is due.

        Raises:
            Diverged: if the loss is not finite or explodes.
            CannotFit: if the network cannot start from a line.
            InputError: if a checkpoint cannot be written.
        """
        try:
            if not books.resumed(self.state.history):
                self._run(books, clock)
        finally:
            self.feed.close()
        return self.state.history

    def _run(self, books: Bookkeeper, clock: SaveClock) -> None:
        began = time.monotonic()
        before = self.state.seconds
        updates = self.sizes.updates_per_epoch
        while not is_complete(self.state.history, self.config):
            epoch, waited, epoch_began = len(self.state.history), self.feed.waited_s, time.monotonic()
            self.learner.set_optim(self.optim.after(epoch))
            if self.state.step == 0 and self.fits:
                self._fit(books)
            while self.state.step < (epoch + 1) * updates:
                self._step()
                done = self.state.step - epoch * updates
                if done % CHECK_STEPS == 0:
                    self._refuse_bad()
                if clock.due and int(self.state.bad_step) < 0:  # else all workers refuse it together, soon
                    self.state.seconds = before + time.monotonic() - began
                    self._save()
                    clock.saved()
                books.step(epoch, done, updates)
            self._refuse_bad()
            self.state.seconds = before + time.monotonic() - began
            self._finish_epoch(epoch, wait=(self.feed.waited_s - waited) / (time.monotonic() - epoch_began))
            clock.saved()
            if books.epoch(self.state.history):
                return

    def _fit(self, books: Bookkeeper) -> None:
        """Fit what training starts from. That is the first epoch, in place of its steps, and as good a candidate as any."""
        count, world, updates = len(self.fits), self.place.world, self.sizes.updates_per_epoch
        for done in range(0, count, world):
            fit_line(self.learner, self.fits[done : done + world], self.lined)
            books.step(0, min(done + world, count), count)
        loss = set_gain(self.learner, self.started)
        self.state.first = torch.full_like(self.state.first, loss)
        self.state.loss = torch.full_like(self.state.loss, loss * updates)
        self.state.step = updates

    def _step(self) -> None:
        state, step = self.state, self.state.step
        loss = self.learner.update(self.feed.get(step))
        if step == 0:
            state.first = loss.clone()
        bad = ~torch.isfinite(loss) | (loss > EXPLODED * state.first.clamp(min=1.0))
        state.bad_step = torch.where((state.bad_step < 0) & bad, step, state.bad_step)
        state.loss = state.loss + loss.double()
        state.step = step + 1

    def _refuse_bad(self) -> None:
        step = int(self.state.bad_step)
        if step < 0:
            return
        names = self.tables.names(self.order.batch(step).tolist())
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        raise self._diverged(f"the loss is not finite or has exploded at step {step} (recordings in the batch: {shown})")

    def _diverged(self, what: str) -> Diverged:
        kept = self.record.last
        last = f"the last good checkpoint is {kept}" if kept.exists() else "there is no checkpoint before it"
        return Diverged(f"{what}; {last}; type a lower optim.lr or set window.clamp")

    def _finish_epoch(self, epoch: int, wait: float) -> None:
        """Validate, remember the best weights, write the checkpoint. ``wait`` is the share of time spent waiting for data."""
        with self.learner.optimizer.averaged():
            self._validate(epoch, wait)
        self._save()

    def _validate(self, epoch: int, wait: float) -> None:
        loss = float(self.state.loss) / self.sizes.updates_per_epoch
        valid = self.validation.loss()
        if not math.isfinite(valid):
            raise self._diverged(f"the valid loss is {valid} after epoch {epoch + 1}")
        self.state.history.append(
            {
                "epoch": epoch + 1,
                "train_loss": loss,
                "valid_loss": valid,
                **self.validation.retrieval(),
                "seconds": self.state.seconds,
                "data_wait": wait,
            }
        )
        self.state.loss = torch.zeros_like(self.state.loss)
        if valid < self.state.best:
            self.state.best = valid
            if self.place.rank == 0:
                self.record.keep_best({"model": self._weights(), "epoch": epoch + 1})

    def _weights(self) -> dict[str, Tensor]:
        """The weights that are kept."""
        if len(self.learner.trained) < len(self.learner.shapes.subjects):
            return settled(self.learner, self.parts)
        weights: dict[str, Tensor] = self.learner.state()["model"]
        return weights

    def _save(self) -> None:
        if self.place.rank != 0:
            return
        self.record.keep_checkpoint(self.learner.state() | {"state": vars(self.state)})

    def _resume(self, experiment: Experiment) -> State:
        """Go on from the last checkpoint, or begin."""
        device = self.place.device
        if known := resumed(self.learner, self.record):
            return State(**known)
        beginning = begin(self.learner, experiment)
        self.begun, self.lined = beginning.summary, beginning.lined
        zero = torch.zeros((), dtype=torch.float64, device=device)
        return State(0, zero, torch.ones((), device=device), torch.full((), -1, device=device))


def describe(metrics: dict[str, float], epochs: int) -> str:
    """An epoch in one line, accuracy beside chance."""
    line = (
        f"epoch {metrics['epoch']:.0f}/{epochs}  train loss {metrics['train_loss']:.3f}  valid loss {metrics['valid_loss']:.3f}"
    )
    if "valid_top10" in metrics:
        line += f"  valid top-10 {metrics['valid_top10']:.1%} (chance {metrics['valid_chance10']:.1%})"
    return line
