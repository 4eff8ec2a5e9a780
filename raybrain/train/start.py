"""Start: what a network begins with before the first step, where that is fitted to the data rather than drawn."""

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist

from raybrain.encoders.ridge_start import RidgeStart
from raybrain.events import BY_RECORDING
from raybrain.experiment import Experiment
from raybrain.losses.base import LossGroup
from raybrain.train.fitting import CannotFit, Fit, fit, fits, loss_groups
from raybrain.train.step import Learner
from raybrain.train.tables import Tables

OCTAVES, PARTS = 10, 4  # of gains that are tried, above and below 1, and of an octave


def start_fits(experiment: Experiment, tables: Tables) -> list[Fit]:
    """The fits of the line that training starts from; none where it starts from what was drawn, or from a trained model."""
    line = experiment.encoder.line
    if line is None or not experiment.fits_line:
        return []
    return fits(tables, line.per_subject, experiment.data.splits.mode in BY_RECORDING)


def fit_line(learner: Learner, some: Sequence[Fit]) -> None:
    """Make up to ``place.world`` fits of the line, one on each worker."""
    module = learner.network.encoder
    assert isinstance(module, RidgeStart)
    fit(learner, module.line, some)


@torch.no_grad()
def set_gain(learner: Learner) -> float:
    """Give the line the gain that makes the train loss smallest, the same on every worker.

    Returns:
        That loss.

    Raises:
        CannotFit: if the network does not start at zero.
    """
    module, place = learner.network.encoder, learner.place
    assert isinstance(module, RidgeStart)
    module.eval()
    module.log_gain.zero_()
    octaves = torch.arange(-OCTAVES * PARTS, OCTAVES * PARTS + 1, dtype=torch.float64, device=place.device) / PARTS
    groups, total = loss_groups(learner), torch.zeros_like(octaves)
    for rows in groups:
        given, aimed = learner.taught(rows), learner.wanted(rows)
        if module.network(given).any():
            raise CannotFit("the last layer of this network does not give its estimate; type encoder.ridge.on=false")
        line, targets = learner.encoded(given), torch.arange(len(rows), device=place.device)
        group = LossGroup(learner.tables.excerpts(rows).to(place.device))
        losses = [
            learner.network.loss(2.0**octave * line, aimed, targets, group).double().mean() for octave in octaves.tolist()
        ]
        total += torch.stack(losses)
    if place.world > 1:
        dist.broadcast(total, 0)
    loss, best = total.min(dim=0)
    module.log_gain.copy_(octaves[best] * math.log(2))
    return float(loss) / len(groups)
