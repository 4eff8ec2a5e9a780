"""Plausible: whether times can be what they are said to be, told with numbers and the likely cause."""

import itertools
from collections.abc import Sequence
from statistics import median

import numpy as np

from raybrain.events import Event, Phoneme, Sound, Word

LONGEST_S = {Word: 5.0, Phoneme: 2.0}  # of which half are shorter in any speech
FEWEST = 5
SLACK_S = 0.5
LONG_SENTENCE = 200  # words; longer sentences mean that sentences are not marked
FASTEST_S = 0.06  # from word to word, in any speech


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
    if len(gaps) >= FEWEST and 0 < np.median(gaps) < FASTEST_S:
        odd.append(f"half of {len(starts)} words follow each other within {np.median(gaps):.4g} s: are onsets in another unit?")
    if len(starts) == 1:
        odd.append("a single word is heard: is the table of events whole?")
    same = int((gaps == 0).sum())
    if same:
        odd.append(f"{same} words start at the very time of another word: is a row there twice?")
    return odd


def misplaced(events: Sequence[Event]) -> list[str]:
    """What of the events does not fit the others, a line each: words in no sound, sounds in each other, lost sentences."""
    sounds = sorted((event for event in events if isinstance(event, Sound)), key=lambda sound: sound.start)
    words = [event for event in events if isinstance(event, Word)]
    lines = []
    early = sum(event.start < -SLACK_S for event in events)
    if early:
        lines.append(f"{early} events before it begins")
    heard = [word for word in words if word.modality == "audio"]
    outside = sum(not any(s.start - SLACK_S <= word.start <= s.stop + SLACK_S for s in sounds) for word in heard)
    if outside:
        lines.append(f"{outside} of {len(heard)} words lie in no sound")
    over = sum(earlier.stop - later.start > SLACK_S for earlier, later in itertools.pairwise(sounds))
    if over:
        lines.append(f"{over} sounds start before the one before them ends")
    if words[1:] and not any(word.sequence or word.word_index for word in words):
        lines.append(
            f"{len(words)} words without a sentence and a word_index: each is a sentence of its own, and all blocks that share "
            "a word are in the same split"
        )
    endless = next((word.sequence for word in words if word.word_index >= LONG_SENTENCE), "")
    if endless:
        lines.append(f"a sentence of more than {LONG_SENTENCE} words ({endless[:40]}...): are sentences marked?")
    return lines
