"""Odd signal: whether signal can be what it is said to be, told with numbers and the likely cause."""

from typing import TYPE_CHECKING

import numpy as np

from raybrain.signal.channels import brain_channels, sensor_positions
from raybrain.signal.pipeline import refuse_flat

if TYPE_CHECKING:
    import mne

PROBES, PROBE_S = 20, 1.0  # stretches of signal that are looked at, spread over the recording
BAD_SHARE = 0.2  # of the channels
FLAT_CHANNELS, FLAT_TIME = 0.25, 0.25
USUAL = {"eeg": (1e-7, 5e-3), "mag": (1e-15, 1e-8), "grad": (1e-15, 1e-8)}  # standard deviation, in volts or tesla (per metre)


def odd_recording(raw: "mne.io.BaseRaw") -> list[str]:
    """What is odd about the brain channels of a recording: where they lie, and what they hold.

    Raises:
        InputError: if there are none, or none that is not marked bad ever changes.
    """
    import mne

    with mne.utils.use_log_level("error"):
        picks = brain_channels(raw)
        return [*lost_sensors(mne.pick_info(raw.info, picks)), *odd_signal(raw, picks)]


def odd_signal(raw: "mne.io.BaseRaw", picks: np.ndarray) -> list[str]:
    """What is odd about the channels ``picks`` that are not marked bad, judged by 20 seconds spread over the recording.

    Raises:
        InputError: if none of them ever changes.
    """
    good = [int(pick) for pick in picks if raw.ch_names[pick] not in raw.info["bads"]]
    length = round(PROBE_S * raw.info["sfreq"])
    starts = np.unique(np.linspace(0, max(raw.n_times - length, 0), PROBES).astype(int))
    if not good:
        return []
    spread = np.stack([np.std(raw[good, start : start + length][0], axis=1) for start in starts])  # [probes channels]
    names = np.array([raw.ch_names[pick] for pick in good])
    flat = spread == 0
    always, odd = flat.all(axis=0), []
    if always.all():
        refuse_flat(raw, picks)
        return ["the signal is flat in all of the seconds looked at: was it recorded?"]
    if always.mean() > FLAT_CHANNELS:
        listed = ", ".join(names[always][:5])
        odd.append(
            f"{always.sum()} of {len(good)} channels are flat ({listed}, ...): were they connected? Mark them bad if not"
        )
    still = flat[:, ~always].all(axis=1)
    if still.mean() > FLAT_TIME:
        odd.append(f"the signal is flat in {still.sum()} of {len(starts)} seconds looked at: was it recorded to the end?")
    if not np.isfinite(spread).all():
        odd.append(f"values that are not numbers in {', '.join(names[~np.isfinite(spread).all(axis=0)][:5])}")
    kind = raw.get_channel_types([good[0]])[0]
    usual = float(np.nanmedian(spread[~flat]))
    low, high = USUAL.get(kind, (0.0, np.inf))
    if not low <= usual <= high:
        unit = {"eeg": "V", "grad": "T/m"}.get(kind, "T")
        odd.append(f"{kind} has a standard deviation of {usual:.2g} {unit}, usual are {low:g} to {high:g}: is its unit right?")
    return odd


def lost_sensors(info: "mne.Info") -> list[str]:
    """What is odd about the sensors of a recording's brain channels: many are bad, or nobody knows where they lie."""
    channels, bad, lines = len(info["ch_names"]), len(info["bads"]), []
    if bad > BAD_SHARE * channels:
        lines.append(f"{bad} of {channels} channels are bad")
    _, known = sensor_positions(info)
    if not known.all():
        lines.append(f"the positions of {channels - known.sum()} of {channels} sensors are not known")
    return lines
