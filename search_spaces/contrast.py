"""Against how many candidates should an estimate be ranked in training, and do candidates beyond the batch help?"""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from raybrain.tune.space import SearchSpace

SPACE = SearchSpace(
    recipe="quickstart",
    parameters={
        "train.batch_size": CategoricalDistribution([64, 128]),
        "train.contrast_size": CategoricalDistribution([16, 32, 64]),
        "train.extra_negatives": CategoricalDistribution([0, 64, 128]),
        "optim.lr": FloatDistribution(3e-4, 1e-2, log=True),
    },
    metric="valid_top1",
    trials=16,
    scheduler="asha:3",
)
