"""KIT recordings (``.con``, ``.sqd``), read by mne and checked for their length. Not a study itself."""

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from raybrain.config import InputError
from raybrain.studies.readers.signal_files import readable

if TYPE_CHECKING:
    import mne

ENTRY = struct.Struct("<Iiii")  # a line of the directory a file starts with: offset, bytes of an item, places, items
DATA = 9  # the line of the data


def read_raw(file: Path) -> "mne.io.BaseRaw":
    """The signal, not loaded, without a channel made of triggers.

    Raises:
        InputError: the file is not there, cannot be read, or ends before its last sample; mne would give zeros for these.
    """
    import mne

    if not file.is_file():
        raise InputError(f"no recording {file}")
    with readable(file), file.open("rb") as header:
        raw: mne.io.BaseRaw = mne.io.read_raw_kit(file, stim=None, verbose="error")
        header.seek(DATA * ENTRY.size)
        offset, width, _, _ = ENTRY.unpack(header.read(ENTRY.size))
    frame = width * len(raw.ch_names)
    size = file.stat().st_size
    if size < offset + frame * raw.n_times:
        found = max(0, size - offset) // frame
        raise InputError(f"{file} is truncated: {found} samples of {raw.n_times} its header promises; get the file again")
    return raw
