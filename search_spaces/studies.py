"""Which encoder decodes best over several studies, and not only in the one it was tuned on?

Each trial is trained on every study of its own, and its score is the mean. Put your studies in the place of the synthetic
ones, like ``{"data.studies": "bids:/data/my_study"}``.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution

from raybrain.tune.space import SearchSpace

SHORT = {"data.studies.synthetic.subjects": 3, "data.studies.synthetic.minutes": 4}

SPACE = SearchSpace(
    recipe="quickstart",
    parameters={
        "encoder.depth": CategoricalDistribution([2, 4, 6]),
        "encoder.hidden": CategoricalDistribution([32, 64]),
        "optim.lr": FloatDistribution(3e-4, 1e-2, log=True),
    },
    variants={
        "study": {"meg": {"data.studies": "synthetic:meg", **SHORT}, "eeg": {"data.studies": "synthetic:eeg", **SHORT}},
    },
    over=("study",),
    metric="valid_top1",
    trials=12,
    scheduler="asha:3",
)
