"""High-pass: slow drifts are taken off, with a filter of zero phase."""

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveFloat

from raybrain.config import InputError
from raybrain.signal.base import Context, Step
from raybrain.signal.convolve import band_passed

if TYPE_CHECKING:
    import mne


class Highpass(Step, name="highpass", shorthand="cutoff_hz"):
    """Take off slow drifts, with mne's FIR filter of zero phase, as long as the cutoff needs.

    Attributes:
        cutoff_hz: what is slower than this is taken off.
    """

    version: ClassVar[int] = 2
    in_chunks: ClassVar[bool] = True
    cutoff_hz: PositiveFloat = 0.1

    def check(self, before: tuple[Step, ...], rate_hz: float) -> None:
        """Something must be left."""
        if self.cutoff_hz >= rate_hz / 2:
            raise InputError(
                f"highpass.cutoff_hz={self.cutoff_hz:g} leaves nothing at rate_hz={rate_hz:g}; type less than half of it"
            )

    def apply(self, raw: "mne.io.BaseRaw", fitted: Any, context: Context) -> "mne.io.BaseRaw":
        """Filter."""
        return band_passed(raw, self.cutoff_hz, None)
