"""TextGrids: words and phonemes that an aligner located in a sound. Not a study itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from raybrain.config import InputError, hint

COMMON = {  # names of tiers in lower case; an aligner may prefix them with the speaker, as in "anna - words"
    "word": ("words", "word", "ort-mau", "ort"),
    "phoneme": ("phones", "phone", "phonemes", "phoneme", "mau"),
    "sentence": ("sentences", "sentence", "utterances", "utterance", "trn"),
}
HEAD = b"ooTextFile"  # in the first line
SILENCE = ("", "sil", "sp", "spn", "<p:>", "<p>", "<eps>", "<sil>", "{sl}", "#")


@dataclass(frozen=True)
class Interval:
    """A labelled interval of a sound, in seconds from its start."""

    start: float
    stop: float
    label: str


def read_tiers(path: Path) -> dict[str, list[Interval]]:
    """The interval tiers of a Praat TextGrid by name, each sorted by time; intervals with empty labels are kept.

    Raises:
        InputError: if the file does not exist or is not a TextGrid.
    """
    from praatio import textgrid
    from praatio.utilities.errors import PraatioException

    if not path.is_file():
        raise InputError(f"no TextGrid {path}")
    start = path.read_bytes()[:100]
    if not start.strip():
        raise InputError(f"the TextGrid {path} is empty")
    if start.startswith(b"ooBinaryFile"):
        raise InputError(f"the TextGrid {path} is a binary one; save it as a text file in Praat")
    if b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"the TextGrid {path} is UTF-16 without a byte order mark; save it as UTF-8")
    if HEAD not in start.replace(b"\0", b""):
        raise InputError(
            f"{path} cannot be read as a TextGrid: it begins with {start[:20].decode(errors='replace')!r}; get the file again"
        )
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, duplicateNamesMode="rename")
    except (PraatioException, ValueError, IndexError, KeyError, UnicodeError) as error:
        raise InputError(f"{path} cannot be read as a TextGrid: {_reason(error)}") from error
    return {
        tier.name: [Interval(float(entry.start), float(entry.end), entry.label.strip()) for entry in tier.entries]
        for tier in grid.tiers
        if isinstance(tier, textgrid.IntervalTier)
    }


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "it is not UTF-8; save it as UTF-8"
    if isinstance(error, IndexError | KeyError):
        return "it ends where more is expected; get the file again"
    return " ".join(str(error).split())


def find_textgrid(sound: Path) -> Path | None:
    """The TextGrid next to a sound file: the same name with another extension."""
    return next((path for end in (".TextGrid", ".textgrid", ".TEXTGRID") if (path := sound.with_suffix(end)).is_file()), None)


def find_tier(tiers: Mapping[str, list[Interval]], what: str, named: str, path: Path, needed: bool = False) -> list[Interval]:
    """The tier of words, phonemes or sentences: the one called ``named`` if that is given, else the first with a common name.

    Args:
        tiers: all tiers of the TextGrid.
        what: "word", "phoneme" or "sentence".
        named: the tier's name; empty to look for a common one.
        path: the TextGrid, for error messages.
        needed: whether a missing tier is an error; else it counts as empty.

    Raises:
        InputError: if the named tier does not exist, or there is none and it is needed.
    """
    if named:
        if named not in tiers:
            raise InputError(f"no tier {named!r} in {path}{hint(named, tiers)}")
        return tiers[named]
    last = {name.rpartition(" - ")[2].strip().lower(): name for name in reversed(list(tiers))}
    for name in COMMON[what]:
        if name in last:
            return tiers[last[name]]
    if needed:
        raise InputError(f"no tier of {path} is known to hold {what}s (tiers: {', '.join(tiers)}); name it with {what}_tier")
    return []


def is_spoken(label: str) -> bool:
    """Whether a label stands for speech rather than for silence."""
    return label.lower() not in SILENCE
