"""Attention over sensor positions, which brings every layout to the same channels.

Dimension letters: B batch, C sensors, O output channels, T time samples, L sensor layouts, P position dimensions, S subjects.
"""

import math

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from raybrain.batch import Batch, Keys
from raybrain.config import Config, InputError
from raybrain.encoders.base import Penalised
from raybrain.encoders.draws import place, uniform

SENSORS = place("sensors that are used")
GRID = 1000  # steps of a head's width in which a sensor's place is known, when sensors are drawn by their places


class SensorsConfig(Config):
    """Which sensors are used, as if fewer had been recorded: drawn by their places, so the same of recordings alike.

    Attributes:
        count: how many of a layout; None for all.
        seed: which ones.
    """

    count: int | None = Field(None, gt=0)
    seed: int = Field(0, ge=0)


class AttentionConfig(Config):
    """Attention over sensor positions, which brings every layout to the same channels.

    Attributes:
        on: without it all recordings must have the same sensors.
        channels: that come out.
        dimensions: Fourier terms of a position.
        margin: free room on each side of the head, in its width.
        dropout_radius: while training, sensors within this distance of a random point are left out, in widths of the head.
        rescale: the weights of the sensors that dropout leaves grow, so that they add up to 1 again.
        per_subject: whether each subject has an attention of its own.
        usage_penalty: added to the loss, times how unevenly sensors are used: 0 if all are alike, 1 if half of them are, 2 if a
            third of them are, and so on.
        sensors: which of the sensors are used at all.
    """

    on: bool = True
    channels: int = Field(270, gt=0)
    dimensions: int = Field(2048, gt=0)
    margin: float = Field(0.2, ge=0)
    dropout_radius: float = Field(0.2, ge=0)
    rescale: bool = True
    per_subject: bool = False
    usage_penalty: float = Field(0.0, ge=0)
    sensors: SensorsConfig = SensorsConfig()

    @field_validator("dimensions")
    @classmethod
    def _square(cls, dimensions: int) -> int:
        root = math.isqrt(dimensions // 2)
        if 2 * root**2 != dimensions:
            near = 2 * max(root, 1) ** 2, 2 * (root + 1) ** 2
            raise InputError(f"position dimensions must be twice a square, found {dimensions}; type {near[0]} or {near[1]}")
        return dimensions


class SpatialAttention(Penalised):
    """Each output channel is a weighted mean of the sensors; the weights depend on where these are, and perhaps on the subject.

    While training, sensors near one random point are left out, the same point for the whole batch.
    """

    def __init__(self, config: AttentionConfig, subjects: int = 1) -> None:
        super().__init__()
        self.config = config
        heads = torch.randn(config.channels, config.dimensions) / math.sqrt(config.dimensions)
        # all subjects start alike
        self.heads: Tensor = nn.Parameter(heads.repeat(subjects, 1, 1) if config.per_subject else heads)

    def forward(self, batch: Batch) -> Tensor:
        """[batch outputs time]."""
        positions, valid, heads = batch.positions, batch.valid, self.heads
        if self.config.per_subject:
            positions, valid, heads = positions[batch.layout], valid[batch.layout], heads[batch.subject]
        weights = self.weights(positions, valid, batch.draws, heads).to(batch.signal.dtype)
        one_each = self.config.per_subject or len(weights) == 1
        return (weights if one_each else weights[batch.layout]) @ batch.signal

    def weights(self, positions: Tensor, valid: Tensor, draws: Tensor, heads: Tensor | None = None) -> Tensor:
        """How much of each sensor goes into each output.

        Args:
            positions: [N sensors 2].
            valid: [N sensors].
            draws: of the step.
            heads: [outputs dimensions], or [N outputs dimensions]; those that all share if None.

        Returns:
            [N outputs sensors].
        """
        used = self.used(positions, valid)
        kept = self._kept(positions, used, draws)
        heads = self.heads if heads is None else heads
        return self._softmax(positions, kept if self.config.rescale else used, heads) * kept[:, None]

    def _softmax(self, positions: Tensor, allowed: Tensor, heads: Tensor) -> Tensor:
        with torch.autocast(positions.device.type, enabled=False):
            scores = heads @ self.embedding(positions).transpose(-1, -2).to(heads.dtype)
            # not -inf: a layout without a single usable sensor must give zeros, not NaN
            scores = scores.masked_fill(~allowed[:, None], torch.finfo(scores.dtype).min)
            return torch.softmax(scores, dim=-1)

    def used(self, positions: Tensor, valid: Tensor) -> Tensor:
        """Those of the ``valid`` sensors that are used at all, [N sensors]."""
        config = self.config.sensors
        if config.count is None:
            return valid
        where = (positions * GRID).round().long()
        drawn = uniform(Keys(where.new_tensor(config.seed), (where[..., 0] * (8 * GRID) + where[..., 1]).flatten()), SENSORS)
        order = torch.where(valid, drawn.view(valid.shape), 2.0).argsort(dim=-1, stable=True).argsort(dim=-1)
        return valid & (order < config.count)

    def kept(self, batch: Batch) -> Tensor:
        """The sensors of each layout that are used in this step, [layouts sensors]."""
        return self._kept(batch.positions, self.used(batch.positions, batch.valid), batch.draws)

    def _kept(self, positions: Tensor, valid: Tensor, draws: Tensor) -> Tensor:
        """Those that dropout leaves."""
        if not self.training or self.config.dropout_radius == 0:
            return valid
        near = (positions - draws[:2].to(positions)).norm(dim=-1) <= self.config.dropout_radius
        kept = valid & ~near
        return torch.where(kept.any(dim=-1, keepdim=True), kept, valid)

    def usage(self, positions: Tensor, valid: Tensor) -> Tensor:
        """How much of each sensor goes into an output on average, without dropout, [layouts sensors]."""
        used = self.used(positions, valid)
        each = self.heads if self.config.per_subject else self.heads[None]
        usage = [(self._softmax(positions, used, heads) * used[:, None]).mean(dim=1) for heads in each]
        return usage[0] if len(usage) == 1 else torch.stack(usage).mean(dim=0)

    def penalty(self, batch: Batch) -> Tensor | None:
        """``usage_penalty`` times how unevenly the sensors of each layout are used, averaged over layouts."""
        if not self.config.usage_penalty:
            return None
        usage = self.usage(batch.positions, batch.valid)
        count = self.used(batch.positions, batch.valid).sum(dim=-1)
        return self.config.usage_penalty * (count * usage.square().sum(dim=-1) - 1).clamp(min=0).mean()

    def embedding(self, positions: Tensor) -> Tensor:
        """Fourier embedding of positions [... 2], [... P].

        The first cosine is 1 everywhere, which a softmax over sensors cannot see. It is left at 0, since the gradient of its
        weight would be rounding, of which Adam would make whole steps.
        """
        steps = torch.arange(math.isqrt(self.config.dimensions // 2), device=positions.device, dtype=positions.dtype)
        margin = self.config.margin
        x, y = (2 * math.pi * (positions + margin) / (1 + 2 * margin)).unsqueeze(-1).unbind(dim=-2)
        phase = ((steps * x).unsqueeze(-1) + (steps * y).unsqueeze(-2)).flatten(-2)
        return torch.cat([torch.zeros_like(phase[..., :1]), phase[..., 1:].cos(), phase.sin()], dim=-1)
