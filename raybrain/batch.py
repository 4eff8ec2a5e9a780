"""Batch and Shapes: what an encoder sees."""

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
class Shapes:
    """The sizes an encoder is built for: they come from the data, not from a choice.

    ``features`` is what the encoder must estimate; ``tmin_s`` is the time of the first sample relative to the anchor;
    ``slices`` says which features these are, in order, and is empty where they are learned.
    """

    channels: int
    subjects: int
    features: int
    times: int
    rate_hz: float
    tmin_s: float = -0.5
    slices: tuple[FeatureSlice, ...] = ()


@dataclass
class Batch:
    """Segments of brain signal and what was heard in them, on one device.

    Sensor positions are kept once per layout, since what depends on them alone need not be computed for each segment.
    Segments with fewer sensors than ``channels`` are padded; padding is marked invalid.

    Attributes:
        brain: [batch channels time], scaled and clamped.
        subject: [batch], index of the subject.
        layout: [batch], index into ``positions``.
        positions: [layouts channels 2], x and y of each sensor in [0, 1].
        valid: [layouts channels], False for padding and for sensors of unknown position.
        draws: [8] uniform in [0, 1): the only randomness an encoder may use. They depend on the seed and the step alone,
            so that they are the same on every worker and after a restart.
    """

    brain: Tensor
    subject: Tensor
    layout: Tensor
    positions: Tensor
    valid: Tensor
    draws: Tensor

    def __len__(self) -> int:
        return len(self.brain)

    def to(self, device: torch.device, dtype: torch.dtype) -> "Batch":
        """This batch on a device, with the signal in a floating type."""
        moved = {name: to_device(value, device) for name, value in vars(self).items()}
        return Batch(**moved | {name: moved[name].to(dtype) for name in ("brain", "positions")})


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``; from the host to a GPU without waiting for the copy."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def step_draws(seed: int, step: int) -> Tensor:
    """The random numbers of a step, [8]: keyed by seed and step, made on the CPU so that every device gets the same."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)
    return torch.rand(DRAWS, generator=generator, dtype=torch.float64)
