"""Which training comes next, and what became of it. What a training leaves behind is written by hand, so none is run."""

import math
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from raybrain.config import InputError
from raybrain.experiment import Experiment
from raybrain.train.job import TrainJob
from raybrain.train.order import contrast
from raybrain.train.record import with_kept
from raybrain.tune.schedulers.asha import Asha
from raybrain.tune.schedulers.hyperband import Hyperband
from tests.sweeps import DEPTH, LR, Bench, history_of, space


def test_the_score_is_the_mean_over_repetitions_and_survivors_train_the_others(bench: Any) -> None:
    asked = space(seeds=(1, 2, 3), scheduler="asha:1", fixed={"train.epochs": 4})
    sweep = bench(asked, trials=2)
    trained = sweep.run(lambda experiment: 0.1 * experiment.train.seed * (1 if experiment.encoder.depth == 4 else 5))
    assert [(e.encoder.depth, e.train.seed, epochs) for e, epochs in trained] == [
        (4, 1, 4),
        (4, 2, 4),
        (4, 3, 4),
        (2, 1, 1),
    ]
    assert sweep.states == ["COMPLETE", "PRUNED"]
    best = sweep.ledger.study.best_trial
    assert best.value == pytest.approx(1 - 0.1 * 2 / 4)  # the mean of 0.1, 0.2 and 0.3, after four epochs
    assert "behind the others after epoch 1" in sweep.begun[1].user_attrs["reason"]


def test_the_recipe_is_trained_to_the_end_though_others_learn_faster(bench: Any) -> None:
    asked = space(parameters={"optim.lr": LR}, scheduler="asha:1", fixed={"train.epochs": 9})
    sweep = bench(asked, trials=5)
    first, second = sweep.ledger.next(), sweep.ledger.next()
    assert first and second and first.job.experiment == asked.experiment()
    assert sweep.train(second, [0.2] * 9) == 9
    sweep.ledger.ended(second)
    assert sweep.train(first, [0.9] * 8 + [0.1]) == 9  # behind in every rung, and the best in the end
    assert sweep.ledger.ended(first) == "finished"
    sweep.run(lambda experiment: 0.95)
    assert sweep.states == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED", "PRUNED"]
    assert sweep.ledger.study.best_trial.number == 0


@pytest.mark.parametrize("scheduler", ["hyperband", "median"])
def test_no_other_scheduler_stops_the_recipe_either(bench: Any, scheduler: Any) -> None:
    asked = space(parameters={"optim.lr": LR}, scheduler=f"{scheduler}:1", fixed={"train.epochs": 9})
    sweep = bench(asked, trials=9)
    recipe, others = sweep.ledger.next(), [sweep.ledger.next() for _ in range(4)]
    assert recipe.job.experiment == asked.experiment()
    for other in others:
        sweep.train(other, [0.2] * 9)
        sweep.ledger.ended(other)
    assert sweep.train(recipe, [0.9] * 8 + [0.1]) == 9  # behind whenever it is judged, and the best in the end
    assert sweep.ledger.ended(recipe) == "finished"
    sweep.run(lambda experiment: 0.95)
    assert "PRUNED" in sweep.states[5:]
    assert sweep.ledger.study.best_trial.number == 0


def test_the_recipe_is_known_in_a_grid_too_and_after_a_crash(bench: Any) -> None:
    rates = {"optim.lr": CategoricalDistribution([1e-3, 3e-4, 1e-4])}
    asked = space(parameters=rates, sampler="grid", scheduler="asha:1", trials=None, fixed={"train.epochs": 9})
    sweep = bench(asked)
    members = {member.job.experiment: member for member in (sweep.ledger.next() for _ in range(3))}
    assert [experiment for experiment, member in members.items() if member.entry.is_recipe] == [asked.experiment()]
    sweep.ledger.ended(members[asked.experiment()], "out of memory", again=True)
    again = bench(asked)
    trials = [again.ledger.next().entry for _ in range(3)]
    assert [entry.is_recipe for entry in trials].count(True) == 1


@pytest.mark.parametrize(
    ("sampler", "scheduler"),
    [("tpe", "asha:1"), ("tpe", "hyperband:1"), ("cmaes", "median:1"), ("random", "none"), ("qmc", "asha:1")],
)
def test_samplers_and_schedulers(bench: Any, sampler: Any, scheduler: Any) -> None:
    parameters = {"optim.lr": LR, "window.offset_s": FloatDistribution(0.0, 1.0)}
    asked = space(sampler=sampler, scheduler=scheduler, parameters=parameters, fixed={"train.epochs": 9})
    sweep = bench(asked, trials=12)
    trained = sweep.run(lambda experiment: abs(math.log10(experiment.optim.lr) + 3) / 3)
    assert len(trained) == 12 and trained[0][0] == asked.experiment()
    assert set(sweep.states) == ({"COMPLETE"} if scheduler == "none" else {"COMPLETE", "PRUNED"})
    assert len({experiment.signature for experiment, _ in trained}) == 12


