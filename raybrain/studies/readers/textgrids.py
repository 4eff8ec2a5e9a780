"""TextGrids: words and phonemes that an aligner found in a sound. Not a study itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from raybrain.config import InputError, hint

COMMON = {  # names of tiers, in lower case; an aligner may put the speaker before them, as in "anna - words"
    "word": ("words", "word", "ort-mau", "ort"),
    "phoneme": ("phones", "phone", "phonemes", "phoneme", "mau"),
    "sentence": ("sentences", "sentence", "utterances", "utterance", "trn"),
}
SILENCE = ("", "sil", "sp", "spn", "<p:>", "<p>", "<eps>", "<sil>", "{sl}", "#")


@dataclass(frozen=True)
class Interval:
    """A labelled stretch of a sound, in seconds from its start."""

    start: float
    stop: float
    label: str


def read_tiers(path: Path) -> dict[str, list[Interval]]:
    """The interval tiers of a Praat TextGrid by name, each sorted by time; empty labels are kept.

    Raises:
        InputError: it is not there, or no TextGrid.
    """
    from praatio import textgrid
    from praatio.utilities.errors import PraatioException

    if not path.is_file():
        raise InputError(f"no TextGrid {path}")
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, duplicateNamesMode="rename")
    except (PraatioException, ValueError, IndexError, KeyError, UnicodeError) as error:
        raise InputError(f"{path} cannot be read as a TextGrid: {' '.join(str(error).split())}") from error
    return {
        tier.name: [Interval(float(entry.start), float(entry.end), entry.label.strip()) for entry in tier.entries]
        for tier in grid.tiers
        if isinstance(tier, textgrid.IntervalTier)
    }


def find_textgrid(sound: Path) -> Path | None:
    """The TextGrid beside a sound file: the same name, another ending."""
    return next((path for end in (".TextGrid", ".textgrid") if (path := sound.with_suffix(end)).is_file()), None)


def find_tier(tiers: Mapping[str, list[Interval]], what: str, named: str, path: Path, needed: bool = False) -> list[Interval]:
    """The tier of ``what`` (word, phoneme, sentence): the one that was ``named``, else the first with a common name.

    Raises:
        InputError: the one that was named is not there, or none is and it is ``needed``.
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
        raise InputError(f"none of the tiers of {path} is known to hold {what}s ({', '.join(tiers)}); name it with {what}_tier")
    return []


def is_spoken(label: str) -> bool:
    """Whether a label says that something is spoken."""
    return label.lower() not in SILENCE
