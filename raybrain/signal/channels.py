"""Channels: which of a recording's are brain signal, where their sensors lie, and which can be used."""

from typing import TYPE_CHECKING, Any

import numpy as np

from raybrain.config import InputError

if TYPE_CHECKING:
    import mne

FEW = 4  # sensors


def brain_channels(raw: "mne.io.BaseRaw") -> np.ndarray:
    """Which channels are MEG, or EEG where there is no MEG.

    Raises:
        InputError: if there are none.
    """
    import mne

    picks: np.ndarray = mne.pick_types(raw.info, meg=True, eeg=False, ref_meg=False, exclude=())
    if len(picks) == 0:
        picks = mne.pick_types(raw.info, meg=False, eeg=True, exclude=())
    if len(picks) == 0:
        raise InputError(f"no MEG or EEG channels among {', '.join(sorted(set(raw.get_channel_types())))}")
    return picks


def brain_names(raw: "mne.io.BaseRaw") -> list[str]:
    """The names of the channels that are MEG, or EEG where there is no MEG; InputError if there are none."""
    return [str(raw.ch_names[pick]) for pick in brain_channels(raw)]


def sensor_positions(info: "mne.Info") -> tuple[np.ndarray, np.ndarray]:
    """Where each sensor lies on a flattened head, each axis scaled to [0, 1]; and whether that is known.

    mne's layout for the system is used where it has one, else the sensors' 3-D places are projected from above so that
    distance from the top is kept.
    """
    import mne

    try:
        # mne would put an EEG sensor that lies nowhere in the middle of the others
        nowhere = [pick for pick in mne.pick_types(info, eeg=True, exclude=()) if _place(info["chs"][pick]) is None]
        # to pick all of them would only take mne's time
        placed = mne.pick_info(info, np.setdiff1d(np.arange(len(info["chs"])), nowhere)) if nowhere else info
        layout = mne.channels.find_layout(placed, exclude=[])
        flat = dict(zip(layout.names, layout.pos[:, :2], strict=True))
    except (RuntimeError, ValueError):
        flat = {}
    if not flat or not set(flat) & set(info["ch_names"]):
        flat = _projected(info)
    known = np.array([name in flat and bool(np.isfinite(flat[name]).all()) for name in info["ch_names"]], dtype=np.bool_)
    positions = np.zeros((len(known), 2))
    if known.any():
        places = np.array([flat[name] for name, placed in zip(info["ch_names"], known, strict=True) if placed])
        span = np.ptp(places, axis=0)
        positions[known] = (places - places.min(axis=0)) / np.where(span > 0, span, 1.0)
    return positions, known


def usable_channels(info: "mne.Info") -> np.ndarray:
    """[channels], False where the position of the sensor is not known or the channel is marked bad."""
    _, known = sensor_positions(info)
    usable: np.ndarray = known & np.array([name not in info["bads"] for name in info["ch_names"]], dtype=np.bool_)
    return usable


def refuse_blind(info: "mne.Info") -> int:
    """How many channels can be used.

    Raises:
        InputError: if they are fewer than FEW and less than half of all, so that a model would see next to nothing.
    """
    usable = int(usable_channels(info).sum())
    channels = len(info["ch_names"])
    if usable < FEW and usable < channels / 2:
        _, known = sensor_positions(info)
        placeless = channels - int(known.sum())
        reasons = [f"{len(info['bads'])} are marked bad"] if info["bads"] else []
        reasons += [f"the places of {placeless} are not known"] if placeless else []
        cure = "add electrodes.tsv with coordsystem.json, or name channels as the 10-05 system does" if placeless else ""
        cure = cure or "say in channels.tsv which of them are good"
        raise InputError(f"{usable} of {channels} sensors can be used: {' and '.join(reasons)}; {cure}")
    return usable


def sensor_places(info: "mne.Info") -> np.ndarray:
    """Where each sensor lies in metres in head coordinates (x to the right ear, y to the nose, z up), [channels 3].

    NaN where it is not known: that of a MEG sensor is not, where nobody has measured how the head lay in the helmet.
    """
    import mne
    from mne.io.constants import FIFF

    places = np.full((len(info["chs"]), 3), np.nan)
    for row, channel in enumerate(info["chs"]):
        place = _place(channel)
        if place is not None and channel["coord_frame"] == FIFF.FIFFV_COORD_DEVICE and info["dev_head_t"] is not None:
            places[row] = mne.transforms.apply_trans(info["dev_head_t"], place)
        elif place is not None and channel["coord_frame"] == FIFF.FIFFV_COORD_HEAD:
            places[row] = place
    return places


def _projected(info: "mne.Info") -> dict[str, np.ndarray]:
    places = {channel["ch_name"]: place for channel in info["chs"] if (place := _place(channel)) is not None}
    if not places:
        return {}
    centre = np.mean(list(places.values()), axis=0) * [1, 1, 0]
    flat = {}
    for name, place in places.items():
        x, y, z = place - centre
        from_top = np.arctan2(np.hypot(x, y), z)
        around = np.arctan2(y, x)
        flat[name] = np.array([from_top * np.cos(around), from_top * np.sin(around)])
    return flat


def _place(channel: dict[str, Any]) -> np.ndarray | None:
    place = channel["loc"][:3].astype(float)
    return place if np.isfinite(place).all() and np.linalg.norm(place) > 0 else None
