"""Défossez et al. 2023, Nature Machine Intelligence: the published encoder, contrast, training and wav2vec 2.0 features.

The features need the model, once: hf download facebook/wav2vec2-large-xlsr-53. Without it, see defossez2023_mel.
"""

from raybrain.config import override
from raybrain.experiment import Experiment


def experiment() -> Experiment:
    """The settings as published: the defaults of raybrain, and the mean of layers 14 to 18 of wav2vec 2.0."""
    return override(Experiment(), {"data.features": "speech_model"})
