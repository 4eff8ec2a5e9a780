"""One tree of settings, and one grammar to change it.

Every setting of an experiment lives in frozen pydantic models (:class:`Config`). A part that comes in several kinds
(an encoder, a feature, a study) is a :class:`Choice`, told apart by its ``name``. A dotted path changes a setting, from the
shell and from a sweep alike::

    override(experiment, {"encoder.depth": "6", "data.features": "mel,word_length"})

and :func:`raybrain.identity.signature` names an experiment by what differs from the defaults.
"""

import csv
import difflib
import importlib
import itertools
import os
import pkgutil
import sys
import types
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, ValidatorFunctionWrapHandler, model_validator

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)  # its name is private to pydantic

ConfigT = TypeVar("ConfigT", bound="Config")


class InputError(ValueError):
    """Something a person asked for cannot be done. The message says what was found, what is allowed, what to type."""


def first_line(error: BaseException) -> str:
    """What an error says, without what follows in further lines; what kind it is if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class _Checked(ModelMetaclass):
    """Says what is wrong with settings in one line to whoever makes them in Python, as the command line does."""

    def __call__(cls, *values: Any, **settings: Any) -> Any:
        try:
            return super().__call__(*values, **settings)
        except ValidationError as error:
            raise refusal(cls, error.errors()[0]) from None


class Config(BaseModel, metaclass=_Checked):
    """A frozen group of settings. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    def named(self) -> dict[str, Any]:
        """Other values of some fields, for the signature: of a field that is a place, what names its content."""
        return {}

    def outdated(self, changed: Collection[str]) -> dict[str, Any]:
        """Other values of some fields, where a person has changed others."""
        return {}

    def located(self, home: Path) -> Self:
        """The same settings with all places looked up, with what ``home`` knows of them.

        Raises:
            InputError: if something is not where it should be.
        """
        return self


class Choice(Config):
    """A part that comes in several kinds, told apart by ``name``.

    A direct subclass is a family; a subclass of a family with a name is a kind of it, known as soon as it is defined:

    >>> class Shape(Choice): pass
    >>> class Circle(Shape, name="circle", shorthand="radius"):
    ...     radius: float = 1.0
    >>> Shape.kind("circle")()
    Circle(radius=1.0)
    >>> Shape.parse("circle:2")
    Circle(radius=2.0)

    Kinds are found by being there: every module beside the family's ``base.py``, every entry point in the group named like
    that package, and every file in $RAYBRAIN_PLUGINS is imported when a kind is looked up. Two kinds of one name are refused.

    A kind of raybrain raises its ``version`` when its code gives other numbers, so that signatures differ. The version of any
    other kind is its source (:func:`raybrain.identity.version`).
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    _source_version: ClassVar[str]
    shorthand: ClassVar[str | None] = None
    _kinds: ClassVar[dict[str, type[Any]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__()  # pydantic hands the class keywords to __pydantic_init_subclass__, below

    @classmethod
    def __pydantic_init_subclass__(cls, name: str = "", shorthand: str | None = None, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if Choice in cls.__bases__:
            cls._kinds = {}
        if name:
            known = cls._kinds.get(name)
            if known is not None and _origin(known) != _origin(cls):  # the same class defined again takes its place
                raise InputError(
                    f"two kinds of {_words(cls.family())} called {name!r}, in {_origin(known)} and in {_origin(cls)}; "
                    "give one of them another name"
                )
            if missing := sorted(cls.__abstractmethods__):
                raise InputError(
                    f"the {_words(cls.family())} {name!r} in {_origin(cls)} lacks {' and '.join(missing)};"
                    f" write {', '.join(f'def {method}(self, ...)' for method in missing)}"
                )
            cls.name, cls.shorthand = name, shorthand
            cls._kinds[name] = cls

    @classmethod
    def family(cls) -> "type[Choice]":
        """The direct subclass of Choice that this is a kind of."""
        return next(base for base in cls.__mro__ if Choice in base.__bases__)

    @classmethod
    def kinds(cls) -> dict[str, type[Self]]:
        """All kinds of this family by name, plug-ins included.

        Raises:
            InputError: if two have one name.
        """
        cls._load_plugins()
        cls._load_own()
        return dict(sorted(cls._kinds.items()))

    @classmethod
    def _load_own(cls) -> None:
        """Import every module beside the family's ``base.py``."""
        package, _, module = cls.family().__module__.rpartition(".")
        if module == "base":
            for sibling in pkgutil.iter_modules(importlib.import_module(package).__path__):
                importlib.import_module(f"{package}.{sibling.name}")

    @classmethod
    def _load_plugins(cls) -> None:
        """Import the plug-ins that may hold kinds of this family, once a process; its own modules first, if there are any."""
        group = cls.family().__module__.removesuffix(".base")
        new = [file for file in plugin_files() if (group, file) not in _loaded]
        entries = entry_points(group=group) if (group, None) not in _loaded else ()
        _loaded.update([(group, None), *((group, file) for file in new)])  # before: a plug-in may look up kinds itself
        try:
            if new or entries:
                cls._load_own()
            for entry in entries:
                entry.load()
            for file in new:
                _import_plugin(file)
        except BaseException:  # to be said again when a kind is looked up again
            _loaded.difference_update([(group, None), *((group, file) for file in new)])
            raise

    @classmethod
    def kind(cls, name: str) -> type[Self]:
        """The kind called ``name``; InputError with the nearest names if there is none."""
        cls._load_plugins()  # even if the name is known: a plug-in may not take it a second time
        if name in cls._kinds:
            return cls._kinds[name]
        kinds = cls.kinds()
        if name not in kinds:
            raise InputError(f"no {_words(cls)} called {name!r}{hint(name, kinds)}")
        return kinds[name]

    @classmethod
    def parse(cls, text: str) -> Self:
        """``name`` or ``name:value``, where value goes into the kind's shorthand field."""
        name, colon, value = text.strip().partition(":")
        if os.sep in name:
            kinds = [kind.name for kind in cls.kinds().values() if kind.shorthand == "path"]
            raise InputError(
                f"{text!r} looks like a path; type {' or '.join(f'{kind}:{text.strip()}' for kind in kinds) or 'a name'}"
            )
        kind = cls.kind(name)
        if not colon:
            return kind()
        if kind.shorthand is None:
            raise InputError(f"{name!r} takes no value after a colon, found {text!r}; type {name!r}")
        return override(kind(), {kind.shorthand: value})

    @model_validator(mode="wrap")
    @classmethod
    def _pick(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, str):
            return cls.parse(value)
        if isinstance(value, dict) and "name" in value:
            kind = cls.kind(value["name"])
            value = {key: item for key, item in value.items() if key != "name"}
            if kind is not cls:
                return kind.model_validate(value)
        return handler(value)


