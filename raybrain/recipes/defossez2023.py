"""Défossez et al. 2023, Nature Machine Intelligence: the published encoder, contrast and training.

The speech features are the mel spectrum of 120 bands, one of those in the paper; its wav2vec 2.0 is not here yet.
"""

from raybrain.experiment import Experiment


def experiment() -> Experiment:
    """The settings as published; they are the defaults of raybrain."""
    return Experiment()
