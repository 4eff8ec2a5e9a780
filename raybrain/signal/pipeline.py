"""Pipeline: from an mne recording to the signal that a store keeps, step by step.

The signal is computed when it is read, a few seconds at a time, as long as the steps work in chunks; one that needs the whole
recording has it loaded, as it is after the steps before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from raybrain.config import InputError
from raybrain.signal.base import Context, Removed, Step
from raybrain.signal.channels import brain_channels, refuse_blind, sensor_places, sensor_positions, usable_channels
from raybrain.signal.chunked import block_length, mapped
from raybrain.signal.flat_stretches import FlatStretches

if TYPE_CHECKING:
    import mne


@dataclass(frozen=True)
class Signal:
    """Continuous brain signal, and where its channels lie.

    Attributes:
        recording: computes the signal when it is read.
        channels: names.
        positions: [channels 2] on a flattened head, in [0, 1].
        places: [channels 3] in metres in head coordinates, NaN where unknown.
        valid: [channels], False where a position is not known or the channel is marked bad.
        remarks: what people should know of how the steps went, a line each.
        removed: the components that steps took off.
        flat: where the recording stands still, of what was read of it so far.
    """

    recording: "mne.io.BaseRaw"
    channels: list[str]
    positions: np.ndarray
    places: np.ndarray
    valid: np.ndarray
    remarks: tuple[str, ...]
    removed: tuple[Removed, ...]
    flat: FlatStretches

    @property
    def samples(self) -> int:
        """How many there are of each channel."""
        return int(self.recording.n_times)

    @property
    def values(self) -> np.ndarray:
        """All of it, [samples channels], in the recording's own unit."""
        values: np.ndarray = self.recording.get_data().T
        return values

    def pieces(self, length: int) -> Iterator[np.ndarray]:
        """All of it in turn, ``length`` samples at a time, [samples channels] float32.

        Raises:
            InputError: if a value is not a number.
        """
        for start in range(0, self.samples, length):
            yield np.ascontiguousarray(self.recording[:, start : start + length][0].T, dtype=np.float32)


def read_signal(raw: "mne.io.BaseRaw", steps: Sequence[Step], context: Context) -> Signal:
    """Pick MEG, or EEG where there is no MEG, and apply the steps in order; the recording itself is left alone.

    Raises:
        InputError: if there are no such channels or hardly any that can be used, the signal is flat, a step cannot be done, or
            the signal that comes out is not at the rate that is asked for. What is not a number is met when it is read.
    """
    import mne

    with mne.utils.use_log_level("error"):
        raw = _picked(raw, _wanted(raw, steps))
        flat, account = None, _Account()
        for number, step in enumerate(steps):
            if flat is None and not step.takes_gaps:
                flat = _flat_stretches(raw)
                raw = _numbers_only(raw, flat)
            raw = _applied(step, raw, context, account)
            if step.beside and not any(later.beside for later in steps[number + 1 :]):
                raw = _picked(raw, brain_channels(raw))
        watched = flat is not None
        flat = flat or _flat_stretches(raw)
        raw = _numbers_only(raw, None if watched else flat)
        if raw.info["sfreq"] != context.rate_hz:
            asked = ", ".join(step.name for step in steps) or "none"
            raise InputError(
                f"the signal has {raw.info['sfreq']:g} Hz after all steps ({asked}), but data.signal.rate_hz is "
                f"{context.rate_hz:g}; add resample to data.signal.steps"
            )
        refuse_flat(raw, np.arange(len(raw.ch_names)))
        refuse_blind(raw.info)
        positions, _ = sensor_positions(raw.info)
        places, usable = sensor_places(raw.info), usable_channels(raw.info)
        return Signal(raw, list(raw.ch_names), positions, places, usable, tuple(account.remarks), tuple(account.removed), flat)


def _wanted(raw: "mne.io.BaseRaw", steps: Sequence[Step]) -> np.ndarray:
    """The channels of the brain, and those that a step wants to see beside them, in the order of the recording."""
    import mne

    kinds = {kind: True for step in steps for kind in step.beside}
    beside = mne.pick_types(raw.info, meg=False, exclude=(), **kinds) if kinds else ()
    return np.union1d(brain_channels(raw), np.asarray(beside, dtype=int))