def test_a_search_draws_elsewhere_because_of_what_runs(bench: Any) -> None:
    drawn = []
    for running in (False, True):
        fixed = {"train.epochs": 1, "train.seed": int(running)}  # else what one trained would serve the other
        asked = space(parameters={"optim.lr": LR}, sampler="tpe:1", scheduler="none", fixed=fixed)
        sweep = bench(asked, name=str(running), trials=20)
        for _ in range(12):
            member = sweep.ledger.next()
            sweep.train(member, [abs(math.log10(member.job.experiment.optim.lr) + 3)])
            sweep.ledger.ended(member)
        for _ in range(8 * running):  # where the next one would be drawn
            there = {"params": {"optim.lr": drawn[0]}, "distributions": {"optim.lr": LR}}
            sweep.ledger.study.add_trial(optuna.create_trial(state=TrialState.RUNNING, **there))
        drawn.append(sweep.ledger.next().job.experiment.optim.lr)
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("scheduler", [Asha, Hyperband])
def test_fewer_go_on_where_one_in_more_does(bench: Any, scheduler: type[Asha] | type[Hyperband]) -> None:
    epochs = {}
    for reduction in (2, 4):
        fixed = {"train.epochs": 9, "train.seed": reduction}  # else what one trained would serve the other
        judged = scheduler(grace=1, reduction=reduction)
        asked = space(parameters={"optim.lr": LR}, sampler="qmc", scheduler=judged, fixed=fixed)
        sweep = bench(asked, name=str(reduction), trials=16)
        epochs[reduction] = sum(number for _, number in sweep.run(lambda experiment: experiment.optim.lr))
    assert epochs[4] < epochs[2] < 16 * 9


def test_a_small_space_ends_when_nothing_is_new(bench: Any) -> None:
    sweep = bench(space(scheduler="none"), trials=10)
    assert len(sweep.run(lambda experiment: 0.5)) == 2
    assert sweep.states == ["COMPLETE"] * 2


def test_what_is_trained_is_not_trained_again_across_sweeps(bench: Any) -> None:
    def score(experiment: Experiment) -> float:
        return experiment.optim.lr

    one, two = space(parameters={"encoder.depth": DEPTH}), space(parameters={"encoder.depth": CategoricalDistribution([2, 6])})
    grids = [bench(asked, name=name) for name, asked in (("a", one), ("b", two))]
    assert len(grids[0].run(score)) == 2
    assert [experiment.encoder.depth for experiment, _ in grids[1].run(score)] == [6]
    assert grids[1].states == ["COMPLETE"] * 2


def test_two_points_that_are_one_experiment_are_trained_once(bench: Any) -> None:
    variants = {"row": {"full": {}, "same": {"encoder.depth": 4}, "other": {"encoder.depth": 2}}}
    sweep = bench(space(sampler="grid", scheduler="none", parameters={}, variants=variants, trials=None))
    members = [sweep.ledger.next(), sweep.ledger.next()]
    assert sweep.ledger.next() is None  # the second row waits for the first: they are one folder
    assert [member.job.experiment.encoder.depth for member in members if member] == [4, 2]
    for member in members:
        assert member
        sweep.train(member, [0.5])
        sweep.ledger.ended(member)
    assert sweep.ledger.next() is None
    assert sweep.states == ["COMPLETE"] * 3


def test_what_was_cut_off_goes_on_under_its_own_number_and_the_sampler_remembers(bench: Any) -> None:
    asked = space(parameters={"optim.lr": LR}, seeds=(1, 2), scheduler="asha:1", fixed={"train.epochs": 3})
    sweep = bench(asked)
    first, second = sweep.ledger.next(), None
    assert first
    sweep.train(first, [0.5, 0.4, 0.3])
    sweep.ledger.ended(first)
    second = sweep.ledger.next()
    assert second and second.repeat == ("2",)
    known = sweep.ledger.study.get_trials()[0].intermediate_values
    # killed here: another process opens the same database
    again = bench(asked)
    member = again.ledger.next()
    assert member and member.job.experiment == second.job.experiment  # the first seed is done, and the trial still number 0
    assert member.entry.trial.number == 0
    assert again.ledger.study.get_trials()[0].intermediate_values == known
    again.train(member, [0.5, 0.4, 0.1])
    again.ledger.ended(member)
    rest = again.run(lambda experiment: 0.5)
    assert {experiment.optim.lr for experiment, _ in rest} == {t.params["optim.lr"] for t in again.ledger.study.trials[1:]}
    assert "RUNNING" not in again.states and len(again.states) == 4


