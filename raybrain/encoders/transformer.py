"""The parts of transformers: attention over time with rotary positions, and feed-forward layers.

Dimension letters: B batch, P patches of time, H hidden size, N heads, D dimensions of a head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.config import InputError

LONGEST = 10_000  # the base of rotary positions, as is usual


def check_heads(hidden: int, heads: int, setting: str) -> None:
    """Refuse a hidden size that rotary positions cannot divide among heads; ``setting`` says how many there are.

    Raises:
        InputError: with the nearest size that they can.
    """
    step = 2 * heads
    if hidden % step:
        near = max(1, round(hidden / step)) * step
        raise InputError(f"hidden={hidden} must be a multiple of twice {setting}={heads}; type {near}")


class FeedForward(nn.Sequential):
    """Wider, and back: [... hidden] to the same."""

    def __init__(self, hidden: int, expansion: int) -> None:
        super().__init__(nn.Linear(hidden, expansion * hidden), nn.SiLU(), nn.Linear(expansion * hidden, hidden))


class RotaryAttention(nn.Module):
    """Every patch looks at every other one; queries and keys are turned by an angle that grows with time."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.given = nn.Linear(hidden, 3 * hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[batch patches hidden] to the same."""
        query, key, value = self.given(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each B N P D
        looked = F.scaled_dot_product_attention(turned(query), turned(key), value)
        out: Tensor = self.out(looked.transpose(1, 2).flatten(-2))
        return out


def turned(x: Tensor) -> Tensor:
    """Rotary positions: pairs of dimensions of [... P D], turned by the time of the patch at a speed of their own."""
    half = x.shape[-1] // 2
    wide = torch.promote_types(x.dtype, torch.float32)
    speed = LONGEST ** (-torch.arange(half, device=x.device, dtype=wide) / half)
    angle = torch.arange(x.shape[-2], device=x.device, dtype=wide)[:, None] * speed
    first, second = x.to(wide).chunk(2, dim=-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1).to(x.dtype)
