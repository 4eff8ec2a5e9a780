"""Sweeps: what a space can say, which training comes next, and what a sweep is after a kill."""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from ray.tune.search import Searcher

from raybrain.cluster import Cluster, room_for
from raybrain.config import InputError
from raybrain.experiment import Experiment
from raybrain.tracking import Run
from raybrain.train.order import contrast
from raybrain.train.record import RunRecord, run_records
from raybrain.train.worker import TrainJob, with_kept
from raybrain.tune.outcome import Swept, command
from raybrain.tune.schedulers.asha import Asha
from raybrain.tune.schedulers.hyperband import Hyperband
from raybrain.tune.search import LedgerScheduler, LedgerSearch
from raybrain.tune.space import SearchSpace
from raybrain.tune.study import STORAGE
from raybrain.tune.validate import check
from raybrain.tune.walk import data_parts, extremes, grid, start
from tests.conftest import REPO, TINY, Ended, hear_ctrl_c
from tests.sweeps import Bench, history_of, runs

Raybrain = Callable[..., Ended]
DEPTH = CategoricalDistribution([2, 4])
LR = FloatDistribution(1e-4, 1e-2, log=True)


def space(**changed: Any) -> SearchSpace:
    return SearchSpace(**{"recipe": "quickstart", "parameters": {"encoder.depth": DEPTH}, "trials": 4, **changed})


def architecture(trial: Any) -> dict[str, Any]:
    kind = trial.suggest_categorical("encoder", ["simple_conv", "conv_rnn"])
    if kind == "conv_rnn":
        return {"encoder": kind, "encoder.lstm.layers": trial.suggest_int("lstm.layers", 1, 3)}
    return {"encoder.depth": trial.suggest_categorical("depth", [2, 4])}  # the recipe's kind, with all else it says of it


