"""Adapt: fit what a network has of one subject to some labelled windows of theirs; everything else stays.

What is fitted in closed form, such as the maps of ridge regression and the line that a network starts from, is fitted in closed
form, around what the subject begins with (:meth:`~raybrain.encoders.base.FittedModule.adapt`). The rest begins as it is, or as
whichever known subject fits the windows best, and takes some steps of Adam down the network's own loss. Windows that are held
out say how many of these steps are kept, and whether each of all this is better than none.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from raybrain.batch import Batch
from raybrain.config import InputError
from raybrain.encoders.base import FittedModule, Pair
from raybrain.network import Network, Parts
from raybrain.probabilities import calibrated
from raybrain.train.rows import rows_as_made, subject_rows
from raybrain.train.step import Learner

HELD = 0.25  # of the labelled windows
FEWEST = 10  # windows to fit, and as many to hold out
LOOKED_AT = 64  # windows, evenly spread, when known subjects are compared
BATCH, STEPS, LR = 48, 100, 1e-2
EVERY = 5  # steps between two looks at what is held out: all are taken, as its surprise may rise for dozens before it falls
BETTER = 0.99  # times the best surprise so far; what is hardly better is not kept
SEED = 2036


class TooFew(InputError):
    """There are too few labelled windows to calibrate on."""


class LabelledWindows(ABC):
    """Windows of which it is known what was heard, by number."""

    @abstractmethod
    def batches(self, numbers: Tensor) -> Iterator[Batch]:
        """Some of them as the network sees them, a few at a time."""

    @abstractmethod
    def stored(self, numbers: Tensor) -> Tensor:
        """What was heard in them, [windows features time]."""

    def pairs(self, numbers: Tensor) -> Iterator[Pair]:
        """What goes in, and what is aimed at."""
        at = 0
        for batch in self.batches(numbers):
            yield batch.usable, self.stored(numbers[at : at + len(batch)]).to(batch.signal)
            at += len(batch)


@dataclass(frozen=True)
class Adapted:
    """What came of it.

    Attributes:
        how: what was done, for people.
        start: the index of the subject from which it began.
        before: mean surprise at the windows that were held out, in nats, before anything.
        after: and in the end.
    """

    how: str
    start: int
    before: float
    after: float


def parted(starts: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """The numbers of the windows that are fitted, and of those held out: the last, which overlap none of the former.

    Args:
        starts: the first sample of each window, in order of time.
        samples: of a window.

    Raises:
        TooFew: if there are too few.
    """
    numbers, cut = torch.arange(len(starts)), int(len(starts) * (1 - HELD))
    fitted = numbers[:cut]
    held = numbers[cut:] if not cut else numbers[starts >= starts[:cut].max() + samples]
    if min(len(fitted), len(held)) < FEWEST:
        raise TooFew(
            f"{len(starts)} labelled windows are too few to calibrate on ({len(fitted)} to fit and {len(held)} to hold out;"
            f" {FEWEST} of both are needed)"
        )
    return fitted, held


def begun(network: nn.Module, rows: Sequence[str], known: Sequence[int]) -> dict[str, Tensor]:
    """Of some parameters the row that somebody begins with of whom nothing is known: the mean over ``known`` subjects.

    Parameters of which :class:`~raybrain.encoders.base.NewRows` says that somebody new has them as they are made are left out.
    """
    made = rows_as_made(network)
    return {name: network.get_parameter(name).detach()[list(known)].mean(dim=0) for name in rows if name not in made}


def settled(learner: Learner, parts: Parts) -> dict[str, Tensor]:
    """The weights of a learner, in which who is not trained with has what somebody begins with of whom nothing is known.

    What is fitted in closed form is left as it is: its fit gives everybody something.
    """
    weights: dict[str, Tensor] = learner.state()["model"]
    known = learner.trained
    unknown = [number for number in range(len(learner.shapes.subjects)) if number not in known]
    rows = subject_rows(parts, learner.shapes)
    for name, row in begun(learner.network, _stepped(learner.network, rows), known).items():
        weights[name] = weights[name].clone()
        weights[name][unknown] = row
    return weights


def _fitted_parts(network: Network) -> list[FittedModule]:
    return [part for part in network.encoder.modules() if isinstance(part, FittedModule)]


def _stepped(network: Network, rows: Sequence[str]) -> list[str]:
    """Those of some parameters that are not fitted in closed form."""
    closed = {id(parameter) for part in _fitted_parts(network) for parameter in part.parameters()}
    return [name for name in rows if id(network.get_parameter(name)) not in closed]


class Adapter:
    """Fits the rows of one subject.

    Args:
        network: in evaluation mode, and on the device of the windows.
        rows: the names of the parameters that have a row for each subject.
        subject: the index of whom to fit.
        known: the indices of those whom the network was trained with.
        windows: labelled windows of the subject, which are given to the network as those of whatever subject.
    """

    def __init__(
        self, network: Network, rows: Sequence[str], subject: int, known: Sequence[int], windows: LabelledWindows
    ) -> None:
        self.network, self.subject, self.known, self.windows = network, subject, known, windows
        self.stepped = [network.get_parameter(name) for name in _stepped(network, rows)]

    def run(self, fitted: Tensor, held: Tensor) -> Adapted:
        """Fit to some windows, by number; nothing is kept that is not better on ``held``."""
        before = best = self.entropy(held)
        start, done = self.subject, []
        for part in _fitted_parts(self.network):
            after = self._fit(part, fitted, held, best)
            done.append("fitted in closed form" if after < best else "a fit in closed form is no better")
            best = min(best, after)
        if self.stepped:
            start, taken, best = self._steps(self._likest(fitted), fitted, held, best)
            done.append(f"{taken} steps of Adam")
        return Adapted(" and ".join(done), start, before, best)

    @torch.no_grad()
    def entropy(self, numbers: Tensor) -> float:
        """How unlikely the truth is among all of some windows, at the temperature that is best for it."""
        estimates = torch.cat(list(self._estimates(numbers)))
        scores = self.network.loss.scores(estimates, self._aimed(numbers).to(estimates))
        known = calibrated([(scores, torch.arange(len(numbers)))])
        return known.entropy if known else math.inf

    def _estimates(self, numbers: Tensor, subject: int | None = None) -> Iterator[Tensor]:
        who = self.subject if subject is None else subject
        for batch in self.windows.batches(numbers):
            yield self.network.encoder(replace(batch, subject=torch.full_like(batch.subject, who)))

    @torch.no_grad()
    def _aimed(self, numbers: Tensor) -> Tensor:
        device = next(self.network.parameters()).device
        return self.network.aimed(self.windows.stored(numbers).to(device))

    def _likest(self, fitted: Tensor) -> int:
        """Whose rows fit some windows best: one of those who are known, or what the subject has."""
        few = fitted[:: max(1, -(-len(fitted) // LOOKED_AT))]
        kept, surprise = self._rows(self.subject), {}
        for one in (self.subject, *self.known):
            self._put(self._rows(one))
            surprise[one] = self.entropy(few)
            self._put(kept)
        return min(surprise, key=lambda one: surprise[one])

    def _rows(self, subject: int) -> list[Tensor]:
        return [weights.detach()[subject].clone() for weights in self.stepped]

    @torch.no_grad()
    def _put(self, rows: Sequence[Tensor]) -> None:
        for weights, row in zip(self.stepped, rows, strict=True):
            weights[self.subject] = row

    @torch.no_grad()
    def _fit(self, part: FittedModule, fitted: Tensor, held: Tensor, begun: float) -> float:
        """Fit in closed form; what was there stays if it is better on what is held out."""
        before = [weights.detach().clone() for weights in part.parameters()]
        part.adapt(self.subject, self.windows.pairs(fitted), self.windows.pairs(held))
        after = self.entropy(held)
        if not after < begun:
            for weights, row in zip(part.parameters(), before, strict=True):
                weights.copy_(row)
        return after

    def _steps(self, start: int, fitted: Tensor, held: Tensor, best: float) -> tuple[int, int, float]:
        """Some steps of Adam from the rows of ``start`` on; the best on what is held out is kept, or what was there.

        Returns:
            Whose rows it began from, how many steps that took, and how good it is.
        """
        kept, begun, taken = self._rows(self.subject), self.subject, 0
        self._put(self._rows(start))
        trained = [parameter.requires_grad for parameter in self.network.parameters()]
        self.network.requires_grad_(False)
        for weights in self.stepped:
            weights.requires_grad_(True)  # those of other subjects have no gradient, so that Adam leaves them
        optimizer = torch.optim.Adam(self.stepped, lr=LR)
        drawn = torch.Generator().manual_seed(SEED)
        for step in range(STEPS + 1):
            if step:
                some = torch.randperm(len(fitted), generator=drawn)[:BATCH].sort().values
                self._step(fitted[some], optimizer)
            if step % EVERY == 0 and (now := self.entropy(held)) < BETTER * best:
                kept, begun, taken, best = self._rows(self.subject), start, step, now
        self._put(kept)
        for parameter, before in zip(self.network.parameters(), trained, strict=True):
            parameter.requires_grad_(before)
        return begun, taken, best

    def _step(self, numbers: Tensor, optimizer: torch.optim.Optimizer) -> None:
        with torch.backends.cudnn.flags(enabled=False), torch.enable_grad():  # LSTMs of which have none in evaluation mode
            estimates = torch.cat(list(self._estimates(numbers)))
            targets = torch.arange(len(numbers), device=estimates.device)
            loss = self.network.loss(estimates, self._aimed(numbers).to(estimates), targets).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
