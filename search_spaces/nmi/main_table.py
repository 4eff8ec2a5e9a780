"""How much do contrast, a learned speech side and wav2vec 2.0 add to regression of the mel spectrum?

Table 2 of Défossez et al. 2023: four studies, top-10 segment accuracy. The paper's "random" row needs no training: it is
chance, and the control of random estimates that comes with every result. Its limit of 100 recordings for Broderick's test
during training has no counterpart here, since nothing is tested before training has ended.
"""

from raybrain.recipes.defossez2023 import PUBLISHED_SPLITS, SEEDS, STUDIES
from raybrain.tune.space import SearchSpace

SPACE = SearchSpace(
    recipe="defossez2023",
    variants={
        "study": STUDIES,
        "model": {
            "wav2vec 2.0": {"data.features": "speech_model"},
            "DeepMel": {"data.features": "mel:120", "speech_encoder": "deep_mel"},
            "mel": {"data.features": "mel:120"},
            "mel with MSE": {"data.features": "mel:120", "loss": "mse"},
        },
    },
    fixed=PUBLISHED_SPLITS,
    seeds=SEEDS,
    sampler="grid",
    scheduler="none",
    published={
        ("brennan2019", "random"): (5.3, 0.1),
        ("brennan2019", "mel with MSE"): (6.0, 0.9),
        ("brennan2019", "mel"): (8.0, 4.8),
        ("brennan2019", "DeepMel"): (24.7, 3.2),
        ("brennan2019", "wav2vec 2.0"): (25.7, 2.9),
        ("broderick2019", "random"): (0.5, 0.1),
        ("broderick2019", "mel with MSE"): (1.0, 0.3),
        ("broderick2019", "mel"): (9.7, 1.0),
        ("broderick2019", "DeepMel"): (15.4, 1.6),
        ("broderick2019", "wav2vec 2.0"): (17.7, 0.6),
        ("gwilliams2022", "random"): (0.7, 0.1),
        ("gwilliams2022", "mel with MSE"): (12.4, 1.2),
        ("gwilliams2022", "mel"): (55.1, 0.7),
        ("gwilliams2022", "DeepMel"): (64.4, 0.8),
        ("gwilliams2022", "wav2vec 2.0"): (70.7, 0.1),
        ("schoffelen2019", "random"): (0.8, 0.1),
        ("schoffelen2019", "mel with MSE"): (20.6, 1.8),
        ("schoffelen2019", "mel"): (55.1, 0.9),
        ("schoffelen2019", "DeepMel"): (61.2, 0.6),
        ("schoffelen2019", "wav2vec 2.0"): (67.5, 0.4),
    },
)
