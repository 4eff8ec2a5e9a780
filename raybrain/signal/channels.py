"""Signal: from an mne recording to resampled channels and 2-D sensor positions."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from raybrain.config import InputError

if TYPE_CHECKING:
    import mne

    from raybrain.experiment import SignalConfig


@dataclass(frozen=True)
class Signal:
    """Continuous brain signal: values [samples channels] in the recording's own unit, positions [channels 2] in [0, 1].

    ``info`` is mne's description of these channels.
    """

    values: np.ndarray
    channels: list[str]
    positions: np.ndarray
    valid: np.ndarray
    info: "mne.Info"


def read_signal(raw: "mne.io.BaseRaw", config: "SignalConfig") -> Signal:
    """Pick MEG, or EEG where there is no MEG, by type; high-pass if asked; resample (Défossez et al. 2023, Methods).

    Raises:
        InputError: if there are no such channels, or fewer than asked for, or the signal is not finite.
    """
    import mne

    with mne.utils.use_log_level("error"):
        names = [raw.ch_names[pick] for pick in brain_channels(raw)]
        if config.sensors is not None:
            drawn = drawn_sensors(names, config.sensors)
            names = [name for name in names if name in drawn]
        raw = raw.copy().pick(names).load_data()
        finite = np.isfinite(raw.get_data()).all(axis=1).tolist()
        if not all(finite):
            bad = [name for name, good in zip(raw.ch_names, finite, strict=True) if not good]
            raise InputError(f"values that are not numbers in channels {', '.join(bad[:5])}")
        if config.highpass_hz is not None:
            raw.filter(config.highpass_hz, None)
        if raw.info["sfreq"] != config.rate_hz:
            raw.resample(config.rate_hz)
        positions, known = sensor_positions(raw.info)
    good = np.array([name not in raw.info["bads"] for name in raw.ch_names], dtype=np.bool_)
    return Signal(raw.get_data().T, list(raw.ch_names), positions, known & good, raw.info)


def drawn_sensors(names: list[str], count: int) -> set[str]:
    """``count`` of the sensors at random: the draw hangs on their names alone, so that all recordings have the same ones.

    Raises:
        InputError: if there are fewer.
    """
    if len(names) < count:
        raise InputError(f"data.signal.sensors={count}, but there are {len(names)}; type {len(names)} or less")
    return set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:count])


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


def sensor_positions(info: "mne.Info") -> tuple[np.ndarray, np.ndarray]:
    """Where each sensor lies on a flattened head, each axis scaled to [0, 1]; and whether that is known.

    mne's layout for the system is used where it has one, else the sensors' 3-D places are projected from above so that
    distance from the top is kept.
    """
    import mne

    try:
        # mne would put an EEG sensor that lies nowhere in the middle of the others
        nowhere = [pick for pick in mne.pick_types(info, eeg=True, exclude=()) if _place(info["chs"][pick]) is None]
        placed = mne.pick_info(info, np.setdiff1d(np.arange(len(info["chs"])), nowhere))
        layout = mne.channels.find_layout(placed, exclude=[])
        flat = dict(zip(layout.names, layout.pos[:, :2], strict=True))
    except (RuntimeError, ValueError):
        flat = {}
    if not flat or not set(flat) & set(info["ch_names"]):
        flat = _projected(info)
    known = np.array([name in flat and bool(np.isfinite(flat[name]).all()) for name in info["ch_names"]], dtype=np.bool_)
    positions = np.zeros((len(known), 2))
    if known.any():
        places = np.array([flat[name] for name, found in zip(info["ch_names"], known, strict=True) if found])
        span = np.ptp(places, axis=0)
        positions[known] = (places - places.min(axis=0)) / np.where(span > 0, span, 1.0)
    return positions, known


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
