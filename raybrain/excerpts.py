"""Excerpts: where in what was heard some segments lie, and which of them are the same to the last bit."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

WHOLE = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes


@dataclass(frozen=True)
class Excerpts:
    """Where some segments lie in what was heard, and in whose recording.

    Attributes:
        stimulus: [segments], a number for what was heard.
        start_s: [segments] float64, the seconds at which the segment begins there.
        subject: [segments], whose it is.
        length_s: of each.
        rate_hz: samples a second.
    """

    stimulus: Tensor
    start_s: Tensor
    subject: Tensor
    length_s: float
    rate_hz: float

    def __len__(self) -> int:
        return len(self.stimulus)

    def at(self, index: Tensor | slice) -> "Excerpts":
        """Some of them."""
        return self._each(lambda part: part[index])

    def to(self, device: torch.device) -> "Excerpts":
        """These on a device."""
        return self._each(lambda part: part.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Excerpts":
        stimulus, start_s, subject = (change(part) for part in (self.stimulus, self.start_s, self.subject))
        return Excerpts(stimulus, start_s, subject, self.length_s, self.rate_hz)

    def alike(self, one: Tensor, other: Tensor) -> Tensor:
        """Which pairs share a moment of what was heard, whoever heard it when; [one other], of these indices."""
        a, b = self.at(one), self.at(other)
        same = a.stimulus[:, None] == b.stimulus
        near = (a.start_s[:, None] - b.start_s).abs() < self.length_s
        return same & near


def digests(values: Tensor) -> Tensor:
    """A whole number for each row of ``values``, the same for those that are the same to the last bit; on their device."""
    bits = values.detach().contiguous().flatten(1).view(WHOLE[values.element_size()])
    ends = torch.iinfo(torch.int64)
    weights = torch.randint(ends.min, ends.max, bits.shape[1:], generator=torch.Generator().manual_seed(0)).to(bits.device)
    return torch.cat([(some.long() * weights).sum(dim=1) for some in torch.split(bits, 16)])


def first_of_same(numbers: Tensor) -> Tensor:
    """Of each of some numbers, the index of the first one that is the same."""
    unique, number = torch.unique(numbers, return_inverse=True)
    count = len(numbers)
    index = torch.arange(count, device=numbers.device)
    first = torch.full((len(unique),), count, device=numbers.device).scatter_reduce(0, number, index, "amin")
    return first[number]
