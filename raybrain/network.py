"""Network: everything that has weights, built from what was asked and from what the data say."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from raybrain.batch import Batch, Keys, Shapes
from raybrain.encoders.base import Encoder, Penalised, SpeechEncoder
from raybrain.encoders.front import built
from raybrain.experiment import Experiment
from raybrain.losses.base import Loss, LossModule
from raybrain.plain import from_tree


@dataclass(frozen=True)
class Parts:
    """The settings of the parts of a network."""

    encoder: Encoder
    speech: SpeechEncoder
    loss: Loss

    @classmethod
    def of(cls, experiment: Experiment) -> "Parts":
        """Those of an experiment."""
        return cls(experiment.encoder, experiment.speech_encoder, experiment.loss)

    @classmethod
    def read(cls, asked: Mapping[str, Any]) -> Self:
        """Those of an experiment as a model folder keeps it.

        Raises:
            InputError: if a kind is not known here.
        """
        return cls(
            from_tree(Encoder, asked["encoder"]),
            from_tree(SpeechEncoder, asked["speech_encoder"]),
            from_tree(Loss, asked["loss"]),
        )


class Network(nn.Module):
    """Encoder, loss, and what is done to what is aimed at, if that is trained too.

    Args:
        parts: their settings.
        shapes: of what goes in and what is aimed at, as a task says (``Task.shapes``).
    """

    def __init__(self, parts: Parts, shapes: Shapes) -> None:
        super().__init__()
        made = replace(shapes, features=parts.speech.size(shapes.features))
        self.encoder = built(parts.encoder, made)
        self.aimed_side = parts.speech.build(shapes.features)
        if self.aimed_side is not None:
            made = replace(made, slices=())
        self.loss: LossModule = parts.loss.build(made)

    def aimed(self, stored: Tensor, keys: Keys | None = None) -> Tensor:
        """What estimates are compared with, [batch features time], from what is stored; ``keys`` are for training."""
        if self.aimed_side is None:
            return stored
        encoded: Tensor = self.aimed_side(stored, keys)
        return encoded

    def penalty(self, batch: Batch) -> Tensor | None:
        """What its parts ask to be added to the loss of a step; None for nothing."""
        asked = [part.penalty(batch) for part in self.modules() if isinstance(part, Penalised)]
        given = [one for one in asked if one is not None]
        return torch.stack(given).sum() if given else None
