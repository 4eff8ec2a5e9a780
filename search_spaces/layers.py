"""Which layer of a speech model does the brain tell most about?

The layers of wav2vec 2.0's base model, each alone, then the mean of four; the same model with random weights beside it tells
what its training has brought. Small enough for two CPU cores, with the model on this machine (hf download
facebook/wav2vec2-base); another one is `data.features.speech_model.checkpoint=NAME`. What came of it is in README.md.
"""

from typing import Any

from raybrain.tune.space import SearchSpace

LAYERS = {f"layer {layer}": [layer] for layer in (0, 3, 6, 9, 12)} | {"mean of 5 to 8": [5, 6, 7, 8]}
CONTROL: dict[str, dict[str, Any]] = {
    "layer 6, random weights": {"data.features.speech_model.layers": [6], "data.features.speech_model.random": True}
}

SPACE = SearchSpace(
    recipe="quickstart",
    variants={"layers": {name: {"data.features.speech_model.layers": chosen} for name, chosen in LAYERS.items()} | CONTROL},
    fixed={
        "data.features": "speech_model",
        "data.features.speech_model.checkpoint": "facebook/wav2vec2-base",
        "train.epochs": 20,
    },
    seeds=(2036, 2037, 2038),
    metric="valid_top1",
    sampler="grid",
    scheduler="none",
)
