"""How does accuracy grow with the number of subjects trained on, for Gwilliams?

The first 3, 6, ... 27 subjects; tested on the first 3 always, among the same candidates.
"""

from raybrain.recipes.defossez2023 import PUBLISHED_SPLITS, SEEDS, STUDIES
from raybrain.tune.space import SearchSpace

SUBJECTS = [f"{number:02d}" for number in range(1, 28)]

SPACE = SearchSpace(
    recipe="defossez2023",
    variants={
        "study": {"gwilliams2022": {}},
        "subjects": {str(count): {"data.studies.gwilliams2022.subjects": SUBJECTS[:count]} for count in range(3, 28, 3)},
    },
    fixed={**PUBLISHED_SPLITS, **STUDIES["gwilliams2022"], "test.subjects": 3},
    seeds=SEEDS,
    sampler="grid",
    scheduler="none",
)
