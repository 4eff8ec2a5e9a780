"""What is installed: dependencies are declared and bounded, and the search spaces come along."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from raybrain.tune.space import space_files
from tests.conftest import REPO
from tests.test_layout import TREES, imports

PYPROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())
PROJECT: dict[str, Any] = PYPROJECT["project"]
EXTRAS = [requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra]
REQUIREMENTS = {
    canonicalize_name(requirement.name): requirement for requirement in map(Requirement, [*PROJECT["dependencies"], *EXTRAS])
}
PRIVATE = {  # what we use of other libraries that they do not promise to keep: what to look at before a bound is moved
    "_trial_id": "optuna",  # tune/: a trial that ended elsewhere
    "_storage": "optuna",  # tune/study.py: to write a drawn trial at once
    "_get_ch_type_mapping": "mne-bids",  # studies/bids: types of channels
    "_ensure_fiducials_ctf_head": "mne-bids",  # studies/bids: landmarks of electrodes in CTF coordinates
    "_unlock": "mne",  # signal/: information about a recording that is computed from another
    "_raw_extras": "mne",  # signal/chunked.py: where a reader keeps what it reads from
    "_read_picks": "mne",
    "_projector": "mne",
    "_comp": "mne",
    "_private": "ray",  # cluster.py: to listen on loopback alone
    "_internal_kv_put": "ray",  # cluster.py: the memory of the head of a cluster
    "_internal_kv_get": "ray",
    "_internal_kv_list": "ray",  # prepare/parallel.py: what became of recordings, while others are still prepared
    "_internal_kv_del": "ray",
    "_check_input_dim": "torch",  # encoders/layers.py: batch norm
    "_internal": "pydantic",  # config.py: a name for types only
    "_model_construction": "pydantic",
}


def private_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            yield from (part for alias in node.names for part in alias.name.split("."))


def defined_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def test_private_parts_of_others_are_known_and_bounded() -> None:
    own = {name for tree in TREES.values() for name in defined_names(tree)}
    names = {name for tree in TREES.values() for name in private_names(tree) if re.match(r"_[a-z]", name)}
    assert names - own == set(PRIVATE), "write down in PRIVATE whose it is, and bound the version of that library"
    for library in PRIVATE.values():
        operators = {specifier.operator for specifier in REQUIREMENTS[library].specifier}
        assert operators & {"<", "==", "~="}, f"{library} has no upper bound"


def test_what_is_imported_is_declared() -> None:
    packages = packages_distributions()
    tops = {imported.partition(".")[0] for name in TREES for imported in imports(name)} - set(sys.stdlib_module_names)
    of = {top: {canonicalize_name(name) for name in packages.get(top, [])} for top in tops - {"raybrain"}}
    missing = [top for top, names in of.items() if not names & set(REQUIREMENTS)]
    assert not missing, f"imported, but not among the dependencies: {', '.join(sorted(missing))}"


@pytest.mark.parametrize("name", sorted(REQUIREMENTS.keys() - {"raybrain"}))
def test_constraints_pin_what_is_declared(name: str) -> None:
    lines = (REPO / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    versions = {canonicalize_name(pinned): version for pinned, version in pins.items()}
    assert REQUIREMENTS[name].specifier.contains(versions[name]), f"{name}=={versions[name]}"


def test_search_spaces_of_an_installed_wheel(tmp_path: Path) -> None:
    """Laid out as the wheel's settings say; ``.ci/wheel`` does it with a real one."""
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    site = tmp_path / "site"
    for top in wheel["include"]:
        folder = top.removeprefix("/")
        shutil.copytree(REPO / folder, site / wheel["sources"].get(folder, folder))
    empty = tmp_path / "empty"
    empty.mkdir()
    command = [sys.executable, "-c", "from raybrain.cli import main; main()", "list", "spaces", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, cwd=empty, env=environment, text=True, capture_output=True, check=True)
    spaces = json.loads(done.stdout.splitlines()[-1])["spaces"]
    assert set(spaces) == {path.stem for path in space_files()}
    assert not [line for line in spaces.values() if line.startswith("cannot be used")]


def test_a_search_space_in_the_current_folder_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "quickstart.py").write_text("")
    monkeypatch.chdir(tmp_path)
    (path,) = [path for path in space_files() if path.stem == "quickstart"]
    assert path.resolve() == tmp_path / "search_spaces" / "quickstart.py"
