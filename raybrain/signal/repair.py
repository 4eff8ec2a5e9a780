"""Repair: bad stretches of channels are interpolated from the other channels, with autoreject.

Jas et al. 2017, "Autoreject: automated artifact rejection for MEG and EEG data", NeuroImage. Défossez et al. 2023 compare it
with clamping alone. Autoreject works on epochs and our windows overlap, so the continuous signal is repaired, stretch by
stretch, each as long as a window. Stretches it would drop stay: the test set must not depend on how clean the brain was.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from raybrain.config import InputError
from raybrain.signal.base import Context, Step
from raybrain.signal.channels import brain_channels, usable_channels
from raybrain.signal.window import stretches

if TYPE_CHECKING:
    import mne

WINDOWS = 200  # that thresholds are fitted on
FOLDS = 10
INTERPOLATED = (1, 4, 32)  # how many channels of a stretch may be interpolated: what autoreject tries


class Autoreject(Step, name="autoreject"):
    """Interpolate bad stretches of channels; those of unknown position and those marked bad are left as they are.

    It works at whatever rate the signal has by then: after ``resample``, as in the paper, or before it on more samples.
    """

    def fit(self, raw: "mne.io.BaseRaw", context: Context) -> Any:
        """How large is too large for each channel, and how many channels may be interpolated; fitted on up to 200 windows."""
        import autoreject

        usable, starts = _usable(raw), context.starts(raw)
        tried = [count for count in INTERPOLATED if count < len(usable) // 2]
        if len(starts) < FOLDS or not tried:
            raise InputError(
                f"autoreject needs {FOLDS} train windows and 4 channels of known position, found {len(starts)} and "
                f"{len(usable)}; type data.signal.steps without it"
            )
        drawn = np.sort(np.random.default_rng(context.seed).permutation(starts)[:WINDOWS])
        fitted = autoreject.AutoReject(n_interpolate=tried, cv=FOLDS, random_state=context.seed, verbose=False)
        return fitted.fit(_epochs(raw, usable, drawn, context.window(raw).samples))

    def apply(self, raw: "mne.io.BaseRaw", fitted: Any, context: Context) -> "mne.io.BaseRaw":
        """Repair all of the recording, train split or not, by what was fitted on the train split."""
        usable, length = _usable(raw), context.window(raw).samples
        # the last stretch ends with the recording, and may overlap the one before
        edges = np.unique(np.minimum(np.arange(0, raw.n_times, length), raw.n_times - length))
        whole = _epochs(raw, usable, edges, length)
        log = fitted.get_reject_log(whole)
        log.bad_epochs[:] = False  # so that none is dropped
        clean = fitted.transform(whole, reject_log=log).get_data()
        for start, stretch in zip(edges, clean, strict=True):
            raw[usable, start : start + length] = stretch
        return raw


def _usable(raw: "mne.io.BaseRaw") -> np.ndarray:
    return np.intersect1d(np.flatnonzero(usable_channels(raw.info)), brain_channels(raw))


def _epochs(raw: "mne.io.BaseRaw", picks: np.ndarray, starts: np.ndarray, length: int) -> "mne.BaseEpochs":
    import mne

    windows = stretches(raw.get_data(picks).T, starts, length).transpose(0, 2, 1)
    return mne.EpochsArray(windows, mne.pick_info(raw.info, picks), baseline=None)
