"""Small enough for two CPU cores, real enough to decode: a few minutes from recordings to a table of accuracies."""

from raybrain.config import override
from raybrain.experiment import Experiment


def experiment() -> Experiment:
    """The paper's method with a mel spectrum of 40 bands and a small encoder."""
    return override(
        Experiment(),
        {
            "data.studies.synthetic.subjects": 3,
            "data.studies.synthetic.minutes": 4,
            "data.features.mel.bands": 40,
            "encoder.depth": 4,
            "encoder.hidden": 64,
            "encoder.attention.channels": 32,
            "encoder.initial_linear": 32,
            "train.batch_size": 64,
            "train.contrast_size": 64,
            "train.epochs": 12,
            "train.patience": 4,
            "optim.lr": 1e-3,
        },
    )
