"""Reference: EEG is measured against something; here against something else."""

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from raybrain.config import InputError
from raybrain.signal.base import Context, Step
from raybrain.signal.channels import brain_channels, brain_names
from raybrain.signal.chunked import mapped

if TYPE_CHECKING:
    import mne

MASTOIDS = (("M1", "M2"), ("A1", "A2"), ("TP9", "TP10"), ("T9", "T10"))  # near or on both ears, in this order of preference


class Reference(Step, name="reference", shorthand="to"):
    """Measure each EEG channel against others.

    Attributes:
        to: "average" of all channels that are not marked bad, "mastoids" (the first pair that is there of M1 and M2, A1 and A2,
            TP9 and TP10, T9 and T10), or names with + between them, like ``Cz`` or ``M1+M2``.
    """

    in_chunks: ClassVar[bool] = True
    to: str = "average"

    def apply(self, raw: "mne.io.BaseRaw", fitted: Any, context: Context) -> "mne.io.BaseRaw":
        """Subtract the reference."""
        names = brain_names(raw)
        if "eeg" not in raw.get_channel_types(names):
            raise InputError("reference is for EEG, and this recording is MEG; type data.signal.steps without it")
        good = [name for name in names if name not in raw.info["bads"]]
        against = [raw.ch_names.index(name) for name in (good if self.to == "average" else self._channels(names))]
        brain = brain_channels(raw)

        def without(values: np.ndarray) -> np.ndarray:
            result = values.copy()
            result[brain] -= values[against].mean(axis=0)
            return result

        return mapped(raw, without)

    def _channels(self, names: list[str]) -> list[str]:
        known = {name.lower(): name for name in names}
        if self.to == "mastoids":
            for pair in MASTOIDS:
                if all(name.lower() in known for name in pair):
                    return [known[name.lower()] for name in pair]
            pairs = ", ".join(" and ".join(pair) for pair in MASTOIDS)
            raise InputError(f"reference:mastoids finds none of {pairs} in this recording; type reference:NAME+NAME")
        asked = [name.strip() for name in self.to.split("+")]
        if lacking := [name for name in asked if name.lower() not in known]:
            raise InputError(
                f"reference:{self.to}: no channel {', '.join(lacking)} in this recording; it has {', '.join(names[:10])}"
                f"{', ...' if len(names) > 10 else ''}"
            )
        return [known[name.lower()] for name in asked]
