"""Start: what a network begins with before the first step, where that is fitted to the data rather than drawn."""

import math
from collections.abc import Collection, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from raybrain.encoders.ridge_start import RidgeStart
from raybrain.events import BY_RECORDING
from raybrain.experiment import Experiment
from raybrain.losses.base import Loss, LossGroup, LossModule
from raybrain.train.fitting import CannotFit, Fit, fit, fits, loss_groups
from raybrain.train.step import Learner
from raybrain.train.tables import Tables

OCTAVES, PARTS = 10, 4  # of gains that are tried, above and below 1, and of an octave
SAME = 1e-5  # of the loss: gains that differ by less are as good


def start_fits(experiment: Experiment, tables: Tables) -> list[Fit]:
    """The fits of the line that training starts from; none where it starts from what was drawn."""
    line = experiment.encoder.line
    if line is None:
        return []
    return fits(tables, line.per_subject, experiment.data.splits.mode in BY_RECORDING)


def fit_line(learner: Learner, some: Sequence[Fit], around: Collection[int] = ()) -> None:
    """Make up to ``place.world`` fits of the line, one on each worker: see :func:`~raybrain.train.fitting.fit`."""
    module = learner.network.encoder
    assert isinstance(module, RidgeStart)
    fit(learner, module.line, some, around)


@torch.no_grad()
def set_gain(learner: Learner, started: bool = False) -> float:
    """Give the line the gain that makes the train loss smallest, the same on every worker.

    A loss that only asks for the direction of an estimate is as small at every gain, but the steps of the network are small or
    large beside the line: it then gets the gain that is best for the loss of Défossez et al. 2023.

    Args:
        learner: whose line is fitted.
        started: the network beside it is a trained one; else it must start at zero.

    Returns:
        That loss.

    Raises:
        CannotFit: if the network does not start at zero.
    """
    module = learner.network.encoder
    assert isinstance(module, RidgeStart)
    module.eval()
    whole = torch.arange(-OCTAVES, OCTAVES + 1, dtype=torch.float64, device=learner.device)
    judge = learner.network.loss
    losses = _losses(learner, judge, whole, started)
    if losses.max() - losses.min() <= SAME * losses.abs().max():
        judge = Loss.kind("contrastive")().build(learner.shapes)
        losses = _losses(learner, judge, whole, started)
    near = torch.arange(1 - PARTS, PARTS, dtype=torch.float64, device=learner.device) / PARTS
    octaves = whole[losses.argmin()] + near  # a loss has one valley
    loss, place = _losses(learner, judge, octaves, started).min(dim=0)
    module.log_gain.copy_(octaves[place] * math.log(2))
    if judge is not learner.network.loss:
        loss = _losses(learner, learner.network.loss, octaves[place][None], started)
    return float(loss)


def _losses(learner: Learner, judge: LossModule, octaves: Tensor, started: bool) -> Tensor:
    """The mean train loss at each of some gains, [octaves]; the same on every worker."""
    module, place, total = learner.network.encoder, learner.place, torch.zeros_like(octaves)
    assert isinstance(module, RidgeStart)
    groups = loss_groups(learner)
    for rows in groups:
        given, aimed = learner.taught(rows), learner.wanted(rows)
        network = module.network(given)
        if network.any() and not started:
            raise CannotFit("the last layer of this network does not give its estimate; type encoder.ridge.on=false")
        line, targets = module.line(given), torch.arange(len(rows), device=place.device)
        group = LossGroup(learner.tables.excerpts(rows).to(place.device))
        losses = [judge(2.0**octave * line + network, aimed, targets, group).double().mean() for octave in octaves.tolist()]
        total += torch.stack(losses)
    if place.world > 1:
        dist.broadcast(total, 0)
    return total / len(groups)
