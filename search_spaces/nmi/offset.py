"""How much later than the speech should the brain be read?

0 to 300 ms, as in Défossez et al. 2023, whose files do not say for which studies: all four here.
"""

from optuna.distributions import CategoricalDistribution

from raybrain.recipes.defossez2023 import PUBLISHED_SPLITS, SEEDS, STUDIES
from raybrain.tune.space import SearchSpace

SPACE = SearchSpace(
    recipe="defossez2023",
    parameters={"window.offset_s": CategoricalDistribution([0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3])},
    variants={"study": STUDIES},
    fixed=PUBLISHED_SPLITS,
    seeds=SEEDS,
    sampler="grid",
    scheduler="none",
)
