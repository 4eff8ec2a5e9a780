"""Resample: the signal at the rate that the store keeps. See Défossez et al. 2023, Methods, "Preprocessing"."""

from typing import TYPE_CHECKING, Any, ClassVar

from raybrain.signal.base import Context, Step
from raybrain.signal.polyphase import resampled

if TYPE_CHECKING:
    import mne


class Resample(Step, name="resample"):
    """To ``data.signal.rate_hz``, by any ratio, without what is too fast for it; nothing if that is the rate."""

    version: ClassVar[int] = 2
    in_chunks: ClassVar[bool] = True

    def apply(self, raw: "mne.io.BaseRaw", fitted: Any, context: Context) -> "mne.io.BaseRaw":
        """Resample."""
        return raw if raw.info["sfreq"] == context.rate_hz else resampled(raw, context.rate_hz)
