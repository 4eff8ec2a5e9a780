"""Our modules, given the reference's weights and inputs, give the reference's numbers."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raybrain.batch import Batch, Shapes, step_draws
from raybrain.encoders.base import Encoder
from raybrain.encoders.deep_mel import DeepMel
from raybrain.encoders.layers import ConvConfig
from raybrain.losses.contrastive import Contrastive
from raybrain.metrics import ranks

GOLDEN = Path(__file__).parent / "golden"
SUBJECTS = ("s/1", "s/2", "s/3")  # the reference was built for; not all of them are in each batch
NEAR = {"rtol": 1e-4, "atol": 1e-5}

# the reference's name -> ours; K is the number of a layer
ENCODER_NAMES = {
    r"merger\.heads": r"front.attention.heads",
    r"initial_linear\.0\.(\w+)": r"front.linear.\1",
    r"subject_layers\.weights": r"front.subject_layer.weights",
    r"subject_embedding\.embedding\.weight": r"front.subject_embedding.weight",
    r"encoders\.meg\.sequence\.(\d+)\.0\.(\w+)": r"convs.layers.\1.conv.\2",
    r"encoders\.meg\.sequence\.(\d+)\.1\.(\w+)": r"convs.layers.\1.norm.\2",
    r"encoders\.meg\.glus\.(\d+)\.0\.(\w+)": r"convs.layers.\1.gate.\2",
    r"final\.(\d)\.(\w+)": r"final.\1.\2",
}
DEEP_MEL_NAMES = {
    r"sequence\.(\d+)\.0\.(\w+)": r"layers.\1.conv.\2",
    r"sequence\.(\d+)\.1\.(\w+)": r"layers.\1.norm.\2",
    r"glus\.(\d+)\.0\.(\w+)": r"layers.\1.gate.\2",
}


def cases(pattern: str) -> list[str]:
    return sorted(path.stem for path in GOLDEN.glob(pattern))


def load(case: str) -> dict[str, Any]:
    with np.load(GOLDEN / f"{case}.npz") as stored:
        values = {name: stored[name] for name in stored.files}
    options = json.loads(str(values.pop("options"))) if "options" in values else {}
    return {"options": options} | {name: torch.as_tensor(value) for name, value in values.items()}


def ours(name: str, names: dict[str, str]) -> str:
    for theirs, mine in names.items():
        if re.fullmatch(theirs, name):
            return re.sub(theirs, mine, name)
    raise AssertionError(f"no name of ours for {name}")


def under(golden: dict[str, Any], prefix: str, names: dict[str, str]) -> dict[str, Tensor]:
    return {ours(name.removeprefix(prefix), names): value for name, value in golden.items() if name.startswith(prefix)}


def near(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, **NEAR)


def encoder_of(golden: dict[str, Any], shapes: Shapes) -> nn.Module:
    options = golden["options"]
    config = Encoder.model_validate(
        {
            "name": "simple_conv",
            "attention": {
                "on": options["merger"],
                "channels": options["merger_channels"],
                "dimensions": options["merger_pos_dim"],
                "dropout_radius": 0.0,
            },
            "initial_linear": options["initial_linear"],
            "subject": "layer" if options["subject_layers"] else "embedding" if options["subject_dim"] else "none",
            "subject_size": options["subject_dim"] or 1,
            "depth": options["depth"],
            "hidden": options["hidden"],
            "conv": {
                "kernel": options["kernel_size"],
                "dilation_period": options["dilation_period"],
                "skip": options["skip"],
                "batch_norm": options["batch_norm"],
                "activation": "gelu" if options["gelu"] else "relu",
                "glu": {"every": options["glu"], "context": options["glu_context"]},
            },
            "final": options["complex_out"],
        }
    )
    encoder = config.build(shapes)
    encoder.load_state_dict(under(golden, "state/", ENCODER_NAMES))
    return encoder


def batch_of(golden: dict[str, Any]) -> Batch:
    positions = golden["positions"]
    return Batch(
        signal=golden["brain"],
        subject=golden["subject"],
        layout=torch.zeros(len(golden["brain"]), dtype=torch.long),
        positions=positions[None],
        valid=(positions >= 0).all(dim=-1)[None],
        draws=step_draws(seed=0, step=0),
        segment=torch.arange(len(golden["brain"])),
    )


@pytest.mark.parametrize("case", cases("encoder_*"))
def test_encoder_equals_the_reference(case: str) -> None:
    golden = load(case)
    batch, candidates = batch_of(golden), golden["candidates"]
    _, channels, times = batch.signal.shape
    shapes = Shapes(channels, SUBJECTS, candidates.shape[1], times, rate_hz=120.0)
    encoder = encoder_of(golden, shapes)

    # before the step below moves the running statistics
    near(encoder.eval()(batch), golden["eval_estimate"])
    estimate = encoder.train()(batch)
    near(estimate, golden["train_estimate"])
    loss = Contrastive().build(shapes)(estimate, candidates, torch.arange(len(estimate))).mean()
    near(loss, golden["train_loss"])

    loss.backward()
    gradients = under(golden, "grad/", ENCODER_NAMES)
    assert gradients.keys() == dict(encoder.named_parameters()).keys()
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None
            near(parameter.grad, gradients[name])
        else:  # a bias before batch norm: what the reference has is rounding
            near(torch.zeros_like(parameter), gradients[name])


@pytest.mark.parametrize("case", cases("clip_*"))
def test_contrastive_equals_the_reference(case: str) -> None:
    golden = load(case)
    options = golden["options"]
    config = Contrastive(pool=options.get("pool", False), tmin_s=options.get("tmin"), tmax_s=options.get("tmax"))
    estimates, candidates = golden["estimates"].requires_grad_(), golden["candidates"]
    _, features, times = candidates.shape
    loss = config.build(Shapes(1, ("s/1",), features, times, rate_hz=options["sample_rate"], tmin_s=options["dset_tmin"]))

    scores = loss.scores(estimates, candidates)
    near(scores, golden["scores"])
    near(scores.softmax(dim=1), golden["probabilities"])
    targets = torch.arange(len(estimates))
    value = loss(estimates, candidates, targets).mean()
    near(value, golden["loss"])
    value.backward()
    assert estimates.grad is not None
    near(estimates.grad, golden["grad"])
    assert ranks(scores, targets).tolist() == ranks(golden["scores"], targets).tolist()


def test_deep_mel_equals_the_reference() -> None:
    golden = load("deep_mel")
    state = under(golden, "state/", DEEP_MEL_NAMES)
    output, hidden = state["layers.3.conv.weight"].shape[:2]
    # its options are not stored: these are the ones that give its numbers, to the last bit
    conv = ConvConfig(activation="relu", dilation_period=2)
    config = DeepMel(output=output, hidden=hidden, depth=4, conv=conv)
    network = config.build(golden["features"].shape[1])
    network.load_state_dict(state)
    near(network.eval()(golden["features"]), golden["output"])
