"""Interpolate: channels that are marked bad get the signal that their neighbours let expect."""

from typing import TYPE_CHECKING, Any

from raybrain.signal.base import Context, Step
from raybrain.signal.channels import sensor_positions

if TYPE_CHECKING:
    import mne


class Interpolate(Step, name="interpolate"):
    """Interpolate the channels that are marked bad from the others; they count as good from then on.

    EEG by spherical splines, MEG by minimum-norm projection, as mne does it (Perrin et al. 1989; Hämäläinen 1993). A channel
    whose position is not known stays bad.
    """

    def apply(self, raw: "mne.io.BaseRaw", fitted: Any, context: Context) -> "mne.io.BaseRaw":
        """Interpolate."""
        wanted = _placed(raw)
        nowhere = [name for name in raw.info["bads"] if name not in wanted]
        return raw.interpolate_bads(reset_bads=True, exclude=nowhere) if wanted else raw

    def remarks(self, raw: "mne.io.BaseRaw", fitted: Any) -> list[str]:
        """Which ones."""
        wanted = _placed(raw)
        return [f"interpolate: {', '.join(wanted)}"] if wanted else []


def _placed(raw: "mne.io.BaseRaw") -> list[str]:
    """The bad channels whose position is known."""
    _, known = sensor_positions(raw.info)
    return [name for name, placed in zip(raw.ch_names, known, strict=True) if placed and name in raw.info["bads"]]
