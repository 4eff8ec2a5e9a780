"""Pipeline: from an mne recording to the signal that a store keeps, step by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from raybrain.config import InputError
from raybrain.signal.base import Context, Step
from raybrain.signal.channels import brain_channels, refuse_blind, sensor_places, sensor_positions, usable_channels

if TYPE_CHECKING:
    import mne


@dataclass(frozen=True)
class Signal:
    """Continuous brain signal, and where its channels lie.

    Attributes:
        values: [samples channels], in the recording's own unit.
        channels: names.
        positions: [channels 2] on a flattened head, in [0, 1].
        places: [channels 3] in metres in head coordinates, NaN where unknown.
        valid: [channels], False where a position is not known or the channel is marked bad.
    """

    values: np.ndarray
    channels: list[str]
    positions: np.ndarray
    places: np.ndarray
    valid: np.ndarray


def read_signal(raw: "mne.io.BaseRaw", steps: Sequence[Step], context: Context) -> Signal:
    """Pick MEG, or EEG where there is no MEG, and apply the steps in order; the recording itself is left alone.

    Raises:
        InputError: if there are no such channels or hardly any that can be used, the signal is not finite or is
            flat, a step cannot be done, or the signal that comes out is not at the rate that is asked for.
    """
    import mne

    with mne.utils.use_log_level("error"):
        raw = raw.copy().pick(brain_channels(raw))
        loaded = False
        for step in steps:
            if not loaded and not step.takes_gaps:
                _refuse_gaps(raw.load_data())
                loaded = True
            raw = _applied(step, raw, context)
        _refuse_gaps(raw.load_data())
        if raw.info["sfreq"] != context.rate_hz:
            asked = ", ".join(step.name for step in steps) or "none"
            raise InputError(
                f"the signal has {raw.info['sfreq']:g} Hz after all steps ({asked}), but data.signal.rate_hz is "
                f"{context.rate_hz:g}; add resample to data.signal.steps"
            )
        refuse_flat(raw)
        refuse_blind(raw.info)
        positions, _ = sensor_positions(raw.info)
        return Signal(raw.get_data().T, list(raw.ch_names), positions, sensor_places(raw.info), usable_channels(raw.info))


def _applied(step: Step, raw: "mne.io.BaseRaw", context: Context) -> "mne.io.BaseRaw":
    """The recording after a step; InputError if it is none any more, or of another length."""
    import mne

    before = raw.n_times / raw.info["sfreq"]
    slack = 1 / raw.info["sfreq"]
    result = step.apply(raw, step.fit(raw, context), context)
    if not isinstance(result, mne.io.BaseRaw):
        raise InputError(f"step {step.name} gave a {type(result).__name__}, not a recording; let its apply return one")
    after = result.n_times / result.info["sfreq"]
    if abs(after - before) > max(slack, 1 / result.info["sfreq"]):
        raise InputError(f"step {step.name} made {after:.2f} s of {before:.2f} s; a step must leave time as it is")
    return result


def _refuse_gaps(raw: "mne.io.BaseRaw") -> None:
    """Refuse values that are not numbers; those of channels marked bad become zeros, since nobody looks at them."""
    finite = np.isfinite(raw.get_data()).all(axis=1)
    for row in np.flatnonzero(~finite):
        if raw.ch_names[row] in raw.info["bads"]:
            raw[row] = np.zeros((1, raw.n_times))
            finite[row] = True
    if not finite.all():
        bad = [raw.ch_names[row] for row in np.flatnonzero(~finite)]
        raise InputError(
            f"values that are not numbers in channels {', '.join(bad[:5])}; mark them bad in channels.tsv to go without them"
        )


def refuse_flat(raw: "mne.io.BaseRaw") -> None:
    """Refuse a recording in which no channel that is not marked bad ever changes.

    Raises:
        InputError: if it is one.
    """
    good = [row for row, name in enumerate(raw.ch_names) if name not in raw.info["bads"]]
    if good and not np.ptp(raw.get_data(good), axis=1).any():
        raise InputError(f"the signal is flat: none of {len(good)} channels ever changes; get the file again")
