"""The front all our encoders share: from whatever sensors a recording has to channels that mean the same for everybody.

Dimension letters: B batch, C channels, T time samples.
"""

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from raybrain.batch import Batch, Shapes
from raybrain.config import Config, InputError
from raybrain.encoders.attention import AttentionConfig, SpatialAttention
from raybrain.encoders.augment import Augment, AugmentConfig
from raybrain.encoders.base import Encoder, Penalised
from raybrain.encoders.draws import uniform
from raybrain.encoders.layers import Activation, activation
from raybrain.encoders.ridge import Ridge
from raybrain.encoders.ridge_start import RidgeStart, RidgeStartConfig
from raybrain.encoders.sensor_tokens import SensorTokens, TokensConfig
from raybrain.encoders.subject_layer import SharedSubjectLayer, SubjectLayer, SubjectLayerConfig, subject_layer


class InitialConfig(Config):
    """What the initial linear map is made of.

    Attributes:
        depth: number of linear maps, one after the other.
        activation: a non-linearity after each of them; None for none.
    """

    depth: int = Field(1, gt=0)
    activation: Activation | None = None


class FrontEncoder(Encoder):
    """The settings of the front: what an encoder that starts with it derives from. Not a kind by itself.

    Attributes:
        instance_norm: give each channel of a window mean 0 and variance 1 before anything else. The line of ``ridge`` sees the
            window as it is; ``window.instance`` changes it for both.
        attention: attention over the sensor positions.
        tokens: tokens of single sensors beside it.
        initial_linear: channels of a linear map of the sensors (or of the attention's outputs); None for none.
        initial: what this map is made of.
        subject: how the network learns about subjects: a matrix each, a vector each appended to the channels, or not.
        subject_layer: the matrix.
        subject_size: length of the vector.
        svd_penalty: added to the loss, times the mean singular value of the initial maps and of the subjects' matrices.
        augment: how signals are changed at random while training.
        ridge: ridge regression beside the network, from which its training starts.
    """

    instance_norm: bool = False
    attention: AttentionConfig = AttentionConfig()
    tokens: TokensConfig = TokensConfig()
    initial_linear: int | None = Field(270, gt=0)
    initial: InitialConfig = InitialConfig()
    subject: Literal["layer", "embedding", "none"] = "layer"
    subject_layer: SubjectLayerConfig = SubjectLayerConfig()
    subject_size: int = Field(64, gt=0)
    svd_penalty: float = Field(0.0, ge=0)
    augment: AugmentConfig = AugmentConfig()
    ridge: RidgeStartConfig = RidgeStartConfig()

    @model_validator(mode="after")
    def _tokens_need_places(self) -> "FrontEncoder":
        if self.tokens.depth and not self.attention.on:
            cure = "type encoder.attention.on=true or encoder.tokens.depth=0"
            raise InputError(f"tokens of sensors are told apart by where sensors are, and encoder.attention.on=false; {cure}")
        return self

    @model_validator(mode="after")
    def _line_reads_all_sensors(self) -> "FrontEncoder":
        if self.ridge.on and self.attention.on and self.attention.sensors.count is not None:
            raise InputError(
                f"encoder.attention.sensors.count={self.attention.sensors.count} leaves out sensors, and the line of"
                " encoder.ridge.on=true reads all; type encoder.ridge.on=false, or encoder.attention.sensors.count=none"
            )
        return self

    def without_sensors(self) -> str:
        """The setting to type so that it does without sensors and where they are.

        Regions of sensors have a place, and what is mixed are the sensors of two people who hear the same.
        """
        cures = ["encoder.tokens.depth=0"] if self.tokens.depth else []
        cures += ["encoder.attention.on=no"] if self.attention.on else []
        cures += ["encoder.augment.sensors.radius=0"] if self.augment.sensors.radius else []
        cures += ["encoder.augment.mixup=0"] if self.augment.mixup else []
        return " and ".join(cures)

    def without_subjects(self) -> str:
        """The setting to type so that nothing of a new subject must be known: it has no matrix and no vector of theirs.

        A matrix that all share needs neither.
        """
        shared = self.subject == "layer" and self.subject_layer.shared.on
        cures = [] if self.subject == "none" or shared else ["encoder.subject=none (or encoder.subject_layer.shared.on=true)"]
        cures += ["encoder.attention.per_subject=false"] if self.attention.on and self.attention.per_subject else []
        return " and ".join(cures)

    @property
    def mixes(self) -> bool:
        """Whether ``augment.mixup`` asks for it."""
        return self.augment.mixup > 0

    @property
    def line(self) -> Ridge | None:
        """Ridge regression, if training starts from it."""
        return self.ridge.line if self.ridge.on else None


