"""The parts encoders are made of.

Dimension letters: B batch, C channels (sensors, or whatever stands for them), O output channels, T time samples,
L sensor layouts, P position dimensions.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.distributed as dist
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.batch import Batch
from raybrain.config import Config, InputError

Activation = Literal["gelu", "relu", "leaky_relu"]


class AttentionConfig(Config):
    """Attention over sensor positions, which brings every layout to the same channels.

    Attributes:
        on: without it all recordings must have the same sensors.
        channels: that come out.
        dimensions: Fourier terms of a position.
        margin: free room on each side of the head, in its width.
        dropout_radius: while training, sensors within this distance of a random point are left out, in widths of the head.
    """

    on: bool = True
    channels: int = Field(270, gt=0)
    dimensions: int = Field(2048, gt=0)
    margin: float = Field(0.2, ge=0)
    dropout_radius: float = Field(0.2, ge=0)

    @field_validator("dimensions")
    @classmethod
    def _square(cls, dimensions: int) -> int:
        root = math.isqrt(dimensions // 2)
        if 2 * root**2 != dimensions:
            near = 2 * max(root, 1) ** 2, 2 * (root + 1) ** 2
            raise InputError(f"position dimensions must be twice a square, found {dimensions}; type {near[0]} or {near[1]}")
        return dimensions


class GluConfig(Config):
    """Gated linear units between convolutions.

    Attributes:
        every: one after so many layers; 0 for none.
        context: samples that a gate sees on each side.
    """

    every: int = Field(2, ge=0)
    context: int = Field(1, ge=0)


class ConvConfig(Config):
    """What all layers of a stack of convolutions share. The dilation of layer k is dilation_growth^(k mod period).

    Attributes:
        kernel: samples that a convolution sees; an odd number.
        dilation_period: layers after which the dilation starts again at 1; None for never.
        dilation_growth: by how much the dilation grows from layer to layer.
        skip: add what goes into a layer to what comes out, where sizes agree.
        batch_norm: normalise each channel over the batch, of all workers together.
        activation: the non-linearity.
        glu: gated linear units after some of the layers.
        groups: channels are convolved in so many groups of their own.
        growth: by how much the channels grow from layer to layer.
        layer_scale: first value of a trained factor of what is added to the skip connection; None for no factor.
    """

    kernel: int = Field(3, gt=0)
    dilation_period: int | None = Field(5, gt=0)
    dilation_growth: int = Field(2, gt=0)
    skip: bool = True
    batch_norm: bool = True
    activation: Activation = "gelu"
    glu: GluConfig = GluConfig()
    groups: int = Field(1, gt=0)
    growth: float = Field(1.0, gt=0)
    layer_scale: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _agree(self) -> "ConvConfig":
        if self.kernel % 2 == 0:
            raise InputError(f"kernel must be odd to keep the time, found {self.kernel}; type {self.kernel + 1}")
        if self.layer_scale is not None and not self.skip:
            raise InputError("layer_scale scales what is added to the skip connection; type skip=true or layer_scale=none")
        return self

    def sizes(self, first: int, hidden: int, depth: int) -> list[int]:
        """Channels before, between and after ``depth`` layers."""
        return [first, *(max(1, round(hidden * self.growth**layer)) for layer in range(depth))]


def activation(name: Activation) -> nn.Module:
    """The non-linearity called ``name``."""
    kinds: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}
    return kinds[name]()


def workers() -> int:
    """How many workers train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class BatchNorm(nn.BatchNorm1d):
    """``nn.BatchNorm1d`` whose training statistics are those of the batch of all workers together.

    Gradients of the input are those of the sum of all workers' losses. Gradients of weight and bias are this worker's
    part: whoever trains sums the gradients of all parameters over the workers.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[batch channels time] or [batch channels], normalised per channel."""
        if not self.training or workers() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        normalised: Tensor
        normalised, mean, variance, count = _JointNorm.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, self.eps
        )
        if self.track_running_stats:
            self._track(mean, variance * count / (count - 1).clamp(min=1))
        return normalised

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked.double() if self.momentum is None else self.momentum
        for running, now in ((self.running_mean, mean), (self.running_var, variance)):
            running.copy_(running + share * (now.to(running.dtype) - running))


class _JointNorm(torch.autograd.Function):
    """Normalisation over the batch of all workers: one all_reduce forward, one backward."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean, variance, count = _joint_moments(wide)
        scale = (variance + eps).rsqrt().to(wide.dtype)
        hat = _standard(x, mean, scale)
        out = hat if weight is None else hat * _across(weight, x)
        out = out if bias is None else out + _across(bias, x)
        ctx.save_for_backward(x, weight, mean, scale, count)
        ctx.has_bias = bias is not None
        ctx.mark_non_differentiable(mean, variance, count)
        return out.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight, mean, scale, count = ctx.saved_tensors
        hat = _standard(x, mean, scale)
        grad = grads[0].to(hat.dtype)
        dims = _reduced(hat)
        sums = torch.stack([grad.sum(dims), (grad * hat).sum(dims)])
        grad_x = None
        if ctx.needs_input_grad[0]:
            joint = sums.to(torch.float64, copy=True)  # sums stays this worker's own
            dist.all_reduce(joint)
            of_grad, of_product = (joint / count).to(hat.dtype)
            grad_x = grad - _across(of_grad, hat) - hat * _across(of_product, hat)
            grad_x = grad_x * _across(scale if weight is None else scale * weight, hat)
        return grad_x, None if weight is None else sums[1], sums[0] if ctx.has_bias else None, None


def _joint_moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance of each channel and the number of values, over all workers, in float64.

    Each worker takes its moments about its own mean and only sums of them are exchanged, in float64: so nothing cancels
    even where the mean is far larger than the spread.
    """
    count = x.numel() // x.shape[1]
    sums = x.new_zeros(2 * x.shape[1] + 1, dtype=torch.float64)
    if count:
        variance, mean = (part.double() for part in torch.var_mean(x, _reduced(x), correction=0))
        sums = torch.cat([count * mean, count * (variance + mean**2), sums.new_tensor([count])])
    dist.all_reduce(sums)
    mean, square = (sums[:-1] / sums[-1]).chunk(2)
    return mean, (square - mean**2).clamp(min=0), sums[-1]


