"""Files of sounds that a BIDS events table names, and the TextGrids beside them. Not a study itself."""

import contextlib
import itertools
import os
import unicodedata
from pathlib import Path

from raybrain.config import InputError
from raybrain.studies.bids.bids_table import Row, column_values
from raybrain.studies.readers.signal_files import why_absent
from raybrain.studies.readers.textgrids import find_textgrid

AUDIO = (".wav", ".flac", ".mp3", ".ogg")


def stimulus_path(root: Path, row: Row, column: str) -> Path:
    """The sound file of a row: in stimuli/, else relative to the dataset; never outside of it."""
    named = row.text(column)
    if not named:
        raise row.error(f"a sound without a {column}")
    top = os.path.abspath(root)
    paths = [os.path.normpath(os.path.join(top, *folder, named)) for folder in (["stimuli"], [])]
    if not all(path.startswith(top + os.sep) for path in paths):
        raise row.error(f"{column} {named!r} lies outside of the dataset; put the file into {Path(top) / 'stimuli'}")
    for path, ending in itertools.product(paths, ("", *AUDIO)):
        if os.path.isfile(path + ending):
            return Path(path + ending)
    for path, ending in itertools.product(paths, ("", *AUDIO)):
        if os.path.islink(path + ending):
            raise row.error(f"the sound file {path + ending} {why_absent(Path(path + ending), root)}")
    places = ((Path(top, "stimuli"), named), (Path(top), named), (Path(top), f"stimuli/{named}"))
    alike = next((name for folder, other in places if (name := _alike(folder, other))), "")
    meant = f"; {alike!r} is there, and names must be the same in case, accents and slashes" if alike else ""
    raise row.error(f"no sound file {named!r} in {Path(top) / 'stimuli'} or {top}{meant}")


def _alike(folder: Path, named: str) -> str:
    """The name of a file in a folder that is written otherwise: in case, in the form of accents, or with backslashes."""
    here: list[Path] = [folder]
    *parts, last = named.replace("\\", "/").strip("/").split("/")
    for wanted in [{_plain(part)} for part in parts] + [{_plain(last + ending) for ending in ("", *AUDIO)}]:
        here = [path for above in here if above.is_dir() for path in sorted(above.iterdir()) if _plain(path.name) in wanted]
    return next((path.relative_to(folder).as_posix() for path in here if path.is_file()), "")


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def textgrids(root: Path, file: Path | None, column: str) -> set[Path]:
    """The existing TextGrids next to the sounds that an events table names; nothing else of the table is read."""
    paths = set()
    for name in column_values(file, column) if file else ():
        with contextlib.suppress(InputError):
            paths.add(find_textgrid(stimulus_path(root, Row(file or root, 0, {column: name}), column)))
    return {path for path in paths if path}
