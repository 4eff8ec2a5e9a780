"""Can words be told apart where they form no sentences, for Schoffelen?

Lists of scrambled words, in windows from 0.3 s before a word to 0.5 s after its onset, in batches of 128.
"""

from raybrain.recipes.defossez2023 import PUBLISHED_SPLITS, SEEDS
from raybrain.tune.space import SearchSpace

SPACE = SearchSpace(
    recipe="defossez2023",
    variants={"study": {"schoffelen2019": {"data.studies": "schoffelen2019:audio_wordlists"}}},
    fixed={
        **PUBLISHED_SPLITS,
        "data.segments.tmin_s": -0.3,
        "data.segments.tmax_s": 0.5,
        "train.batch_size": 128,
        "train.contrast_size": 64,
    },
    seeds=SEEDS,
    sampler="grid",
    scheduler="none",
)
