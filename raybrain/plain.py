"""Plain: settings as plain data, for a file, a table or a tracking store, and what of them differs from the defaults."""

from typing import Any, TypeVar

from pydantic import ValidationError

from raybrain.config import Choice, Config, part_names, refusal

ConfigT = TypeVar("ConfigT", bound=Config)


def tree(value: Any) -> Any:
    """``value`` as plain JSON data, kinds spelled out by ``name``. ``Experiment.model_validate`` reads it back."""
    if isinstance(value, Config):
        named = {"name": value.name} if isinstance(value, Choice) else {}
        return named | {field: tree(getattr(value, field)) for field in type(value).model_fields}
    if isinstance(value, tuple):
        return [tree(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a setting must be a plain value, a Config or a tuple, not {type(value).__name__}")


def from_tree(kind: type[ConfigT], content: Any) -> ConfigT:
    """What :func:`tree` made plain data of.

    Raises:
        InputError: a kind or a setting that is not known here.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise refusal(kind, error.errors()[0]) from None


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """``value`` as one level of dotted names: what MLflow and a person comparing two runs want."""
    if isinstance(value, Config):
        value = ({"name": value.name} if isinstance(value, Choice) else {}) | {
            field: getattr(value, field) for field in type(value).model_fields
        }
    elif isinstance(value, tuple) and value and isinstance(value[0], Choice):
        value = dict(zip(part_names(value), value, strict=True))
    if not isinstance(value, dict):
        return {prefix[:-1]: tree(value)}
    return {key: item for name, part in value.items() for key, item in flat(part, f"{prefix}{name}.").items()}


def differences(config: Config) -> dict[str, Any]:
    """What differs from the defaults, by dotted name. Kinds are spelled out wherever they are not the default kind."""
    return _differences(config, type(config)())


def _differences(config: Config, default: Config) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for field in type(config).model_fields:
        here, usual = getattr(config, field), getattr(default, field)
        if here == usual and type(here) is type(usual):
            continue
        if isinstance(here, Choice) and type(here) is not type(usual):
            changed[f"{field}.name"] = here.name
            usual = type(here)()
        if isinstance(here, Config):
            changed |= {f"{field}.{key}": item for key, item in _differences(here, usual).items()}
        elif isinstance(here, tuple) and any(isinstance(part, Choice) for part in here):
            changed[field] = [{"name": part.name} | _differences(part, type(part)()) for part in here]
        else:
            changed[field] = tree(here)
    return changed


def typed(value: Any) -> str:
    """A setting as it is typed behind ``KEY=``."""
    if isinstance(value, list | tuple):
        return ",".join(map(typed, value))
    return "none" if value is None else str(value)