_loaded: set[tuple[str, Path | None]] = set()  # the group of a family with each plug-in, and with None for its entry points


def _origin(kind: type) -> str:
    """The file a class is defined in; its module where that has none, as in a notebook."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return os.path.realpath(file) if file else kind.__module__


def shipped(folder: str) -> list[Path]:
    """Where raybrain's own files of this kind may lie: a clone, an installed wheel, the current folder, which counts."""
    package = Path(__file__).parent
    return [package.parent / folder, package / "shipped" / folder, Path(folder)]


def plugin_files() -> list[Path]:
    """The Python files that $RAYBRAIN_PLUGINS names, with kinds of the user's own."""
    named = os.environ.get("RAYBRAIN_PLUGINS", "").split(os.pathsep)
    return [Path(name).expanduser().absolute() for name in named if name]


def _import_plugin(file: Path) -> None:
    """Import a file by its name, so that other processes with its folder in PYTHONPATH find what it defines."""
    if not file.is_file() or file.suffix != ".py":
        raise InputError(f"no plug-in {file}; $RAYBRAIN_PLUGINS names Python files, with {os.pathsep!r} between them")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    try:
        module = importlib.import_module(file.stem)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # whatever a person's file does wrong
        raise InputError(f"the plug-in {file}: {type(error).__name__}: {error}; RAYBRAIN_DEBUG=1 shows where") from error
    if Path(module.__file__ or "").resolve() != file.resolve():
        raise InputError(f"the plug-in {file} has the name of another module, {module.__file__}; give the file another name")


def hint(typed: str, allowed: Iterable[str]) -> str:
    """``, did you mean 'depth'? Allowed: ...``: the end of a message about a name that is not there."""
    allowed = sorted(allowed)
    near = difflib.get_close_matches(typed, allowed, n=1)
    start = f", did you mean {near[0]!r}?" if near else "."
    return f"{start} Allowed: {', '.join(allowed) or 'none'}"


def override(config: ConfigT, changes: Mapping[str, Any]) -> ConfigT:
    """A copy of ``config`` with dotted fields changed.

    Values are Python values or, from a shell, strings. Picking another kind of a Choice starts from that kind's defaults.
    In a tuple of Choices a part is addressed by its name: ``data.features.mel.bands=40``; where several have that name, by its
    place as well: ``data.studies.bids#1.label=story``.

    Raises:
        InputError: an unknown field, a value of the wrong type or range.
    """
    changed: ConfigT = _apply(config, {tuple(key.split(".")): value for key, value in changes.items()}, prefix="")
    return changed


