"""Walk: the points of a search space without training any: all of a grid, both ends of every range, every data part.

A space is a function of an Optuna trial (:meth:`SearchSpace.suggest`), so it is walked by answering its questions one way
after another: an in-memory Optuna study whose sampler gives the answers it is given.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from raybrain.config import InputError
from raybrain.data_config import DataConfig
from raybrain.experiment import Experiment
from raybrain.plain import flat
from raybrain.tune.space import SearchSpace

Answer = Callable[[str, Any], Any]  # the name of a parameter and its distribution -> a value


@dataclass(frozen=True)
class Point:
    """One point of a space: its Optuna parameters, the dotted settings they lead to, and the distributions asked for."""

    params: dict[str, Any]
    settings: dict[str, Any]
    asked: dict[str, Any]

    def line(self) -> str:
        """The parameters in one line, by the last part of their names."""
        return settings_line(self.params) or "the recipe"


def settings_line(settings: Mapping[str, Any]) -> str:
    """Settings in one line, by the last part of their names."""
    shown = {key: f"{value:.3g}" if isinstance(value, float) else value for key, value in settings.items()}
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in shown.items())


def ends(distribution: Any) -> tuple[Any, ...]:
    """Every choice, or both ends of a range."""
    return tuple(distribution.choices) if hasattr(distribution, "choices") else (distribution.low, distribution.high)


def values(name: str, distribution: Any) -> tuple[Any, ...]:
    """Every value of a distribution.

    Raises:
        InputError: if there is no end of them.
    """
    if hasattr(distribution, "choices"):
        return tuple(distribution.choices)
    if distribution.log or distribution.step is None:
        raise InputError(f"{name} is a range without steps; type a CategoricalDistribution, or give it a step")
    count = round((distribution.high - distribution.low) / distribution.step)
    return tuple(distribution.low + number * distribution.step for number in range(count + 1))


def point(space: SearchSpace, answer: Answer) -> Point:
    """The point that these answers lead to."""
    import optuna

    asked: dict[str, Any] = {}

    class Given(optuna.samplers.BaseSampler):  # type: ignore[misc]
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            return {}

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            asked[param_name] = param_distribution
            return answer(param_name, param_distribution)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trial = optuna.create_study(sampler=Given()).ask()
    settings = space.suggest(trial)
    return Point(trial.params, settings, asked)


def nearest(space: SearchSpace, answers: Mapping[str, Any]) -> Point:
    """The point with these parameters; what else is asked is answered by the first choice, or the lower end of a range."""
    return point(space, lambda name, distribution: answers[name] if name in answers else ends(distribution)[0])


def grid(space: SearchSpace) -> list[Point]:
    """All points of a space, in order; those that are not ``allowed`` left out.

    Raises:
        InputError: if there is no end of them, or one of them cannot be.
    """
    points = _leaves(space, {}, values)
    return [point for point in points if space.allowed is None or space.allows(space.experiment(point.settings))]


def _leaves(space: SearchSpace, forced: Mapping[str, Any], options: Callable[[str, Any], tuple[Any, ...]]) -> Iterator[Point]:
    """All points whose first answers are ``forced``, the last question going round first."""
    first = point(space, lambda name, distribution: forced[name] if name in forced else options(name, distribution)[0])
    yield first
    names = list(first.asked)
    for name in reversed([name for name in names if name not in forced]):
        before = {known: first.params[known] for known in names[: names.index(name)]}
        for option in options(name, first.asked[name])[1:]:
            yield from _leaves(space, {**before, name: option}, options)


def _flips(space: SearchSpace) -> Iterator[tuple[dict[str, Any], Point, Point]]:
    """Points that together hold every choice and both ends of every range: answers, point, the one it was one answer from."""
    first = nearest(space, {})
    waiting: list[tuple[dict[str, Any], Point, Point]] = [({}, first, first)]
    seen = set()
    for forced, here, before in waiting:
        yield forced, here, before
        for name, distribution in here.asked.items():
            for option in ends(distribution):
                if (name, repr(option)) not in seen:
                    seen.add((name, repr(option)))
                    if option != here.params[name]:
                        flipped = {**forced, name: option}
                        waiting.append((flipped, nearest(space, flipped), here))


def extremes(space: SearchSpace) -> list[Point]:
    """Points that together hold every choice and both ends of every range."""
    return [here for _, here, _ in _flips(space)]


def data_parts(space: SearchSpace) -> dict[DataConfig, Experiment]:
    """Every distinct data part that trials can have, with an experiment that has it.

    Raises:
        InputError: if a range changes the data, which are prepared before a sweep.
    """
    if space.sampler.planned:
        points = space.sampler.points(space)
    else:
        deciding = {
            name for forced, here, before in _flips(space) if _data(space, here) != _data(space, before) for name in forced
        }

        def options(name: str, distribution: Any) -> tuple[Any, ...]:
            if name not in deciding:
                return ends(distribution)[:1]
            try:
                return values(name, distribution)
            except InputError:
                cure = f"data are prepared before a sweep; type a CategoricalDistribution for {name}"
                raise InputError(f"{name} is a range that changes the data, and {cure}") from None

        points = list(_leaves(space, {}, options))
    parts: dict[DataConfig, Experiment] = {}
    for here in points:
        for changes in space.repeats().values():
            try:
                experiment = space.experiment(here.settings | changes)
            except InputError:
                if space.sampler.planned:
                    raise
                continue  # a search passes over what cannot be
            parts.setdefault(experiment.data, experiment)
    return parts


def _data(space: SearchSpace, here: Point) -> DataConfig | None:
    try:
        return space.experiment(here.settings).data
    except InputError:
        return None


def start(space: SearchSpace) -> Point | None:
    """The recipe as a point of the space; None if it does not lie in it.

    A function may call its parameters what it likes, so they are set one by one to what brings the experiment nearest.
    """
    known = flat(space.experiment())
    numbers = {value for value in known.values() if isinstance(value, int | float) and not isinstance(value, bool)}
    answers: dict[str, Any] = {}

    def reach(answers: Mapping[str, Any]) -> tuple[int, Point]:
        here = nearest(space, answers)
        try:
            settings = flat(space.experiment(here.settings))
        except InputError:
            return len(known), here
        return sum(settings.get(key) != known.get(key) for key in settings.keys() | known.keys()), here

    distance, here = reach(answers)
    waiting = list(here.asked)
    for name in waiting:
        if name not in here.asked:  # of a branch that was left
            continue
        asked = here.asked[name]
        options = asked.choices if hasattr(asked, "choices") else [n for n in sorted(numbers) if asked.low <= n <= asked.high]
        for option in options:
            nearer, there = reach({**answers, name: option})
            if nearer < distance:
                distance, here, answers = nearer, there, {**answers, name: option}
        waiting += [name for name in here.asked if name not in waiting]
    return here if distance == 0 else None
