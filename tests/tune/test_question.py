"""What names a sweep: what its space asks, not how the file says it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.store import Prepared, Store
from raybrain.tune.question import code_of, question_of
from raybrain.tune.space import SearchSpace, load_space
from raybrain.tune.sweep import make_sweep

FILE = '''
"""How deep?"""
from optuna.distributions import CategoricalDistribution
from raybrain.tune.space import SearchSpace
RATES = [1e-4, 1e-3]

def rate(trial):
    """Draws a rate."""
    return trial.suggest_categorical("rate", RATES)  # any of them

def architecture(trial):
    return {"encoder.depth": trial.suggest_int("depth", 1, 4), "optim.lr": rate(trial)}

SPACE = SearchSpace(
    recipe="quickstart",
    parameters=architecture,
    allowed=lambda experiment: experiment.encoder.depth < 4,
    variants={"size": {"small": {"encoder.hidden": 16}, "big": {"encoder.hidden": 32}}},
    over=("size",),
    trials=4,
)
'''


def asked(folder: Path, *changes: tuple[str, str]) -> Any:
    """What the file asks after some changes of its text."""
    text = FILE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "space.py"
    path.write_text(text)
    return question_of(load_space(str(path)))


@pytest.mark.parametrize(
    "changes",
    [
        [("How deep?", "How deep should it be?")],
        [("# any of them", "# one of them")],
        [('    """Draws a rate', '\n    """Any rate')],
        [('suggest_int("depth", 1, 4), ', 'suggest_int("depth",\n   1, 4),')],
        [("experiment.encoder.depth < 4", "(experiment . encoder.depth   <4)")],
        [("trials=4", "trials=9")],
        [("trials=4", 'trials=4, published={("small",): (50.0, 1.0)}')],
        [('"encoder.hidden": 16', '"encoder.hidden": "16"')],
        [("trials=4", 'trials=4, sampler="tpe:0", scheduler="asha:3"')],
        [("[1e-4, 1e-3]", "[0.0001, 1e-3]")],
    ],
)
def test_the_same_question_in_other_words(tmp_path: Path, changes: list[tuple[str, str]]) -> None:
    assert asked(tmp_path, *changes) == asked(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        [("[1e-4, 1e-3]", "[1e-4, 1e-2]")],
        [('"rate", RATES', '"rate", RATES[:1]')],
        [('"depth", 1, 4', '"depth", 1, 5')],
        [("depth < 4", "depth < 3")],
        [('"encoder.hidden": 16', '"encoder.hidden": 24')],
        [('"small": {"encoder.hidden": 16}, "big": {"encoder.hidden": 32}', '"big": {"encoder.hidden": 32}')],
        [('    over=("size",),\n', "")],
        [("trials=4", "trials=4, seeds=(1, 2)")],
        [("trials=4", 'trials=4, metric="valid_top1"')],
        [("trials=4", 'trials=4, sampler="tpe:1"')],
        [("trials=4", 'trials=4, scheduler="asha:2"')],
        [("trials=4", 'trials=4, fixed={"train.epochs": 3}')],
        [("trials=4", 'trials=4, fixed={"encoder.depth": 4}')],  # as the recipe has it, but whatever kind a trial picks
        [('recipe="quickstart"', 'recipe="defossez2023"')],
    ],
)
def test_another_question(tmp_path: Path, changes: list[tuple[str, str]]) -> None:
    assert asked(tmp_path, *changes) != asked(tmp_path)


def test_distributions_count_with_their_order() -> None:
    def of(distribution: Any) -> Any:
        return question_of(SearchSpace("quickstart", {"encoder.depth": distribution}, trials=4))

    assert of(CategoricalDistribution([2, 4])) == of(CategoricalDistribution((2, 4)))
    assert of(CategoricalDistribution([2, 4])) != of(CategoricalDistribution([4, 2]))
    rates = [FloatDistribution(1e-4, 1e-2, log=log) for log in (False, True)]
    assert of(rates[0]) != of(rates[1])


def test_settings_of_the_search_from_the_command_line() -> None:
    space = SearchSpace("quickstart", {"encoder.depth": CategoricalDistribution([2, 4])}, trials=4)
    other = space.ask({"scheduler": "median", "scheduler.grace": "4", "sampler": "random:7", "train.epochs": "3"})
    assert other == SearchSpace(
        "quickstart", space.parameters, trials=4, scheduler="median:4", sampler="random:7", asked={"train.epochs": "3"}
    )
    assert space.ask({"scheduler.grace": "4"}).scheduler == SearchSpace("quickstart", scheduler="asha:4").scheduler
    assert question_of(space.ask({"scheduler.grace": "4"})) != question_of(space) == question_of(space.ask({}))
    for changes, message in (
        ({"scheduler.grase": "4"}, "no setting 'scheduler.grase', did you mean 'grace'"),
        ({"scheduler": "median", "scheduler.reduction": "4"}, "no setting 'scheduler.reduction'"),
        ({"sampler": "tqe"}, "no sampler called 'tqe', did you mean 'tpe'"),
    ):
        with pytest.raises(InputError, match=message):
            space.ask(changes)


def test_a_sweep_has_a_folder_by_what_is_asked_of_which_data(tmp_path: Path) -> None:
    def folder(digest: str = "0123", **changes: Any) -> Path:
        space = SearchSpace("quickstart", {"encoder.depth": CategoricalDistribution([2, 4])}, trials=4)
        data = [Prepared(Store(tmp_path), (), {}, digest, "", {})]
        return make_sweep(space, changes).folder(data, Cluster(home=tmp_path))

    assert folder().name.startswith("sweep-"), "as in a notebook, where no file gives it a name"
    assert folder() == folder(**{"scheduler": "asha:3"})
    names = {folder(), folder("4567"), folder(**{"scheduler.grace": "2"}), folder(**{"sampler": "random"})}
    assert len(names) == 4


def shallower_than(depth: int) -> Callable[[Any], bool]:
    return lambda experiment: experiment.encoder.depth < depth


def test_code_with_what_it_closes_over() -> None:
    assert code_of(shallower_than(3)) == code_of(shallower_than(3)) != code_of(shallower_than(4))
    first, second = (lambda experiment: True), (lambda experiment: experiment.encoder.depth == 1)  # in one line
    assert code_of(first) != code_of(second)


def test_code_that_calls_itself_ends() -> None:
    def draw(trial: Any, left: int = 2) -> Any:
        return draw(trial, left - 1) if left else {}

    assert code_of(draw)[1] == {"Any": "Any", "draw": "draw"}


def test_code_that_cannot_be_read() -> None:
    with pytest.raises(InputError, match="is no plain function; write one with def or lambda"):
        code_of(len)
    with pytest.raises(InputError, match="the code of <lambda> cannot be read; define it in a file"):
        code_of(eval("lambda trial: {}"))
