"""What is known of trials when a sweep is over."""

from typing import Any
from unittest.mock import Mock

from raybrain.train.order import resolve
from raybrain.tune.outcome import Swept, as_published, command
from raybrain.tune.space import SearchSpace
from tests.sweeps import space

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


def test_the_best_is_told_as_a_command_that_makes_it() -> None:
    asked = space(fixed={"train.seed": 3}).ask({"train.epochs": "5"})
    settings = {"data.features": "mel,word_length", "window.clamp": None, "encoder.depth": 2}
    typed = command(asked, settings)
    assert typed is not None
    from raybrain.cli.common import make_experiment

    _, _, recipe, *words = typed.split()
    assert make_experiment(recipe, words, None) == asked.experiment(settings)


def swept_of(*rows: tuple[int, float | None, str], **more: list[Any]) -> Swept:
    """What came of trials: number, score and state of each; and the other columns."""
    same = {"params": {}, "copy_of": None}
    made = [{"trial": trial, "score": score, "state": state, "signature": str(trial), **same} for trial, score, state in rows]
    for name, column in more.items():
        for row, value in zip(made, column, strict=True):
            row[name] = value
    return Swept("sweep", made, {}, [], [], 0, "", Mock())


def test_trials_that_share_the_best_score_are_known() -> None:
    rows = [(4, 1.0, "stopped early"), (1, 1.0, "finished"), (3, 1.0, "finished"), (0, 0.9, "finished"), (2, None, "failed")]
    assert [row["trial"] for row in swept_of(*rows).finished] == [1, 3, 0]
    assert swept_of(*rows).tied == [1, 3]
    assert swept_of(*rows, signature=["a", "b", "b", "c", "d"]).tied == [1], "one training is no tie"
    assert swept_of(*rows, copy_of=[None, None, 1, None, None]).tied == [1], "a copy that found nothing new is no tie"


def test_trials_that_were_stopped_at_chance_are_told_if_they_are_most() -> None:
    rows = [(n, 0.5, "finished" if n == 0 else "stopped early") for n in range(4)]
    assert swept_of(*rows, above_chance=[False, False, True, False]).unripe == [1, 3]
    assert swept_of(*rows, above_chance=[False, False, True, True]).unripe == []
    assert swept_of(*rows, above_chance=[None] * 4).unripe == []
