"""Batch, Shapes, Layout and Keys: what an encoder sees."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

DRAWS = 8  # random numbers a step may use


@dataclass(frozen=True)
class FeatureSlice:
    """Which of the dimensions are one feature's. One of classes has a dimension a class, and ``weights`` of them for a loss."""

    name: str
    start: int
    stop: int
    weights: tuple[float, ...] = ()

    @property
    def slice(self) -> slice:
        """The dimensions."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Layout:
    """The sensors of one or several recordings, in the order of their channels.

    Attributes:
        channels: their names.
        positions: x and y of each on a flat head, both in [0, 1].
        places: x, y, z of each in metres, in head coordinates; None where unknown.
        valid: False for sensors of unknown position and for bad ones.
    """

    channels: tuple[str, ...]
    positions: tuple[tuple[float, float], ...]
    places: tuple[tuple[float, float, float] | None, ...]
    valid: tuple[bool, ...]

    @classmethod
    def unknown(cls, channels: Sequence[str]) -> "Layout":
        """Channels that are nowhere on a head."""
        count = len(channels)
        return cls(tuple(channels), ((0.0, 0.0),) * count, (None,) * count, (False,) * count)


@dataclass(frozen=True)
class Shapes:
    """What the data say, and a network is built for; nobody chooses it.

    Attributes:
        channels: of the signal that goes in: those of the widest layout.
        subjects: all of them as "study/subject"; ``Batch.subject`` is an index into them.
        features: what the network must estimate at each sample.
        times: samples of a window.
        rate_hz: their rate.
        tmin_s: time of the first sample relative to the anchor.
        layouts: the sensors; ``Batch.layout`` is an index into them. Empty where only sizes are asked for.
        slices: which features these are, in order; empty where they are learned.
        groups: which channels of what goes in belong together, in order; empty where they are sensors.
        lags_s: from when to when what goes in tells of a moment that is estimated, in seconds after it (``Task.lags_s``).
    """

    channels: int
    subjects: tuple[str, ...]
    features: int
    times: int
    rate_hz: float
    tmin_s: float = -0.5
    layouts: tuple[Layout, ...] = ()
    slices: tuple[FeatureSlice, ...] = ()
    groups: tuple[FeatureSlice, ...] = ()
    lags_s: tuple[float, float] = (-0.15, 0.25)


@dataclass(frozen=True)
class Keys:
    """What the random numbers of some segments are drawn for (:mod:`raybrain.encoders.draws`).

    Attributes:
        step: a number in int64, which depends on the seed and the step.
        segment: [batch], int64: which segments; the same segment has the same number on every worker.
    """

    step: Tensor
    segment: Tensor

    @classmethod
    def of(cls, draws: Tensor, segment: Tensor) -> "Keys":
        """Those of some segments in a step, by its random numbers: the bits of the last of them."""
        return cls(draws[-1].view(torch.int64), segment)


@dataclass
class Batch:
    """Segments of the signal that goes into a network, on one device.

    Sensor positions are kept once per layout, since what depends on them alone need not be computed for each segment.
    Segments with fewer sensors than ``channels`` are padded; padding is marked invalid.

    Attributes:
        signal: [batch channels time], scaled.
        subject: [batch], index into ``Shapes.subjects``.
        layout: [batch], index into ``positions`` and ``Shapes.layouts``.
        positions: [layouts channels 2], x and y of each sensor in [0, 1].
        valid: [layouts channels], False for padding, for bad sensors and for those of unknown position.
        draws: [8] float64, uniform in [0, 1): random numbers of the step. They depend on the seed and the step alone, so that
            they are the same on every worker and after a restart. With ``segment`` they are what all else is drawn by
            (``keys``): an encoder may use no other randomness.
        segment: [batch], a number of each segment, the same on every worker.
        partner: of each segment another one in which the same is heard, for an encoder that mixes them while training; None for
            none.
    """

    signal: Tensor
    subject: Tensor
    layout: Tensor
    positions: Tensor
    valid: Tensor
    draws: Tensor
    segment: Tensor
    partner: "Batch | None" = None

    @property
    def counted(self) -> Tensor:
        """Which sensors count, [batch channels]: the valid ones; of a layout without a single valid sensor all."""
        return (self.valid | ~self.valid.any(dim=1, keepdim=True))[self.layout]

    @property
    def usable(self) -> Tensor:
        """The signal, zero where sensors do not count."""
        return self.signal * self.counted[..., None]

    @property
    def keys(self) -> Keys:
        """What random numbers of these segments are drawn for."""
        return Keys.of(self.draws, self.segment)

    def __len__(self) -> int:
        return len(self.signal)

    def to(self, device: torch.device, dtype: torch.dtype) -> "Batch":
        """This batch on a device, with the signal in a floating type."""
        moved = {name: to_device(value, device) for name, value in self.tensors.items()}
        partner = self.partner and self.partner.to(device, dtype)
        return Batch(**moved | {name: moved[name].to(dtype) for name in ("signal", "positions")}, partner=partner)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Those of this batch, by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``; from the host to a GPU without waiting for the copy."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def step_draws(seed: int, step: int) -> Tensor:
    """The random numbers of a step, [8]: keyed by seed and step, made on the CPU so that every device gets the same."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)
    return torch.rand(DRAWS, generator=generator, dtype=torch.float64)
