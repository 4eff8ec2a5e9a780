"""Check: what a search space says is possible, before anything is prepared or trained."""

from collections.abc import Mapping
from typing import Any

from raybrain.config import InputError, hint, override
from raybrain.plain import flat
from raybrain.tune.space import OBJECTIVES, SearchSpace
from raybrain.tune.walk import ends, extremes, settings_line


def check(space: SearchSpace) -> None:
    """Refuse what cannot be: every choice, both ends of every range, every variant and repetition is tried on the recipe.

    Raises:
        InputError: naming the bad key.
    """
    _check_lists(space)
    _check_names(space)
    experiment = space.experiment()
    space.allows(experiment)  # whether or not: that it can say
    for dimension, named in space.variants.items():
        if not isinstance(named, Mapping) or not named:
            raise InputError(f"variants {dimension!r} names none; type {{{dimension!r}: {{'name': {{'setting': value}}}}}}")
        for name, changes in named.items():
            with_context(f"{dimension}={name}", lambda changes=changes: space.experiment(changes))
    if callable(space.parameters):
        for point in extremes(space):
            with_context(settings_line(point.params), lambda point=point: space.experiment(point.settings))
    else:
        for key, distribution in space.parameters.items():
            _check_distribution(key, distribution)
            for value in ends(distribution):
                override(experiment, {key: value})
        _check_asked(space, flat(experiment))
    for changes in space.repeats().values():
        space.experiment(changes)
    for point in space.points or []:
        with_context(settings_line(point.params), lambda point=point: space.experiment(point.settings))
    space.sampler.check(space)
    space.scheduler.check(space)


def _check_lists(space: SearchSpace) -> None:
    for what, values, example in (
        ("seeds", space.seeds, (1, 2, 3)),
        ("over", space.over, ("study",)),
        ("objectives", space.objectives, ("parameters",)),
    ):
        if not isinstance(values, list | tuple) or not all(isinstance(value, type(example[0])) for value in values):
            raise InputError(f"{what}={values!r}: type a list, like {what}={example!r}")


def _check_names(space: SearchSpace) -> None:
    for what, value, known in (
        ("metric", space.metric, space.experiment().task.metrics),
        *(("objective", objective, OBJECTIVES) for objective in space.objectives),
        *(("dimension to repeat over", dimension, tuple(space.variants)) for dimension in space.over),
    ):
        if value not in known:
            why = " of the valid split, by which alone trials are chosen" if what == "metric" else ""
            raise InputError(f"no {what} {value!r}{why}{hint(str(value), known)}")
    if space.trials is not None and space.trials < 1:
        raise InputError(f"trials={space.trials}: at least 1")
    if not space.parameters and not space.variants:
        raise InputError('name settings to search, as in parameters={"encoder.depth": CategoricalDistribution([2, 4])}')
    if not callable(space.parameters) and not isinstance(space.parameters, Mapping):
        raise InputError("parameters must be a dict of settings and distributions, or a function of an Optuna trial")


def _check_distribution(key: str, distribution: Any) -> None:
    from optuna.distributions import BaseDistribution

    if not isinstance(distribution, BaseDistribution):
        cure = "CategoricalDistribution([2, 4]) or FloatDistribution(0.1, 1.0) of optuna.distributions"
        raise InputError(f"{key}: {distribution!r} is no distribution; write something like {cure}")


def _check_asked(space: SearchSpace, settings: Mapping[str, Any]) -> None:
    """Refuse a typed value of a searched setting that no trial would have."""
    for key in sorted(space.parameters.keys() & space.asked.keys()):  # type: ignore[union-attr]
        distribution, value = space.parameters[key], settings.get(key, space.asked[key])  # type: ignore[index]
        among = hasattr(distribution, "choices")
        if value in distribution.choices if among else distribution.low <= value <= distribution.high:
            continue
        tried = ", ".join(map(str, distribution.choices)) if among else f"{distribution.low:g} to {distribution.high:g}"
        raise InputError(f"{key}={value}: trials try {tried}; type one of these, with which the first begins, or leave it out")


def with_context(where: str, build: Any) -> Any:
    """What ``build`` makes, or its InputError with where it happened."""
    try:
        return build()
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
