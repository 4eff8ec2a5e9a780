"""Band-pass: only what lies between two frequencies is left, with one filter of zero phase."""

from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import PositiveFloat, model_validator

from raybrain.config import InputError
from raybrain.signal.base import Context, Step
from raybrain.signal.convolve import band_passed

if TYPE_CHECKING:
    import mne


class Bandpass(Step, name="bandpass"):
    """Keep what lies between two frequencies, with mne's FIR filter of zero phase.

    Attributes:
        low_hz: what is slower than this is taken off.
        high_hz: what is faster than this is taken off.
    """

    in_chunks: ClassVar[bool] = True
    low_hz: PositiveFloat = 1.0
    high_hz: PositiveFloat = 40.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low_hz >= self.high_hz:
            raise InputError(f"low_hz={self.low_hz:g} must be below high_hz={self.high_hz:g}")
        return self

    def check(self, before: tuple[Step, ...], rate_hz: float) -> None:
        """The band must lie in the signal."""
        if self.high_hz >= rate_hz / 2:
            raise InputError(
                f"bandpass.high_hz={self.high_hz:g} takes nothing off: at rate_hz={rate_hz:g} the signal ends at "
                f"{rate_hz / 2:g} Hz; type less, or highpass:{self.low_hz:g} in its place"
            )

    def apply(self, raw: "mne.io.BaseRaw", fitted: Any, context: Context) -> "mne.io.BaseRaw":
        """Filter."""
        return band_passed(raw, self.low_hz, self.high_hz)
