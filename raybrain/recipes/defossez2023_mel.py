"""Défossez et al. 2023 with its mel spectrum of 120 bands instead of wav2vec 2.0: no model to download."""

from raybrain.experiment import Experiment


def experiment() -> Experiment:
    """The defaults of raybrain."""
    return Experiment()