def _apply(config: Any, changes: dict[tuple[str, ...], Any], prefix: str) -> Any:
    if isinstance(config, tuple):
        return _apply_to_parts(config, changes, prefix)
    if not isinstance(config, Config):
        key = ".".join(next(iter(changes)))
        raise InputError(f"{prefix[:-1]!r} is one value and has no field {key!r}; type {prefix[:-1]}=VALUE")
    fields = type(config).model_fields
    changed = list(dict.fromkeys(path[0] for path in changes))
    values = {name: getattr(config, name) for name in fields if hasattr(config, name)} | config.outdated(changed)
    for first in changed:
        if first not in fields:
            raise InputError(f"no setting {prefix + first!r}{hint(first, fields)}")
        here = {path[1:]: value for path, value in changes.items() if path[0] == first}
        if () in here:
            values[first] = _checked(config, first, here.pop(()), prefix)
        if here:
            values[first] = _apply(values[first], here, f"{prefix}{first}.")
    new = {path: value for path, value in changes.items() if len(path) > 1 or getattr(config, path[0], None) != value}
    return _validated(type(config), values, new, prefix)


def part_names(parts: tuple[Any, ...]) -> list[str]:
    """What each part of a tuple of Choices is called: its name, with its place in the tuple where several have that name."""
    names = [getattr(part, "name", "") for part in parts]
    return [f"{name}#{number}" if names.count(name) > 1 else name for number, name in enumerate(names)]


def _apply_to_parts(parts: tuple[Any, ...], changes: dict[tuple[str, ...], Any], prefix: str) -> tuple[Any, ...]:
    names = part_names(parts)
    for path in changes:
        same = [name for name in names if name.split("#")[0] == path[0]]
        if path[0] not in names and same:
            raise InputError(f"{prefix + path[0]!r} stands for {len(same)} parts; type one of {', '.join(same)} for it")
        if path[0] not in names:
            raise InputError(f"no setting {prefix + path[0]!r}{hint(path[0], names)}")
        if len(path) == 1:
            raise InputError(f"{prefix + path[0]!r} is a part, not a value; type {prefix}{path[0]}.FIELD=VALUE")
    chosen = {name: {p[1:]: v for p, v in changes.items() if p[0] == name} for name in names}
    return tuple(
        _apply(part, chosen[name], f"{prefix}{name}.") if chosen[name] else part
        for part, name in zip(parts, names, strict=True)
    )


def _checked(config: Config, field: str, value: Any, prefix: str) -> Any:
    """``value`` as the field's type, so that an error names this setting and no other."""
    info = type(config).model_fields[field]
    here = getattr(config, field, None)
    if isinstance(here, Config) and not isinstance(here, Choice) and not isinstance(value, Config | dict):
        fields = ", ".join(type(here).model_fields)
        raise InputError(f"{prefix}{field} is a group of settings; type {prefix}{field}.FIELD=VALUE. Allowed: {fields}")
    if isinstance(value, str):
        value = _from_text(info.annotation, value)
    try:
        return TypeAdapter(info.rebuild_annotation()).validate_python(value)
    except ValidationError as error:
        raise InputError(f"{prefix}{field}={_shown(value)}: {_message(error.errors()[0])}") from None


def _validated(kind: type[ConfigT], values: dict[str, Any], changes: dict[tuple[str, ...], Any], prefix: str) -> ConfigT:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        where = prefix + ".".join(str(part) for part in problem["loc"])
        if not problem["loc"]:  # fields that do not go together: name those that were asked for
            where = ", ".join(f"{prefix}{'.'.join(path)}={_shown(value)}" for path, value in changes.items())
        raise InputError(f"{where}: {_message(problem)}") from None


def _from_text(annotation: Any, text: str) -> Any:
    options = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    if text.lower() in ("none", "null") and type(None) in options:
        return None
    for option in options:
        if get_origin(option) is Literal and text in map(str, get_args(option)):
            return next(allowed for allowed in get_args(option) if str(allowed) == text)
    if any(get_origin(option) is tuple for option in options):
        inside = text[1:-1] if text[:1] + text[-1:] in ("()", "[]") else text
        parts = itertools.chain.from_iterable(csv.reader(inside.splitlines(), skipinitialspace=True))
        return [item for item in (part.strip() for part in parts) if item]  # "a,b" in double quotes is one item
    return text


def refusal(kind: Any, problem: Any) -> InputError:
    """What is wrong with settings that were given to a class by name."""
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return InputError(f"{kind.__name__} has no setting {where!r}{hint(where, kind.model_fields)}")
    return InputError(f"{kind.__name__}: {f'{where}: ' if where else ''}{_message(problem)}")


def _message(problem: Any) -> str:
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    value = f" (found {_shown(problem['input'])})" if not isinstance(problem["input"], dict | Config) else ""
    return f"{problem['msg'][0].lower()}{problem['msg'][1:]}{value}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() else repr(value)


def _words(kind: type) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in kind.__name__).strip()
