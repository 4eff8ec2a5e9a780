"""Again: the command line that asks an experiment again."""

import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress

from raybrain.config import Choice, Config, InputError, part_names
from raybrain.experiment import Experiment, recipe, recipe_names
from raybrain.plain import typed


def command_of(experiment: Experiment) -> str | None:
    """What to type to train an experiment: the recipe that is nearest to it, with what is changed.

    None if no command line can say it, or its data are not where they were.
    """
    known = []
    for name in recipe_names():
        with suppress(InputError, OSError):
            changes = {key: now for key, _, now in changed(recipe(name), experiment)}
            if _asks(experiment, name, changes):
                known.append((name, _needed(experiment, name, changes)))
    if not known:
        return None
    name, changes = min(known, key=lambda one: len(one[1]))
    return " ".join(["raybrain train", name, *(shlex.quote(f"{key}={value}") for key, value in changes.items())])


def _needed(experiment: Experiment, name: str, changes: dict[str, str]) -> dict[str, str]:
    """Those of some changes that make a difference: a fit in closed form does not read all settings."""
    for key in list(changes):
        fewer = {other: value for other, value in changes.items() if other != key}
        if _asks(experiment, name, fewer):
            changes = fewer
    return changes


def _asks(experiment: Experiment, name: str, changes: Mapping[str, str]) -> bool:
    """Whether a recipe with changed settings asks the same."""
    try:
        return recipe(name, changes).as_read().signature == experiment.signature
    except InputError:
        return False


def changed(before: Config, now: Config, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """The settings that make one tree of another: dotted name, value before and value now, both as they are typed.

    Settings of a kind that was not chosen before are compared with its defaults.
    """
    for field in type(now).model_fields:
        usual, here, name = getattr(before, field, None), getattr(now, field), f"{prefix}{field}"
        if usual == here and type(usual) is type(here):
            continue
        if isinstance(here, Choice) and type(here) is not type(usual):
            yield name, getattr(usual, "name", ""), here.name
            yield from changed(type(here)(), here, f"{name}.")
        elif isinstance(here, Config) and isinstance(usual, Config):
            yield from changed(usual, here, f"{name}.")
        elif isinstance(here, tuple) and any(isinstance(part, Choice) for part in here):
            yield from _changed_parts(usual or (), here, name)
        else:
            yield name, typed(usual), typed(here)


def _changed_parts(before: tuple[Choice, ...], now: tuple[Choice, ...], name: str) -> Iterator[tuple[str, str, str]]:
    """The same of several Choices side by side; the setting that may stand behind the name of a kind stands there."""
    usual = before if part_names(before) == part_names(now) else ()
    if not usual or any(_shorthand(part) != _shorthand(other) for part, other in zip(now, usual, strict=True)):
        yield name, ",".join(map(_shorthand, before)), ",".join(map(_shorthand, now))
        usual = tuple(type(part).parse(_shorthand(part)) for part in now)
    for label, part, other in zip(part_names(now), now, usual, strict=True):
        yield from (row for row in changed(other, part, f"{name}.{label}.") if not _is_content(part, row[0]))


def _shorthand(part: Choice) -> str:
    field = part.shorthand
    value = getattr(part, field) if field else None
    default = type(part).model_fields[field].default if field else None
    return part.name if value == default else f"{part.name}:{typed(value)}"


def _is_content(part: Choice, key: str) -> bool:
    """Whether a setting only names the content of a place that is typed."""
    return key.rpartition(".")[2] in part.named() and bool(part.shorthand)
