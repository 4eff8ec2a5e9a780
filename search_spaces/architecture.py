"""Which architecture decodes best: convolutions alone, or an LSTM between them, and how large?

Each kind brings its own questions, so the space is a function of the trial. Small enough for two CPU cores.
"""

from typing import Any

from raybrain.tune.space import SearchSpace


def architecture(trial: Any) -> dict[str, Any]:
    """The settings of a trial; where the recipe's own kind is kept, so is all else that it says of it."""
    settings = {
        "encoder.hidden": trial.suggest_categorical("hidden", [32, 64, 96]),
        "optim.lr": trial.suggest_float("lr", 3e-4, 1e-2, log=True),
    }
    if trial.suggest_categorical("encoder", ["simple_conv", "conv_rnn"]) == "simple_conv":
        return settings | {"encoder.depth": trial.suggest_categorical("depth", [2, 4, 6])}
    return settings | {
        "encoder": "conv_rnn",
        "encoder.attention.channels": 32,
        "encoder.initial_linear": 32,
        "encoder.depth": trial.suggest_categorical("strides", [1, 2, 3]),
        "encoder.lstm.layers": trial.suggest_int("lstm_layers", 1, 2),
        "encoder.lstm.bidirectional": trial.suggest_categorical("bidirectional", [True, False]),
    }


SPACE = SearchSpace(recipe="quickstart", parameters=architecture, metric="valid_top1", trials=24, scheduler="asha:2")
