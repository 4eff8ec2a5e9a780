"""The house as DESIGN.md draws it: who may import whom, importing does nothing, nothing is stale."""

import ast
import doctest
import importlib
import pkgutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

import raybrain
from raybrain.config import Choice, Config
from raybrain.encoders.base import Encoder, SpeechEncoder
from raybrain.experiment import Experiment, recipe, recipe_names
from raybrain.features.base import Feature
from raybrain.identity import signature
from raybrain.losses.base import Loss
from raybrain.signal.base import Step
from raybrain.studies.base import Study
from raybrain.tasks.base import Task
from raybrain.tracking.base import Tracker
from raybrain.tune.samplers.base import Sampler
from raybrain.tune.schedulers.base import Scheduler
from raybrain.tune.space import load_space, space_files
from raybrain.tune.validate import check
from raybrain.tune.walk import data_parts, start

ROOT = Path(raybrain.__file__).parent
REPO = ROOT.parent
FILES = sorted(ROOT.rglob("*.py"))
MODULES = [module.name for module in pkgutil.walk_packages(raybrain.__path__, "raybrain.")]
SOURCES = {str(path.relative_to(ROOT)): path.read_text() for path in FILES}
TREES = {name: ast.parse(text) for name, text in SOURCES.items()}


def imports(name: str) -> Iterator[str]:
    """The modules a file imports anywhere in it, with the names taken from them."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reaches(imported: str, target: str) -> bool:
    return imported == target or imported.startswith(f"{target}.")


NEVER = [
    ("studies/*", ["signal", "features", "encoders", "prepare", "train", "store", "experiment"]),
    ("signal/*", ["studies", "features", "encoders", "losses", "prepare", "train", "store", "experiment"]),
    ("features/*", ["studies", "signal", "encoders", "prepare", "train", "store", "experiment"]),
    ("encoders/*", ["studies", "signal", "features", "prepare", "train", "store", "experiment"]),
    ("prepare/*", ["train", "encoders", "losses", "metrics", "tracking", "evaluate", "tune", "report", "cli", "flow"]),
    ("train/*", ["prepare", "studies", "evaluate", "predict", "tune", "report", "cli"]),
    ("predict/*", ["prepare", "evaluate", "tune", "report", "cli", "flow", "store"]),
    ("model_folder.py", ["prepare", "train", "evaluate", "tune", "report", "cli", "flow", "store", "experiment"]),
    ("network.py", ["prepare", "train", "evaluate", "tune", "report", "cli", "flow", "store"]),
    ("evaluate/*", ["prepare", "studies", "tune", "report", "cli"]),
    ("tune/*", ["studies", "report", "cli"]),
    ("report/*", ["cli", "flow"]),
    ("flow.py", ["cli"]),
    ("config.py", ["*"]),
    (
        "identity.py",
        ["studies", "signal", "features", "encoders", "losses", "prepare", "train", "store", "experiment", "cluster"],
    ),
    ("store/*", ["studies", "encoders", "prepare", "train", "experiment", "tracking", "cluster"]),
    ("data_config.py", ["encoders", "losses", "tasks", "prepare", "train", "store", "experiment", "cluster"]),
    ("events.py", ["studies", "features", "encoders", "prepare", "train", "store", "experiment"]),
    ("tasks/*", ["studies", "features", "encoders", "losses", "prepare", "train", "store", "experiment"]),
    ("losses/*", ["studies", "features", "encoders", "prepare", "train", "store", "experiment"]),
    ("metrics.py", ["studies", "features", "encoders", "prepare", "train", "store", "experiment"]),
    ("batch.py", ["*"]),
    ("download/*", ["studies", "features", "encoders", "prepare", "train", "store", "experiment", "events", "recording"]),
    ("estimate/*", ["prepare", "evaluate", "tune", "report", "doctor", "cli"]),
    ("doctor/*", ["prepare", "evaluate", "tune", "report", "cli"]),
    ("recording.py", ["*"]),
    ("lifeline.py", ["studies", "prepare", "train", "store", "experiment", "tune", "report", "cli", "flow", "cluster"]),
    ("placement.py", ["studies", "prepare", "train", "store", "experiment", "tune", "report", "cli", "flow"]),
    ("bucket/*", ["storage", "studies", "signal", "features", "encoders", "losses", "prepare", "train", "store", "cluster"]),
    ("ownership.py", ["studies", "signal", "features", "encoders", "losses", "prepare", "train", "store", "cluster"]),
    ("claims.py", ["studies", "features", "encoders", "prepare", "train", "store", "experiment", "tracking", "cluster"]),
    ("housekeeping.py", ["studies", "prepare", "evaluate", "report", "cli"]),
    ("tracking/*", ["studies", "features", "encoders", "prepare", "train", "experiment"]),
    ("experiment.py", ["prepare", "train", "evaluate", "tune", "report", "cluster", "cli"]),
]


@pytest.mark.parametrize(("files", "forbidden"), NEVER, ids=[files for files, _ in NEVER])
def test_directions(files: str, forbidden: list[str]) -> None:
    found = [
        f"{name} imports {imported}"
        for name in SOURCES
        if fnmatch(name, files)
        for imported in imports(name)
        for part in forbidden
        if (reaches(imported, "raybrain") if part == "*" else reaches(imported, f"raybrain.{part}"))
    ]
    assert any(fnmatch(name, files) for name in SOURCES), f"no {files} any more; mend this test"
    assert not found, "\n".join(found)


ONLY = {
    "mne": ["studies/*", "signal/*", "prepare/survey.py", "prepare/quality.py", "report/topography.py"],
    "mne_bids": ["studies/*"],
    "mlflow": ["tracking/mlflow.py"],
    "ray": [
        *(
            "cluster.py",
            "lifeline.py",
            "placement.py",
            "submission.py",
            "prepare/parallel.py",
            "prepare/recordings.py",
            "train/job.py",
            "train/fit.py",
            "train/group.py",
            "train/messages.py",
        ),
        *("evaluate/rank.py", "tune/*"),
    ],
    "optuna": ["tune/*"],
    "typer": ["cli/*"],
}


@pytest.mark.parametrize("library", ONLY)
def test_libraries_stay_where_they_belong(library: str) -> None:
    found = [
        name
        for name in SOURCES
        if any(reaches(imported, library) for imported in imports(name)) and not any(fnmatch(name, at) for at in ONLY[library])
    ]
    assert not found, f"{library} is imported in {', '.join(found)}"


@pytest.mark.parametrize("files", ["config.py", "events.py", "recording.py", "studies/*", "tracking/*"])
def test_no_torch(files: str) -> None:
    assert not [name for name in SOURCES if fnmatch(name, files) for imported in imports(name) if reaches(imported, "torch")]


# importing does nothing


def ended(code: str, cwd: Path) -> str:
    environment = {"HOME": str(cwd), "PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LIGHT = [
    *("cli", "config", "events", "recording", "cluster", "tracking.mlflow", "studies.synthetic", "studies.bids"),
    *("data_config", "prepare.tasks"),  # of which there is a process per core
    *("features.mel", "train.messages"),  # the latter runs in an actor of its own
]
NUMERIC = [
    *("train.step", "encoders.simple_conv", "encoders.conv_rnn", "encoders.deep_mel", "encoders.sound_side"),
    *("losses.base", "metrics", "batch"),
]
LOADED = "import sys, importlib; [importlib.import_module('raybrain.' + m) for m in {0}]; print(*({1} & set(sys.modules)))"


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        (LIGHT, {"torch", "ray", "mne", "mlflow", "transformers", "pandas", "optuna"}),
        (NUMERIC, {"ray", "mne", "mlflow", "transformers", "pandas", "optuna"}),
    ],
    ids=["light", "numeric"],
)
def test_heavy_libraries_load_where_they_are_used(tmp_path: Path, modules: list[str], heavy: set[str]) -> None:
    assert ended(LOADED.format(modules, heavy), tmp_path) == ""


def test_importing_does_nothing(tmp_path: Path) -> None:
    """Ray changes the environment when it is imported; nothing of ours does."""
    code = f"""
