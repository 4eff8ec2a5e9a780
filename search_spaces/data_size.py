"""How much do more subjects and more hours of training data help?

Everything is tested on the same segments of two subjects, by `raybrain report data_size`; then `raybrain compare data_size`
draws the curves. For a study of your own: `raybrain tune data_size data.studies=bids:/data/my_study`.
"""

from raybrain.tune.space import SearchSpace

SPACE = SearchSpace(
    recipe="quickstart",
    variants={
        "subjects": {"2 subjects": {"train.subjects": 2}, "4 subjects": {"train.subjects": 4}},
        "hours": {"a quarter": {"train.share": 0.25}, "half": {"train.share": 0.5}, "all": {}},
    },
    fixed={"test.subjects": 2},
    sampler="grid",
    scheduler="none",
)
