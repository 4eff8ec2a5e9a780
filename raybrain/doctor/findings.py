"""Findings: the results of checks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from raybrain.config import InputError


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes:
        what: what was checked.
        result: what is the case.
        state: whether that is well.
        advice: what to do if not.
    """

    what: str
    result: str
    state: Literal["ok", "warn", "bad"] = "ok"
    advice: str = ""


def check(what: str, examine: Callable[[], Finding]) -> Finding:
    """The finding of ``examine``; if it raises an InputError, a bad finding with that message."""
    try:
        return examine()
    except InputError as error:
        return failed(what, error)


def failed(what: str, error: InputError) -> Finding:
    """A bad finding from an error, whose message has the form "what is wrong; what to do"."""
    result, _, advice = str(error).partition("; ")
    return Finding(what, result, "bad", advice)
