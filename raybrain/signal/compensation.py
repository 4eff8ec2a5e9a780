"""Compensation: CTF's own gradient compensation, from its reference sensors, is set to another grade."""

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from raybrain.config import InputError
from raybrain.signal.base import Context, Step

if TYPE_CHECKING:
    import mne


class Compensation(Step, name="compensation", shorthand="grade"):
    """Set the grade of CTF's synthetic gradiometers.

    Attributes:
        grade: 0 for none, 1 to 3 for gradiometers of that order.
    """

    beside: ClassVar[tuple[str, ...]] = ("ref_meg",)
    grade: int = Field(default=3, ge=0, le=3)

    def check(self, before: tuple[Step, ...], rate_hz: float) -> None:
        """Compensation mixes channels as they were recorded."""
        if late := [step.name for step in before if step.name not in ("sensors", "resample", "highpass", "lowpass", "notch")]:
            raise InputError(f"compensation after {late[0]} mixes channels that are changed already; type it first")

    def apply(self, raw: "mne.io.BaseRaw", fitted: Any, context: Context) -> "mne.io.BaseRaw":
        """Compensate."""
        grades = sorted({int(comp["kind"]) for comp in raw.info["comps"]} | {0})
        if self.grade not in grades:
            known = f"only {', '.join(map(str, grades))}" if len(grades) > 1 else "none: it is of no CTF system, or lost them"
            raise InputError(f"compensation:{self.grade}: of compensations this recording has {known}")
        return raw.apply_gradient_compensation(self.grade)
