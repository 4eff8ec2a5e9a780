"""FieldTrip structs in MATLAB files: a continuous recording, or a table of trials. Not a study itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raybrain.config import InputError
from raybrain.studies.readers.signal_files import readable

if TYPE_CHECKING:
    import mne


@dataclass(frozen=True)
class Trials:
    """The trials a recording was cut into, and its bad channels.

    Attributes:
        onsets: the time of each trial's event, in seconds from the start of the recording [trials].
        columns: the remaining columns of the table of trials [trials columns].
        bads: channels with too high an impedance, and channels rejected by hand; empty if the file lists none.
    """

    onsets: np.ndarray
    columns: np.ndarray
    bads: frozenset[str]


def read_raw(file: Path, kinds: "dict[str, str]", scale: float) -> "mne.io.BaseRaw":
    """Read the struct ``raw`` of a file: one continuous recording.

    Args:
        file: a MATLAB file up to version 7.
        kinds: the mne channel type by channel name; channels that are not listed are "misc".
        scale: volts per unit of the data, for all channels but the "misc" ones.

    Raises:
        InputError: if the file does not exist, cannot be read, or holds something else.
    """
    import mne

    raw = _struct(file, "raw")
    try:
        names = [str(name) for name in np.atleast_1d(raw["hdr"]["label"])]
        rate_hz = float(raw["hdr"]["Fs"])
        values = np.asarray(raw["trial"], dtype=np.float64)
        if values.ndim != 2 or len(values) != len(names):
            raise ValueError(f"{len(names)} channels, but data of shape {values.shape}; expected one continuous trial")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is not a FieldTrip recording: {_one_line(error)}") from None
    types = [kinds.get(name, "misc") for name in names]
    values *= np.array([1.0 if kind == "misc" else scale for kind in types])[:, None]
    return mne.io.RawArray(values, mne.create_info(names, rate_hz, types, verbose="error"), verbose="error")


def read_trials(file: Path, rate_hz: float) -> Trials:
    """Read the struct ``proc`` of a file: a table of trials.

    Each row of ``trl`` gives the samples at which a trial starts and ends, and its offset: the position of its first sample
    relative to its event, negative if the trial starts before the event. So the event is at (start - offset) / rate.

    Raises:
        InputError: if the file does not exist, cannot be read, or holds something else.
    """
    proc = _struct(file, "proc")
    try:
        table = np.atleast_2d(np.asarray(proc["trl"], dtype=np.float64))
        if table.shape[1] < 3 or not np.isfinite(table).all():
            raise ValueError(f"trl has shape {table.shape}; expected columns start, stop, offset and more, all of them numbers")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is not a table of FieldTrip trials: {_one_line(error)}") from None
    bads: set[str] = set()
    for struct, field in (("impedence", "bads"), ("rejections", "badchans")):  # "impedence" is how the files spell it
        content = proc.get(struct)
        bads |= {str(name) for name in np.atleast_1d(content.get(field, []) if isinstance(content, dict) else [])}
    return Trials((table[:, 0] - table[:, 2]) / rate_hz, table[:, 3:], frozenset(bads))


def _struct(file: Path, name: str) -> dict[str, Any]:
    import scipy.io

    if not file.is_file():
        raise InputError(f"no file {file}")
    with readable(file):
        content = scipy.io.loadmat(file, variable_names=[name], simplify_cells=True)
    if not isinstance(content.get(name), dict):
        raise InputError(f"{file} holds no struct {name!r}; get the file again")
    struct: dict[str, Any] = content[name]
    return struct


def _one_line(error: Exception) -> str:
    """The message of an error in one line."""
    text = " ".join(str(error).split())
    return f"no field {text}" if isinstance(error, KeyError) else text or type(error).__name__
