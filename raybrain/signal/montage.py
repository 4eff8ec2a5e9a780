"""Montage: the channels of a recording in the order of other sensors, those that a model knows.

Channels are matched by name, whatever its case and the words around it, then by place, within NEAR_M. What is missing is left
out where a model goes without, and else interpolated from the channels around it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from raybrain.batch import Layout
from raybrain.config import InputError
from raybrain.recording import channel_key
from raybrain.signal.channels import FEW

if TYPE_CHECKING:
    import mne

NEAR_M = 0.02
SHOWN = 6  # names in a message


@dataclass(frozen=True)
class Matched:
    """Which channel of a recording stands for each channel of a layout.

    Attributes:
        layout: whose channels are wanted.
        rows: [channels of the layout], index of a channel of the recording; -1 for none.
        by_place: how many of them have another name.
        left_over: channels of the recording that stand for none.
    """

    layout: Layout
    rows: np.ndarray
    by_place: int
    left_over: tuple[str, ...]

    @property
    def missing(self) -> list[str]:
        """The channels of the layout that the recording does not have."""
        return [name for name, row in zip(self.layout.channels, self.rows, strict=True) if row < 0]


def match(channels: Sequence[str], places: np.ndarray, usable: np.ndarray, layout: Layout) -> Matched:
    """Match the channels of a recording with those of a layout.

    Args:
        channels: of the recording.
        places: [channels 3] in metres in head coordinates, NaN where unknown.
        usable: [channels], False for those marked bad, which count as missing.
        layout: whose channels are wanted.
    """
    from scipy.optimize import linear_sum_assignment

    named = {_key(name): row for row, name in enumerate(channels) if usable[row]}
    rows = np.array([named.get(_key(name), -1) for name in layout.channels])
    wanted = np.array([place or (np.nan,) * 3 for place in layout.places], dtype=float)
    open_ = np.flatnonzero((rows < 0) & np.isfinite(wanted).all(axis=1))
    free = np.setdiff1d(np.flatnonzero(usable & np.isfinite(places).all(axis=1)), rows)
    by_place = 0
    if len(open_) and len(free):
        apart = np.linalg.norm(wanted[open_, None] - places[None, free], axis=2)
        for one, other in zip(*linear_sum_assignment(np.minimum(apart, 2 * NEAR_M)), strict=True):
            if apart[one, other] <= NEAR_M:
                rows[open_[one]] = free[other]
                by_place += 1
    left = tuple(name for row, name in enumerate(channels) if row not in rows and usable[row])
    return Matched(layout, rows, by_place, left)


def best_match(channels: Sequence[str], places: np.ndarray, usable: np.ndarray, layouts: Sequence[Layout]) -> Matched:
    """Match with the layout of which most channels are there; of several, with that of the fewest bad ones.

    Raises:
        InputError: if that are none, or so few that next to nothing can be seen.
    """
    every = (match(channels, places, usable, layout) for layout in layouts)
    matched = max(every, key=lambda one: (int((one.rows >= 0).sum()), sum(one.layout.valid)))
    there, all_ = int((matched.rows >= 0).sum()), len(matched.rows)
    if there == 0 or (there < FEW and there < all_ / 2):
        have, know = (", ".join(names[:SHOWN]) for names in (channels, matched.layout.channels))
        raise InputError(
            f"{there or 'none'} of the {all_} channels the model knows ({know}, ...) is in the recording, by name or by place,"
            f" which has {len(channels)} ({have}, ...); rename them, or give it electrode positions"
        )
    return matched


def arranged(values: np.ndarray, places: np.ndarray, matched: Matched, interpolate: bool) -> np.ndarray:
    """Signal [samples channels] in the order of a layout, [samples channels of the layout].

    Args:
        values: of the recording.
        places: [channels 3] of its channels, in metres, NaN where unknown.
        matched: which of its channels stand for which of the layout.
        interpolate: whether missing channels are made of others, rather than zeros.

    Raises:
        InputError: if channels are to be interpolated and it is not known where they lie.
    """
    there = matched.rows >= 0
    out = np.where(there, values[:, np.where(there, matched.rows, 0)], 0.0)
    if interpolate and not there.all():
        out[:, ~there] = out[:, there] @ _weights(places, matched, there).T
    return out


def _weights(places: np.ndarray, matched: Matched, there: np.ndarray) -> np.ndarray:
    """How much of each channel that is there goes into each that is not, [missing there]: a polyharmonic spline in space."""
    from scipy.interpolate import RBFInterpolator

    layout = matched.layout
    known = np.array([place or (np.nan,) * 3 for place in layout.places], dtype=float)
    at = np.where(np.isfinite(known), known, places[np.where(there, matched.rows, 0)] * np.where(there, 1.0, np.nan)[:, None])
    if not np.isfinite(at).all():
        at = np.where(np.array(layout.valid)[:, None], np.array(layout.positions), np.nan)
    lost = [name for name, place in zip(layout.channels, at, strict=True) if not np.isfinite(place).all()]
    distinct = len(np.unique(at[there].round(6), axis=0)) == int(there.sum())
    if lost or not distinct:
        why = f"it is not known where {lost[0]} lies" if lost else "several sensors of the model share a place"
        raise InputError(
            f"the recording lacks {len(matched.missing)} channels that this encoder cannot go without"
            f" ({', '.join(matched.missing[:SHOWN])}), and they cannot be interpolated: {why}"
        )
    weights: np.ndarray = RBFInterpolator(at[there], np.eye(int(there.sum())), kernel="linear", degree=0)(at[~there])
    return weights


def place_unknown(raw: "mne.io.BaseRaw", places: Mapping[str, Sequence[float]]) -> int:
    """Put channels of which it is not known where they lie where others of their names do; how many there are.

    Args:
        raw: the recording, which is changed.
        places: x, y, z in metres in head coordinates, by name.
    """
    from mne.io.constants import FIFF

    by_key = {_key(name): place for name, place in places.items()}
    placed = 0
    for channel in raw.info["chs"]:
        here = channel["loc"][:3]
        place = by_key.get(_key(channel["ch_name"]))
        if place is not None and not (np.isfinite(here).all() and here.any()):
            channel["loc"][:3], channel["coord_frame"] = place, FIFF.FIFFV_COORD_HEAD
            placed += 1
    return placed


def _key(name: str) -> str:
    return channel_key(name).replace(" ", "")  # Neuromag's names have a space or not
