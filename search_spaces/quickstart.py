"""How wide and deep should a small encoder be, and how fast should it learn?

Small enough for two CPU cores: on the synthetic study it ends within minutes.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from raybrain.tune.space import SearchSpace

SPACE = SearchSpace(
    recipe="quickstart",
    parameters={
        "encoder.depth": CategoricalDistribution([2, 4, 6]),
        "encoder.hidden": CategoricalDistribution([32, 64]),
        "optim.lr": FloatDistribution(3e-4, 1e-2, log=True),
    },
    metric="valid_top1",
    trials=6,
    scheduler="asha:3",
)
