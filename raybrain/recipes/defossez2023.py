"""Défossez et al. 2023, Nature Machine Intelligence: the published encoder, contrast, training and wav2vec 2.0 features.

The features need the model, once: hf download facebook/wav2vec2-large-xlsr-53. Without it, see defossez2023_mel.
"""

from raybrain.config import override
from raybrain.experiment import Experiment

SEEDS = (2036, 2037, 2038)
STUDIES = {
    "brennan2019": {"data.studies": "brennan2019"},
    "broderick2019": {"data.studies": "broderick2019"},
    "gwilliams2022": {"data.studies": "gwilliams2022"},
    "schoffelen2019": {"data.studies": "schoffelen2019:audio"},
}
PUBLISHED_SPLITS = {"data.splits.mode": "paper"}  # without which no number compares with the paper's


def experiment() -> Experiment:
    """The settings as published: the defaults of raybrain, and the mean of layers 14 to 18 of wav2vec 2.0."""
    return override(Experiment(), {"data.features": "speech_model"})
