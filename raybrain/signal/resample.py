"""Resample: the signal at the rate that the store keeps. See Défossez et al. 2023, Methods, "Preprocessing"."""

from typing import TYPE_CHECKING, Any

from raybrain.signal.base import Context, Step

if TYPE_CHECKING:
    import mne


class Resample(Step, name="resample"):
    """To ``data.signal.rate_hz``, in the frequency domain, without what is too fast for it; nothing if that is the rate."""

    def apply(self, raw: "mne.io.BaseRaw", fitted: Any, context: Context) -> "mne.io.BaseRaw":
        """Resample."""
        return raw if raw.info["sfreq"] == context.rate_hz else raw.resample(context.rate_hz)