def _standard(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return (x.to(scale.dtype) - _across(mean.to(scale.dtype), x)) * _across(scale, x)


def _reduced(x: Tensor) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _across(values: Tensor, like: Tensor) -> Tensor:
    """One value a channel, shaped so that it spreads over ``like``."""
    return values.view(1, -1, *[1] * (like.ndim - 2))


class SpatialAttention(nn.Module):
    """Each output channel is a weighted mean of the sensors; the weights depend on where the sensors are and on nothing else.

    While training, sensors near one random point are left out, the same point for the whole batch.
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.config = config
        self.heads = nn.Parameter(torch.randn(config.channels, config.dimensions) / math.sqrt(config.dimensions))

    def forward(self, batch: Batch) -> Tensor:
        """[batch outputs time]."""
        weights = self.weights(batch.positions, batch.valid, batch.draws).to(batch.signal.dtype)
        return (weights if len(weights) == 1 else weights[batch.layout]) @ batch.signal

    def weights(self, positions: Tensor, valid: Tensor, draws: Tensor) -> Tensor:
        """How much of each sensor goes into each output, [layouts outputs channels]."""
        allowed = valid
        if self.training and self.config.dropout_radius > 0:
            near = (positions - draws[:2].to(positions)).norm(dim=-1) <= self.config.dropout_radius
            kept = valid & ~near
            allowed = torch.where(kept.any(dim=-1, keepdim=True), kept, valid)
        with torch.autocast(positions.device.type, enabled=False):
            scores = self.heads @ self.embedding(positions).transpose(-1, -2).to(self.heads.dtype)
            # not -inf: a layout without a single usable sensor must give zeros, not NaN
            scores = scores.masked_fill(~allowed[:, None], torch.finfo(scores.dtype).min)
            return torch.softmax(scores, dim=-1) * allowed[:, None]

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


class SubjectLayer(nn.Module):
    """A square matrix for each subject."""

    def __init__(self, channels: int, subjects: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(subjects, channels, channels) / math.sqrt(channels))

    def forward(self, x: Tensor, subject: Tensor) -> Tensor:
        """``out_d = sum_c x_c W_cd`` with each segment's own W."""
        return self.weights[subject].transpose(1, 2) @ x


class ConvLayer(nn.Module):
    """Convolution, batch norm and activation with a residual, then perhaps a gated linear unit without one."""

    def __init__(
        self, sizes: tuple[int, int], config: ConvConfig, *, dilation: int, groups: int, gated: bool, plain: bool
    ) -> None:
        super().__init__()
        before, after = sizes
        padding = dilation * (config.kernel // 2)
        self.conv = nn.Conv1d(before, after, config.kernel, padding=padding, dilation=dilation, groups=groups)
        self.norm: nn.Module = nn.Identity()
        if config.batch_norm and not plain:
            self.norm = BatchNorm(after)
            # batch norm takes this bias off again, so its gradient is rounding, of which Adam would make whole steps: other
            # ones for every number of workers
            assert self.conv.bias is not None
            self.conv.bias.requires_grad_(False)
        self.activation = nn.Identity() if plain else activation(config.activation)
        self.skip = config.skip and before == after
        self.scale: nn.Parameter | None = None
        if self.skip and config.layer_scale is not None:
            self.scale = nn.Parameter(torch.full((after, 1), config.layer_scale))
        self.gate: nn.Module | None = None
        if gated:
            context = config.glu.context
            self.gate = nn.Conv1d(after, 2 * after, 1 + 2 * context, padding=context)

    def forward(self, x: Tensor) -> Tensor:
        """[batch before time] to [batch after time]."""
        out: Tensor = self.activation(self.norm(self.conv(x)))
        if self.scale is not None:
            out = out * self.scale
        if self.skip:
            out = out + x
        return out if self.gate is None else F.glu(self.gate(out), dim=1)


class ConvSequence(nn.Module):
    """Convolution layers that keep the number of samples.

    Args:
        sizes: channels before, between and after the layers.
        config: what all layers share.
        plain_last: the last layer ends with its convolution (and the residual and gate it may have), so that its output
            can take any value.
    """

    def __init__(self, sizes: Sequence[int], config: ConvConfig, *, plain_last: bool = False) -> None:
        super().__init__()
        depth = len(sizes) - 1
        layers = []
        for k in range(depth):
            plain = plain_last and k == depth - 1
            # the first and the plain layer meet sizes that come from the data, which no choice of groups could foresee
            groups = 1 if k == 0 or plain else config.groups
            if sizes[k] % groups or sizes[k + 1] % groups:
                raise InputError(f"groups={groups} must divide the channels of every layer, found {list(sizes[1:])}")
            exponent = k if config.dilation_period is None else k % config.dilation_period
            layers.append(
                ConvLayer(
                    (sizes[k], sizes[k + 1]),
                    config,
                    dilation=config.dilation_growth**exponent,
                    groups=groups,
                    gated=config.glu.every > 0 and (k + 1) % config.glu.every == 0,
                    plain=plain,
                )
            )
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """[batch sizes[0] time] to [batch sizes[-1] time]."""
        for layer in self.layers:
            x = layer(x)
        return x