# what a space can say


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"parameters": {"encoder.dpeth": DEPTH}}, r"no setting 'encoder.dpeth', did you mean 'depth'\?"),
        ({"parameters": {"optim.lr": FloatDistribution(-1.0, 1.0)}}, r"optim.lr=-1.0: "),
        ({"parameters": {"encoder.depth": [2, 4]}}, r"encoder.depth: \[2, 4\] is no distribution"),
        ({"parameters": lambda trial: {"optim.rl": trial.suggest_float("rate", 0.1, 1)}}, r"rate=0.1: no setting 'optim.rl'"),
        ({"parameters": {}}, r"name settings to search"),
        ({"variants": {"model": {"big": {"encoder.hiden": 3}}}}, r"model=big: no setting 'encoder.hiden', did you mean"),
        ({"variants": {"model": {}}}, r"'model' names none"),
        ({"over": ("study",)}, r"no dimension to repeat over 'study'"),
        ({"seeds": (-1,)}, r"train.seed=-1"),
        (
            {"metric": "test_top10"},
            r"no metric 'test_top10' of the valid split, by which alone trials are chosen\. Allowed: valid_loss",
        ),
        ({"objectives": ("size",), "scheduler": "none"}, r"no objective 'size'"),
        ({"objectives": ("parameters",)}, r'type scheduler="none"'),
        ({"objectives": ("seconds",), "scheduler": "none", "sampler": "cmaes"}, r'type sampler="tpe"'),
        ({"scheduler": "ahsa"}, r"no scheduler called 'ahsa', did you mean 'asha'\?"),
        ({"sampler": "tqe"}, r"no sampler called 'tqe', did you mean 'tpe'\?"),
        ({"scheduler": 3}, r"scheduler=3 is no scheduler; type one like scheduler='asha'"),
        ({"trials": None}, r"say how many trials"),
        ({"trials": 0}, r"trials=0: at least 1"),
        ({"scheduler": "asha:0"}, r"grace=0: input should be greater than 0"),
        ({"scheduler": "none:2"}, r"'none' takes no value after a colon"),
        ({"sampler": "grid", "parameters": {"optim.lr": LR}}, r"optim.lr is a range without steps"),
        ({"sampler": "grid", "allowed": lambda experiment: False}, r"no point that is allowed"),
        ({"fixed": {"train.epocs": 3}}, r"no setting 'train.epocs'"),
        ({"parameters": lambda trial: {"encoder.depth": trial.sugest_int("depth", 1, 2)}}, r"no attribute 'sugest_int'"),
        ({"parameters": lambda trial: None}, r"returns None; it must return a dict of settings"),
        ({"allowed": lambda experiment: experiment.encoder.dpth < 3}, r"AttributeError: .* has no attribute 'dpth'"),
        ({"seeds": 3}, r"seeds=3: type a list, like seeds=\(1, 2, 3\)"),
        ({"over": "study"}, r"over='study': type a list, like over=\('study',\)"),
    ],
)
def test_what_a_space_cannot_say(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check(space(**changed))


def test_a_function_is_tried_at_both_ends_of_everything_it_asks() -> None:
    found = extremes(space(parameters=architecture))
    asked = {(name, value) for point in found for name, value in point.params.items()}
    assert asked == {
        *(("encoder", kind) for kind in ("simple_conv", "conv_rnn")),
        *(("lstm.layers", layers) for layers in (1, 3)),
        *(("depth", depth) for depth in (2, 4)),
    }
    layers = space(parameters=architecture).experiment(found[-1].settings).encoder
    assert layers.name == "conv_rnn"  # another kind brings its own settings


def test_a_grid_is_every_point_once_and_in_order() -> None:
    variants = {"model": {"small": {"encoder.hidden": 16}, "big": {"encoder.hidden": 32, "encoder.depth": 6}}}
    asked = {"optim.lr": FloatDistribution(0.001, 0.003, step=0.001), "train.epochs": IntDistribution(2, 3)}
    whole = space(sampler="grid", variants=variants, parameters=asked, trials=None)
    points = [tuple(point.params.values()) for point in grid(whole)]
    assert points == [
        (model, pytest.approx(lr), epochs) for model in ("small", "big") for lr in (0.001, 0.002, 0.003) for epochs in (2, 3)
    ]
    assert whole.experiment(grid(whole)[-1].settings).encoder.depth == 6
    conditional = space(sampler="grid", parameters=architecture, trials=None)
    assert [point.settings for point in grid(conditional)] == [
        *({"encoder.depth": depth} for depth in (2, 4)),
        *({"encoder": "conv_rnn", "encoder.lstm.layers": layers} for layers in (1, 2, 3)),
    ]
    some = space(sampler="grid", parameters=asked, trials=None, allowed=lambda e: e.optim.lr * e.train.epochs < 0.005)
    assert len(grid(some)) == 3


def test_a_dimension_is_narrowed_by_its_name_and_a_setting_is_where_the_search_starts() -> None:
    variants = {"model": {"small": {"encoder.hidden": 16}, "big": {"encoder.hidden": 32}, "huge": {"encoder.hidden": 96}}}
    narrowed = space(variants=variants).ask({"model": "small,huge", "encoder.depth": "2", "train.epochs": "7"})
    assert narrowed.searched == {"model": ["small", "huge"]}
    assert {narrowed.experiment(point.settings).train.epochs for point in extremes(narrowed)} == {7}
    assert {narrowed.experiment(point.settings).encoder.depth for point in extremes(narrowed)} == {2, 4}
    with pytest.raises(InputError, match=r"model has no variant 'bg', did you mean 'big'\?"):
        space(variants=variants).ask({"model": "bg"})


def test_repetitions_are_seeds_times_what_is_repeated_over() -> None:
    variants = {"offset": {"early": {"window.offset_s": 0.1}, "late": {"window.offset_s": 0.2}}}
    repeats = space(variants=variants, over=("offset",), seeds=(1, 2)).repeats()
    assert list(repeats) == [("early", "1"), ("early", "2"), ("late", "1"), ("late", "2")]
    assert repeats["late", "1"] == {"window.offset_s": 0.2, "train.seed": 1}
    assert space().repeats() == {(): {}}


def test_the_recipe_is_a_point_where_it_lies_inside() -> None:
    inside = start(space(parameters={"encoder.depth": DEPTH, "optim.lr": LR}))
    assert inside and inside.params == {"encoder.depth": 4, "optim.lr": 1e-3}
    assert start(space(parameters={"encoder.depth": CategoricalDistribution([3, 5])})) is None
    conditional = start(space(parameters=architecture))
    assert conditional and conditional.params == {"encoder": "simple_conv", "depth": 4}


def test_every_data_part_is_known_beforehand() -> None:
    def draw(trial: Any) -> dict[str, Any]:
        settings = {"encoder.depth": trial.suggest_int("depth", 1, 9), "optim.lr": trial.suggest_float("lr", 1e-4, 1e-2)}
        if trial.suggest_categorical("rate", ["usual", "other"]) == "other":
            settings["data.signal.rate_hz"] = trial.suggest_categorical("hertz", [60.0, 80.0, 120.0])
        return settings

    assert {data.signal.rate_hz for data in data_parts(space(parameters=draw))} == {60.0, 80.0, 120.0}
    studies = {"study": {"quiet": {"data.studies.synthetic.signal": 0.5}, "loud": {"data.studies.synthetic.signal": 2.0}}}
    assert len(data_parts(space(variants=studies))) == 2
    assert len(data_parts(space(variants=studies, over=("study",)))) == 2
    with pytest.raises(InputError, match=r"data.signal.rate_hz is a range that changes the data"):
        data_parts(space(parameters={"data.signal.rate_hz": FloatDistribution(60.0, 120.0)}))


def test_the_best_is_told_as_a_command_that_makes_it() -> None:
    asked = space(fixed={"train.seed": 3}).ask({"train.epochs": "5"})
    settings = {"data.features": "mel,word_length", "window.clamp": None, "encoder.depth": 2}
    typed = command(asked, settings)
    assert typed is not None
    from raybrain.cli.common import make_experiment

    _, _, recipe, *words = typed.split()
    assert make_experiment(recipe, words) == asked.experiment(settings)


# which training comes next: what a training leaves behind is written by hand, so none is run


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


def test_when_time_is_up_trainings_stop_at_the_end_of_an_epoch(bench: Any) -> None:
    sweep, over = bench(space(fixed={"train.epochs": 2}), trials=2), []
    search = LedgerSearch(sweep.ledger, lambda member, how, reason: over.append(how), seconds=3600)
    search.suggest("a")
    search.until = time.monotonic()
    assert search.suggest("b") is None  # one is under way
    exchange = Mock()
    for epoch in (1, 2):
        result = with_kept(history_of([0.5, 0.4][:epoch]))
        LedgerScheduler(search, exchange).on_trial_result(None, SimpleNamespace(trial_id="a"), result)
    run = search.running["a"].job.record.path.name
    assert [call.args for call in exchange.judge.call_args_list] == [(run, 1, True), (run, 2, False)]
    search.on_trial_complete("a")
    assert over == ["cut off"]
    assert search.suggest("b") == Searcher.FINISHED
    assert sweep.states == ["RUNNING"]


def swept_of(*rows: tuple[int, float | None, str], **more: list[Any]) -> Swept:
    """What came of trials: number, score and state of each; and the other columns."""
    same = {"params": {}, "copy_of": None}
    made = [{"trial": trial, "score": score, "state": state, "signature": str(trial), **same} for trial, score, state in rows]
    for name, column in more.items():
        for row, value in zip(made, column, strict=True):
            row[name] = value
    return Swept("sweep", made, {}, [], [], 0, "", Run("none", "none"))


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


def test_trials_of_one_worker_share_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import ray

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 64.0, "GPU": 2.0})
    assert [room_for(Cluster(home=tmp_path, gpus_per_worker=share), 1) for share in (2, 1, 0.5, 0.1)] == [1, 2, 4, 20]
    with pytest.raises(ValueError, match="2 workers cannot share a GPU"):
        Cluster(home=tmp_path, gpus_per_worker=0.5, workers=2)


