"""Wave: an end-to-end speech side, from raw sound to a learned representation, trained together with the brain encoder."""

import math

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from raybrain.batch import Keys
from raybrain.config import InputError
from raybrain.encoders.base import SpeechEncoder, SpeechModule
from raybrain.encoders.layers import BatchNorm, ConvConfig, ConvSequence


class WaveEncoder(SpeechEncoder, name="wave"):
    """Strided convolutions over the samples of the feature ``wave`` down to its frames, then DeepMel's over the frames.

    Attributes:
        output: dimensions that come out.
        strides: of the convolutions over samples; together they make the samples of a frame.
        channels: of these.
        depth: number of convolution layers over frames.
        hidden: their channels.
        conv: what these layers are.
    """

    output: int = Field(768, gt=0)
    strides: tuple[PositiveInt, ...] = Field((5, 3, 3, 3), min_length=1)
    channels: int = Field(128, gt=0)
    depth: int = Field(5, gt=0)
    hidden: int = Field(320, gt=0)
    conv: ConvConfig = ConvConfig()

    def size(self, features: int) -> int:
        """``output``, whatever goes in."""
        return self.output

    def build(self, features: int) -> SpeechModule:
        """The network.

        Raises:
            InputError: if the strides do not make a frame of ``features`` samples.
        """
        if math.prod(self.strides) != features:
            shown = ",".join(map(str, self.strides))
            raise InputError(
                f"speech_encoder.strides={shown} make frames of {math.prod(self.strides)} samples, and the features have "
                f"{features} dimensions; type data.features=wave:{math.prod(self.strides)}"
            )
        return WaveNet(self)


class WaveNet(SpeechModule):
    """The network of a WaveEncoder."""

    def __init__(self, config: WaveEncoder) -> None:
        super().__init__()
        before = [1, *(config.channels for _ in config.strides)]
        self.strided = nn.Sequential(
            *(Strided(size, config.channels, stride) for size, stride in zip(before, config.strides, strict=False))
        )
        sizes = config.conv.sizes(config.channels, config.hidden, config.depth)
        sizes[-1] = config.output
        self.convs = ConvSequence(sizes, config.conv, plain_last=True, where="speech")

    def forward(self, x: Tensor, keys: Keys | None = None) -> Tensor:
        """[batch samples frames] to [batch output frames]."""
        wave = x.transpose(1, 2).flatten(1)[:, None]
        out: Tensor = self.convs(self.strided(wave), keys)
        return out


class Strided(nn.Sequential):
    """A convolution that sees two strides and a sample, batch norm, GELU: [batch before time] to [batch after time/stride]."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        # no bias, which batch norm would take off again
        conv = nn.Conv1d(before, after, 2 * stride + 1, stride, padding=stride // 2 + 1, bias=False)
        super().__init__(conv, BatchNorm(after), nn.GELU())
