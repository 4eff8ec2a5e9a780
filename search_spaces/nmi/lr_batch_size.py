"""Which learning rate goes with which batch?

Each estimate is ranked against half the batch, as on the two GPUs of Défossez et al. 2023. The paper's files do not say for
which studies: all four here, and ``study=gwilliams2022`` keeps one.
"""

from optuna.distributions import CategoricalDistribution

from raybrain.recipes.defossez2023 import PUBLISHED_SPLITS, SEEDS, STUDIES
from raybrain.tune.space import SearchSpace

SPACE = SearchSpace(
    recipe="defossez2023",
    parameters={"optim.lr": CategoricalDistribution([1e-4, 3e-4, 6e-4, 1e-3])},
    variants={
        "study": STUDIES,
        "batch": {str(size): {"train.batch_size": size, "train.contrast_size": size // 2} for size in (32, 64, 128, 256)},
    },
    fixed=PUBLISHED_SPLITS,
    seeds=SEEDS,
    sampler="grid",
    scheduler="none",
)
