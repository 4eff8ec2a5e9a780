"""Audit: which parts of audio files are heard in more than one block, and in more than one split.

Audio is identified by the checksum of its file and the seconds of the file that are heard, regardless of the words, the path or
the study. Both questions are answered by one sweep over the stretches of audio, sorted by file and time.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

SHARED_S = 0.5  # a shorter overlap, such as an imprecise border or a beep, is not a leak


@dataclass(frozen=True, order=True)
class Stretch:
    """Seconds ``start`` to ``stop`` of a file with the checksum ``digest``, heard in the block, or split, called ``uid``."""

    digest: str
    start: float
    stop: float
    uid: str


def same_audio(stretches: Iterable[Stretch]) -> Iterator[tuple[str, str]]:
    """Pairs of blocks that share more than SHARED_S of a file: not all of them, but enough to connect all that do.

    It is enough to compare each stretch with the earlier one that ends last. If another earlier stretch shares enough with it,
    so does the one that ends last, and those two overlap enough to have been connected before.
    """
    for _, group in itertools.groupby(sorted(set(stretches)), key=lambda stretch: stretch.digest):
        longest, *others = group
        for stretch in others:
            if min(longest.stop, stretch.stop) - stretch.start > SHARED_S and longest.uid != stretch.uid:
                yield longest.uid, stretch.uid
            longest = max(longest, stretch, key=lambda other: other.stop)


def audit_audio(stretches: Iterable[Stretch], names: Mapping[str, str]) -> list[str]:
    """The audio heard in more than one split, as ``FILE 12.0-15.5 s (test, train)``; the list should be empty.

    Args:
        stretches: the audio heard in each split, which stands in the place of the block.
        names: the name of each file, by its checksum.
    """
    kept = sorted({stretch for stretch in stretches if stretch.uid != "removed"})
    leaks = []
    for digest, group in itertools.groupby(kept, key=lambda stretch: stretch.digest):
        for start, stop, involved in _merged(_crossings(group)):
            leaks.append(f"{names[digest]} {start:.1f}-{stop:.1f} s ({', '.join(sorted(involved))})")
    return leaks


def _crossings(group: Iterable[Stretch]) -> Iterator[tuple[float, float, set[str]]]:
    """The seconds of one file that a stretch shares with an earlier stretch of another split."""
    until: dict[str, float] = {}
    for stretch in group:
        for other, stop in until.items():
            shared = min(stop, stretch.stop)
            if other != stretch.uid and shared - stretch.start > SHARED_S:
                yield stretch.start, shared, {stretch.uid, other}
        until[stretch.uid] = max(until.get(stretch.uid, stretch.stop), stretch.stop)


def _merged(crossings: Iterable[tuple[float, float, set[str]]]) -> list[tuple[float, float, set[str]]]:
    """Merge crossings that touch; they come sorted by their start."""
    merged: list[tuple[float, float, set[str]]] = []
    for start, stop, involved in crossings:
        if merged and start <= merged[-1][1]:
            first, last, before = merged[-1]
            merged[-1] = first, max(last, stop), before | involved
        else:
            merged.append((start, stop, involved))
    return merged