# whole sweeps


FILE = """
'''What is best?'''
from optuna.distributions import CategoricalDistribution
from raybrain.tune.space import SearchSpace
from raybrain.tune.study import STORAGE
def architecture(trial):
    if trial.suggest_categorical("encoder", ["simple_conv", "conv_rnn"]) == "simple_conv":
        return {"encoder.depth": trial.suggest_categorical("depth", [1, 2])}
    return {"encoder": "conv_rnn", "encoder.depth": 1, "encoder.lstm.layers": trial.suggest_int("layers", 1, 2)}
SPACE = SearchSpace(recipe="quickstart", metric="valid_loss", **CHANGED)
"""


def write(folder: Path, name: str, changed: str) -> str:
    path = folder / f"{name}.py"
    path.write_text(FILE.replace("**CHANGED", changed))
    return str(path)


def test_bad_limits_get_one_line(raybrain: Raybrain, home: Path) -> None:
    for option, value in (("--time-budget", "soon"), ("--time-budget", "0m"), ("--max-concurrent", "0")):
        ended = raybrain("tune", "quickstart", option, value, "--home", str(home))
        assert ended.code == 2
        assert f"raybrain: {option} {value}: type" in ended.err


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "postgresql+psycopg://someone:secret@127.0.0.1:9/optuna",
            r"(Connection refused|needs a driver .*pip install 'psycopg\[binary\]')",
        ),
        ("nonsense", r"cannot open the database that \$RAYBRAIN_OPTUNA_STORAGE names \(Could not parse"),
        ("sqlite:////nowhere/at/all.db", r"unable to open database file.*; type an address like"),
        ("mysql+mysqldb://someone@127.0.0.1/optuna", r"needs a driver that is not installed \(No module named 'MySQLdb'\)"),
    ],
)
def test_a_database_that_cannot_be_opened(
    address: str, said: str, raybrain: Raybrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORAGE, address)
    ended = raybrain("tune", "quickstart", "--home", str(tmp_path))
    assert ended.code == 2
    lines = [line for line in ended.err.splitlines() if line.startswith("raybrain: ")]
    assert len(lines) == 1 and re.search(said, lines[0])
    assert "secret" not in ended.err and not (tmp_path / "stores").exists()


