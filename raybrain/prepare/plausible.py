"""Plausible: whether times can be what they are said to be, told with numbers and the likely cause."""

from collections.abc import Sequence
from statistics import median

import numpy as np

from raybrain.events import Event, Phoneme, Word

LONGEST_S = {Word: 5.0, Phoneme: 2.0}  # of which half are shorter in any speech
FEWEST = 5


def odd_times(events: Sequence[Event]) -> list[str]:
    """What is odd about durations and onsets, a line each."""
    odd = []
    for kind, longest in LONGEST_S.items():
        lasts = [event.duration for event in events if isinstance(event, kind)]
        name = kind.__name__.lower()
        if len(lasts) >= FEWEST and median(lasts) > longest:
            odd.append(
                f"half of {len(lasts)} {name}s last {median(lasts):g} s or more: durations are seconds; are these milliseconds?"
            )
        elif len(lasts) >= FEWEST and kind is Word and 0 < max(lasts) < 0.01:
            odd.append(f"the longest of {len(lasts)} {name}s lasts {max(lasts):g} s: are durations in another unit?")
    starts = sorted(event.start for event in events if isinstance(event, Word))
    gaps = np.diff(starts)
    if len(gaps) >= FEWEST and 0 < np.median(gaps) < 0.02:
        odd.append(f"half of {len(starts)} words follow each other within {np.median(gaps):.4g} s: are onsets in another unit?")
    same = int((gaps == 0).sum())
    if same:
        odd.append(f"{same} words start at the very time of another word: is a row there twice?")
    return odd
