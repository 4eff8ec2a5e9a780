"""Which parts of the encoder, and which limit on its input, does decoding need?

The ablations of Défossez et al. 2023. They give no standard deviations, and their full model differs from that of the main
table for Gwilliams and Broderick without saying why: here whatever lies between both counts as found again.
"""

from raybrain.recipes.defossez2023 import PUBLISHED_SPLITS, SEEDS, STUDIES
from raybrain.tune.space import SearchSpace

MODELS = {
    "full": {},
    "subject embedding": {"encoder.subject": "embedding"},
    "clamp 100": {"window.clamp": 100.0},
    "no attention dropout": {"encoder.attention.dropout_radius": 0.0},
    "ReLU": {"encoder.conv.activation": "relu"},
    "no skip": {"encoder.conv.skip": False},
    "no final convs": {"encoder.final": False},
    "no initial 1x1": {"encoder.initial_linear": None},
    "no spatial attention": {"encoder.attention.on": False},
    "no GLU conv": {"encoder.conv.glu.every": 0},
    "no subject layer": {"encoder.subject": "none"},
    "no clamping": {"window.clamp": None},
}
FOUND = {
    "schoffelen2019": (67.3, 64.6, 66.9, 67.3, 65.6, 65.3, 67.2, 62.7, 65.6, 66.7, 42.4, 1.5),
    "gwilliams2022": (66.7, 66.7, 66.5, 65.2, 64.9, 62.4, 65.1, 64.0, 61.9, 66.3, 44.3, 22.3),
    "broderick2019": (13.4, 14.7, 13.3, 12.3, 12.5, 11.0, 11.2, 11.9, 11.9, 6.9, 6.9, 1.0),
    "brennan2019": (25.7, 29.4, 27.1, 26.8, 24.6, 24.3, 19.0, 22.1, 20.6, 6.0, 20.2, 14.1),
}

SPACE = SearchSpace(
    recipe="defossez2023",
    variants={"study": STUDIES, "model": MODELS},
    fixed=PUBLISHED_SPLITS,
    seeds=SEEDS,
    sampler="grid",
    scheduler="none",
    published={
        **{(study, model): (mean, 0.0) for study, found in FOUND.items() for model, mean in zip(MODELS, found, strict=True)},
        ("gwilliams2022", "full", "main table"): (70.7, 0.1),
        ("broderick2019", "full", "main table"): (17.7, 0.6),
    },
)
