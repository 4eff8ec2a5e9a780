"""Small recordings of noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np

NAMES = ["Fp1", "Fp2", "Fz", "C3", "Cz", "C4", "P3", "Pz", "P4", "Oz"]


def eeg(names: Sequence[str] = NAMES, seconds: float = 3.0) -> Any:
    """EEG at 250 Hz; names that are not of the 10-20 system lie nowhere."""
    import mne

    info = mne.create_info(list(names), 250.0, "eeg").set_montage("standard_1020", on_missing="ignore", verbose="error")
    data = np.random.default_rng(0).standard_normal((len(names), int(seconds * 250))) * 1e-5
    return mne.io.RawArray(data, info, verbose="error")


def changed(raw: Any, values: np.ndarray) -> Any:
    """The recording with other values [channels samples]."""
    import mne

    return mne.io.RawArray(values, raw.info, verbose="error")
