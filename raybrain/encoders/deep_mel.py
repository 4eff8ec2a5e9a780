"""DeepMel: the brain encoder's convolutions on the speech side, trained together with it."""

from pydantic import Field

from raybrain.encoders.base import SpeechEncoder, SpeechModule
from raybrain.encoders.layers import ConvConfig, ConvSequence


class DeepMel(SpeechEncoder, name="deep_mel"):
    """Convolutions from stored features, usually a mel spectrum, to a learned representation.

    Attributes:
        output: dimensions that come out.
        depth: number of convolution layers.
        hidden: their channels.
        conv: what these layers are.
    """

    output: int = Field(768, gt=0)
    depth: int = Field(10, gt=0)
    hidden: int = Field(320, gt=0)
    conv: ConvConfig = ConvConfig()

    def size(self, features: int) -> int:
        """``output``, whatever goes in."""
        return self.output

    def build(self, features: int) -> SpeechModule:
        """The network: the last of its layers gives the output, with neither batch norm nor activation."""
        sizes = self.conv.sizes(features, self.hidden, self.depth)
        sizes[-1] = self.output
        return ConvSequence(sizes, self.conv, plain_last=True, where="speech")