import os, ray, importlib, logging, multiprocessing, signal
def state():
    handlers = [list(logging.getLogger(name).handlers) for name in (None, "raybrain", "ray")]
    return dict(os.environ), os.getcwd(), handlers, multiprocessing.get_start_method(True), signal.getsignal(signal.SIGINT)
import ray.tune
for name in {MODULES}:
    before = state()
    importlib.import_module(name)
    assert state() == before, name
"""
    assert ended(code, tmp_path) == ""
    assert not list(tmp_path.rglob("*"))


# nothing is stale


@pytest.mark.parametrize("name", SOURCES)
def test_files(name: str) -> None:
    assert ast.get_docstring(TREES[name]), f"{name} has no docstring"
    lines = SOURCES[name].count("\n")
    assert lines < 400, f"{name} has {lines} lines"


def test_no_two_files_share_a_name() -> None:
    names = Counter(path.name for path in FILES if path.name not in ("base.py", "__init__.py"))
    assert not [name for name, count in names.items() if count > 1]


def test_no_two_public_classes_share_a_name() -> None:
    classes = Counter(
        node.name
        for tree in TREES.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not [name for name, count in classes.items() if count > 1]


@pytest.mark.parametrize("name", SOURCES)
def test_functions_are_short(name: str) -> None:
    functions = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 50]
    assert not long, f"{name}: {', '.join(long)}"


def test_recipes_load() -> None:
    assert {"quickstart", "defossez2023"} <= set(recipe_names())
    signatures = {name: recipe(name).signature for name in recipe_names()}
    assert len(set(signatures.values())) == len(signatures), f"two recipes are the same: {signatures}"


@pytest.mark.parametrize("name", [path.stem for path in space_files()])
def test_search_spaces_load(name: str) -> None:
    space = load_space(name)
    check(space)
    assert space.sampler.planned or start(space) is not None, "the recipe lies outside of its own space"
    assert data_parts(space)
    assert space.question.splitlines()[0].endswith("?"), "the docstring is to ask a question"


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    families = (Encoder, SpeechEncoder, Feature, Loss, Step, Study, Task, Tracker, Sampler, Scheduler)
    for family in families:  # so that the kinds of doctests do not stay
        monkeypatch.setattr(family, "_kinds", dict(family.kinds()))
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_doctests_are_found() -> None:
    families = ("studies", "signal", "features", "encoders", "tasks", "tracking", "tune.samplers", "tune.schedulers")
    for name in ("config", *(f"{family}.base" for family in families)):
        assert any(test.examples for test in doctest.DocTestFinder().find(importlib.import_module(f"raybrain.{name}")))


def settings() -> Iterator[type[Config]]:
    """Every class of settings in raybrain."""
    for name in MODULES:
        importlib.import_module(name)
    waiting = list(Config.__subclasses__())
    for kind in waiting:
        waiting += [found for found in kind.__subclasses__() if found not in waiting]
    for kind in waiting:
        at_home = getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind  # those of doctests are nowhere
        if kind is not Choice and at_home and kind.__module__.startswith("raybrain."):
            yield kind


def reads(tree: ast.AST) -> Iterator[str]:
    """The attributes that code reads; a validator does not count, it only looks at what was typed."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and any("_validator" in ast.unparse(found) for found in node.decorator_list):
            continue
        if isinstance(node, ast.Attribute):
            yield node.attr
        yield from reads(node)


def test_every_setting_is_read() -> None:
    read = {name for tree in TREES.values() for name in reads(tree)}
    unread = sorted({f"{kind.__name__}.{field}" for kind in settings() for field in kind.model_fields if field not in read})
    assert not unread, f"nobody reads {', '.join(unread)}"


def test_settings_have_plain_defaults() -> None:
    """Every kind can be made without a word, and so has a signature; a required setting would have none."""
    for kind in settings():
        needed = [name for name, field in kind.model_fields.items() if field.is_required()]
        assert not needed or kind.__name__ == "Cluster", f"{kind.__name__} needs {needed}"
    assert signature(Experiment())
