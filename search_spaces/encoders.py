"""Which encoder decodes best, and what does it gain when it starts from ridge regression?

Small enough for two CPU cores. What came of it is in README.md.
"""

from typing import Any

from raybrain.tune.space import SearchSpace

FRONT = {"encoder.attention.channels": 32, "encoder.initial_linear": 32}
NETWORKS: dict[str, dict[str, Any]] = {
    "simple_conv": {},
    "conv_rnn": {"encoder": "conv_rnn", **FRONT, "encoder.hidden": 64, "encoder.lstm.layers": 1},
    "conformer": {"encoder": "conformer", **FRONT, "encoder.hidden": 64, "encoder.depth": 2},
}
STARTED = {f"{name} from ridge": settings | {"encoder.ridge.on": True} for name, settings in NETWORKS.items()}

SPACE = SearchSpace(
    recipe="quickstart",
    variants={"encoder": {"ridge": {"encoder": "ridge"}, **NETWORKS, **STARTED}},
    fixed={"train.epochs": 20, "data.studies.synthetic.signal": 0.8},  # weak enough to tell them apart
    seeds=(2036, 2037, 2038),
    metric="valid_top1",
    sampler="grid",
    scheduler="none",
)
