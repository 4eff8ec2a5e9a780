"""Maxwell: what comes from outside the helmet is taken off MEG of MEGIN systems, and the head is held still.

Signal-space separation, Taulu and Kajola 2005, "Presentation of electromagnetic multichannel data", Journal of Applied Physics;
with ``window_s`` in time as well, Taulu and Simola 2006, "Spatiotemporal signal space separation method for rejecting nearby
interference in MEG measurements", Physics in Medicine and Biology.
"""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import PositiveFloat

from raybrain.config import InputError, first_line
from raybrain.signal.base import Context, Step

if TYPE_CHECKING:
    import mne
    import numpy as np

FILES = {"calibration": "*acq-calibration_meg.dat", "cross_talk": "*acq-crosstalk_meg.fif"}  # as BIDS calls them


class Maxwell(Step, name="maxwell", shorthand="window_s"):
    """Separate what comes from the head from what comes from outside, with mne's Maxwell filter.

    Bad channels are reconstructed and count as good from then on: mark them before, or they spoil the others. The fine
    calibration and the cross-talk of the system are used where they lie beside the recording under their BIDS names.

    Attributes:
        window_s: of tSSS, which also takes off what inside and outside have in common; None for SSS alone.
        movement: whether the head is followed and held still: by the positions that MaxFilter wrote, where one ``.pos`` file
            lies beside the recording and begins with its name, else by the coils (cHPI).
    """

    version: ClassVar[int] = 2
    window_s: PositiveFloat | None = None
    movement: bool = False

    def check(self, before: tuple[Step, ...], rate_hz: float) -> None:
        """All sensors, as they were recorded."""
        spoilt = [step.name for step in before if step.name not in ("bad_channels", "notch", "resample", "lowpass", "highpass")]
        if spoilt:
            raise InputError(f"maxwell after {spoilt[0]} separates signal that is mixed already; type maxwell before it")
        fast = [step.name for step in before if step.name in ("resample", "lowpass", "notch")]
        if self.movement and fast:
            raise InputError(
                f"maxwell.movement=yes after {fast[0]} has lost the fast signal of the coils; type maxwell before it"
            )

    def fit(self, raw: "mne.io.BaseRaw", context: Context) -> "np.ndarray | None":
        """Where the head was, [moments 10] as mne has it; None if it is not followed."""
        import mne

        if not self.movement:
            return None
        if path := _positions_beside(raw):
            return _read_positions(path)
        try:
            amplitudes = mne.chpi.compute_chpi_amplitudes(raw)
            moments: np.ndarray = mne.chpi.compute_head_pos(raw.info, mne.chpi.compute_chpi_locs(raw.info, amplitudes))
            return moments
        except (RuntimeError, ValueError) as error:
            line = first_line(error)
            raise InputError(f"maxwell.movement=yes: the head cannot be followed ({line}); type it without") from None

    def apply(self, raw: "mne.io.BaseRaw", fitted: "np.ndarray | None", context: Context) -> "mne.io.BaseRaw":
        """Separate."""
        import mne

        frame = "head" if raw.info["dev_head_t"] is not None else "meg"
        origin = "auto" if frame == "head" and raw.info["dig"] else (0.0, 0.0, 0.04 if frame == "head" else 0.0)
        try:
            return mne.preprocessing.maxwell_filter(
                raw, origin=origin, coord_frame=frame, st_duration=self.window_s, head_pos=fitted, **_files_beside(raw)
            )
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"maxwell cannot be done to this recording ({first_line(error)}); it is for MEGIN systems"
            ) from None

    def remarks(self, raw: "mne.io.BaseRaw", fitted: "np.ndarray | None") -> list[str]:
        """Where the positions of the head are from."""
        path = _positions_beside(raw) if self.movement else None
        return [f"maxwell: the head is followed by {path.name if path else 'its coils'}"] if self.movement else []


def _positions_beside(raw: "mne.io.BaseRaw") -> Path | None:
    """The positions of the head that MaxFilter wrote; InputError if there are several files of them."""
    file = next((Path(name) for name in raw.filenames if name), None)
    if file is None:
        return None
    name = file.stem.removesuffix("_meg").removesuffix("_raw")
    paths = sorted(path for path in file.parent.glob("*.pos") if path.name.startswith(name))
    if paths[1:]:
        raise InputError(f"maxwell.movement=yes: {paths[0].name} and {paths[1].name} both lie beside {file.name}; leave one")
    return paths[0] if paths else None


def _read_positions(path: Path) -> "np.ndarray":
    import mne

    try:
        moments: np.ndarray = mne.chpi.read_head_pos(path)
    except (RuntimeError, ValueError, OSError, IndexError) as error:
        raise InputError(f"{path.name} holds no positions of a head ({first_line(error)}); get it again or remove it") from None
    if not moments.size:
        raise InputError(f"{path.name} holds no positions of a head; get it again or remove it")
    return moments


def _files_beside(raw: "mne.io.BaseRaw") -> dict[str, Path]:
    folders = [Path(name).parent for name in raw.filenames if name]
    there = {kind: sorted(folders[0].glob(pattern)) if folders else [] for kind, pattern in FILES.items()}
    return {kind: paths[0] for kind, paths in there.items() if paths}
