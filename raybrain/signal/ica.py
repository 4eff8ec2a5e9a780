"""ICA: components that are the eyes, the heart or muscles are taken off.

Which ones these are is judged as mne does it: by correlation with EOG channels, by cross-trial phase statistics with the
heartbeat (Dammers et al. 2008, IEEE Transactions on Biomedical Engineering), and by the spectrum and place of muscles (Whitham
et al. 2007, Clinical Neurophysiology; Dharmaprani et al. 2016).
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import PositiveFloat, PositiveInt, model_validator

from raybrain.config import InputError, first_line, hint
from raybrain.signal.base import Context, Removed, Step
from raybrain.signal.channels import brain_channels, brain_names

if TYPE_CHECKING:
    import mne

FOREHEAD = ("Fp1", "Fp2", "Fpz", "AF7", "AF8")  # EEG channels that see the eyes best, where there is no EOG
ALIKE = 0.5  # correlation with an eye channel; a z-score over few components cannot reach its threshold
SLOW_HZ = 1.0  # drifts below it would become components of their own
LEAST_S = 20.0  # of train windows
STEPS = 30_000  # samples that components are learned from, spread over the train windows


@dataclass(frozen=True)
class Components:
    """What ICA learned of a recording.

    Attributes:
        ica: mne's object, with the components to take off as ``exclude``.
        reasons: for each component that is taken off, what it is.
        lacking: what could not be looked for, and why.
    """

    ica: Any
    reasons: dict[int, str] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)

    def remark(self, step: str) -> str:
        """Which components a step took off, and what could not be looked for."""
        names = ", ".join(f"{number} ({why})" for number, why in sorted(self.reasons.items())) or "none"
        return "; ".join([f"{step}: of {self.ica.n_components_} components taken off: {names}", *self.lacking])

    def removed(self, step: str) -> list[Removed]:
        """The components that a step took off, and where they are seen."""
        maps = self.ica.get_components()  # [channels components]
        return [
            Removed(f"{step} {number}", why, dict(zip(map(str, self.ica.ch_names), maps[:, number].tolist(), strict=True)))
            for number, why in sorted(self.reasons.items())
        ]


class ComponentStep(Step):
    """Take off independent components: what its kinds share, which judge components in their own way. Not a kind by itself.

    Attributes:
        reject: what is taken off, with + between.
        components: how many are learned; None for as many as explain ``variance``.
        variance: of the signal, that components must explain.
    """

    judged: ClassVar[Collection[str]]  # what the kind can tell
    reject: str = ""
    components: PositiveInt | None = None
    variance: PositiveFloat = 0.99

    @model_validator(mode="after")
    def _known(self) -> Self:
        for source in self.sources:
            if source not in self.judged:
                raise InputError(f"{self.name} finds no {source!r}{hint(source, self.judged)}")
        if self.variance >= 1:
            raise InputError(f"variance={self.variance:g} must be below 1")
        return self

    @property
    def sources(self) -> list[str]:
        """What is taken off, one by one."""
        return [source.strip() for source in self.reject.split("+") if source.strip()]

    def apply(self, raw: "mne.io.BaseRaw", fitted: Components, context: Context) -> "mne.io.BaseRaw":
        """Take them off."""
        return fitted.ica.apply(raw)

    def remarks(self, raw: "mne.io.BaseRaw", fitted: Components) -> list[str]:
        """Which components were taken off, and what could not be looked for."""
        return [fitted.remark(self.name)]

    def removed(self, fitted: Components) -> list[Removed]:
        """Which components were taken off, and where they are seen."""
        return fitted.removed(self.name)


class Ica(ComponentStep, name="ica", shorthand="reject"):
    """Take off what is not the brain, by independent components that are learned from the train windows.

    Attributes:
        reject: what is taken off, with + between: "eye", "heart", "muscle".
    """

    beside: ClassVar[tuple[str, ...]] = ("eog", "ecg")
    judged: ClassVar[Collection[str]] = ("eye", "heart", "muscle")
    reject: str = "eye+heart"

    def fit(self, raw: "mne.io.BaseRaw", context: Context) -> Components:
        """Learn components from the train windows, and judge each."""
        import mne

        train = train_signal(raw, context, self.name)
        wanted = self.components or self.variance
        ica = mne.preprocessing.ICA(wanted, random_state=context.seed, method="picard" if _has_picard() else "fastica")
        learn(ica, train, self.name)
        components = Components(ica)
        for source in self.sources:
            JUDGES[source](components, train)
        ica.exclude = sorted(components.reasons)
        return components


def _has_picard() -> bool:
    from importlib.util import find_spec

    return find_spec("picard") is not None


def train_signal(raw: "mne.io.BaseRaw", context: Context, step: str, high_hz: float | None = None) -> "mne.io.BaseRaw":
    """The train windows of a recording behind one another, without drifts and what is faster than ``high_hz``.

    Raises:
        InputError: if there is too little for a step.
    """
    import mne

    stretches = context.train_stretches(raw)
    seconds = sum(stop - start for start, stop in stretches) / raw.info["sfreq"]
    if seconds < LEAST_S:
        raise InputError(
            f"{step} learns from {LEAST_S:g} s of train windows at least, and this recording has {seconds:.1f} s; "
            "type data.signal.steps without it"
        )
    quick = raw.copy().filter(SLOW_HZ, high_hz)
    return mne.io.RawArray(np.hstack([quick[:, start:stop][0] for start, stop in stretches]), quick.info)


def learn(ica: Any, train: "mne.io.BaseRaw", step: str) -> None:
    """Have mne's ``ica`` learn components from the good channels; InputError if there are none to tell apart."""
    try:
        ica.fit(train, picks=good_channels(train), decim=max(1, train.n_times // STEPS))
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"{step} learns nothing of this recording ({first_line(error)}); say how many components, as in "
            f"data.signal.steps.{step}.components=20, or mark loud channels bad before it"
        ) from None


def good_channels(raw: "mne.io.BaseRaw") -> np.ndarray:
    """The numbers of the brain's channels that are not marked bad."""
    return np.array([pick for pick in brain_channels(raw) if raw.ch_names[pick] not in raw.info["bads"]])


def _eye(components: Components, raw: "mne.io.BaseRaw") -> None:
    beside = [raw.ch_names[pick] for pick in _kind(raw, eog=True)]
    known = {name.lower(): name for name in brain_names(raw) if name not in raw.info["bads"]}
    channels = beside or [known[name.lower()] for name in FOREHEAD if name.lower() in known][:2]
    if not channels:
        components.lacking.append("no eyes: neither EOG channels nor electrodes on the forehead")
        return
    numbers, _ = components.ica.find_bads_eog(raw, ch_name=channels, measure="correlation", threshold=ALIKE)
    components.reasons.update(dict.fromkeys(map(int, numbers), "eye"))


def _heart(components: Components, raw: "mne.io.BaseRaw") -> None:
    if not len(_kind(raw, ecg=True)) and "mag" not in raw.get_channel_types():
        components.lacking.append("no heart: there is no ECG channel, and EEG alone does not show it")
        return
    try:
        numbers, _ = components.ica.find_bads_ecg(raw)
    except (RuntimeError, ValueError):  # no heartbeat in it
        components.lacking.append("no heart: no heartbeat was found")
        return
    components.reasons.update({int(number): "heart" for number in numbers if int(number) not in components.reasons})


def _muscle(components: Components, raw: "mne.io.BaseRaw") -> None:
    try:
        numbers, _ = components.ica.find_bads_muscle(raw)
    except (RuntimeError, ValueError) as error:
        components.lacking.append(f"no muscles: {str(error).splitlines()[0]}")
        return
    components.reasons.update({int(number): "muscle" for number in numbers if int(number) not in components.reasons})


def _kind(raw: "mne.io.BaseRaw", **kind: bool) -> np.ndarray:
    import mne

    picks: np.ndarray = mne.pick_types(raw.info, meg=False, **kind)
    return picks


JUDGES = {"eye": _eye, "heart": _heart, "muscle": _muscle}
