"""Défossez et al. 2023, Nature Machine Intelligence: the published encoder, contrast and training.

The speech features are the mel spectrum of 120 bands, one of those in the paper; its wav2vec 2.0 is not here yet.
"""

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
    """The settings as published; they are the defaults of raybrain."""
    return Experiment()
