"""The parts encoders are made of.

Dimension letters: B batch, C channels (sensors, or whatever stands for them), T time samples.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.distributed as dist
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.batch import Keys
from raybrain.config import Config, InputError
from raybrain.encoders.base import SpeechModule
from raybrain.encoders.draws import Dropout

Activation = Literal["gelu", "relu", "leaky_relu"]


class GluConfig(Config):
    """Gated linear units between convolutions.

    Attributes:
        every: one after so many layers; 0 for none.
        context: samples that a gate sees on each side.
    """

    every: int = Field(2, ge=0)
    context: int = Field(1, ge=0)


class DropoutConfig(Config):
    """Numbers that are set to 0 while training, each with a probability.

    Attributes:
        input: of what goes into the first layer.
        layers: of what comes out of each layer, before its residual.
    """

    input: float = Field(0.0, ge=0, lt=1)
    layers: float = Field(0.0, ge=0, lt=1)


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
        rewrite: each layer but a plain last one goes on with a 1 x 1 convolution and once more the non-linearity.
        post_skip: a trained factor and bias of each channel after the skip connection, which start as if they were not there.
        dropout: while training.
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
    rewrite: bool = False
    post_skip: bool = False
    dropout: DropoutConfig = DropoutConfig()

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


def widening(channels: int, depth: int, name: Activation) -> tuple[list[nn.Module], int]:
    """``depth`` 1 x 1 convolutions to twice the channels, each with the non-linearity, and how many channels come out."""
    layers: list[nn.Module] = []
    before = channels
    for _ in range(depth):
        layers += [nn.Conv1d(before, 2 * channels, 1), activation(name)]
        before = 2 * channels
    return layers, before


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


class ConvLayer(nn.Module):
    """Convolution, batch norm and activation with a residual, then perhaps a gated linear unit without one."""

    def __init__(
        self, sizes: tuple[int, int], config: ConvConfig, where: str, *, dilation: int, groups: int, gated: bool, plain: bool
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
        self.rewrite: nn.Module | None = None
        if config.rewrite and not plain:
            self.rewrite = nn.Sequential(nn.Conv1d(after, after, 1), activation(config.activation))
        self.dropout = Dropout(0 if plain else config.dropout.layers, where)
        self.skip = config.skip and before == after
        self.scale: nn.Parameter | None = None
        if self.skip and config.layer_scale is not None:
            self.scale = nn.Parameter(torch.full((after, 1), config.layer_scale))
        self.post_skip = ChannelScale(after) if config.post_skip and not plain else None
        self.gate: nn.Module | None = None
        if gated:
            context = config.glu.context
            self.gate = nn.Conv1d(after, 2 * after, 1 + 2 * context, padding=context)

    def forward(self, x: Tensor, keys: Keys | None = None) -> Tensor:
        """[batch before time] to [batch after time]; ``keys`` are what dropout needs."""
        out: Tensor = self.activation(self.norm(self.conv(x)))
        if self.rewrite is not None:
            out = self.rewrite(out)
        if keys is not None:
            out = self.dropout(out, keys)
        if self.scale is not None:
            out = out * self.scale
        if self.skip:
            out = out + x
        if self.post_skip is not None:
            out = self.post_skip(out)
        return out if self.gate is None else F.glu(self.gate(out), dim=1)


class ChannelScale(nn.Module):
    """A trained factor and bias of each channel, which start as 1 and 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[batch channels time] to the same."""
        return x * self.weight + self.bias


class ConvSequence(SpeechModule):
    """Convolution layers that keep the number of samples.

    Args:
        sizes: channels before, between and after the layers.
        config: what all layers share.
        plain_last: the last layer ends with its convolution (and the residual and gate it may have), so that its output
            can take any value.
        where: the name of this stack, which no other one of the network has.
    """

    def __init__(
        self, sizes: Sequence[int], config: ConvConfig, *, plain_last: bool = False, where: str = "convolutions"
    ) -> None:
        super().__init__()
        self.dropout = Dropout(config.dropout.input, f"{where} input")
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
                    f"{where} {k}",
                    dilation=config.dilation_growth**exponent,
                    groups=groups,
                    gated=config.glu.every > 0 and (k + 1) % config.glu.every == 0,
                    plain=plain,
                )
            )
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, keys: Keys | None = None) -> Tensor:
        """[batch sizes[0] time] to [batch sizes[-1] time]; ``keys`` are what dropout needs."""
        if keys is not None:
            x = self.dropout(x, keys)
        for layer in self.layers:
            x = layer(x, keys)
        return x
