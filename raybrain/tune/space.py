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

import itertools
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from pydantic import Field, ValidationError

from raybrain.config import Choice, Config, InputError, hint, override, shipped
from raybrain.experiment import Experiment, recipe
from raybrain.tune.samplers.base import Sampler
from raybrain.tune.schedulers.base import Scheduler

if TYPE_CHECKING:
    from raybrain.tune.walk import Point

ChoiceT = TypeVar("ChoiceT", bound=Choice)
OBJECTIVES = ("parameters", "seconds")


class Chosen(Generic[ChoiceT]):
    """A field that holds a kind of a family, and takes one as typed, too."""

    def __init__(self, family: type[ChoiceT], usual: str) -> None:
        self.family, self.usual = family, usual

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> str: ...
    @overload
    def __get__(self, instance: object, owner: type) -> ChoiceT: ...
    def __get__(self, instance: object | None, owner: type) -> ChoiceT | str:
        return self.usual if instance is None else instance.__dict__[self.name]

    def __set__(self, instance: object, value: ChoiceT | str) -> None:
        kind = self.family.parse(value) if isinstance(value, str) else value
        if not isinstance(kind, self.family):
            raise InputError(f"{self.name}={value!r} is no {self.name}; type one like {self.name}={self.usual!r}")
        instance.__dict__[self.name] = kind


class _Search(Config):
    """How a space is searched, as settings.

    Attributes:
        sampler: which points are tried.
        scheduler: which trials go on.
    """

    sampler: Sampler = Field(default_factory=lambda: Sampler.kind("tpe")())
    scheduler: Scheduler = Field(default_factory=lambda: Scheduler.kind("asha")())


@dataclass(frozen=True)
class SearchSpace:
    """Where to look.

    Attributes:
        recipe: the experiment to start from; where it lies inside the space it is the first trial, which "asha", "hyperband"
            and "median" do not stop: what a search gains is measured by it.
        parameters: dotted settings and their Optuna distributions; or a function that draws them from an Optuna trial and
            returns dotted settings, for spaces in which a choice brings further questions (an encoder kind its own settings).
        variants: what is not one setting but several that belong together: names of dimensions, of the variants of each, and
            the dotted settings of each variant. A dimension is searched like a choice among the names of its variants.
        over: dimensions that are not searched but repeated over; the score is the mean.
        fixed: dotted settings that differ from the recipe in every trial.
        allowed: says of an experiment whether it is worth a trial; None if all are.
        seeds: values of ``train.seed`` to repeat over; the score is the mean. Empty: the recipe's own.
        metric: what to make large, or small if it is the loss; one of the task's, always of the valid split, at the epoch
            whose weights are kept. ``valid_topK`` is the share of right answers over all word onsets of a study, whoever's they
            are, averaged over the studies of an experiment; then over ``seeds`` and ``over``. Where few candidates are ranked,
            all trials soon have a ``valid_top10`` of 1. The loss is the finest, but compares only what has the same features
            and contrast.
        objectives: what else to make small: "parameters" (trained numbers of the model), "seconds" (of training).
        trials: how many points to try; None for all of a grid. With "pbt" as many train at a time, copies come on top.
        sampler: which points are tried: "tpe", "cmaes", "random", "qmc" (quasi-random) or "grid" (all points, in order); a
            :class:`~raybrain.tune.samplers.base.Sampler`, or one as typed, like "tpe:7".
        scheduler: which trials go on: "asha", "hyperband" (with "tpe": like BOHB) and "median" stop trials that fall behind,
            "none" trains all to the end, "pbt" goes on with copies of good trials in their place, and changes settings of the
            optimiser as it goes; a :class:`~raybrain.tune.schedulers.base.Scheduler`, or one as typed, like "asha:2".
        published: what others found, mean and standard deviation in percent, by the names of variants.
        question, name: the docstring and the name of the file, if it comes from one.
        asked: dotted settings from the command line; of a searched setting, where the search starts.
    """

    recipe: str
    parameters: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    over: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    allowed: Callable[[Experiment], bool] | None = None
    seeds: tuple[int, ...] = ()
    metric: str = "valid_top10"
    objectives: tuple[str, ...] = ()
    trials: int | None = None
    sampler: Chosen[Sampler] = Chosen(Sampler, "tpe")
    scheduler: Chosen[Scheduler] = Chosen(Scheduler, "asha")
    published: Mapping[tuple[str, ...], tuple[float, float]] = field(default_factory=dict)
    question: str = ""
    name: str = "sweep"
    asked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether the metric is to be small or large."""
        return "min" if self.metric.endswith("loss") else "max"

    @property
    def searched(self) -> dict[str, list[str]]:
        """The dimensions that are searched, with the names of their variants."""
        return {dimension: list(named) for dimension, named in self.variants.items() if dimension not in self.over}

    def ask(self, changes: Mapping[str, Any]) -> "SearchSpace":
        """The space with what the command line says.

        Args:
            changes: dotted settings of all trials; variants of a dimension to keep; settings of ``sampler`` and ``scheduler``.

        Raises:
            InputError: if there is no such variant, sampler or scheduler.
        """
        searching = {key: value for key, value in changes.items() if key.partition(".")[0] in _Search.model_fields}
        search = override(_Search(sampler=self.sampler, scheduler=self.scheduler), searching)
        kept = dict(self.variants)
        for dimension in kept.keys() & changes.keys():
            names = [name.strip() for name in str(changes[dimension]).split(",")]
            for name in names:
                if name not in kept[dimension]:
                    raise InputError(f"{dimension} has no variant {name!r}{hint(name, kept[dimension])}")
            kept[dimension] = {name: kept[dimension][name] for name in names}
        asked = {key: value for key, value in changes.items() if key not in kept and key not in searching}
        return replace(self, variants=kept, asked=asked, sampler=search.sampler, scheduler=search.scheduler)

    @property
    def points(self) -> "list[Point] | None":
        """All points in order, if they are known beforehand.

        Raises:
            InputError: if there is no end of them, or one of them cannot be.
        """
        return self.sampler.points(self) if self.sampler.planned else None

    def experiment(self, settings: Mapping[str, Any] | None = None) -> Experiment:
        """The recipe with ``fixed``, what the command line says, and ``settings`` of a point and a repetition, in this order.

        They are applied at once, so that a setting of a part holds for whatever kind of it a trial picks. Of a part that the
        command line replaces nothing is fixed.

        Raises:
            InputError: if a setting is not there or a value is not allowed.
        """
        replaced = tuple(f"{key}." for key in self.asked)
        fixed = {key: value for key, value in self.fixed.items() if not key.startswith(replaced)}
        return override(recipe(self.recipe), {**fixed, **self.asked, **(settings or {})})

    def suggest(self, trial: Any) -> dict[str, Any]:
        """The dotted settings of a point, drawn from an Optuna trial.

        Raises:
            InputError: if the function of the space fails.
        """
        settings: dict[str, Any] = {}
        for dimension, names in self.searched.items():
            settings |= self.variants[dimension][trial.suggest_categorical(dimension, names)]
        if callable(self.parameters):
            drawn = _call(self.parameters, trial)
            if not isinstance(drawn, Mapping):
                raise InputError(f"{self.parameters.__name__} returns {drawn!r}; it must return a dict of settings")
            return settings | dict(drawn)
        return settings | {key: _draw(trial, key, distribution) for key, distribution in self.parameters.items()}

    def allows(self, experiment: Experiment) -> bool:
        """Whether an experiment is worth a trial.

        Raises:
            InputError: if the function that says so fails.
        """
        return self.allowed is None or bool(_call(self.allowed, experiment))

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The dotted settings of a point by its Optuna parameters."""
        from optuna.trial import FixedTrial

        return self.suggest(FixedTrial(dict(params)))

    def repeats(self) -> dict[tuple[str, ...], dict[str, Any]]:
        """The repetitions of a point: the names of variants and the seed, and the dotted settings that make them."""
        named = [[(name, self.variants[dimension][name]) for name in self.variants[dimension]] for dimension in self.over]
        seeds = [(str(seed), {"train.seed": seed}) for seed in self.seeds]
        repeats = {}
        for chosen in itertools.product(*named, *([seeds] if seeds else [])):
            repeats[tuple(name for name, _ in chosen)] = {key: value for _, one in chosen for key, value in one.items()}
        return repeats


