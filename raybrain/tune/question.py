"""Question: what a search space asks, as plain JSON. It names the sweep, so the same question goes on with the same one.

What a file says beside that (comments, the question in words, published numbers) is no part of it, nor is how many trials.
A function is its code without comments, docstrings and formatting, with the values that it uses from around it.
"""

import ast
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from raybrain.config import Config, InputError
from raybrain.identity import plain, signature
from raybrain.plain import tree
from raybrain.tune.space import SearchSpace


def question_of(space: SearchSpace) -> dict[str, Any]:
    """What a space asks; the order of names counts, as points are drawn in that order.

    Raises:
        InputError: if the code of a function cannot be read.
    """
    return {
        "experiment": space.experiment().signature,
        "set": sorted(space.fixed.keys() | space.asked.keys()),  # to which values is in the signature
        "parameters": parameters_of(space),
        "variants": {dimension: _variants(space, named) for dimension, named in space.variants.items()},
        "over": list(space.over),
        "seeds": list(space.seeds),
        "allowed": None if space.allowed is None else code_of(space.allowed),
        "metric": space.metric,
        "objectives": list(space.objectives),
        "sampler": signature(space.sampler),
        "scheduler": signature(space.scheduler),
    }


def parameters_of(space: SearchSpace) -> Any:
    """The distributions by name, or the code of the function that draws from them."""
    from optuna.distributions import distribution_to_json

    if callable(space.parameters):
        return code_of(space.parameters)
    return {key: distribution_to_json(distribution) for key, distribution in space.parameters.items()}


def _variants(space: SearchSpace, named: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The settings that variants change, and the signatures of what they make, whatever way values are written."""
    return {name: [sorted(changes), space.experiment(changes).signature] for name, changes in named.items()}


def code_of(function: Callable[..., Any]) -> list[Any]:
    """The code of a function, and of what it uses from around it by name.

    Functions of the same folder count with their code, settings and plain values as they are, all else by name.

    Raises:
        InputError: if the code cannot be read.
    """
    return _code(function, set())


def _code(function: Callable[..., Any], seen: set[FunctionType]) -> list[Any]:
    if not isinstance(function, FunctionType):
        raise InputError(f"{function!r} is no plain function; write one with def or lambda")
    seen.add(function)
    source = plain(ast.unparse(_node(function)))
    around = inspect.getclosurevars(function).nonlocals
    known = {**function.__globals__, **around}
    names = sorted({part.id for part in ast.walk(ast.parse(source)) if isinstance(part, ast.Name)} & known.keys())
    return [source, {name: _used(known[name], function, seen) for name in names}]


def _used(value: Any, function: FunctionType, seen: set[FunctionType]) -> Any:
    """What a value that a function uses means, as plain JSON."""
    if isinstance(value, FunctionType) and _folder(value) == _folder(function):
        return value.__name__ if value in seen else _code(value, seen)
    if isinstance(value, Config):
        return [type(value).__name__, tree(value)]
    if isinstance(value, Mapping):
        return {str(key): _used(item, function, seen) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_used(item, function, seen) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(str(_used(item, function, seen)) for item in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    named = value if hasattr(value, "__name__") else type(value)
    return getattr(named, "__qualname__", named.__name__)


def _folder(function: FunctionType) -> Path:
    return Path(function.__code__.co_filename).parent


def _node(function: FunctionType) -> ast.AST:
    """Where a function stands in the file it was read from."""
    code = function.__code__
    try:
        lines, _ = inspect.findsource(code)
        nodes = list(ast.walk(ast.parse("".join(lines))))
    except (OSError, SyntaxError):
        nodes = []
    node = next((node for node in nodes if _is(node, code)), None)
    if node is None:
        raise InputError(f"the code of {function.__name__} cannot be read; define it in a file")
    return node


def _is(node: ast.AST, code: CodeType) -> bool:
    """Whether code was made from a node."""
    if isinstance(node, ast.Lambda):
        body = node.body
        place = (body.lineno, body.end_lineno, body.col_offset, body.end_col_offset)
        return code.co_name == "<lambda>" and place in set(code.co_positions())
    if isinstance(node, ast.FunctionDef):
        first = min([node.lineno, *(part.lineno for part in node.decorator_list)])
        return (node.name, first) == (code.co_name, code.co_firstlineno)
    return False
