"""Sensors: some of them, drawn at random. Défossez et al. 2023 compare MEG with EEG at equally many."""

import hashlib
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveInt

from raybrain.config import InputError
from raybrain.signal.base import Context, Step
from raybrain.signal.channels import brain_names

if TYPE_CHECKING:
    import mne


class DrawnSensors(Step, name="sensors", shorthand="count"):
    """Some sensors of each recording, drawn once and for all by their names, so that all recordings have the same ones.

    Attributes:
        count: how many.
    """

    takes_gaps: ClassVar[bool] = True
    count: PositiveInt = 128

    def channels(self, count: int) -> int:
        """As many as asked for: a recording with fewer is refused."""
        return self.count

    def apply(self, raw: "mne.io.BaseRaw", fitted: Any, context: Context) -> "mne.io.BaseRaw":
        """Keep those drawn, in the order of the recording."""
        names = brain_names(raw)
        if len(names) < self.count:
            raise InputError(
                f"step sensors is to draw {self.count}, but there are {len(names)}; type sensors:{len(names)} or less"
            )
        drawn = set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[: self.count])
        return raw.pick([name for name in raw.ch_names if name in drawn or name not in names])
