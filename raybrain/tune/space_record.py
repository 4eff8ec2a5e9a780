"""Space record: a search space as it was when its sweep ran, as plain JSON that is read without its code."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from raybrain.config import Config
from raybrain.plain import tree
from raybrain.tune.space import SearchSpace

Published = Mapping[tuple[str, ...], tuple[float, float]]


@dataclass(frozen=True)
class SpaceRecord:
    """What a sweep asked.

    Attributes:
        name: of the file.
        question: its docstring.
        recipe: the experiment to start from.
        fixed: dotted settings of every trial.
        asked: those that the command line changed.
        parameters: by name, what was searched; or the name of the function that draws.
        variants: names of dimensions, of the variants of each, and the dotted settings of each variant.
        over: dimensions repeated over.
        seeds: repeated over.
        metric: by which trials were chosen, on the valid split.
        objectives: what else was to be small.
        sampler: with its settings.
        planned: whether all points were known beforehand, so that nothing was selected and every point may meet the test split.
        scheduler: with its settings.
        published: what others found, mean and standard deviation in percent, by the names of variants.
    """

    name: str
    question: str
    recipe: str
    fixed: dict[str, Any]
    asked: dict[str, Any]
    parameters: dict[str, str]
    variants: dict[str, dict[str, dict[str, Any]]]
    over: list[str]
    seeds: list[int]
    metric: str
    objectives: list[str]
    sampler: dict[str, Any]
    planned: bool
    scheduler: dict[str, Any]
    published: Published

    @classmethod
    def of(cls, space: SearchSpace) -> Self:
        """The record of a space."""
        return cls(
            name=space.name,
            question=space.question,
            recipe=space.recipe,
            fixed=_plain(space.fixed),
            asked=_plain(space.asked),
            parameters=searched(space),
            variants=_plain(space.variants),
            over=list(space.over),
            seeds=list(space.seeds),
            metric=space.metric,
            objectives=list(space.objectives),
            sampler=tree(space.sampler),
            planned=space.sampler.planned,
            scheduler=tree(space.scheduler),
            published=space.published,
        )

    def content(self) -> dict[str, Any]:
        """As JSON."""
        published = [{"names": names, "mean": mean, "sd": sd} for names, (mean, sd) in self.published.items()]
        return asdict(self) | {"published": published}

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """The record that :meth:`content` wrote."""
        published = {tuple(one["names"]): (one["mean"], one["sd"]) for one in content["published"]}
        return cls(**{**content, "published": published})


def searched(space: SearchSpace) -> dict[str, str]:
    """What is searched, in words: distributions by the name of the setting, or a function by its name."""
    if callable(space.parameters):
        return {"function": space.parameters.__name__}
    return {key: str(distribution) for key, distribution in space.parameters.items()}


def _plain(value: Any) -> Any:
    """Settings as JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return tree(value) if isinstance(value, Config) else value
