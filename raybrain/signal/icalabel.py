"""ICALabel: components of EEG that a network calls eyes, heart or muscles are taken off.

ICLabel, Pion-Tonachini et al. 2019, "ICLabel: An automated electroencephalographic independent component classifier",
NeuroImage, as mne-icalabel has it: a package of its own, in which the network lies.
"""

from collections.abc import Collection
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from raybrain.config import InputError
from raybrain.signal.base import Context
from raybrain.signal.channels import brain_channels
from raybrain.signal.ica import Components, ComponentStep, good_channels, learn, train_signal

if TYPE_CHECKING:
    import mne

LABELS = {"eye": 2, "heart": 3, "muscle": 1, "line": 4, "channel": 5}  # the columns of what the network says
HIGHEST_HZ = 100.0  # what it was trained on ends there


class IcaLabel(ComponentStep, name="icalabel", shorthand="reject"):
    """Take off what the network ICLabel calls something else than the brain; EEG has its average as reference from then on.

    Components are learned from the train windows by extended infomax, as those were that it was trained on. It judges by
    frequencies up to 100 Hz: it comes best before ``resample``, where the recording is short enough to be loaded.

    Attributes:
        reject: what is taken off, with + between: "eye", "heart", "muscle", "line" (noise), "channel" (noise).
        certainty: least probability.
    """

    judged: ClassVar[Collection[str]] = LABELS.keys()
    reject: str = "eye+heart+muscle"
    certainty: float = Field(default=0.7, gt=0, lt=1)

    def fit(self, raw: "mne.io.BaseRaw", context: Context) -> Components:
        """Learn components from the train windows, and have each judged."""
        import mne

        package = _package()
        if "eeg" not in raw.get_channel_types(brain_channels(raw)):
            raise InputError("icalabel is for EEG, and this recording is MEG; type ica")
        high_hz = HIGHEST_HZ if raw.info["sfreq"] > 2.5 * HIGHEST_HZ else None
        train = _referenced(train_signal(raw, context, self.name, high_hz))
        method = {"method": "infomax", "fit_params": {"extended": True}}
        ica = mne.preprocessing.ICA(self.components or self.variance, random_state=context.seed, **method)
        learn(ica, train, self.name)
        likely = package.iclabel.iclabel_label_components(train, ica)
        components = Components(ica)
        for source in self.sources:
            sure = np.flatnonzero(likely[:, LABELS[source]] >= self.certainty)
            components.reasons.update({int(number): f"{source} {likely[number, LABELS[source]]:.2f}" for number in sure})
        ica.exclude = sorted(components.reasons)
        return components

    def apply(self, raw: "mne.io.BaseRaw", fitted: Components, context: Context) -> "mne.io.BaseRaw":
        """Take them off."""
        return super().apply(_referenced(raw), fitted, context)


def _package() -> ModuleType:
    try:
        import mne_icalabel
        import mne_icalabel.iclabel
    except ImportError:
        raise InputError("icalabel needs a package: pip install 'raybrain[icalabel]'; or type ica") from None
    module: ModuleType = mne_icalabel
    return module


def _referenced(raw: "mne.io.BaseRaw") -> "mne.io.BaseRaw":
    """EEG with the average of its good channels as reference."""
    names = [raw.ch_names[pick] for pick in good_channels(raw)]
    return raw.set_eeg_reference(names, verbose="error")