def test_a_failure_has_a_reason_and_only_a_crash_is_tried_again_later(bench: Any) -> None:
    asked = space(scheduler="none", sampler="grid", trials=None)
    sweep = bench(asked)
    crashed, diverged = sweep.ledger.next(), sweep.ledger.next()
    assert crashed and diverged
    assert sweep.ledger.ended(crashed, "out of memory", again=True) == "failed"
    assert sweep.ledger.ended(diverged, "the loss is not finite") == "failed"
    assert sweep.ledger.next() is None
    assert sweep.states == ["FAIL", "FAIL"]
    assert [trial.user_attrs["reason"] for trial in sweep.begun] == ["out of memory", "the loss is not finite"]
    later = bench(asked)
    assert [experiment for experiment, _ in later.run(lambda experiment: 0.5)] == [crashed.job.experiment]
    assert later.states == ["FAIL", "FAIL", "COMPLETE"]
    assert bench(asked).ledger.next() is None


def test_a_failed_seed_fails_its_trial_and_stops_the_others(bench: Any) -> None:
    sweep = bench(space(scheduler="none", seeds=(1, 2, 3)), trials=1)
    one, two = sweep.ledger.next(), sweep.ledger.next()
    assert one and two and one.entry is two.entry
    sweep.ledger.ended(one, "the loss is not finite")
    assert sweep.ledger.report(two, with_kept(history_of([0.5])))
    sweep.ledger.ended(two)
    assert sweep.ledger.next() is None
    assert sweep.states == ["FAIL"]


def test_time_that_is_up_leaves_a_trial_open(bench: Any) -> None:
    sweep = bench(space(seeds=(1, 2)), trials=1)
    member = sweep.ledger.next()
    assert member and sweep.ledger.ended(member) == "cut off"
    assert sweep.states == ["RUNNING"]
    assert len(bench(space(seeds=(1, 2)), trials=1).run(lambda experiment: 0.5)) == 2


def test_several_objectives_have_a_front(bench: Any) -> None:
    asked = space(parameters={"optim.lr": LR}, scheduler="none", objectives=("parameters", "seconds"))
    sweep = bench(asked, trials=6)
    sweep.run(lambda experiment: experiment.optim.lr)
    study = sweep.ledger.study
    assert [trial.values[1:] for trial in study.trials] == [[10.0, 12.0]] * 6
    assert [trial.number for trial in study.best_trials] == [
        max(study.trials, key=lambda trial: trial.values[0]).number  # the others are all alike
    ]


def test_points_that_cannot_be_are_passed_over(bench: Any) -> None:
    def kernel(trial: Any) -> dict[str, Any]:
        stride = trial.suggest_int("stride", 2, 3)
        return {"encoder": "conv_rnn", "encoder.stride": stride, "encoder.kernel": 4 if stride == 2 else 5}

    asked = space(parameters=kernel, scheduler="none", allowed=lambda experiment: experiment.encoder.stride == 2)
    sweep = bench(asked, trials=3)
    assert [experiment.encoder.stride for experiment, _ in sweep.run(lambda experiment: 0.5)] == [2]
    refused = [trial for trial in sweep.ledger.study.trials if "refused" in trial.user_attrs]
    assert {trial.state for trial in refused} == {TrialState.FAIL}


def test_what_a_grid_cannot_train_is_refused_and_a_search_passes_over_it(bench: Any) -> None:
    sizes = {"train.contrast_size": CategoricalDistribution([16, 24, 32])}  # batches of 64

    class Picky(Bench):
        def job(self, experiment: Experiment) -> TrainJob:
            contrast(experiment.train, workers=1)
            return super().job(experiment)

    with pytest.raises(InputError, match=r"contrast_size=24 does not divide train.batch_size=64"):
        bench(space(sampler="grid", parameters=sizes, trials=None), kind=Picky)
    search = bench(space(sampler="random", scheduler="none", parameters=sizes), trials=3, name="search", kind=Picky)
    assert {e.train.contrast_size for e, _ in search.run(lambda experiment: 0.5)} == {16, 32}
