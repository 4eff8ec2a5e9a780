"""Identity: what names a question. Settings and code enter a signature; where data lie and where it runs never do.

The signature of a tree of settings is a hash of its differences from the defaults, of places by their content, and of the
versions of the code that its kinds stand for.
"""

import ast
import hashlib
import inspect
import json
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, TypeVar

from raybrain.config import Choice, Config, InputError
from raybrain.plain import differences

ConfigT = TypeVar("ConfigT", bound=Config)
DIGITS = 12  # hexadecimal, of a signature
UNSAID = ("ctx", "kind", "type_comment")  # of a syntax tree: what the rest of it implies
INSTALLED = ("site-packages", "dist-packages")  # folders in which strangers' modules lie side by side


def signature(config: Config, **also: Any) -> str:
    """Twelve hexadecimal digits that name ``config``: a hash of its differences from the defaults and of versions.

    A version counts where it is not 1. ``also`` adds what else the answer depends on (a checksum, say). A Choice itself is
    named by kind, version and differences.
    """
    content: dict[str, Any] = {"differences": differences(contents(config)), **also}
    if isinstance(config, Choice):
        content |= {"name": config.name, "version": version(type(config))}
    inside = {path: number for path, number in versions(config).items() if path and number != 1}
    if inside:
        content["versions"] = inside
    return _digest(json.dumps(content, sort_keys=True, allow_nan=False))


def contents(config: ConfigT) -> ConfigT:
    """``config`` with the name of its content in place of each place."""
    return _mapped(config, lambda part: part.model_copy(update=part.named()))


def locate(config: ConfigT, home: Path) -> ConfigT:
    """``config`` with all places looked up, so that no other process has to look; its signature stays the same.

    Raises:
        InputError: if something is not where it should be.
    """
    return _mapped(config, lambda part: part.located(home))


def _mapped(config: ConfigT, change: Callable[[Any], Any]) -> ConfigT:
    """``config`` with every Config in it, itself last, as ``change`` gives it back."""

    def mapped(value: Any) -> Any:
        if isinstance(value, Config):
            return _mapped(value, change)
        return tuple(map(mapped, value)) if isinstance(value, tuple) else value

    fields = {name: getattr(config, name) for name in type(config).model_fields}
    changed: ConfigT = change(config.model_copy(update={name: mapped(value) for name, value in fields.items()}))
    return changed


def versions(config: Config) -> dict[str, int | str]:
    """The version of every Choice in ``config``, by dotted path: "" is ``config`` itself, parts of a tuple go by number."""
    return {path: version(kind) for path, kind in _kinds(config)}


def check_unedited(config: Config, before: Mapping[str, int | str]) -> None:
    """Refuse to go on with other code than what signatures were made of: a process that starts later reads a plug-in anew.

    Args:
        config: the settings, in this process.
        before: their :func:`versions` in the process that sent them.

    Raises:
        InputError: if a plug-in was edited meanwhile.
    """
    for path, kind in _kinds(config):
        if version(kind) != before[path]:
            raise InputError(f"the code of {kind.name!r} was edited while it was used; run the same command again")


def _kinds(config: Config, prefix: str = "") -> Iterator[tuple[str, type[Choice]]]:
    if isinstance(config, Choice) and not prefix:
        yield "", type(config)
    for field in type(config).model_fields:
        value = getattr(config, field)
        many = isinstance(value, tuple)
        for number, part in enumerate(value if many else [value]):
            path = f"{prefix}{field}.{number}" if many else prefix + field
            if isinstance(part, Choice):
                yield path, type(part)
            if isinstance(part, Config):
                yield from _kinds(part, f"{path}.")


def version(kind: type[Choice]) -> int | str:
    """The version of a kind's code: the number raybrain gives it; of a kind from elsewhere, a hash of its source.

    That is the source of each file that defines the kind or a class it derives from, and of the modules beside it that such a
    file imports; comments, docstrings and formatting left out. Of a kind with no file, as in a notebook, it is what its
    methods and the functions that they call are made of.

    Raises:
        InputError: if such a file is no longer Python.
    """
    if _ours(kind.__module__):
        return kind.version
    if "_source_version" not in vars(kind):  # kept with the class: of the code that runs, and it travels with it
        kind._source_version = _digest(json.dumps([kind.version, sorted(_sources(kind).items())]))
    return kind._source_version


def _ours(module: str) -> bool:
    return module.partition(".")[0] == "raybrain"


