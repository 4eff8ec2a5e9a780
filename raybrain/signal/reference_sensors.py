"""Reference sensors: what these sensors of MEG, which lie away from the head, measure is taken off the others."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from raybrain.config import InputError
from raybrain.signal.base import Context, Step
from raybrain.signal.channels import brain_channels
from raybrain.signal.chunked import mapped

if TYPE_CHECKING:
    import mne


class ReferenceSensors(Step, name="reference_sensors"):
    """Take off what reference sensors explain of each MEG channel, by least squares; for KIT and CTF systems.

    The weights are learned from the train windows of a recording. Adachi et al. 2001, "Reduction of non-periodic environmental
    magnetic noise in MEG measurement by continuously adjusted least squares method", IEEE Transactions on Applied
    Superconductivity.
    """

    in_chunks: ClassVar[bool] = True
    beside: ClassVar[tuple[str, ...]] = ("ref_meg",)

    def fit(self, raw: "mne.io.BaseRaw", context: Context) -> np.ndarray:
        """Weights [channels, reference sensors]."""
        import mne

        beside = mne.pick_types(raw.info, meg=False, ref_meg=True)
        if not len(beside):
            raise InputError("reference_sensors finds none in this recording; type data.signal.steps without it")
        both = np.concatenate([beside, brain_channels(raw)])
        total, products, count = np.zeros(len(both)), np.zeros((len(beside), len(both))), 0
        for start, stop in context.train_stretches(raw):
            values = raw[both, start:stop][0]
            total += values.sum(axis=1)
            products += values[: len(beside)] @ values.T
            count += stop - start
        mean = total / max(count, 1)
        products -= count * np.outer(mean[: len(beside)], mean)
        weights: np.ndarray = np.linalg.lstsq(products[:, : len(beside)], products[:, len(beside) :], rcond=None)[0].T
        return weights

    def apply(self, raw: "mne.io.BaseRaw", fitted: np.ndarray, context: Context) -> "mne.io.BaseRaw":
        """Subtract."""
        import mne

        beside, brain = mne.pick_types(raw.info, meg=False, ref_meg=True), brain_channels(raw)

        def without(values: np.ndarray) -> np.ndarray:
            result = values.copy()
            result[brain] -= fitted @ values[beside]
            return result

        return mapped(raw, without)
