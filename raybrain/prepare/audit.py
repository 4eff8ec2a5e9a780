"""Audit: which stretches of audio are heard in more than one block, and in more than one split.

Audio is known by the checksum of its file and the seconds of the file that are heard, whatever the words, the path or the
study. Both questions are one sweep over the stretches in order of file and time.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from raybrain.events import Split

SHARED_S = 0.5  # less of a file in common is a border that fell a little later, or a beep: no leak


@dataclass(frozen=True, order=True)
class Stretch:
    """Seconds ``start`` to ``stop`` of a file, heard in the blocks called ``uid``."""

    digest: str
    start: float
    stop: float
    uid: str


def same_audio(stretches: Iterable[Stretch]) -> Iterator[tuple[str, str]]:
    """Pairs of blocks that share more than SHARED_S of a file; not all of them, but enough to tie together all that do.

    Of all stretches so far, the one that goes on longest has most in common with the next; and what else has as much in
    common with the next has it in common with that longest one too, and so was tied to it before.
    """
    for _, group in itertools.groupby(sorted(set(stretches)), key=lambda stretch: stretch.digest):
        longest, *others = group
        for stretch in others:
            if min(longest.stop, stretch.stop) - stretch.start > SHARED_S and longest.uid != stretch.uid:
                yield longest.uid, stretch.uid
            longest = max(longest, stretch, key=lambda one: one.stop)


def audit_audio(stretches: Iterable[Stretch], splits: Mapping[str, Split], names: Mapping[str, str]) -> list[str]:
    """What is heard in more than one split, as ``FILE 12.0-15.5 s (test, train)``; the list should be empty.

    Args:
        stretches: what is heard in each block.
        splits: of each block.
        names: what people call a file, by its checksum.
    """
    kept = sorted({stretch for stretch in stretches if splits[stretch.uid] != "removed"})
    leaks = []
    for digest, group in itertools.groupby(kept, key=lambda stretch: stretch.digest):
        for start, stop, found in _merged(_crossings(group, splits)):
            leaks.append(f"{names[digest]} {start:.1f}-{stop:.1f} s ({', '.join(sorted(found))})")
    return leaks


def _crossings(group: Iterable[Stretch], splits: Mapping[str, Split]) -> Iterator[tuple[float, float, set[Split]]]:
    """The seconds of one file that a stretch shares with an earlier one of another split."""
    until: dict[Split, float] = {}
    for stretch in group:
        here = splits[stretch.uid]
        for other, stop in until.items():
            shared = min(stop, stretch.stop)
            if other != here and shared - stretch.start > SHARED_S:
                yield stretch.start, shared, {here, other}
        until[here] = max(until.get(here, stretch.stop), stretch.stop)


def _merged(crossings: Iterable[tuple[float, float, set[Split]]]) -> list[tuple[float, float, set[Split]]]:
    """Crossings that touch as one; they come in order of their start."""
    merged: list[tuple[float, float, set[Split]]] = []
    for start, stop, found in crossings:
        if merged and start <= merged[-1][1]:
            first, last, before = merged[-1]
            merged[-1] = first, max(last, stop), before | found
        else:
            merged.append((start, stop, found))
    return merged