def _sources(kind: type) -> dict[str, Any]:
    """What a kind from outside of raybrain is made of, by name."""
    sources: dict[str, Any] = {}
    for base in kind.__mro__:
        if _ours(base.__module__) or not (issubclass(base, Choice) or base.__module__ == kind.__module__):
            continue
        file = getattr(sys.modules.get(base.__module__), "__file__", None)
        if file and Path(file).is_file():
            files = closure(base.__module__, Path(file), lambda imported: not _ours(imported))
            sources |= {name: code_digest(path.read_text()) for name, path in files.items()}
        else:
            sources |= _typed_in(base)
    return sources


def closure(module: str, file: Path, wanted: Callable[[str], bool]) -> dict[str, Path]:
    """The files of a module and of the modules beside it that it imports, theirs included, by path below their folder.

    Beside it is what lies in its folder, or in its package if it is part of one.

    Args:
        module: its name.
        file: where it lies.
        wanted: says of an imported module whether it counts.
    """
    depth = module.count(".") + (file.name == "__init__.py")
    top = file.absolute().parents[depth]  # what ``import`` searches
    package = module.partition(".")[0] if depth else ""  # of a package only that counts, not what lies beside it
    if not package and any(part in INSTALLED for part in top.parts):
        return {file.name: file}
    files: dict[str, Path] = {}
    waiting = [(module, file.absolute())]
    while waiting:
        name, path = waiting.pop()
        if str(path.relative_to(top)) in files:
            continue
        files[str(path.relative_to(top))] = path
        folder = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported in imports(_parsed(path), folder):
            if not package or imported.partition(".")[0] == package:
                waiting += [(name, path) for name, path in _files(top, imported) if wanted(name)]
    return files


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text())
    except SyntaxError as error:
        raise InputError(f"{path} is no Python any more: {error.msg} in line {error.lineno}") from None


def imports(tree: ast.AST, package: str = "") -> Iterator[str]:
    """The modules that code imports anywhere in it, with the names taken from them; ``package`` is that of the code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _files(top: Path, imported: str) -> Iterator[tuple[str, Path]]:
    """The module called ``imported`` below ``top``, if it is there, and the packages it lies in."""
    parts = imported.split(".")
    for count in range(1, len(parts) + 1):
        name, path = ".".join(parts[:count]), top.joinpath(*parts[:count])
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                yield name, file
                break


def plain(source: str) -> str:
    """Python code without comments, docstrings and formatting."""
    return ast.unparse(_bare(source))


def code_digest(source: str) -> str:
    """Names Python code, whatever its comments, docstrings and formatting, and whatever Python's version."""
    return _digest(json.dumps(_nested(_bare(source))))


def _bare(source: str) -> ast.Module:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [line for line in body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return tree


def _nested(node: Any) -> Any:
    """A syntax tree as lists, without what is empty: another Python may have more kinds of such."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if name not in UNSAID and value not in (None, [])]
        return [type(node).__name__, *([name, _nested(value)] for name, value in fields)]
    return list(map(_nested, node)) if isinstance(node, list) else repr(node)


def _typed_in(kind: type[Any]) -> dict[str, Any]:
    """What a class with no file is made of: defaults, methods, and whatever they use of the same notebook."""
    fields = getattr(kind, "model_fields", {})
    parts: dict[str, Any] = {f"{kind.__name__}.{name} =": repr(field.default) for name, field in fields.items()}
    waiting = {f"{kind.__name__}.{name}": value for name, value in vars(kind).items()}
    while waiting:
        name, value = waiting.popitem()
        function = getattr(value, "__func__", getattr(value, "fget", value))  # of a class method, of a property
        if name in parts or getattr(function, "__module__", None) != kind.__module__:
            continue
        if isinstance(function, type):
            waiting |= {f"{name}.{key}": item for key, item in vars(function).items()}
        elif isinstance(function, FunctionType):
            parts[name] = _function_source(function)
            used = {key: function.__globals__[key] for key in _names(function.__code__) if key in function.__globals__}
            parts |= {key: repr(item) for key, item in used.items() if isinstance(item, bool | int | float | str | tuple)}
            waiting |= used
    return parts


def _function_source(function: FunctionType) -> Any:
    """The digest of a function as it was typed in; its compiled code if that is not kept."""
    try:
        return code_digest(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return _compiled(function.__code__)


def _compiled(code: CodeType) -> list[Any]:
    """Compiled code as values that are the same in every process."""

    def constant(item: Any) -> Any:
        if isinstance(item, CodeType):
            return _compiled(item)
        return sorted(map(repr, item)) if isinstance(item, frozenset) else repr(item)

    return [code.co_code.hex(), code.co_names, list(map(constant, code.co_consts))]


def _names(code: CodeType) -> set[str]:
    """All names that code and the code inside it look up."""
    return set(code.co_names).union(*(_names(item) for item in code.co_consts if isinstance(item, CodeType)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
