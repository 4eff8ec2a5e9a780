"""Beside: channels that were recorded beside the brain and may know what was heard: the sound itself, and triggers."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import mne

KINDS = {"misc": "sound", "stim": "onsets"}  # kinds of channels as mne calls them, and what they may follow
MOST = 16  # of a kind


def beside_channels(raw: "mne.io.BaseRaw") -> dict[str, list[str]]:
    """The names of channels that may hold the sound or its triggers, by what they may follow: "sound" or "onsets"."""
    kinds = raw.get_channel_types()
    named = zip(raw.ch_names, kinds, strict=True)
    found: dict[str, list[str]] = {}
    for name, kind in named:
        if kind in KINDS and name not in raw.info["bads"]:
            found.setdefault(KINDS[kind], []).append(str(name))
    return {what: names[:MOST] for what, names in found.items()}


def beside_course(
    raw: "mne.io.BaseRaw", what: str, names: list[str], span: tuple[int, int], rate_hz: float
) -> np.ndarray | None:
    """How loud channels are, or how often they rise to another value, in each sample at another rate.

    Args:
        raw: the recording.
        what: "sound" or "onsets".
        names: of channels.
        span: from which sample to which, at ``rate_hz``.
        rate_hz: of what is returned.

    Returns:
        [samples channels]; None where the recording ends before that.
    """
    own_hz = float(raw.info["sfreq"])
    edges = np.round(np.arange(span[0], span[1] + 1) / rate_hz * own_hz).astype(int)
    if edges[-1] > raw.n_times or (np.diff(edges) < 1).any():
        return None
    values = np.nan_to_num(raw[[raw.ch_names.index(name) for name in names], edges[0] : edges[-1]][0].T)
    if what == "sound":
        level = np.abs(values - values.mean(axis=0))
    else:
        level = (np.diff(values, axis=0, prepend=values[:1]) > 0).astype(float)
    course: np.ndarray = np.add.reduceat(level, edges[:-1] - edges[0], axis=0) / np.diff(edges)[:, None]
    return course
