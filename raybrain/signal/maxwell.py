"""Maxwell: what comes from outside the helmet is taken off MEG of MEGIN systems, and the head is held still.

Signal-space separation, Taulu and Kajola 2005, "Presentation of electromagnetic multichannel data", Journal of Applied Physics;
with ``window_s`` in time as well, Taulu and Simola 2006, "Spatiotemporal signal space separation method for rejecting nearby
interference in MEG measurements", Physics in Medicine and Biology.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import PositiveFloat

from raybrain.config import InputError, first_line
from raybrain.signal.base import Context, Step

if TYPE_CHECKING:
    import mne
    import numpy as np

FILES = {"calibration": "*acq-calibration_meg.dat", "cross_talk": "*acq-crosstalk_meg.fif"}  # as BIDS calls them
SAME_RECORDING = re.compile(r"(_split-\d+)?(_meg|_raw)?$")  # what the name of a FIF file adds to that of its recording


@dataclass(frozen=True)
class HeadPositions:
    """Where the head was.

    Attributes:
        moments: [moments 10] as mne has them.
        source: what it is known by.
    """

    moments: "np.ndarray"
    source: str


class Maxwell(Step, name="maxwell", shorthand="window_s"):
    """Separate what comes from the head from what comes from outside, with mne's Maxwell filter.

    Bad channels are reconstructed and count as good from then on: mark them before, or they spoil the others. The fine
    calibration and the cross-talk of the system are used where they lie beside the recording under their BIDS names. Where any
    of these files is another one, or comes or goes, the recording is prepared anew.

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

    def files(self, recorded: Sequence[Path]) -> list[Path]:
        """Fine calibration and cross-talk, and the positions of the head if it is followed."""
        positions = _positions_beside(recorded) if self.movement else []
        return [*_files_beside(recorded).values(), *positions]

    def fit(self, raw: "mne.io.BaseRaw", context: Context) -> HeadPositions | None:
        """Where the head was; None if it is not followed."""
        import mne

        if not self.movement:
            return None
        paths = _positions_beside(context.files)
        if paths[1:]:
            raise InputError(f"maxwell.movement=yes: {paths[0].name} and {paths[1].name} are of the same recording; leave one")
        if paths:
            return HeadPositions(_read_positions(paths[0]), paths[0].name)
        try:
            amplitudes = mne.chpi.compute_chpi_amplitudes(raw)
            moments = mne.chpi.compute_head_pos(raw.info, mne.chpi.compute_chpi_locs(raw.info, amplitudes))
            return HeadPositions(moments, "its coils")
        except (RuntimeError, ValueError) as error:
            line = first_line(error)
            raise InputError(f"maxwell.movement=yes: the head cannot be followed ({line}); type it without") from None

    def apply(self, raw: "mne.io.BaseRaw", fitted: HeadPositions | None, context: Context) -> "mne.io.BaseRaw":
        """Separate."""
        import mne

        frame = "head" if raw.info["dev_head_t"] is not None else "meg"
        origin = "auto" if frame == "head" and raw.info["dig"] else (0.0, 0.0, 0.04 if frame == "head" else 0.0)
        moments = fitted.moments if fitted else None
        files = _files_beside(context.files)
        try:
            return mne.preprocessing.maxwell_filter(
                raw, origin=origin, coord_frame=frame, st_duration=self.window_s, head_pos=moments, **files
            )
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"maxwell cannot be done to this recording ({first_line(error)}); it is for MEGIN systems"
            ) from None

    def remarks(self, raw: "mne.io.BaseRaw", fitted: HeadPositions | None) -> list[str]:
        """Where the positions of the head are from."""
        return [f"maxwell: the head is followed by {fitted.source}"] if fitted else []


def _positions_beside(recorded: Sequence[Path]) -> list[Path]:
    """The positions of the head that MaxFilter wrote for one of these files: their names go on where its recording's ends."""
    beside = set()
    for file in recorded:
        if file.suffix == ".fif":
            name = SAME_RECORDING.sub("", file.stem)
            named = [path for path in file.parent.glob("*.pos") if path.stem.startswith(name)]
            beside |= {path for path in named if not path.stem[len(name) :][:1].isalnum()}
    return sorted(beside)


def _read_positions(path: Path) -> "np.ndarray":
    import mne

    try:
        moments: np.ndarray = mne.chpi.read_head_pos(path)
    except (RuntimeError, ValueError, OSError, IndexError) as error:
        raise InputError(f"{path.name} holds no positions of a head ({first_line(error)}); get it again or remove it") from None
    if not moments.size:
        raise InputError(f"{path.name} holds no positions of a head; get it again or remove it")
    return moments


def _files_beside(recorded: Sequence[Path]) -> dict[str, Path]:
    """Fine calibration and cross-talk, by what mne calls them."""
    folders = {file.parent for file in recorded if file.suffix == ".fif"}
    there = {kind: sorted(path for folder in folders for path in folder.glob(name)) for kind, name in FILES.items()}
    return {kind: paths[0] for kind, paths in there.items() if paths}
