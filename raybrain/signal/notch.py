"""Notch: the hum of the mains and its overtones are taken off."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from raybrain.config import InputError
from raybrain.signal.base import Context, Step
from raybrain.signal.channels import brain_channels
from raybrain.signal.convolve import filtered

if TYPE_CHECKING:
    import mne

WIDTHS, TRANSITION_HZ = 200, 1.0  # a gap is a 200th of the line wide, and its edges are as steep as this


class Notch(Step, name="notch", shorthand="line_hz"):
    """Take off the line frequency and its overtones, with mne's notch filter of zero phase.

    Attributes:
        line_hz: frequency of the mains: 50 Hz in Europe, 60 Hz in America.
        overtones: whether its multiples are taken off as well, as far as the signal reaches.
        method: a filter ("fir"), or sine waves that are fitted and subtracted ("spectrum_fit"), which leaves the neighbouring
            frequencies as they are and takes longer; Mitra and Bokil 2008, "Observed Brain Dynamics", chapter 7.
    """

    in_chunks: ClassVar[bool] = True
    line_hz: PositiveFloat = 50.0
    overtones: bool = True
    method: Literal["fir", "spectrum_fit"] = "fir"

    def check(self, before: tuple[Step, ...], rate_hz: float) -> None:
        """The line must still be in the signal."""
        if self.line_hz >= rate_hz / 2 and any(step.name == "resample" for step in before):
            raise InputError(
                f"notch:{self.line_hz:g} after resample finds nothing: at rate_hz={rate_hz:g} the signal ends at "
                f"{rate_hz / 2:g} Hz; type notch before resample"
            )

    def apply(self, raw: "mne.io.BaseRaw", fitted: Any, context: Context) -> "mne.io.BaseRaw":
        """Filter."""
        import mne

        ends = raw.info["sfreq"] / 2
        lines = np.arange(self.line_hz, ends, self.line_hz)[: None if self.overtones else 1]
        if not len(lines):
            raise InputError(
                f"notch:{self.line_hz:g} finds nothing in signal that ends at {ends:g} Hz; type data.signal.steps without it"
            )
        if self.method == "spectrum_fit":
            return raw.load_data().notch_filter(lines, picks=brain_channels(raw), method="spectrum_fit")
        steep = dict.fromkeys(("l_trans_bandwidth", "h_trans_bandwidth"), TRANSITION_HZ / 2)
        return filtered(raw, mne.filter.create_filter(None, raw.info["sfreq"], *_bands(lines), **steep))


def _bands(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each line's gap ends and begins, as wide as mne makes it."""
    half = (lines / WIDTHS + TRANSITION_HZ) / 2
    return lines + half, lines - half
