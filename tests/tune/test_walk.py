"""The points of a space without training any: ends, grids, the recipe, data parts."""

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from raybrain.config import InputError
from raybrain.tune.walk import data_parts, extremes, grid, start
from tests.sweeps import DEPTH, LR, architecture, space


def test_a_function_is_tried_at_both_ends_of_everything_it_asks() -> None:
    found = extremes(space(parameters=architecture))
    asked = {(name, value) for point in found for name, value in point.params.items()}
    assert asked == {
        *(("encoder", kind) for kind in ("simple_conv", "conv_rnn")),
        *(("lstm.layers", layers) for layers in (1, 3)),
        *(("depth", depth) for depth in (2, 4)),
    }
    layers = space(parameters=architecture).experiment(found[-1].settings).encoder
    assert layers.name == "conv_rnn"  # another kind brings its own settings


def test_a_grid_is_every_point_once_and_in_order() -> None:
    variants = {"model": {"small": {"encoder.hidden": 16}, "big": {"encoder.hidden": 32, "encoder.depth": 6}}}
    asked = {"optim.lr": FloatDistribution(0.001, 0.003, step=0.001), "train.epochs": IntDistribution(2, 3)}
    whole = space(sampler="grid", variants=variants, parameters=asked, trials=None)
    points = [tuple(point.params.values()) for point in grid(whole)]
    assert points == [
        (model, pytest.approx(lr), epochs) for model in ("small", "big") for lr in (0.001, 0.002, 0.003) for epochs in (2, 3)
    ]
    assert whole.experiment(grid(whole)[-1].settings).encoder.depth == 6
    conditional = space(sampler="grid", parameters=architecture, trials=None)
    assert [point.settings for point in grid(conditional)] == [
        *({"encoder.depth": depth} for depth in (2, 4)),
        *({"encoder": "conv_rnn", "encoder.lstm.layers": layers} for layers in (1, 2, 3)),
    ]
    some = space(sampler="grid", parameters=asked, trials=None, allowed=lambda e: e.optim.lr * e.train.epochs < 0.005)
    assert len(grid(some)) == 3


def test_the_recipe_is_a_point_where_it_lies_inside() -> None:
    inside = start(space(parameters={"encoder.depth": DEPTH, "optim.lr": LR}))
    assert inside and inside.params == {"encoder.depth": 4, "optim.lr": 1e-3}
    assert start(space(parameters={"encoder.depth": CategoricalDistribution([3, 5])})) is None
    conditional = start(space(parameters=architecture))
    assert conditional and conditional.params == {"encoder": "simple_conv", "depth": 4}


def test_every_data_part_is_known_beforehand() -> None:
    def draw(trial: Any) -> dict[str, Any]:
        settings = {"encoder.depth": trial.suggest_int("depth", 1, 9), "optim.lr": trial.suggest_float("lr", 1e-4, 1e-2)}
        if trial.suggest_categorical("rate", ["usual", "other"]) == "other":
            settings["data.signal.rate_hz"] = trial.suggest_categorical("hertz", [60.0, 80.0, 120.0])
        return settings

    assert {data.signal.rate_hz for data in data_parts(space(parameters=draw))} == {60.0, 80.0, 120.0}
    studies = {"study": {"quiet": {"data.studies.synthetic.signal": 0.5}, "loud": {"data.studies.synthetic.signal": 2.0}}}
    assert len(data_parts(space(variants=studies))) == 2
    assert len(data_parts(space(variants=studies, over=("study",)))) == 2
    with pytest.raises(InputError, match=r"data.signal.rate_hz is a range that changes the data"):
        data_parts(space(parameters={"data.signal.rate_hz": FloatDistribution(60.0, 120.0)}))
