"""Repair: bad stretches of channels are interpolated from the other channels, with autoreject.

Jas et al. 2017, "Autoreject: automated artifact rejection for MEG and EEG data", NeuroImage. Défossez et al. 2023 compare it
with clamping alone. Autoreject works on epochs and our windows overlap, so the continuous signal is repaired, stretch by
stretch, each as long as a window. Stretches it would drop stay: the test set must not depend on how clean the brain was.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from raybrain.config import InputError
from raybrain.signal.channels import Signal
from raybrain.signal.window import stretches

if TYPE_CHECKING:
    import mne

WINDOWS = 200  # that thresholds are fitted on
FOLDS = 10
INTERPOLATED = (1, 4, 32)  # how many channels of a stretch may be interpolated: what autoreject tries


def repaired(signal: Signal, starts: np.ndarray, length: int, seed: int) -> Signal:
    """The signal with bad stretches of channels interpolated; channels of unknown position and bad ones are left as they are.

    Args:
        signal: of one recording.
        starts: first samples of its train windows; autoreject is fitted on up to 200 of them.
        length: samples of a window.
        seed: of the draw of windows, and of autoreject.

    Raises:
        InputError: if there are too few train windows or channels.
    """
    import autoreject
    import mne

    usable = np.flatnonzero(signal.valid)
    tried = [count for count in INTERPOLATED if count < len(usable) // 2]
    if len(starts) < FOLDS or not tried:
        raise InputError(
            f"autoreject needs {FOLDS} train windows and 4 channels of known position, found {len(starts)} and {len(usable)}; "
            "type data.signal.autoreject=no"
        )
    values = signal.values.copy()
    good = values[:, usable]
    info = mne.pick_info(signal.info, usable)
    chosen = np.sort(np.random.default_rng(seed).permutation(starts)[:WINDOWS])
    with mne.utils.use_log_level("error"):
        fitted = autoreject.AutoReject(n_interpolate=tried, cv=FOLDS, random_state=seed, verbose=False)
        fitted.fit(_epochs(good, chosen, length, info))
        # the last stretch ends with the recording, and may overlap the one before
        edges = np.unique(np.minimum(np.arange(0, len(good), length), len(good) - length))
        whole = _epochs(good, edges, length, info)
        log = fitted.get_reject_log(whole)
        log.bad_epochs[:] = False  # so that none is dropped
        clean = fitted.transform(whole, reject_log=log).get_data()
    for start, stretch in zip(edges, clean, strict=True):
        values[start : start + length, usable] = stretch.T
    return replace(signal, values=values)


def _epochs(values: np.ndarray, starts: np.ndarray, length: int, info: "mne.Info") -> "mne.BaseEpochs":
    import mne

    return mne.EpochsArray(stretches(values, starts, length).transpose(0, 2, 1), info, baseline=None)
