"""Bad channels: those that measure something else than the brain are marked, so that no model sees them.

Flat and noisy channels and those that agree with no other are judged as in Bigdely-Shamlou et al. 2015, "The PREP pipeline",
Frontiers in Neuroinformatics; RANSAC is that of autoreject (Jas et al. 2017). All are judged by windows of the train split.
"""

from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from raybrain.config import InputError, hint
from raybrain.signal.base import Context, Step
from raybrain.signal.channels import brain_names, sensor_positions

if TYPE_CHECKING:
    import mne

WINDOWS = 200  # that are looked at
CRITERIA = ("flat", "noisy", "lonely", "ransac")
FLAT_SHARE = 0.5  # of the windows
FLAT_BELOW = 1e-3  # of the median channel's standard deviation
CORRELATION = 0.4  # the largest with another channel, in more than half of the windows
ROBUST = 1.4826  # the standard deviation of a normal distribution, in medians of absolute deviations


class BadChannels(Step, name="bad_channels", shorthand="find"):
    """Mark channels as bad, besides those that the study or its channels.tsv calls so.

    Attributes:
        find: what makes a channel bad, with + between them: "flat" in half of the windows; "noisy", which is much louder than
            the others; "lonely", which correlates with no other; "ransac", which others do not predict. "none" for ``names``
            alone.
        names: of channels that are bad in every recording.
        deviations: how much louder, in robust standard deviations of the logarithm over channels.
    """

    in_chunks: ClassVar[bool] = True
    find: str = "flat+noisy"
    names: tuple[str, ...] = ()
    deviations: PositiveFloat = Field(default=5.0)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for one in self.criteria:
            if one not in CRITERIA:
                raise InputError(f"no way to find bad channels called {one!r}{hint(one, [*CRITERIA, 'none'])}")
        return self

    @property
    def criteria(self) -> tuple[str, ...]:
        """What makes a channel bad, one by one."""
        return () if self.find == "none" else tuple(one.strip() for one in self.find.split("+"))

    def fit(self, raw: "mne.io.BaseRaw", context: Context) -> dict[str, str]:
        """The channels that are bad and why, by name; those marked before are not looked at."""
        good = [name for name in brain_names(raw) if name not in raw.info["bads"]]
        bad = {name: "named" for name in good if name in self.names}
        starts = context.starts(raw)
        if not self.criteria:
            return bad
        if not len(starts):
            raise InputError("bad_channels judges by train windows, and this recording has none; type bad_channels:none")
        drawn = np.sort(np.random.default_rng(context.seed).permutation(starts)[:WINDOWS])
        length = context.window(raw).samples
        for kind in dict.fromkeys(raw.get_channel_types(good)):  # magnetometers and gradiometers have units of their own
            same = [name for name in good if raw.get_channel_types([name])[0] == kind and name not in bad]
            windows = _windows(raw, same, drawn, length)
            for one in self.criteria:
                if one != "ransac":
                    bad |= {same[row]: one for row in JUDGES[one](windows, self.deviations) if same[row] not in bad}
        if "ransac" in self.criteria:
            bad |= dict.fromkeys(_unpredicted(raw, [name for name in good if name not in bad], drawn, context), "ransac")
        return bad

    def apply(self, raw: "mne.io.BaseRaw", fitted: dict[str, str], context: Context) -> "mne.io.BaseRaw":
        """Mark them."""
        raw.info["bads"] = [*raw.info["bads"], *fitted]
        return raw

    def remarks(self, raw: "mne.io.BaseRaw", fitted: dict[str, str]) -> list[str]:
        """Which ones, and why."""
        return [f"bad_channels: {', '.join(f'{name} ({why})' for name, why in fitted.items())}"] if fitted else []


def _windows(raw: "mne.io.BaseRaw", names: list[str], starts: np.ndarray, length: int) -> np.ndarray:
    """Windows of some channels, [windows samples channels]."""
    picks = [raw.ch_names.index(name) for name in names]
    return np.stack([raw[picks, start : start + length][0].T for start in starts])


def _flat(windows: np.ndarray, deviations: float) -> np.ndarray:
    spread = windows.std(axis=1)
    return np.flatnonzero((spread <= FLAT_BELOW * np.median(spread)).mean(axis=0) >= FLAT_SHARE)


def _noisy(windows: np.ndarray, deviations: float) -> np.ndarray:
    spread = np.median(windows.std(axis=1), axis=0)
    loud = np.log(np.where(spread > 0, spread, spread[spread > 0].min(initial=1.0)))
    middle = np.median(loud)
    usual = ROBUST * np.median(np.abs(loud - middle))
    return np.flatnonzero(loud - middle > deviations * max(usual, 0.1))  # of equal channels, a tenth louder is not bad yet


def _lonely(windows: np.ndarray, deviations: float) -> np.ndarray:
    centred = windows - windows.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1)
    units = centred / np.where(norm > 0, norm, 1.0)[:, None]
    alike = np.abs(np.einsum("wsc,wsd->wcd", units, units))
    alike[:, np.arange(alike.shape[1]), np.arange(alike.shape[1])] = 0.0
    return np.flatnonzero((alike.max(axis=2) < CORRELATION).mean(axis=0) > 0.5)


JUDGES = {"flat": _flat, "noisy": _noisy, "lonely": _lonely}


def _unpredicted(raw: "mne.io.BaseRaw", good: list[str], starts: np.ndarray, context: Context) -> list[str]:
    """Those whose signal the others do not predict, in more than two fifths of the windows."""
    import autoreject
    import mne

    _, known = sensor_positions(raw.info)
    placed = [name for name in good if known[raw.ch_names.index(name)]]
    picks = [raw.ch_names.index(name) for name in placed]
    info = mne.pick_info(raw.info, picks)
    windows = _windows(raw, placed, starts, context.window(raw).samples)
    epochs = mne.EpochsArray(windows.transpose(0, 2, 1), info, baseline=None)
    ransac = autoreject.Ransac(picks=np.arange(len(picks)), random_state=context.seed, verbose=False)
    return [str(name) for name in ransac.fit(epochs).bad_chs_]
