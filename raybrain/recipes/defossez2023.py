"""Défossez et al. 2023, Nature Machine Intelligence: the published model and training, on whatever studies are named."""

from raybrain.experiment import Experiment


def experiment() -> Experiment:
    """All settings as published; they are the defaults of raybrain."""
    return Experiment()
