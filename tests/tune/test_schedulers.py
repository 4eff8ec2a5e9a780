"""Schedulers and samplers: their settings, and kinds of one's own in one file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution

from raybrain.config import InputError
from raybrain.tune.question import question_of
from raybrain.tune.samplers.base import Sampler
from raybrain.tune.schedulers.base import Scheduler
from raybrain.tune.space import load_space
from raybrain.tune.validate import check
from tests.sweeps import LR, space

EPOCHS = 9

SCHEDULER = '''
"""Patience: a trial that has not got better for some epochs ends."""

from typing import Any

from optuna.pruners import BasePruner

from raybrain.tune.schedulers.base import Scheduler


class NoBetter(BasePruner):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def prune(self, study: Any, trial: Any) -> bool:
        values = [value for _, value in sorted(trial.intermediate_values.items())]
        return len(values) > self.epochs and values[-1] <= values[-1 - self.epochs]


class Impatient(Scheduler, name="impatient", shorthand="patience"):
    """Ends what has not got better for ``patience`` epochs."""

    patience: int = 2

    def pruner(self, epochs: int) -> Any:
        return NoBetter(min(self.patience, epochs))
'''

SAMPLER = '''
"""One at a time: the recipe, and each choice of each parameter with all others as the recipe has them."""

from typing import Any, ClassVar

from raybrain.tune.samplers.base import Sampler
from raybrain.tune.walk import ends, nearest, start


class OneAtATime(Sampler, name="one_at_a_time"):
    """What each setting does alone."""

    planned: ClassVar[bool] = True

    def points(self, space: Any) -> list[Any]:
        recipe = start(space)
        asked = [(name, value) for name, found in recipe.asked.items() for value in ends(found)]
        points = [nearest(space, {**recipe.params, name: value}) for name, value in asked]
        return [recipe, *(point for point in points if point.params != recipe.params)]
'''


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Writes a file of one's own, which raybrain finds by its name in the environment."""
    for family in (Sampler, Scheduler):
        monkeypatch.setattr(family, "_kinds", dict(family.kinds()))

    def write(name: str, text: str) -> Path:
        file = tmp_path / f"{name}.py"
        file.write_text(text)
        monkeypatch.setenv("RAYBRAIN_PLUGINS", str(file))
        return file

    return write


def test_a_scheduler_of_ones_own_is_one_file(bench: Any, plug_in: Any, tmp_path: Path) -> None:
    """Its trials end two epochs after they were best; the recipe goes on, and what ended early is not trained further."""
    plug_in("patience_of_a_test", SCHEDULER)
    file = tmp_path / "rates.py"
    file.write_text(
        "'How fast?'\nfrom optuna.distributions import FloatDistribution\nfrom raybrain.tune.space import SearchSpace\n"
        "SPACE = SearchSpace('quickstart', {'optim.lr': FloatDistribution(1e-4, 1e-2, log=True)}, trials=5, seeds=(1, 2),\n"
        f"    fixed={{'train.epochs': {EPOCHS}}}, scheduler='impatient:3')\n"
    )
    asked = load_space(str(file))
    check(asked)
    assert asked.scheduler.model_dump() == {"patience": 3}
    sweep = bench(asked)
    ended = []
    while member := sweep.ledger.next():
        losses = [0.5, 0.4, *[0.4] * (EPOCHS - 2)]
        ended.append((member.entry.trial.number, member.repeat, sweep.train(member, losses)))
        sweep.ledger.ended(member)
    assert ended == [(0, ("1",), EPOCHS), (0, ("2",), EPOCHS), *((trial, ("1",), 5) for trial in (1, 2, 3, 4))]
    assert sweep.states == ["COMPLETE", *["PRUNED"] * 4]
    assert question_of(asked) != question_of(asked.ask({"scheduler.patience": "2"}))
    with pytest.raises(InputError, match='type scheduler="none"'):
        check(space(scheduler="impatient", objectives=("parameters",)))


def test_a_sampler_of_ones_own_is_one_file(bench: Any, plug_in: Any) -> None:
    plug_in("sampler_of_a_test", SAMPLER)
    choices = {"encoder.depth": CategoricalDistribution([2, 4, 6]), "encoder.hidden": CategoricalDistribution([32, 64])}
    asked = space(sampler="one_at_a_time", scheduler="none", parameters=choices, trials=None)
    check(asked)
    assert asked.points is not None
    trained = bench(asked, trials=len(asked.points)).run(lambda experiment: 0.5)
    assert [(e.encoder.depth, e.encoder.hidden) for e, _ in trained] == [(4, 64), (2, 64), (6, 64), (4, 32)]


@pytest.mark.parametrize(
    ("typed", "settings"),
    [
        ("asha", {"_min_resource": 3, "_reduction_factor": 3}),
        ("asha:20", {"_min_resource": EPOCHS}),  # no more than there are
        ("hyperband:2", {"_min_resource": 2, "_max_resource": EPOCHS, "_reduction_factor": 3}),
        ("median:4", {"_n_startup_trials": 3, "_n_warmup_steps": 3}),
        ("none", {}),
        ("pbt", {}),
    ],
)
def test_settings_reach_the_pruner(typed: str, settings: dict[str, Any]) -> None:
    pruner = Scheduler.parse(typed).pruner(EPOCHS)
    assert {name: getattr(pruner, name) for name in settings} == settings


def draws(sampler: str, study: optuna.Study, count: int = 4) -> list[float]:
    """The next rates of a study, by a sampler that begins there."""
    study.sampler = Sampler.parse(sampler).sampler(space(), len(study.trials))
    rates = []
    for _ in range(count):
        trial = study.ask({"optim.lr": LR})
        rates.append(trial.params["optim.lr"])
        study.tell(trial, rates[-1])
    return rates


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("typed", ["tpe", "cmaes", "random", "qmc"])
def test_a_sampler_draws_what_its_seed_says_and_other_points_when_it_goes_on(typed: str) -> None:
    study = optuna.create_study()
    first = draws(typed, study)
    assert first == draws(f"{typed}:0", optuna.create_study()) != draws(f"{typed}:1", optuna.create_study())
    assert not set(first) & set(draws(typed, study))
