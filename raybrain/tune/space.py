"""SearchSpace: one question in one Python file. Its docstring asks it, its ``SPACE`` says where to look for the answer.

::

    '''How deep should the encoder be, and how fast should it learn?'''
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from raybrain.tune.space import SearchSpace

    SPACE = SearchSpace(
        recipe="quickstart",
        parameters={
            "encoder.depth": CategoricalDistribution([2, 4, 6]),
            "optim.lr": FloatDistribution(1e-4, 1e-2, log=True),
        },
        trials=12,
    )
"""

import hashlib
import itertools
import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from raybrain.config import InputError, flat, hint, override
from raybrain.experiment import Experiment, recipe
from raybrain.metrics import TOP

Scheduler = Literal["asha", "none"]
METRICS = ("valid_loss", *(f"valid_top{k}" for k in TOP))


@dataclass(frozen=True)
class SearchSpace:
    """Where to look.

    Attributes:
        recipe: the experiment to start from; it is the first trial.
        parameters: dotted settings and their Optuna distributions.
        fixed: dotted settings that differ from the recipe in every trial.
        metric: what to make large; always of the valid split.
        trials: how many to run.
        scheduler: "asha" stops trials that fall behind (after ``grace`` epochs at the earliest), "none" trains all to the end.
        sampler_seed: of Optuna's TPE sampler.
    """

    recipe: str
    parameters: Mapping[str, Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "valid_top10"
    trials: int = 12
    scheduler: Scheduler = "asha"
    grace: int = 3
    sampler_seed: int = 0
    question: str = ""
    name: str = ""  # of the file
    source: str = ""  # its checksum

    def experiment(self, changes: Mapping[str, Any]) -> Experiment:
        """The experiment every trial starts from."""
        return override(override(recipe(self.recipe), self.fixed), changes)

    def check(self, experiment: Experiment) -> None:
        """Try both ends of every range, and every choice, on the experiment.

        Raises:
            InputError: if a parameter is no setting, or a value is not allowed there.
        """
        if self.metric not in METRICS:
            raise InputError(f"metric={self.metric!r}: trials are chosen by the valid split only{hint(self.metric, METRICS)}")
        if self.scheduler not in get_args(Scheduler):
            raise InputError(f"no scheduler {self.scheduler!r}{hint(self.scheduler, get_args(Scheduler))}")
        for name, value in (("trials", self.trials), ("grace", self.grace)):
            if value < 1:
                raise InputError(f"{name}={value}: at least 1")
        if not isinstance(self.parameters, Mapping) or not self.parameters:
            raise InputError('parameters must name settings, as in {"encoder.depth": CategoricalDistribution([2, 4])}')
        from optuna.distributions import BaseDistribution

        for key, distribution in self.parameters.items():
            if not isinstance(distribution, BaseDistribution):
                cure = "CategoricalDistribution([2, 4]) or FloatDistribution(0.1, 1.0) of optuna.distributions"
                raise InputError(f"{key}: {distribution!r} is no distribution; write something like {cure}")
            values = getattr(distribution, "choices", None) or (distribution.low, distribution.high)
            for value in values:
                override(experiment, {key: value})

    def start(self, experiment: Experiment) -> dict[str, Any] | None:
        """The experiment's own values as a point of the space; None if they lie outside."""
        values = flat(experiment)
        point = {}
        for key, distribution in self.parameters.items():
            if hasattr(distribution, "choices"):
                same = [choice for choice in distribution.choices if override(experiment, {key: choice}) == experiment]
                if not same:
                    return None
                point[key] = same[0]
            elif key in values and distribution.low <= values[key] <= distribution.high:
                point[key] = values[key]
            else:
                return None
        return point

    def data_parts(self, experiment: Experiment) -> list[Experiment]:
        """An experiment for every distinct data part its trials can have."""
        choices = {key: d.choices for key, d in self.parameters.items() if key.startswith("data.") and hasattr(d, "choices")}
        ranged = [key for key in self.parameters if key.startswith("data.") and key not in choices]
        if ranged:
            raise InputError(f"{ranged[0]} is a range, but data are prepared before a sweep; type a CategoricalDistribution")
        points = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
        return [override(experiment, point) for point in points]


def space_files() -> list[Path]:
    """The search spaces of the project or of the current folder."""
    folders = [Path("search_spaces"), Path(__file__).parents[2] / "search_spaces"]
    found = {path.stem: path for folder in reversed(folders) for path in folder.rglob("*.py") if not path.name.startswith("_")}
    return sorted(found.values())


def load_space(name: str) -> SearchSpace:
    """A search space from a file, or by the name of one of ``space_files``.

    Raises:
        InputError: if there is no such file, or it says something impossible.
    """
    known = {path.stem: path for path in space_files()}
    path = Path(name) if name.endswith(".py") else known.get(name)
    if path is None or not path.is_file():
        raise InputError(f"no search space {name!r}{hint(name, known)}; or the path of a file that ends in .py")
    try:
        content = runpy.run_path(str(path))
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # whatever a person's file does wrong
        line = (str(error).splitlines() or ["no message"])[0]
        raise InputError(f"{path}: {type(error).__name__}: {line}") from error
    space = content.get("SPACE")
    if not isinstance(space, SearchSpace):
        raise InputError(f"{path} defines no SPACE; write SPACE = SearchSpace(...)")
    source = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    question = (content.get("__doc__") or path.stem).strip()
    return SearchSpace(**{**vars(space), "question": question, "name": path.stem, "source": source})
