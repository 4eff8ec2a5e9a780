"""Sensors as tokens: each sensor is cut into patches of time, which look at each other before they are brought together.

Spatial attention weighs sensors by where they are alone. Here what they record counts too: a patch looks at those of all other
sensors at its time, then at those of its own sensor at other times (divided attention, Bertasius et al. 2021, "Is space-time
attention all you need for video understanding?"). Memory grows with sensors times patches: 208 sensors of 3 s at 120 Hz are
6,448 tokens a segment.

Dimension letters: B batch, C sensors, T time samples, P patches, H hidden size, N heads, D dimensions of a head, Q queries.
"""

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.config import Config
from raybrain.encoders.transformer import FeedForward, RotaryAttention, check_heads


class TokensConfig(Config):
    """Tokens of single sensors; what they give is added to what spatial attention gives.

    Attributes:
        depth: number of blocks; 0 for no tokens.
        hidden: size of a token.
        stride: samples of a patch.
        heads: of each attention.
        queries: learned ways to bring the sensors of a patch together.
    """

    depth: int = Field(0, ge=0)
    hidden: int = Field(32, gt=0)
    stride: int = Field(12, gt=0)
    heads: int = Field(4, gt=0)
    queries: int = Field(8, gt=0)

    @model_validator(mode="after")
    def _agree(self) -> "TokensConfig":
        check_heads(self.hidden, self.heads, "heads")
        return self


class SensorTokens(nn.Module):
    """From sensors to ``channels`` that mean the same for every layout.

    Args:
        config: what to build.
        places: size of the embedding of a sensor's position.
        channels: that come out.
    """

    def __init__(self, config: TokensConfig, places: int, channels: int) -> None:
        super().__init__()
        hidden, self.stride = config.hidden, config.stride
        self.patch = nn.Linear(config.stride, hidden)
        self.place = nn.Linear(places, hidden, bias=False)
        self.blocks = nn.ModuleList(SensorBlock(hidden, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(hidden)
        self.pool = SensorPool(hidden, config.heads, config.queries)
        self.samples = nn.ConvTranspose1d(config.queries * hidden, channels, config.stride, config.stride)

    def forward(self, signal: Tensor, places: Tensor, valid: Tensor) -> Tensor:
        """Patches to samples again.

        Args:
            signal: [batch sensors time].
            places: [batch sensors places], embeddings of the sensors' positions.
            valid: [batch sensors], which of them count; the others change nothing.

        Returns:
            [batch channels time].
        """
        times = signal.shape[-1]
        padded = F.pad(signal, (0, -times % self.stride))
        patches = padded.view(*padded.shape[:2], -1, self.stride)  # B C P stride
        x = self.patch(patches) + self.place(places.to(signal.dtype))[:, :, None]
        for block in self.blocks:
            x = block(x, valid)
        out: Tensor = self.samples(self.pool(self.norm(x), valid).transpose(1, 2))[..., :times]
        return out


class SensorBlock(nn.Module):
    """Attention over sensors, attention over time, a feed-forward part: each is added to what goes into it."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(3))
        self.sensors = SensorAttention(hidden, heads)
        self.time = RotaryAttention(hidden, heads)
        self.last = FeedForward(hidden, 2)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """[batch sensors patches hidden] to the same."""
        sensors, time, last = self.norms
        x = x + self.sensors(sensors(x), valid)
        x = x + self.time(time(x).flatten(0, 1)).view_as(x)
        out: Tensor = x + self.last(last(x))
        return out


class SensorAttention(nn.Module):
    """Every patch looks at those of all valid sensors at the same time."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.given = nn.Linear(hidden, 3 * hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """[batch sensors patches hidden] to the same."""
        query, key, value = self.given(x).unflatten(-1, (3, self.heads, -1)).permute(3, 0, 2, 4, 1, 5)  # each B P N C D
        looked = F.scaled_dot_product_attention(query, key, value, _mask(valid, query))
        out: Tensor = self.out(looked.permute(0, 3, 1, 2, 4).flatten(-2))
        return out


class SensorPool(nn.Module):
    """Each of some learned queries looks at the valid sensors of a patch."""

    def __init__(self, hidden: int, heads: int, queries: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(heads, queries, hidden // heads))
        self.given = nn.Linear(hidden, 2 * hidden, bias=False)
        self.heads = heads

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """[batch sensors patches hidden] to [batch patches queries*hidden]; 0 where no sensor is valid."""
        key, value = self.given(x).unflatten(-1, (2, self.heads, -1)).permute(3, 0, 2, 4, 1, 5)  # each B P N C D
        query = self.queries.to(key.dtype).expand(*key.shape[:2], -1, -1, -1)
        looked = F.scaled_dot_product_attention(query, key, value, _mask(valid, key)).flatten(2)
        return looked * valid.any(dim=-1)[:, None, None]


def _mask(valid: Tensor, like: Tensor) -> Tensor:
    """What is added to scores so that only valid sensors count, [batch 1 1 1 sensors].

    Not -inf: a layout without a single valid sensor must give numbers, which are left out afterwards, not NaN.
    """
    least = torch.finfo(like.dtype).min
    return torch.zeros(valid.shape, dtype=like.dtype, device=like.device).masked_fill(~valid, least)[:, None, None, None]
