"""Which changes of the signal while training help to decode: noise, scale, shifts in time, masks, fewer sensors, or mixtures?

Each is tried alone, then all that the README of this folder speaks of together. Small enough for two CPU cores; what came of it
is in README.md. Whether a change helps depends on the noise of the recordings, so ask it of your own study.
"""

from typing import Any

from raybrain.tune.space import SearchSpace

AUGMENT = "encoder.augment"
TOGETHER = {f"{AUGMENT}.noise": 0.3, f"{AUGMENT}.amplitude": 0.2, f"{AUGMENT}.sensors.share": 0.1, f"{AUGMENT}.shift_s": 0.02}
CHANGES: dict[str, dict[str, Any]] = {
    "none": {},
    "noise": {f"{AUGMENT}.noise": 0.3},
    "amplitude": {f"{AUGMENT}.amplitude": 0.2},
    "shift": {f"{AUGMENT}.shift_s": 0.02},
    "bands": {f"{AUGMENT}.bands.count": 1},
    "time": {f"{AUGMENT}.time.count": 2},
    "sensors": {f"{AUGMENT}.sensors.share": 0.1},
    "mixup": {f"{AUGMENT}.mixup": 0.3},
    "together": TOGETHER,
}

SPACE = SearchSpace(
    recipe="quickstart",
    variants={"augment": CHANGES},
    fixed={"train.epochs": 20, "data.studies.synthetic.signal": 0.8},  # weak enough to tell them apart
    seeds=(2036, 2037, 2038),
    metric="valid_top1",
    sampler="grid",
    scheduler="none",
)
