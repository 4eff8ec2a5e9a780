"""Finding: something that was looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from raybrain.config import InputError


@dataclass(frozen=True)
class Finding:
    """What was looked at, the result, whether that is well, and what to do if not."""

    what: str
    result: str
    state: Literal["ok", "warn", "bad"] = "ok"
    do: str = ""


def looked(what: str, look: Callable[[], Finding]) -> Finding:
    """What ``look`` finds; what it refuses is bad, and its line says what to do."""
    try:
        return look()
    except InputError as error:
        return refused(what, error)


def refused(what: str, error: InputError) -> Finding:
    """A bad finding of what was refused; our errors say what was found, then what to type."""
    result, _, do = str(error).partition("; ")
    return Finding(what, result, "bad", do)