@pytest.mark.slow
def test_a_sweep_with_seeds_features_a_failure_and_what_it_leaves_behind(
    ray_cluster: None, raybrain: Raybrain, home: Path, tmp_path: Path
) -> None:
    """Two data parts, and a recipe that is no point of the space."""
    rows = "{'good': {'data.features': 'mel,word_segment', 'encoder.depth': 1}, 'bad': {'encoder.depth': 1, 'optim.lr': 1e9}}"
    file = write(tmp_path, "rows", f'variants={{"row": {rows}}}, sampler="grid", scheduler="none", seeds=(1, 2)')
    settings = [s for s in TINY if "epochs" not in s and "depth" not in s] + ["train.epochs=2"]
    where = ["--home", str(home), "--json"]
    planned = raybrain("tune", file, *settings, "--dry-run", *where)
    assert planned.code == 0, planned.err
    assert "2 trials x 2 repetitions = 4 trainings" in planned.out and "2 data parts" in planned.out
    assert planned.json["points"] == [{"row": "good"}, {"row": "bad"}]
    assert raybrain("tune", file, *settings, "--resume", *where).code == 2  # there is nothing to go on with
    ended = raybrain("tune", file, *settings, *where)
    assert ended.code == 0, ended.err
    sweep = ended.json["sweep"]
    good, bad = sweep["trials"]
    assert (good["state"], bad["state"]) == ("finished", "failed")
    assert "not finite or has exploded" in bad["reason"]
    scores = [run["score"] for run in good["runs"]]
    assert good["score"] == pytest.approx(sum(scores) / 2) and good["sd"] > 0 and scores[0] != scores[1]
    assert set(ended.json["repeats"]) == {"1", "2"}
    assert ended.json["signature"] == good["signature"]  # evaluated on its own data
    found = runs(ended.json["tracking_uri"])
    parent = found[sweep["mlflow_run_id"]]
    assert parent.data.tags["best.signature"] == good["signature"]
    children = [run for run in found.values() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {run.info.status for run in children} == {"FINISHED", "FAILED"}
    assert [run for run in children if "exploded" in run.data.tags.get("stopped", "")]
    from mlflow import MlflowClient

    client = MlflowClient(ended.json["tracking_uri"])
    kept = {item.path for folder in ("", "figures", "tables") for item in client.list_artifacts(parent.info.run_id, folder)}
    assert {"best.json", "trials.json", "figures/history.png", "figures/epochs.png", "tables/trials.csv"} <= kept
    assert "tables/best_test_studies.csv" in kept
    again = raybrain("tune", file, *settings, "--resume", *where)
    assert again.json["sweep"] == sweep
    assert again.json["test"] == ended.json["test"]
    planned = raybrain("tune", file, *settings, "--dry-run", *where)
    assert planned.json["cost"]["hours"] > 0


@pytest.mark.slow
def test_a_stopped_trial_of_two_workers_gives_its_machine_back(
    ray_cluster: None, raybrain: Raybrain, home: Path, tmp_path: Path
) -> None:
    """The third trial has room only if nothing is left of the second, which is stopped."""
    import ray

    rates = 'parameters={"optim.lr": CategoricalDistribution([3e-3, 1e-5, 1e-6])}, trials=3, scheduler="asha:1"'
    file = write(tmp_path, "two_workers", rates)
    ended = raybrain("tune", file, *TINY, "train.seed=2", "--workers", "2", "--home", str(home), "--json")
    assert ended.code == 0, ended.err
    trials = sorted(ended.json["sweep"]["trials"], key=lambda trial: trial["trial"])
    assert [(trial["state"], trial["epochs"]) for trial in trials] == [("finished", 3), *[("stopped early", 1)] * 2]
    assert "most trials that were stopped early (1, 2) were not well above chance by then" in ended.err
    assert {group["state"] for group in ray.util.placement_group_table().values()} <= {"REMOVED"}
    found = runs(ended.json["tracking_uri"])
    children = [r for r in found.values() if r.data.tags.get("mlflow.parentRunId") == ended.json["sweep"]["mlflow_run_id"]]
    assert sorted(run.info.status for run in children) == ["FINISHED", "KILLED", "KILLED"]
    assert sum("behind the others after epoch 1" in run.data.tags.get("stopped", "") for run in children) == 2


@pytest.mark.slow
def test_ctrl_c_and_a_killed_driver(home: Path, ray_cluster: None, raybrain: Raybrain, tmp_path: Path) -> None:
    """A sweep is interrupted, begun again, killed, and ends: nothing trained twice, nothing left running.

    On a cluster that outlives the driver, so that whatever it leaves there stays in the way.
    """
    import ray

    file = write(tmp_path, "architecture", "parameters=architecture, trials=5, seeds=(1,), scheduler='asha:1'")
    settings = [s for s in TINY if "depth" not in s and "epochs" not in s] + ["train.epochs=3"]
    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-c", "from raybrain.cli import main; main()", "tune", file, *settings, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    results: dict[RunRecord, float] = {}
    for folder in ("stores", "studies", "maps"):  # prepared already, if other tests ran before
        if (home / folder).exists():
            shutil.copytree(home / folder, tmp_path / folder, copy_function=shutil.copy2)

    def begin(done: int) -> subprocess.Popen[str]:
        """Start the sweep and come back when that many trainings are done and another is under way."""
        process = subprocess.Popen(
            [*command, "--home", str(tmp_path), "--address", address],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=hear_ctrl_c,
        )
        while process.poll() is None:
            records = run_records(tmp_path)
            finished = {record: result.ended for record in records if (result := record.result())}
            if len(finished) >= done and any(record.sizes() for record in set(records) - set(finished)):
                results.update(finished)
                break
            time.sleep(0.1)
        return process

    driver = begin(done=0)
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=120)
    assert driver.returncode == 130, err
    assert "the same command goes on" in err
    assert not [run for run in runs(f"sqlite:///{tmp_path / 'mlflow.db'}").values() if run.info.status == "RUNNING"]
    driver = begin(done=1)
    driver.kill()
    driver.communicate()
    time.sleep(1)  # its workers end with it
    ended = raybrain(*command[3:], "--home", str(tmp_path))
    assert ended.code == 0, ended.err
    trials = ended.json["sweep"]["trials"]
    assert 0 in {trial["trial"] for trial in trials}
    assert {trial["state"] for trial in trials} <= {"finished", "stopped early"}
    assert len({trial["signature"] for trial in trials}) == len(trials) >= 4  # there are no more
    assert results
    for record, then in results.items():
        result = record.result()
        assert result and result.ended == then
    assert not [run for run in runs(ended.json["tracking_uri"]).values() if run.info.status == "RUNNING"]
