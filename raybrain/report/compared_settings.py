"""Compared settings: in which settings experiments differ, by dotted name, and what to call each by them."""

from collections.abc import Mapping, Sequence
from typing import Any

from raybrain.config import Choice, Config, part_names
from raybrain.encoders.base import FittedEncoder
from raybrain.experiment import STEPS, Experiment
from raybrain.plain import tree

ABSENT = "-"  # the kind that is used has no such setting
SEED = "train.seed"
FEW = 3  # settings that a name is made of

Settings = dict[str, tuple[str, bool]]  # the value of each setting for people, and whether it is the usual one of its kind


def differing(experiments: Sequence[Experiment]) -> list[tuple[str, list[str]]]:
    """The settings in which experiments differ, but the seed, each with its value in each of them.

    Of kinds that only some of them use, those settings count that are not at their defaults.
    """
    known = [_read(experiment) for experiment in experiments]
    rows = []
    for name in dict.fromkeys(name for settings in known for name in settings):
        has = [settings[name] for settings in known if name in settings]
        if name == SEED or (len(has) == len(known) and len({value for value, _ in has}) == 1):
            continue
        if len(has) < len(known) and all(usual for _, usual in has):
            continue
        rows.append((name, [settings[name][0] if name in settings else ABSENT for settings in known]))
    return rows


def called(rows: Sequence[tuple[str, Sequence[str]]], number: int) -> str:
    """What one of some experiments is called by the settings in which they differ."""
    kinds = [name for name, _ in rows if not any(name.startswith(f"{other}.") for other, _ in rows)]
    some = {name: values[number] for name, values in rows if name in kinds and ABSENT not in values}
    words = [value if name == "encoder" else f"{_short(name)}={value}" for name, value in some.items()]
    more = f" and {len(words) - FEW} more" if len(words) > FEW else ""
    return ", ".join(words[:FEW]) + more


def _read(experiment: Experiment) -> Settings:
    """The settings that an experiment reads: a fit in closed form reads nothing of the optimiser."""
    unread = ("optim.", *(f"train.{name}" for name in STEPS)) if isinstance(experiment.encoder, FittedEncoder) else ()
    return {name: value for name, value in _settings(experiment).items() if not name.startswith(unread)}


def _short(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[1:] if parts[0] in ("data", "train", "optim") else parts)


def _settings(config: Config, prefix: str = "") -> Settings:
    """Every setting by dotted name; a kind stands under the name of what it is a kind of. Folders are left out."""
    usual = type(config)()
    settings: Settings = {}
    for field in type(config).model_fields:
        value, default, name = getattr(config, field), getattr(usual, field), f"{prefix}{field}"
        if field == "path":  # a place, which is no part of the question
            continue
        if isinstance(value, tuple) and value and all(isinstance(part, Choice) for part in value):
            names = part_names(value)
            settings[name] = (",".join(names), names == part_names(default))
            for part, called_so in zip(value, names, strict=True):
                settings |= _settings(part, f"{name}.{called_so}.")
        elif isinstance(value, Config):
            if isinstance(value, Choice):
                settings[name] = (value.name, type(value) is type(default))
            settings |= _settings(value, f"{name}.")
        else:
            settings[name] = (_shown(tree(value)), value == default)
    return settings


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def without_seed(experiment: Experiment) -> Mapping[str, tuple[str, bool]]:
    """All settings but the seed: equal for repetitions of one experiment."""
    return {name: value for name, value in _read(experiment).items() if name != SEED}
