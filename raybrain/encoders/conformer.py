"""Conformer: attention and convolutions over patches of time, after the front that all encoders share.

Gulati et al. 2020, "Conformer: Convolution-augmented Transformer for Speech Recognition", with rotary positions (Su et al.
2021) in place of relative ones, and layer norm in place of batch norm, so that an estimate does not depend on the batch.

Dimension letters: B batch, C channels, T time samples, P patches, H hidden size, N heads, D dimensions of a head.
"""

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.batch import Batch, Keys, Shapes
from raybrain.config import Config, InputError
from raybrain.encoders.draws import Dropout, DropPath
from raybrain.encoders.front import Front, FrontEncoder
from raybrain.encoders.transformer import FeedForward, RotaryAttention, check_heads


class BlockConfig(Config):
    """What all blocks share.

    Attributes:
        heads: of the attention.
        kernel: patches that a convolution sees; an odd number.
        expansion: how much wider the inside of a feed-forward part is.
        dropout: of what each part of a block gives.
        drop_path: leave out a whole part of a block with this probability, in each segment on its own (stochastic depth).
    """

    heads: int = Field(4, gt=0)
    kernel: int = Field(15, gt=0)
    expansion: int = Field(2, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    drop_path: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _odd(self) -> "BlockConfig":
        if self.kernel % 2 == 0:
            raise InputError(f"kernel must be odd to keep the time, found {self.kernel}; type {self.kernel + 1}")
        return self


class Conformer(FrontEncoder, name="conformer"):
    """The usual front, patches of time, blocks of feed-forward, attention and convolution, and back to the samples.

    Attributes:
        instance_norm: give each channel of a window mean 0 and variance 1 before anything else.
        depth: number of blocks.
        hidden: channels of a patch.
        stride: samples from a patch to the next one; each sees as much again around it.
        block: what the blocks are.
    """

    instance_norm: bool = True
    depth: int = Field(4, gt=0)
    hidden: int = Field(128, gt=0)
    stride: int = Field(4, gt=0)
    block: BlockConfig = BlockConfig()

    @model_validator(mode="after")
    def _agree(self) -> "Conformer":
        check_heads(self.hidden, self.block.heads, "block.heads")
        return self

    def build(self, shapes: Shapes) -> nn.Module:
        """The network."""
        return ConformerNet(self, shapes)


class ConformerNet(nn.Module):
    """The network of a Conformer."""

    def __init__(self, config: Conformer, shapes: Shapes) -> None:
        super().__init__()
        hidden, self.stride = config.hidden, config.stride
        around = config.stride // 2
        size = config.stride + 2 * around, config.stride, around
        self.front = Front(config, shapes)
        self.patches = nn.Conv1d(self.front.channels, hidden, *size)
        self.blocks = nn.ModuleList(ConformerBlock(hidden, config.block, f"block {number}") for number in range(config.depth))
        self.norm = nn.LayerNorm(hidden)
        self.samples = nn.ConvTranspose1d(hidden, hidden, *size)
        self.final = nn.Conv1d(hidden, shapes.features, 1)

    def forward(self, batch: Batch) -> Tensor:
        """[batch features time]."""
        times, keys = batch.signal.shape[-1], batch.keys
        x = self.patches(F.pad(self.front(batch), (0, -times % self.stride))).transpose(1, 2)
        for block in self.blocks:
            x = block(x, keys)
        x = self.samples(self.norm(x).transpose(1, 2))[..., :times]
        out: Tensor = self.final(F.gelu(x))
        return out


class ConformerBlock(nn.Module):
    """Half a feed-forward part, attention, convolution, the other half: each is added to what goes into it."""

    def __init__(self, hidden: int, config: BlockConfig, where: str) -> None:
        super().__init__()
        parts: list[tuple[str, nn.Module, float]] = [
            ("first", FeedForward(hidden, config.expansion), 0.5),
            ("attention", RotaryAttention(hidden, config.heads), 1.0),
            ("convolution", Convolution(hidden, config.kernel), 1.0),
            ("last", FeedForward(hidden, config.expansion), 0.5),
        ]
        self.shares = [share for _, _, share in parts]
        self.parts = nn.ModuleList(part for _, part, _ in parts)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in parts)
        self.dropouts = nn.ModuleList(Dropout(config.dropout, f"{where} {name} dropout") for name, _, _ in parts)
        self.paths = nn.ModuleList(DropPath(config.drop_path, f"{where} {name} path") for name, _, _ in parts)

    def forward(self, x: Tensor, keys: Keys) -> Tensor:
        """[batch patches hidden] to the same."""
        for share, part, norm, dropout, path in zip(
            self.shares, self.parts, self.norms, self.dropouts, self.paths, strict=True
        ):
            x = x + share * path(dropout(part(norm(x)), keys), keys)
        return x


class Convolution(nn.Module):
    """A gate, a convolution of each channel over time, layer norm, SiLU, a linear map."""

    def __init__(self, hidden: int, kernel: int) -> None:
        super().__init__()
        self.gate = nn.Linear(hidden, 2 * hidden)
        self.conv = nn.Conv1d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden)
        self.norm = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[batch patches hidden] to the same."""
        x = self.conv(F.glu(self.gate(x), dim=-1).transpose(1, 2)).transpose(1, 2)
        out: Tensor = self.out(F.silu(self.norm(x)))
        return out
