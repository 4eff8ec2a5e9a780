"""TextGrids: words and phonemes that an aligner found in a sound. Not a study itself."""

from dataclasses import dataclass
from pathlib import Path

from raybrain.config import InputError


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
