"""Export card: the README.md of an exported model, with the header that Hugging Face reads."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raybrain.predict.model import Model

TAGS = ["brain-decoding", "meg", "eeg", "speech"]
SHOWN = 12  # subjects by name
LOADED = {
    "safetensors": """```python
import raybrain

model = raybrain.load("path/of/this/folder")
guess = model.predict("recording.fif", sounds="sounds/")
```""",
    "torch": """```python
import torch

encoder = torch.export.load("encoder.pt2").module()
estimates = encoder(signal, positions, valid, subject)
```""",
    "onnx": """```python
import onnxruntime

encoder = onnxruntime.InferenceSession("encoder.onnx")
(estimates,) = encoder.run(None, {"signal": signal, "positions": positions, "valid": valid, "subject": subject})
```""",
}


def model_readme(model: "Model", format: str) -> str:
    """The text of a README.md: what the model is, how it is used, how good it is, and what it was trained on."""
    from huggingface_hub import EvalResult, ModelCardData

    card = model.card
    encoder = card.experiment["encoder"]["name"]
    studies = sorted({subject.partition("/")[0] for subject in model.subjects})
    name = f"{encoder}-{card.signature}"
    scores = {key: value for key, value in card.metrics.items() if key.startswith("valid_") and math.isfinite(value)}
    results = [
        EvalResult(
            "other", "brain-recordings", ", ".join(studies), key, value, task_name="speech retrieval", dataset_split="valid"
        )
        for key, value in scores.items()
    ]
    header = ModelCardData(library_name="raybrain", tags=TAGS, model_name=name, eval_results=results)
    return f"---\n{header.to_yaml()}\n---\n\n{_body(model, name, format, studies, scores)}"


def _body(model: "Model", name: str, format: str, studies: list[str], scores: dict[str, float]) -> str:
    card, shapes = model.card, model.shapes
    features = ", ".join(feature.name for feature in card.features)
    people = ", ".join([*model.subjects[:SHOWN], *(["..."] if len(model.subjects) > SHOWN else [])])
    table = "\n".join(f"| {key} | {value:.4g} |" for key, value in scores.items())
    sure = (
        f"Probabilities are `softmax(scores / {card.calibration.temperature:g})`; their expected calibration error on"
        f" {card.calibration.rows} windows of the valid split is {card.calibration.error:.1%}."
        if card.calibration
        else "It does not say how scores become probabilities."
    )
    return f"""# {name}

A {card.experiment["encoder"]["name"]} that estimates {features} of heard speech from windows of MEG or EEG, trained with
raybrain (the method of [Défossez et al. 2023](https://arxiv.org/abs/2208.12266)). What was heard is found by ranking stretches
of speech by their inner product with the estimate.

## Use

{LOADED[format]}

`signal` is [batch, {shapes.channels}, {shapes.times}], windows at {shapes.rate_hz:g} Hz, cut and scaled as `config.json` says;
`positions` [{shapes.channels}, 2] and `valid` [{shapes.channels}] tell where the sensors lie and which can be used; `subject`
[batch] is an index into the subjects of `config.json`.

## How good it is

On the valid split, at the epoch whose weights these are. The test split is not looked at here.

| measure | value |
|---|---|
{table}

{sure}

## Trained on

{len(model.subjects)} subjects of {", ".join(studies)}: {people}. The licences of these studies say what may be done with what
was trained on them. Experiment {card.signature}; all settings are in `config.json`.
"""
