"""What is known of trials when a sweep is over."""

from typing import Any

from raybrain.train.order import resolve
from raybrain.tune.outcome import as_published
from raybrain.tune.space import SearchSpace
from tests.tune.test_sweep import space

MODELS = {"model": {"small": {"encoder.hidden": 16}, "big": {"encoder.hidden": 96}}}


def published(asked: SearchSpace) -> list[bool]:
    """Of every training of a grid, whether it is one that the space asks for as it is."""
    found = []
    for point in asked.points or []:
        for repeat, changes in asked.repeats().items():
            experiment = asked.experiment({**point.settings, **changes})
            experiment = experiment.model_copy(update={"train": resolve(experiment.train, 1)})
            found.append(as_published(asked, point.params, repeat, experiment))
    return found


def test_what_the_command_line_changed_is_not_what_was_published() -> None:
    settings: dict[str, Any] = {"sampler": "grid", "scheduler": "none", "parameters": {}, "trials": None, "seeds": (1, 2)}
    grid = space(variants=MODELS, **settings)
    assert published(grid) == [True] * 4
    assert published(grid.ask({"model": "big"})) == [True] * 2
    assert published(grid.ask({"encoder.hidden": "16", "model": "small"})) == [True] * 2, "that is what it asks anyway"
    assert published(grid.ask({"train.epochs": "3"})) == [False] * 4
    per_worker = grid.ask({"train.batch_size_per_worker": str(grid.experiment().train.batch_size)})
    assert published(per_worker) == [True] * 4, "said in another way"
