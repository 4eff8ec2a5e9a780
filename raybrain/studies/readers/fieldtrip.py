"""FieldTrip structs in MATLAB files: a continuous recording, and a table of trials. Not a study itself."""

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
    """What was made of a recording: its trials, and the channels that were no good.

    Attributes:
        onsets: the time of each trial, in seconds from the start of the recording.
        columns: what else the table says of each trial [trials columns].
        bads: channels of too high an impedance, and rejected ones; none if it does not say.
    """

    onsets: np.ndarray
    columns: np.ndarray
    bads: frozenset[str]


def read_raw(file: Path, kinds: "dict[str, str]", scale: float) -> "mne.io.BaseRaw":
    """The struct ``raw`` of a file: one continuous recording.

    Args:
        file: a MATLAB file up to version 7.
        kinds: the mne type of the channels that are of another type than "misc".
        scale: volts in a unit of the data, for channels that are not "misc".

    Raises:
        InputError: the file is not there, cannot be read, or holds something else.
    """
    import mne

    raw = _struct(file, "raw")
    try:
        names = [str(name) for name in np.atleast_1d(raw["hdr"]["label"])]
        rate_hz = float(raw["hdr"]["Fs"])
        values = np.asarray(raw["trial"], dtype=np.float64)
        if values.ndim != 2 or len(values) != len(names):
            raise ValueError(f"{len(names)} channels, but data of shape {values.shape}; wanted: one continuous trial")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is no FieldTrip recording: {_told(error)}") from None
    types = [kinds.get(name, "misc") for name in names]
    values *= np.array([1.0 if kind == "misc" else scale for kind in types])[:, None]
    return mne.io.RawArray(values, mne.create_info(names, rate_hz, types, verbose="error"), verbose="error")


def read_trials(file: Path, rate_hz: float) -> Trials:
    """The struct ``proc`` of a file.

    A row of ``trl`` says at which sample a trial starts, at which it ends, and how many samples before its event it starts,
    a negative number; so the event is at (start - offset) / rate.

    Raises:
        InputError: the file is not there, cannot be read, or holds something else.
    """
    proc = _struct(file, "proc")
    try:
        table = np.atleast_2d(np.asarray(proc["trl"], dtype=np.float64))
        if table.shape[1] < 3 or not np.isfinite(table).all():
            raise ValueError(f"trl has shape {table.shape}; wanted: start, stop, offset and more, all numbers")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is no table of FieldTrip trials: {_told(error)}") from None
    bads: set[str] = set()
    for struct, field in (("impedence", "bads"), ("rejections", "badchans")):  # spelled so in the files
        found = proc.get(struct)
        bads |= {str(name) for name in np.atleast_1d(found.get(field, []) if isinstance(found, dict) else [])}
    return Trials((table[:, 0] - table[:, 2]) / rate_hz, table[:, 3:], frozenset(bads))


def _struct(file: Path, name: str) -> dict[str, Any]:
    import scipy.io

    if not file.is_file():
        raise InputError(f"no file {file}")
    with readable(file):
        found = scipy.io.loadmat(file, variable_names=[name], simplify_cells=True)
    if not isinstance(found.get(name), dict):
        raise InputError(f"{file} holds no struct {name!r}; get the file again")
    struct: dict[str, Any] = found[name]
    return struct


def _told(error: Exception) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return f"no field {text}" if isinstance(error, KeyError) else text or type(error).__name__
