"""Explain: every setting with what it means, its unit and what is allowed, from the docstrings and the types of settings.

A class of settings says what each of its fields means in the ``Attributes`` of its docstring; a subclass inherits that.
"""

import inspect
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from raybrain.config import Choice, Config
from raybrain.plain import tree

UNITS = {"_s": "seconds", "_hz": "hertz", "minutes": "minutes"}
PLAIN = {bool: "yes or no", int: "whole number", float: "number", str: "text", Path: "path", NoneType: "none"}
BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
SECTION = re.compile(r"^Attributes:\n((?:    .*\n?|\n)+)", flags=re.MULTILINE)
ENTRY = re.compile(r"^    (\w[\w, ]*):(.*(?:\n {8}.*)*)", flags=re.MULTILINE)


@dataclass(frozen=True)
class Setting:
    """One setting, by its dotted name, with its value as it is typed; ``unit`` is empty where there is none."""

    name: str
    value: str
    unit: str
    allowed: str
    meaning: str


@dataclass(frozen=True)
class Group:
    """Settings that belong together: ``name`` is where they stand, or ``encoder=conv_rnn`` where they come with a kind."""

    name: str
    what: str
    settings: list[Setting]


def explain(config: Config) -> list[Group]:
    """All settings of ``config`` group by group, then those that other kinds of its parts would bring, at their defaults."""
    walk = _Walk()
    chosen = list(walk.groups(config, "", ""))
    named = {group.name for group in chosen}
    others = [
        group
        for family, place in walk.families.items()
        for kind in family.kinds().values()
        if (name := _kind_name(place, kind)) not in named
        for group in _Walk(of=f" of {name}").kind(kind(), place)
    ]
    return chosen + others


@dataclass
class _Walk:
    """Goes through a tree of settings.

    Attributes:
        of: what to add to the names of groups inside a kind that was not chosen.
        families: the families of kinds that were met, and where; places of one of several parts end in a dot.
    """

    of: str = ""
    families: dict[type[Choice], str] = field(default_factory=dict)

    def groups(self, config: Config, path: str, title: str) -> Iterator[Group]:
        """The settings of ``config``, whose names begin with ``path``, then those of its parts."""
        words, settings, parts = meanings(type(config)), [], []
        for name, info in type(config).model_fields.items():
            if not hasattr(config, name):
                continue
            place, value = f"{path}.{name}".removeprefix("."), getattr(config, name)
            if isinstance(value, Config) and not isinstance(value, Choice):
                parts.append(self.groups(value, place, place + self.of))
                continue
            setting = Setting(place, _typed(value), unit(name), allowed(info.annotation, info.metadata), words.get(name, ""))
            settings.append(setting)
            inside = f"{place}." if isinstance(value, tuple) else place
            self.families |= dict.fromkeys(_families(info.annotation), inside)
            some = value if isinstance(value, tuple) else (value,)
            parts += [self.kind(part, inside) for part in some if isinstance(part, Choice)]
        yield Group(title, _first_line(type(config)), settings)
        yield from itertools.chain.from_iterable(parts)

    def kind(self, part: Choice, place: str) -> Iterator[Group]:
        """The settings of a kind; one of several is addressed by its name: ``data.features.mel.bands``."""
        path = f"{place}{part.name}" if place.endswith(".") else place
        return self.groups(part, path, _kind_name(place, type(part)))


def _kind_name(place: str, kind: type[Choice]) -> str:
    return f"{place.removesuffix('.')}={kind.name}"


def meanings(kind: type) -> dict[str, str]:
    """What the fields of a class mean, by the ``Attributes`` of its docstring and those of the classes it derives from."""
    known: dict[str, str] = {}
    for base in reversed([base for base in kind.__mro__ if issubclass(base, Config)]):
        section = SECTION.search(inspect.cleandoc(base.__dict__.get("__doc__") or ""))
        for names, text in ENTRY.findall(section[1]) if section else []:
            known |= dict.fromkeys((name.strip() for name in names.split(",")), " ".join(text.split()).rstrip("."))
    return known


def unit(name: str) -> str:
    """The unit that a field's name ends with; empty if there is none."""
    return next((full for end, full in UNITS.items() if name.endswith(end)), "")


def allowed(annotation: Any, limits: tuple[Any, ...] | list[Any] = ()) -> str:
    """What a field of this type takes, in words: ``whole number above 0, or none``."""
    origin, options = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return allowed(options[0], options[1:])
    if origin in (Union, UnionType):
        plain = [allowed(option, limits) for option in options if option is not NoneType]
        return ", or ".join([*plain, *(["none"] if NoneType in options else [])])
    if origin is Literal:
        return " | ".join(map(str, options))
    if origin is tuple:
        return f"{allowed(options[0])}; several with commas"
    if isinstance(annotation, type) and issubclass(annotation, Choice):
        return " | ".join(annotation.kinds())
    if annotation in PLAIN:
        bounds = [f"{word} {value:g}" for limit in limits for word, value in _bounds(limit)]
        return " ".join([PLAIN[annotation], " and ".join(bounds)]).strip()
    return getattr(annotation, "__name__", str(annotation))


def _bounds(limit: Any) -> Iterator[tuple[str, float]]:
    for name, word in BOUNDS.items():
        if (value := getattr(limit, name, None)) is not None:
            yield word, value


def _families(annotation: Any) -> Iterator[type[Choice]]:
    if isinstance(annotation, type) and issubclass(annotation, Choice):
        yield annotation
    for option in get_args(annotation):
        yield from _families(option)


def _typed(value: Any) -> str:
    """A value as it is typed at the command line."""
    if isinstance(value, tuple):
        return ",".join(map(_typed, value))
    if isinstance(value, Choice):
        return value.name
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return str(value if isinstance(value, Path) else tree(value))


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").splitlines()[0]
