"""How should the learning rate change while an encoder trains?

A population of trainings, in which good ones are copied over bad ones every two epochs and go on with another learning rate.
What comes out is one experiment with a schedule of its own.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from raybrain.tune.space import SearchSpace

SPACE = SearchSpace(
    recipe="quickstart",
    parameters={
        "optim.lr": FloatDistribution(1e-4, 1e-2, log=True),
        "optim.weight_decay": CategoricalDistribution([0.0, 1e-5, 1e-4, 1e-3]),
    },
    metric="valid_top1",
    trials=8,
    sampler="random",
    scheduler="pbt:2",
)
