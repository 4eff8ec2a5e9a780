"""How many bands of the mel spectrum are enough, for each way to train on it?

As in Défossez et al. 2023, whose files do not say for which studies: all four here.
"""

from optuna.distributions import CategoricalDistribution

from raybrain.recipes.defossez2023 import PUBLISHED_SPLITS, SEEDS, STUDIES
from raybrain.tune.space import SearchSpace

SPACE = SearchSpace(
    recipe="defossez2023",
    parameters={"data.features.mel.bands": CategoricalDistribution([20, 40, 80, 120])},
    variants={
        "study": STUDIES,
        "model": {"mel": {}, "DeepMel": {"speech_encoder": "deep_mel"}, "mel with MSE": {"loss": "mse"}},
    },
    fixed={**PUBLISHED_SPLITS, "data.features": "mel"},
    seeds=SEEDS,
    sampler="grid",
    scheduler="none",
)
