"""Rows: which weights of a network have one for each subject, sensor or feature.

That is found by building the network for one more of them: whatever changes its shape then has a row for each. Nothing else
need know which weights these are.
"""

from dataclasses import replace
from typing import Literal

import torch
from torch import nn

from raybrain.batch import Shapes
from raybrain.encoders.base import NewRows
from raybrain.network import Network, Parts

Sizes = dict[str, torch.Size]  # of weights, by name
What = Literal["subjects", "sensors", "features"]
WHAT: tuple[What, ...] = ("subjects", "sensors", "features")
Belongs = dict[str, dict[What, int]]  # what weights have a row of each of, by name of the weight, and along which dimension


def sizes_of(parts: Parts, shapes: Shapes) -> Sizes:
    """Those of the weights of a network, which is not made."""
    return {name: value.shape for name, value in _unmade(parts, shapes).state_dict().items()}


def belonging(parts: Parts, shapes: Shapes, whats: tuple[What, ...] = WHAT) -> Belongs:
    """Which weights have a row for each subject, sensor or feature, and along which dimension."""
    last = [replace(part, stop=part.stop + 1, weights=part.weights and (*part.weights, 1.0)) for part in shapes.slices[-1:]]
    wider = {
        "subjects": replace(shapes, subjects=(*shapes.subjects, "another")),
        "sensors": replace(shapes, channels=shapes.channels + 1),
        "features": replace(shapes, features=shapes.features + 1, slices=(*shapes.slices[:-1], *last)),
    }
    belongs: Belongs = {}
    sizes = sizes_of(parts, shapes)
    for what in whats:
        for name, size in sizes_of(parts, wider[what]).items():
            if size != sizes[name]:
                along = next(number for number, (one, other) in enumerate(zip(size, sizes[name], strict=True)) if one != other)
                belongs.setdefault(name, {})[what] = along
    return belongs


def subject_rows(parts: Parts, shapes: Shapes) -> list[str]:
    """The names of the parameters that have a row for each subject."""
    parameters = dict(_unmade(parts, shapes).named_parameters())
    return [name for name in belonging(parts, shapes, ("subjects",)) if name in parameters]


def rows_as_made(network: nn.Module) -> frozenset[str]:
    """The names of the parameters of which somebody new has a row as it is made, not the mean over others."""
    parts = [(path, part) for path, part in network.named_modules() if isinstance(part, NewRows)]
    return frozenset(f"{path}.{name}" for path, part in parts for name in part.new_rows())


def as_made(parts: Parts, shapes: Shapes) -> frozenset[str]:
    """Those of a network that is not made."""
    return rows_as_made(_unmade(parts, shapes))


def _unmade(parts: Parts, shapes: Shapes) -> Network:
    """A network whose weights have sizes, and no values."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return Network(parts, shapes)
