"""Draws: random numbers that depend on the seed, the step, the segment and the place that draws, and on nothing else.

So they are the same for any number of workers, on CPUs and GPUs, at every precision and after a restart. There is no
generator with a state: a number is a hash of what it is drawn for (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3"; the hash is the finaliser of splitmix64, Steele et al. 2014), in int64, which wraps around on every device.

Places are named: two layers that must not draw the same numbers need two names.

>>> import torch
>>> from raybrain.batch import Keys, step_draws
>>> keys = Keys.of(step_draws(seed=0, step=3), segment=torch.tensor([5, 9]))
>>> uniform(keys, "doc", (2,)).shape
torch.Size([2, 2])
>>> alone = Keys(keys.step, keys.segment[1:])
>>> torch.equal(uniform(keys, "doc", (2,))[1:], uniform(alone, "doc", (2,)))
True
"""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from raybrain.batch import Keys

BITS = 53  # of a hash that a number in float64 keeps
NOBODY = -1  # the segment that numbers for a whole batch are drawn for
Where = str | int


def place(name: Where) -> int:
    """The number of a place that draws, in int64; what is called often is given the number rather than the name."""
    if isinstance(name, int):
        return name
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


def uniform(keys: Keys, where: Where, shape: Sequence[int] = ()) -> Tensor:
    """Numbers in [0, 1) of each segment, [batch *shape], in float64."""
    hashes = _shifted(_hashes(keys, place(where), math.prod(shape)), 64 - BITS)
    return (hashes.double() * 2.0**-BITS).view(-1, *shape)


def shared(keys: Keys, where: Where, shape: Sequence[int] = ()) -> Tensor:
    """Numbers in [0, 1) of the whole batch, over all workers, [*shape], in float64."""
    return uniform(Keys(keys.step, torch.full_like(keys.step, NOBODY)[None]), where, shape)[0]


def normal(keys: Keys, where: Where, shape: Sequence[int] = ()) -> Tensor:
    """Numbers of mean 0 and variance 1 of each segment, normally distributed, [batch *shape], in float64."""
    drawn: Tensor = torch.special.ndtri((uniform(keys, where, shape) + 2.0 ** -(BITS + 1)).clamp(max=1 - 2.0**-BITS))
    return drawn


def chance(keys: Keys, where: Where, shape: Sequence[int], probability: float) -> Tensor:
    """True with a probability, [batch *shape]. Two of them share a hash, since dropout needs many."""
    count = math.prod(shape)
    halves = _hashes(keys, place(where), (count + 1) // 2).view(torch.int32)[:, :count]
    return (halves < min(round((probability - 0.5) * 2**32), 2**31 - 1)).view(-1, *shape)


class Dropout(nn.Module):
    """While training, each number is 0 with a probability, and the others grow so that the mean stays.

    Args:
        probability: to be 0.
        where: the name of this layer, which no other layer of the network has.
        along: the axes, counted from the end, along which all is 0 or nothing is.
    """

    def __init__(self, probability: float, where: str, along: Sequence[int] = ()) -> None:
        super().__init__()
        assert 0 <= probability < 1, f"probability {probability} of dropout"
        self.probability, self.where, self.along = probability, where, tuple(along)
        self.number = place(where)

    def forward(self, x: Tensor, keys: Keys) -> Tensor:
        """[batch ...] to the same."""
        if not self.training or self.probability == 0:
            return x
        dropped = chance(keys, self.number, self.drawn(x), self.probability)
        return x.masked_fill(dropped, 0) / (1 - self.probability)

    def drawn(self, x: Tensor) -> list[int]:
        """The shape of what is drawn for each segment."""
        shape = list(x.shape)
        for axis in self.along:
            shape[axis] = 1
        return shape[1:]

    def extra_repr(self) -> str:
        """What it is, for people."""
        return f"{self.probability}, {self.where!r}"


class DropPath(Dropout):
    """While training, all of a segment is 0 with a probability: of what is added to a residual (stochastic depth).

    Huang et al. 2016, "Deep networks with stochastic depth".
    """

    def drawn(self, x: Tensor) -> list[int]:
        """One number."""
        return [1] * (x.ndim - 1)


def _hashes(keys: Keys, number: int, count: int) -> Tensor:
    """Hashes of each segment, [batch count], int64. One key after another, so that no sum of them can stand for another one."""
    segment = _mixed(_mixed(keys.step ^ number) ^ keys.segment)
    counter = torch.arange(1, 1 + count, device=segment.device) * _signed(0x9E3779B97F4A7C15)
    return _mixed(segment[:, None] + counter)


def _mixed(x: Tensor) -> Tensor:
    x = _folded(x, 30).mul_(_signed(0xBF58476D1CE4E5B9))
    x = _folded(x, 27).mul_(_signed(0x94D049BB133111EB))
    return _folded(x, 31)


def _folded(x: Tensor, bits: int) -> Tensor:
    return _shifted(x, bits).bitwise_xor_(x)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """``x`` without its last bits and with zeros in front, where >> would repeat the sign."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _signed(constant: int) -> int:
    return constant - 2**64 if constant >= 2**63 else constant
