"""Does autoreject help where extreme values are clamped anyway?

The first 16 recordings of each study, as in Défossez et al. 2023. Both are clamped at 20: we interpolate bad stretches of
channels, and drop no window.
"""

from raybrain.recipes.defossez2023 import PUBLISHED_SPLITS, SEEDS, STUDIES
from raybrain.tune.space import SearchSpace

SPACE = SearchSpace(
    recipe="defossez2023",
    variants={
        "study": {name: {**study, f"data.studies.{name}.max_recordings": 16} for name, study in STUDIES.items()},
        "cleaning": {"clamping": {}, "autoreject": {"data.signal.steps": "resample,autoreject"}},
    },
    fixed=PUBLISHED_SPLITS,
    seeds=SEEDS,
    sampler="grid",
    scheduler="none",
)
