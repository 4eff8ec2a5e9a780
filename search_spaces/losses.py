"""Which loss finds the right segment most often: one candidate among many, both directions, pairs, or features as they are?

Each loss brings its own questions: how sure it is at first, whether segments that are alike are negatives, how much of the
target goes to candidates that are like the right one, how strong the pull towards the mean over people is.
"""

from typing import Any

from raybrain.tune.space import SearchSpace

RANKING = ("contrastive", "info_nce", "siglip")


def suggest(trial: Any) -> dict[str, Any]:
    """One point: a loss with its own settings, extra negatives and how these are chosen, and the learning rate."""
    values: dict[str, Any] = {"optim.lr": trial.suggest_float("optim.lr", 3e-4, 1e-2, log=True)}
    loss = trial.suggest_categorical("loss", ["contrastive", "info_nce", "siglip", "consensus", "mse"])
    values["loss"] = loss
    if loss == "consensus":
        values["loss.weight"] = trial.suggest_categorical("loss.weight", [0.03, 0.1, 0.3])
    if loss not in RANKING:
        return values
    values["loss.alike"] = trial.suggest_categorical("loss.alike", ["negative", "left_out"])
    if loss != "siglip":
        values["loss.soft.weight"] = trial.suggest_categorical("loss.soft.weight", [0.0, 0.2])
    if loss != "contrastive":
        values["loss.temperature"] = trial.suggest_float("loss.temperature", 0.02, 0.5, log=True)
    values["train.extra_negatives"] = trial.suggest_categorical("train.extra_negatives", [0, 64])
    if values["train.extra_negatives"]:
        values["train.negatives"] = trial.suggest_categorical("train.negatives", ["uniform", "near"])
    return values


SPACE = SearchSpace(
    recipe="quickstart",
    parameters=suggest,
    fixed={"train.epochs": 20, "data.studies.synthetic.signal": 0.8},  # weak enough to tell them apart
    seeds=(2036, 2037, 2038),
    metric="valid_top1",
    trials=16,
    scheduler="asha:3",
)