def _call(function: Callable[[Any], Any], of: Any) -> Any:
    """What a person's function says, or in one line what is wrong with it."""
    try:
        return function(of)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{function.__name__}: {_line(error)}") from error


def _line(error: BaseException) -> str:
    """What went wrong in a person's file."""
    if isinstance(error, ValidationError):  # settings of a kind, as in Asha(grace=0)
        problem = error.errors()[0]
        return f"{error.title}: {'.'.join(map(str, problem['loc']))}={problem['input']!r}: {problem['msg']}"
    return f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"


def _draw(trial: Any, key: str, distribution: Any) -> Any:
    """What an Optuna trial draws from a distribution."""
    if hasattr(distribution, "choices"):
        return trial.suggest_categorical(key, distribution.choices)
    low, high, step, log = distribution.low, distribution.high, distribution.step, distribution.log
    draw = trial.suggest_int if isinstance(low, int) else trial.suggest_float
    return draw(key, low, high, step=step, log=log)


def space_files() -> list[Path]:
    """The search spaces of the current folder and raybrain's own; of two with one name the current folder's counts."""
    paths = (path for folder in shipped("search_spaces") for path in folder.rglob("*.py"))
    files = {path.stem: path for path in paths if not path.name.startswith("_")}
    return sorted(files.values())


def load_space(name: str) -> SearchSpace:
    """A search space from a file, or by the name of one of ``space_files``.

    Raises:
        InputError: if there is no such file, or it says something impossible.
    """
    known = {path.stem: path for path in space_files()}
    path = Path(name) if name.endswith(".py") else known.get(name)
    if path is not None and not path.is_file():
        raise InputError(f"no file {name}; raybrain's own search spaces go by name: {', '.join(sorted(known))}")
    if path is None:
        raise InputError(f"no search space {name!r}{hint(name, known)}; or the path of a file that ends in .py")
    try:
        content = runpy.run_path(str(path))
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # whatever a person's file does wrong
        raise InputError(f"{path}: {_line(error)}") from error
    space = content.get("SPACE")
    if not isinstance(space, SearchSpace):
        raise InputError(f"{path} defines no SPACE; write SPACE = SearchSpace(...)")
    question = (content.get("__doc__") or path.stem).strip()
    return replace(space, question=question, name=path.stem)