class Front(Penalised):
    """Spatial attention, initial linear map, subject layer or embedding: each if it is wanted.

    Attributes:
        channels: how many channels come out.
    """

    def __init__(self, config: FrontEncoder, shapes: Shapes) -> None:
        super().__init__()
        channels = shapes.channels
        self.instance_norm = config.instance_norm
        self.svd_penalty, self.mixup = config.svd_penalty, config.augment.mixup
        self.augment = Augment(config.augment, shapes.rate_hz) if config.augment.on else None
        self.attention: SpatialAttention | None = None
        if config.attention.on:
            self.attention = SpatialAttention(config.attention, len(shapes.subjects))
            channels = config.attention.channels
        self.tokens = SensorTokens(config.tokens, config.attention.dimensions, channels) if config.tokens.depth else None
        self.linear: nn.Conv1d | None = None
        if config.initial_linear is not None:
            self.linear = nn.Conv1d(channels, config.initial_linear, 1)
            channels = config.initial_linear
        self.deeper = _deeper(config.initial, channels) if self.linear is not None else None
        self.subject_layer: SubjectLayer | SharedSubjectLayer | None = None
        if config.subject == "layer":
            self.subject_layer = subject_layer(config.subject_layer, channels, len(shapes.subjects))
            channels = config.subject_layer.channels or channels
        self.subject_embedding: nn.Embedding | None = None
        if config.subject == "embedding":
            self.subject_embedding = nn.Embedding(len(shapes.subjects), config.subject_size)
            channels += config.subject_size
        self.channels = channels

    def forward(self, batch: Batch) -> Tensor:
        """[batch channels time]; while training mixed with that of the partners, if that is wanted and there are some."""
        x = self._alone(batch)
        if not self.training or not self.mixup or batch.partner is None:
            return x
        share = self.mixup * uniform(batch.keys, "mixup", (1, 1))
        return torch.lerp(x, self._alone(batch.partner), share.to(x.dtype))

    def _alone(self, batch: Batch) -> Tensor:
        if self.instance_norm:
            batch = replace(batch, signal=F.instance_norm(batch.signal))
        if self.augment is not None:
            batch = replace(batch, signal=self.augment(batch))
        x = self._channels(batch)
        if self.linear is not None:
            x = self.linear(x)
        if self.deeper is not None:
            x = self.deeper(x)
        if self.subject_layer is not None:
            x = self.subject_layer(x, batch.subject, batch.keys)
        if self.subject_embedding is not None:
            who = self.subject_embedding(batch.subject)[:, :, None]
            x = torch.cat([x, who.expand(-1, -1, x.shape[-1]).to(x.dtype)], dim=1)
        return x

    def _channels(self, batch: Batch) -> Tensor:
        """From sensors to channels that mean the same for every layout, [batch channels time]."""
        if self.attention is None:
            return batch.signal
        x: Tensor = self.attention(batch)
        if self.tokens is not None:
            places, kept = self.attention.embedding(batch.positions), self.attention.kept(batch)
            x = x + self.tokens(batch.signal, places[batch.layout], kept[batch.layout]).to(x.dtype)
        return x

    def penalty(self, batch: Batch) -> Tensor | None:
        """``svd_penalty`` times the mean singular value (Fazel et al. 2001: a low sum of them is a low rank)."""
        if not self.svd_penalty:
            return None
        maps = [part.weight[..., 0] for part in (self.linear, *(self.deeper or ())) if isinstance(part, nn.Conv1d)]
        if self.subject_layer is not None:
            maps.append(self.subject_layer.matrices())
        # of weights that are not finite there is no decomposition: the loss must say so, not the decomposition
        values = [torch.linalg.svdvals(each.nan_to_num(0, 0, 0)).flatten() + 0 * each.sum() for each in maps]
        return self.svd_penalty * torch.cat(values).mean() if values else None


def _deeper(config: InitialConfig, channels: int) -> nn.Sequential | None:
    """What follows the first of the initial maps; None for nothing."""
    layers: list[nn.Module] = []
    for number in range(config.depth):
        layers += [nn.Conv1d(channels, channels, 1)] if number else []
        layers += [activation(config.activation)] if config.activation else []
    return nn.Sequential(*layers) if layers else None


def built(encoder: Encoder, shapes: Shapes) -> nn.Module:
    """The network of an encoder, with ridge regression beside it if that is wanted."""
    network = encoder.build(shapes)
    return RidgeStart(encoder.ridge, network, shapes) if isinstance(encoder, FrontEncoder) and encoder.ridge.on else network
