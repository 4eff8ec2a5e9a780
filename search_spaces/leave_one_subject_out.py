"""Who is decoded best whom nothing was trained with, at once and after some minutes of calibration?

Each subject of the study is left out in turn: nothing is trained, validated or chosen with them. It is a grid, of which
`raybrain report leave_one_subject_out` tests every cell and draws the curves over minutes of calibration. Put your study in the
place of the synthetic one, and its subjects in the place of these. What came of it is in README.md.
"""

from typing import Any

from raybrain.tune.space import SearchSpace

SUBJECTS = ("01", "02", "03", "04")
SHARED = {"encoder.subject_layer.shared.on": True}
CHANNELS = SHARED | {"encoder.subject_layer.shared.own": "channels"}
FRONTS: dict[str, dict[str, Any]] = {
    "ridge": {"encoder": "ridge"},
    "nothing of each": {"encoder.subject": "none"},
    "a matrix each": {},
    "shared, low rank": SHARED,
    "shared, channels": CHANNELS,
    "shared, from ridge": SHARED | {"encoder.ridge.on": True},
}

SPACE = SearchSpace(
    recipe="quickstart",
    variants={
        "subjects": FRONTS,
        "left out": {name: {"train.leave_out": name, "test.left_out": True} for name in SUBJECTS},
    },
    over=("left out",),
    fixed={"data.studies.synthetic.subjects": len(SUBJECTS)},
    seeds=(2036,),
    sampler="grid",
    scheduler="none",
)
