"""Topography: how much of each sensor a network takes, or how well it is estimated, on the head, each where it really is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import nn

from raybrain.batch import Layout
from raybrain.encoders.attention import SpatialAttention
from raybrain.encoders.ridge import RidgeMaps
from raybrain.evaluate.channel_rows import UNIQUE
from raybrain.predict.model import Model
from raybrain.report.style import LIGHT, canvas, shades, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 4  # sensors at known places, below which there is no map
HEAD = 0.53  # radius of the head that is drawn


@dataclass(frozen=True)
class Topography:
    """What a network takes from the sensors of a study.

    Attributes:
        study: whose sensors.
        what: is shown.
        strength: of each sensor that can be used, in units of their mean; or a correlation of each.
        positions: of these sensors, within 0.5 of the middle of the head, [sensors 2].
        strongest: names of the sensors with the highest strength.
    """

    study: str
    what: str
    strength: np.ndarray
    positions: np.ndarray
    strongest: tuple[str, ...]


def topographies(model: Model) -> list[Topography]:
    """One for each study, of the sensors that most of its recordings have; none where there is nothing to show."""
    attention = next((part for part in model.network.modules() if isinstance(part, SpatialAttention)), None)
    ridge = next((part for part in model.network.modules() if isinstance(part, RidgeMaps)), None)
    made = []
    for study, number in _usual_layouts(model).items():
        layout = model.layouts[number]
        if sum(layout.valid) < FEW:
            continue
        if attention is not None:
            outputs = attention.config.channels
            what = f"mean weight of each sensor over the {outputs} channels that spatial attention makes of them"
            made.append(_topography(study, what, layout, _attended(attention, layout)))
        elif ridge is not None:
            mine = [name for name in model.subjects if name.partition("/")[0] == study]
            if not mine:  # all of it was left out
                continue
            people = [model.shapes.subjects.index(name) for name in mine]
            what = "size of each sensor's regression weights, over lags, features and people; weights are no sources"
            made.append(_topography(study, what, layout, _weighted(ridge, people, len(layout.channels))))
    return made


def channel_topographies(channels: pd.DataFrame) -> list[Topography]:
    """How well each channel is estimated, and what each feature alone adds, for each study whose sensors are at known places.

    Args:
        channels: as :func:`raybrain.evaluate.channel_rows.channel_rows` makes them.
    """
    made = []
    shown = {"correlation": "correlation of the estimate with each channel", "ceiling": "that of the mean over other people"}
    unique = [str(name) for name in channels if str(name).startswith(UNIQUE)]
    shown |= {name: f"what {name.removeprefix(UNIQUE)} alone adds" for name in unique}
    for study, rows in channels.groupby("study", sort=True):
        for column, what in shown.items():
            known = rows.dropna(subset=["x", "y", column])
            if len(known) < FEW:
                continue
            values = known[column].to_numpy(float)
            strongest = tuple(known["channel"].iloc[np.argsort(-values, kind="stable")[:3]])
            made.append(Topography(str(study), what, values.clip(min=0), _flat(known[["x", "y"]].to_numpy(float)), strongest))
    return made


def _usual_layouts(model: Model) -> dict[str, int]:
    """The number of the layout that most recordings of each study have."""
    seen: dict[str, Counter[int]] = {}
    for recording in model.card.recordings.values():
        seen.setdefault(recording.subject.partition("/")[0], Counter())[recording.layout] += 1
    return {study: counts.most_common(1)[0][0] for study, counts in sorted(seen.items()) if model.layouts}


@torch.no_grad()
def _attended(attention: nn.Module, layout: Layout) -> np.ndarray:
    assert isinstance(attention, SpatialAttention)
    positions = torch.tensor(layout.positions, dtype=attention.heads.dtype)[None]
    valid = torch.tensor(layout.valid)[None]
    averaged: np.ndarray = attention.usage(positions, valid)[0].numpy()
    return averaged


@torch.no_grad()
def _weighted(ridge: RidgeMaps, people: Sequence[int], channels: int) -> np.ndarray:
    sizes: np.ndarray = ridge.weights[list(people), :, :channels].square().sum(dim=(1, 3)).sqrt().mean(dim=0).numpy()
    return sizes


def _topography(study: str, what: str, layout: Layout, strength: np.ndarray) -> Topography:
    valid = np.array(layout.valid)
    kept = strength[valid] / strength[valid].mean()
    names = np.array(layout.channels)[valid]
    strongest = tuple(str(name) for name in names[np.argsort(-kept, kind="stable")[:3]])
    return Topography(study, what, kept, _flat(np.array(layout.positions)[valid]), strongest)


def _flat(positions: np.ndarray) -> np.ndarray:
    """Places in [0, 1] as a head is drawn: around its middle, the outermost on a circle of radius 0.5."""
    flat = positions - 0.5
    return flat * (0.5 / float(np.linalg.norm(flat, axis=1).max()))


@styled()
def head_picture(shown: Topography) -> "Figure":
    """The head from above, nose up; the stronger the colour the more a sensor counts, dots are sensors."""
    from mne.viz import plot_topomap

    figure, (axes,) = canvas(width=300, height=300)
    high = max(float(np.quantile(shown.strength, 0.98)), 1e-6)  # so that one sensor does not make all others pale
    image, contours = plot_topomap(
        shown.strength,
        shown.positions,
        axes=axes,
        cmap=shades("model"),
        vlim=(0.0, high),
        sphere=(0.0, 0.0, 0.0, HEAD),
        extrapolate="head",
        contours=4,
        sensors=False,
        show=False,
    )
    image.set_rasterized(True)
    if contours is not None:
        contours.set(edgecolor=LIGHT["model"], linewidth=0.6)
    for line in axes.lines:  # the outline of the head
        line.set(color=LIGHT["quiet"], linewidth=1.6)
    _dots(axes, shown.positions)
    return figure


def _dots(axes: "Axes", positions: np.ndarray) -> None:
    size = 3.0 if len(positions) <= 80 else 1.6
    axes.plot(*positions.T, "o", color=LIGHT["ink"], markersize=size, zorder=5)
