"""KIT recordings (``.con``, ``.sqd``), read by mne, with a check for truncation. Not a study itself."""

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from raybrain.config import InputError
from raybrain.studies.readers.signal_files import readable

if TYPE_CHECKING:
    import mne

ENTRY = struct.Struct("<Iiii")  # an entry of the directory at the start of a file: offset, bytes per item, capacity, items
DATA = 9  # the index of the entry for the data


def read_raw(file: Path) -> "mne.io.BaseRaw":
    """The signal, not loaded; without the stimulus channel that mne would synthesise from triggers.

    Raises:
        InputError: if the file does not exist, cannot be read, or is truncated; mne would fill the missing samples with zeros.
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
        present = max(0, size - offset) // frame
        raise InputError(
            f"{file} is truncated: it has {present} of the {raw.n_times} samples in its header; get the file again"
        )
    return raw
