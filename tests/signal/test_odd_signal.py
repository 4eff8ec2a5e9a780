"""Signal that cannot be what it is said to be is told with numbers; ordinary signal goes without a word."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from raybrain.config import InputError
from raybrain.signal.odd_signal import odd_signal

HZ = 100.0


def flat(values: np.ndarray, channels: slice, samples: slice = slice(None)) -> np.ndarray:
    values[channels, samples] = 0.25
    return values


SIGNALS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "half of the channels are flat": (lambda v: flat(v, slice(0, 4)), r"4 of 8 channels are flat \(Fz, Cz, Pz, Oz, \.\.\.\)"),
    "flat after a while": (lambda v: flat(v, slice(None), slice(3000, None)), "flat in 1[01] of 20 seconds looked at"),
    "microvolts taken for volts": (lambda v: 1e6 * v, r"eeg has a standard deviation of 9.9 V, usual are 1e-07 to 0\.005"),
    "volts divided once more": (lambda v: 1e-6 * v, r"eeg has a standard deviation of 9.9e-12 V"),
    "a gap": (lambda v: np.where(np.arange(8)[:, None] == 2, np.nan, v), "not numbers in Pz"),
}


def recording(values: np.ndarray, bads: tuple[str, ...] = ()) -> Any:
    import mne

    raw = mne.io.RawArray(values, mne.create_info(["Fz", "Cz", "Pz", "Oz", "C3", "C4", "F3", "F4"], HZ, "eeg"), verbose="error")
    raw.info["bads"] = list(bads)
    return raw


@pytest.mark.parametrize("case", SIGNALS)
def test_odd_signals(case: str) -> None:
    change, expected = SIGNALS[case]
    raw = recording(change(np.random.default_rng(0).normal(0, 1e-5, (8, 6000))))
    (line,) = odd_signal(raw, np.arange(8))
    assert re.search(expected, line), line


def test_ordinary_signals() -> None:
    values = np.random.default_rng(0).normal(0, 1e-5, (8, 6000))
    assert odd_signal(recording(values), np.arange(8)) == []
    assert odd_signal(recording(flat(values, slice(0, 1))), np.arange(8)) == [], "one channel may be a reference"
    assert odd_signal(recording(flat(values, slice(0, 4)), ("Fz", "Cz", "Pz", "Oz")), np.arange(8)) == []


def test_a_flat_signal_is_refused() -> None:
    with pytest.raises(InputError, match="the signal is flat: none of 8 channels ever changes"):
        odd_signal(recording(np.zeros((8, 6000))), np.arange(8))
