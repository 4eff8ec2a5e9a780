"""Lone recording: a file outside of any study, in whatever format mne reads. Not a study itself."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from raybrain.config import InputError
from raybrain.studies.readers.signal_files import check_length, why_absent

if TYPE_CHECKING:
    import mne


def read_lone(path: Path) -> "tuple[mne.io.BaseRaw, list[str]]":
    """The signal, not loaded, and what is odd about the BIDS sidecars beside it.

    Raises:
        InputError: if it is not there, is truncated or cannot be read.
    """
    from raybrain.studies.bids.bids_signal import read_signal_file

    if not path.exists() and not path.is_symlink():
        raise InputError(f"no recording {path}; type the path of a file that mne reads: .fif, .vhdr, .edf, .set, .ds, ...")
    if absent := why_absent(path, path.parent):
        raise InputError(f"{path} {absent}")
    sidecars = list(_sidecars(path))
    raw, odd = read_signal_file(path, sidecars)
    check_length(raw, path, [sidecar for sidecar in sidecars if sidecar.suffix == ".json"])
    return raw, odd


def _sidecars(path: Path) -> Iterator[Path]:
    """The BIDS sidecars beside a recording whose names speak of it."""
    from raybrain.studies.bids import SIDECARS
    from raybrain.studies.bids.inventory import applies, entities, suffix_of

    own = entities(path.name)
    for name in sorted(os.listdir(path.absolute().parent)) if own else ():
        file = path.parent / name
        if "." in name and suffix_of(name) in SIDECARS and applies(file, own) and file.is_file():
            yield file