def _picked(raw: "mne.io.BaseRaw", picks: np.ndarray) -> "mne.io.BaseRaw":
    """Some channels of a recording, which itself is left alone."""
    return mapped(raw, lambda values: values, picks=picks) if raw.preload else raw.copy().pick(picks)


@dataclass
class _Account:
    """What steps say of what they did."""

    remarks: list[str] = field(default_factory=list)
    removed: list[Removed] = field(default_factory=list)


def _applied(step: Step, raw: "mne.io.BaseRaw", context: Context, account: _Account) -> "mne.io.BaseRaw":
    """The recording after a step; InputError if it is none any more, or of another length. Adds to the account."""
    import mne

    if not step.in_chunks and not step.takes_gaps:
        raw.load_data()

    before = raw.n_times / raw.info["sfreq"]
    slack = 1 / raw.info["sfreq"]
    fitted = step.fit(raw, context)
    account.remarks += step.remarks(raw, fitted)
    account.removed += step.removed(fitted)
    result = step.apply(raw, fitted, context)
    if not isinstance(result, mne.io.BaseRaw):
        raise InputError(f"step {step.name} gave a {type(result).__name__}, not a recording; let its apply return one")
    after = result.n_times / result.info["sfreq"]
    if abs(after - before) > max(slack, 1 / result.info["sfreq"]):
        raise InputError(f"step {step.name} made {after:.2f} s of {before:.2f} s; a step must leave time as it is")
    return result


def _flat_stretches(raw: "mne.io.BaseRaw") -> FlatStretches:
    return FlatStretches(float(raw.info["sfreq"]), ~_aside(raw))


def _aside(raw: "mne.io.BaseRaw") -> np.ndarray:
    """Which channels are marked bad or lie beside the brain's, [channels]."""
    bad = np.isin(raw.ch_names, raw.info["bads"])
    bad[np.setdiff1d(np.arange(len(bad)), brain_channels(raw))] = True
    return bad


def _numbers_only(raw: "mne.io.BaseRaw", flat: FlatStretches | None) -> "mne.io.BaseRaw":
    """The recording, with an InputError where values are not numbers; in channels marked bad or beside the brain's, zeros."""
    bad = _aside(raw)

    def checked(values: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", over="ignore"):
            if np.isfinite(np.vdot(values, values)):  # several times as fast as a sum
                return values
        if not np.isfinite(values[~bad]).all():
            _refuse_gaps(raw, np.flatnonzero(~bad))
        return np.where(np.isfinite(values), values, 0.0)

    return mapped(raw, checked, watch=flat.pass_by if flat else None)


def _refuse_gaps(raw: "mne.io.BaseRaw", picks: np.ndarray) -> None:
    """Name those of the channels ``picks`` that have values that are not numbers."""
    finite = np.all([np.isfinite(values).all(axis=1) for values in _blocks(raw, picks)], axis=0)
    bad = [raw.ch_names[pick] for pick in picks[~finite]]
    raise InputError(
        f"values that are not numbers in channels {', '.join(bad[:5])}; mark them bad in channels.tsv to go without them"
    )


def refuse_flat(raw: "mne.io.BaseRaw", picks: np.ndarray) -> None:
    """Refuse a recording in which no channel of ``picks`` that is not marked bad ever changes.

    Raises:
        InputError: if it is one.
    """
    good = np.array([pick for pick in picks if raw.ch_names[pick] not in raw.info["bads"]], dtype=int)
    if len(good) and not any((values != first).any() for first in [raw[good, :1][0]] for values in _blocks(raw, good)):
        raise InputError(f"the signal is flat: none of {len(good)} channels ever changes; get the file again")


def _blocks(raw: "mne.io.BaseRaw", picks: np.ndarray) -> Iterator[np.ndarray]:
    """The channels ``picks`` in turn, [channels samples]."""
    length = block_length(len(picks))
    for start in range(0, raw.n_times, length):
        yield raw[picks, start : start + length][0]
