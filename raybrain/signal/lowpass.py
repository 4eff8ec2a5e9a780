"""Low-pass: what is fast is taken off, with a filter of zero phase."""

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveFloat

from raybrain.config import InputError
from raybrain.signal.base import Context, Step
from raybrain.signal.convolve import band_passed

if TYPE_CHECKING:
    import mne


class Lowpass(Step, name="lowpass", shorthand="cutoff_hz"):
    """Take off what is fast, with mne's FIR filter of zero phase, as long as the cutoff needs.

    Attributes:
        cutoff_hz: what is faster than this is taken off.
    """

    in_chunks: ClassVar[bool] = True
    cutoff_hz: PositiveFloat = 40.0

    def check(self, before: tuple[Step, ...], rate_hz: float) -> None:
        """There must be something to take off."""
        if self.cutoff_hz >= rate_hz / 2:
            raise InputError(
                f"lowpass.cutoff_hz={self.cutoff_hz:g} takes nothing off: at rate_hz={rate_hz:g} the signal ends at "
                f"{rate_hz / 2:g} Hz; type less, or data.signal.steps without it"
            )

    def apply(self, raw: "mne.io.BaseRaw", fitted: Any, context: Context) -> "mne.io.BaseRaw":
        """Filter."""
        return band_passed(raw, None, self.cutoff_hz)
