"""Is speech easier to decode from MEG than from EEG, given as many sensors and hours?

128 random sensors, and recordings and a part of the train split left out until all three studies have about 11 hours to
train on: Schoffelen 19 recordings, Gwilliams 140 without 62 % of the train split, Broderick 380 without 21 % of it.
"""

from raybrain.recipes.defossez2023 import PUBLISHED_SPLITS, SEEDS, STUDIES
from raybrain.tune.space import SearchSpace

TRAIN = 0.7  # of everything


def part(study: str, recordings: int, removed: float) -> dict[str, object]:
    """The first ``recordings`` of a study, without a share of the train split."""
    return {
        **STUDIES[study],
        f"data.studies.{study}.max_recordings": recordings,
        "data.splits.remove_ratio": round(removed * TRAIN, 6),
    }


SPACE = SearchSpace(
    recipe="defossez2023",
    variants={
        "study": {
            "schoffelen2019": part("schoffelen2019", 19, 0.0),
            "gwilliams2022": part("gwilliams2022", 140, 0.62),
            "broderick2019": part("broderick2019", 380, 0.21),
        }
    },
    fixed={**PUBLISHED_SPLITS, "data.signal.steps": "sensors:128,resample"},
    seeds=SEEDS,
    sampler="grid",
    scheduler="none",
)
