"""Frame table: the frames of a feature, and those of them that a window of speech shows to training. Not a feature itself."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class FeatureTable:
    """One feature of all stimuli. Row 0 of ``frames`` is silence. A feature of classes has their numbers for frames."""

    name: str
    rate_hz: float
    frames: Tensor  # [frames D], z-scored; [frames 1] for classes
    first: Tensor  # [segments] float64: frame of the window's first sample, counted from the stimulus's first frame
    begin: Tensor  # [segments]: row of the stimulus's first frame
    count: Tensor  # [segments]: frames of the stimulus
    weights: tuple[float, ...] = ()  # of each class, for a loss

    @property
    def size(self) -> int:
        """Dimensions training sees: one for each class where there are classes."""
        return len(self.weights) or self.frames.shape[1]

    def to(self, device: torch.device) -> "FeatureTable":
        """This table on a device."""
        frames, first, begin, count = (x.to(device) for x in (self.frames, self.first, self.begin, self.count))
        return replace(self, frames=frames, first=first, begin=begin, count=count)

    def of(self, rows: Tensor, times: Tensor) -> Tensor:
        """The frames nearest to these times after the start of some segments, [B T D]."""
        # halves go up, all the same way: rounding to even would say one frame twice and leave the next one out
        frame = torch.floor(self.first[rows, None] + times * self.rate_hz + 0.5 + 1e-6).long()  # [B T]
        heard = (frame >= 0) & (frame < self.count[rows, None])
        frames = self.frames[torch.where(heard, self.begin[rows, None] + frame, 0)]
        if not self.weights:
            return frames
        return F.one_hot(frames[..., 0].long(), len(self.weights)).to(frames.dtype)
