"""Candidates: what each estimate is ranked against."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class WordSegments:
    """The segments of a split that are anchored at word onsets, column by column, on the CPU.

    Attributes:
        rows: [segments], the number of each.
        recording: [segments], a number for the recording of each.
        candidate: [segments], index into ``words``: which word of which sentence each is anchored at.
        words: study, sentence, word_index and word of every candidate.
    """

    rows: Tensor
    recording: Tensor
    candidate: Tensor
    words: Sequence[Mapping[str, Any]]

    @property
    def studies(self) -> list[str]:
        """The study of each segment."""
        return [self.words[number]["study"] for number in self.candidate.tolist()]


@dataclass(frozen=True)
class Pool:
    """Segments that are ranked against the same candidates, all of one study.

    Attributes:
        study: whose.
        rows: [segments], the segments to rank.
        targets: [segments], for each of them the index of its candidate.
        stands: [candidates], a segment that shows each candidate.
        words: [candidates], a number for the word of each.
    """

    study: str
    rows: Tensor
    targets: Tensor
    stands: Tensor
    words: Tensor


def candidate_counts(pools: Sequence[Pool]) -> Counter[int]:
    """How many segments are ranked against how many candidates."""
    counts: Counter[int] = Counter()
    for pool in pools:
        counts[len(pool.stands)] += len(pool.rows)
    return counts


def pools(segments: WordSegments, groups: Sequence[Any]) -> list[Pool]:
    """A pool for each group of segments, with one candidate for each unique (sentence, word_index) in it.

    Args:
        segments: what is ranked.
        groups: for each segment, the group it belongs to; a group lies within one study.
    """
    made = []
    for group in sorted(set(groups)):
        mine = torch.tensor([one == group for one in groups])
        rows, numbers = segments.rows[mine], segments.candidate[mine]
        unique, targets = torch.unique(numbers, return_inverse=True)
        first = torch.full((len(unique),), len(rows)).scatter_reduce(0, targets, torch.arange(len(rows)), "amin")
        known = [segments.words[number] for number in unique.tolist()]
        texts = [word["word"].casefold() for word in known]
        word_of = {text: number for number, text in enumerate(sorted(set(texts)))}
        words = torch.tensor([word_of[text] for text in texts])
        made.append(Pool(known[0]["study"], rows, targets, rows[first], words))
    return made
