"""Which description of speech does the brain tell most about, and how much of it?

Sets of features are named variants; each set is prepared once, before the trials.
"""

from raybrain.tune.space import SearchSpace

SPACE = SearchSpace(
    recipe="quickstart",
    variants={
        "features": {
            "mel 40": {"data.features": "mel:40"},
            "mel 20": {"data.features": "mel:20"},
            "mel 80": {"data.features": "mel:80"},
            "mel 40 and word length": {"data.features": "mel:40,word_length"},
            "mel 40 and word frequency": {"data.features": "mel:40,word_frequency"},
        }
    },
    seeds=(2036, 2037),
    metric="valid_top1",
    sampler="grid",
    scheduler="none",
)
