"""How does accuracy grow with the number of subjects trained on, for Schoffelen?

The first 10, 20, ... 100 subjects, of whom there is a recording each and 96 in all; tested on the first 10 always, among the
same candidates.
"""

from raybrain.recipes.defossez2023 import PUBLISHED_SPLITS, SEEDS, STUDIES
from raybrain.tune.space import SearchSpace

SPACE = SearchSpace(
    recipe="defossez2023",
    variants={
        "study": {"schoffelen2019": {}},
        "subjects": {str(count): {"data.studies.schoffelen2019.max_recordings": count} for count in range(10, 101, 10)},
    },
    fixed={**PUBLISHED_SPLITS, **STUDIES["schoffelen2019"], "test.subjects": 10},
    seeds=SEEDS,
    sampler="grid",
    scheduler="none",
)
