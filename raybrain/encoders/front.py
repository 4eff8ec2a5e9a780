"""The front all our encoders share: from whatever sensors a recording has to channels that mean the same for everybody.

Dimension letters: B batch, C channels, T time samples.
"""

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.batch import Batch, Shapes
from raybrain.encoders.augment import Augment, AugmentConfig
from raybrain.encoders.base import Encoder
from raybrain.encoders.layers import AttentionConfig, SpatialAttention, SubjectLayer
from raybrain.encoders.ridge import Ridge
from raybrain.encoders.ridge_start import RidgeStart, RidgeStartConfig


class FrontEncoder(Encoder):
    """The settings of the front: what an encoder that starts with it derives from. Not a kind by itself.

    Attributes:
        instance_norm: give each channel of a window mean 0 and variance 1 before anything else.
        attention: attention over the sensor positions.
        initial_linear: channels of a linear map of the sensors (or of the attention's outputs); None for none.
        subject: how the network learns about subjects: a matrix each, a vector each appended to the channels, or not.
        subject_size: length of that vector.
        augment: how signals are changed at random while training.
        ridge: ridge regression beside the network, from which its training starts.
    """

    instance_norm: bool = False
    attention: AttentionConfig = AttentionConfig()
    initial_linear: int | None = Field(270, gt=0)
    subject: Literal["layer", "embedding", "none"] = "layer"
    subject_size: int = Field(64, gt=0)
    augment: AugmentConfig = AugmentConfig()
    ridge: RidgeStartConfig = RidgeStartConfig()

    def without_places(self) -> str:
        """The setting to type so that it does not attend to where sensors are."""
        return "encoder.attention.on=no" if self.attention.on else ""

    def without_subjects(self) -> str:
        """The setting to type so that all subjects are one to it: of a new one it has no matrix and no vector."""
        return "" if self.subject == "none" else "encoder.subject=none"

    @property
    def line(self) -> Ridge | None:
        """Ridge regression, if training starts from it."""
        return self.ridge.line if self.ridge.on else None


class Front(nn.Module):
    """Spatial attention, initial linear map, subject layer or embedding: each if it is wanted.

    Attributes:
        channels: how many channels come out.
    """

    def __init__(self, config: FrontEncoder, shapes: Shapes) -> None:
        super().__init__()
        channels = shapes.channels
        self.instance_norm = config.instance_norm
        self.augment = Augment(config.augment, shapes.rate_hz) if config.augment.on else None
        self.attention: SpatialAttention | None = None
        if config.attention.on:
            self.attention = SpatialAttention(config.attention)
            channels = config.attention.channels
        self.linear: nn.Conv1d | None = None
        if config.initial_linear is not None:
            self.linear = nn.Conv1d(channels, config.initial_linear, 1)
            channels = config.initial_linear
        self.subject_layer = SubjectLayer(channels, len(shapes.subjects)) if config.subject == "layer" else None
        self.subject_embedding: nn.Embedding | None = None
        if config.subject == "embedding":
            self.subject_embedding = nn.Embedding(len(shapes.subjects), config.subject_size)
            channels += config.subject_size
        self.channels = channels

    def forward(self, batch: Batch) -> Tensor:
        """[batch channels time]."""
        if self.augment is not None:
            batch = replace(batch, signal=self.augment(batch))
        if self.instance_norm:
            batch = replace(batch, signal=F.instance_norm(batch.signal))
        x = batch.signal if self.attention is None else self.attention(batch)
        if self.linear is not None:
            x = self.linear(x)
        if self.subject_layer is not None:
            x = self.subject_layer(x, batch.subject)
        if self.subject_embedding is not None:
            who = self.subject_embedding(batch.subject)[:, :, None]
            x = torch.cat([x, who.expand(-1, -1, x.shape[-1]).to(x.dtype)], dim=1)
        return x


def built(encoder: Encoder, shapes: Shapes) -> nn.Module:
    """The network of an encoder, with ridge regression beside it if that is wanted."""
    network = encoder.build(shapes)
    return RidgeStart(encoder.ridge, network, shapes) if isinstance(encoder, FrontEncoder) and encoder.ridge.on else network
