"""Population-based training: who goes on, in whose place, and that what comes out can be trained again."""

import math
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from raybrain.config import InputError, override
from raybrain.experiment import Experiment
from raybrain.train.messages import Steps
from raybrain.train.record import RunRecord, with_kept
from raybrain.tune.figures import figures
from raybrain.tune.ledger import Member
from raybrain.tune.population import line_of, line_settings
from raybrain.tune.schedulers.pbt import Pbt
from raybrain.tune.space import SearchSpace
from raybrain.tune.study import STORAGE
from raybrain.tune.validate import check
from tests.conftest import TINY, Ended
from tests.sweeps import Bench, finish, history_of, runs, sizes_of
from tests.train.test_loop import UPDATES, Ear, go, training
from tests.train.test_loop import result as trained_result

LR = FloatDistribution(1e-5, 1e-1, log=True)
EPOCHS = 8


def space(**changed: Any) -> SearchSpace:
    asked = {"recipe": "quickstart", "parameters": {"optim.lr": LR}, "trials": 8, "sampler": "qmc"}
    fixed = {"train.epochs": EPOCHS, "train.patience": EPOCHS}
    return SearchSpace(**{**asked, "scheduler": "pbt:2", "fixed": fixed, **changed})


def losses_of(experiment: Experiment) -> list[float]:
    """A loss that falls the faster, the nearer the learning rate is to one that falls itself."""
    losses = [1.0]
    for epoch in range(experiment.train.epochs):
        distance = math.log10(experiment.optim.after(epoch).lr) + 2 + epoch / 4
        losses.append(losses[-1] * (1 - 0.5 * math.exp(-(distance**2))))
    return losses[1:]


class Crash(Exception):
    """Stands for a SIGKILL of the driver."""


class Population(Bench):
    """A sweep whose trainings are pretended, two at a time; after so many of them it is killed."""

    def go(self, kill: int | None = None, fails: Callable[[Member], bool] = lambda member: False) -> "Population":
        begun, under_way = 0, list[Member]()
        while True:
            while len(under_way) < 2 and (member := self.ledger.next()):
                under_way.append(member)
            if not under_way:
                return self
            begun += 1
            if begun == kill:
                raise Crash
            member = under_way.pop(0)
            if fails(member):
                self.ledger.ended(member, "the loss is not finite")
                continue
            self.train(member, losses_of(member.job.experiment))
            self.ledger.ended(member)

    @property
    def told(self) -> list[tuple[Any, ...]]:
        """All that the database knows of trials, but for when it was."""
        return [
            (
                trial.number,
                trial.state.name,
                trial.values,
                line_of(trial),
                trial.user_attrs.get("replaces"),
                trial.user_attrs.get("of"),
            )
            for trial in self.begun
        ]


def test_the_best_are_copied_over_the_worst_and_that_finds_a_better_schedule(bench: Any) -> None:
    alone = bench(space(scheduler="none"), name="alone", kind=Population).go()
    sweep = bench(space(), kind=Population).go()
    assert sweep.states.count("COMPLETE") == 8 and sweep.states.count("PRUNED") == 6  # two in each of three generations
    assert [trial.params for trial in sweep.begun[:8]] == [trial.params for trial in alone.begun]
    best = sweep.ledger.study.best_trial
    assert best.value > alone.ledger.study.best_value
    experiment = space().experiment(line_settings(space(), line_of(best)))
    assert experiment.optim.schedule and best.value == pytest.approx(1 - losses_of(experiment)[-1])
    for trial in sweep.begun[8:]:
        *before, (epochs, params) = line_of(trial)
        copied, replaced = sweep.begun[trial.user_attrs["of"]], sweep.begun[trial.user_attrs["replaces"]]
        assert before == line_of(copied) and params == trial.params != copied.params
        assert epochs in (2, 4, 6) and max(replaced.intermediate_values) == epochs
        assert copied.intermediate_values[epochs] > replaced.intermediate_values[epochs]
        assert f"behind the others after epoch {epochs}; a copy of trial {copied.number}" in replaced.user_attrs["reason"]


@pytest.fixture(scope="module")
def undisturbed(database: str, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """What the database knows of trials after a sweep in a home of its own that nothing has disturbed."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(STORAGE, database)
        return Population(tmp_path_factory.mktemp("undisturbed") / "sweep", space()).go().told


@pytest.mark.parametrize("kill", [1, 8, 9, 20, 31])
def test_killed_anywhere_it_takes_the_very_same_decisions(bench: Any, undisturbed: list[tuple[Any, ...]], kill: int) -> None:
    with pytest.raises(Crash):
        bench(space(), kind=Population).go(kill)
    assert bench(space(), kind=Population).go().told == undisturbed


@pytest.mark.parametrize("broken", ["enqueue_trial", "tell"])
def test_a_decision_half_carried_out_is_carried_out(
    bench: Any, undisturbed: list[tuple[Any, ...]], broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the decision was written down, before all trials of it were ended and begun."""
    import optuna

    cut, calls, real = bench(space(), kind=Population), [], getattr(optuna.Study, broken)

    def second(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise Crash
        return real(*arguments, **named)

    with monkeypatch.context() as broken_off, pytest.raises(Crash):
        broken_off.setattr(optuna.Study, broken, second)
        cut.go()
    assert bench(space(), kind=Population).go().told == undisturbed


def test_what_was_trained_before_changes_no_decision(bench: Any) -> None:
    one = bench(space(), name="one", kind=Population).go()
    again = bench(space(), name="two", kind=Population)
    trained: list[Member] = []
    again.go(fails=lambda member: bool(trained.append(member)))
    assert not [member for member in trained if member.job.record.result()]
    assert again.told == one.told


def test_a_copy_takes_the_place_of_what_failed(bench: Any) -> None:
    sweep = bench(space(), kind=Population).go(fails=lambda member: member.entry.trial.number in (0, 3))
    assert sweep.states.count("COMPLETE") == 8 and sweep.states.count("FAIL") == 2
    assert {trial.user_attrs["replaces"] for trial in sweep.begun if line_of(trial)[-1][0] == 2} == {0, 3}


def test_what_ends_by_itself_is_not_copied(bench: Any) -> None:
    """A training whose valid loss got no better is done: its score stands."""

    class Short(Population):
        def train(self, member: Member, losses: list[float]) -> int:
            if member.entry.trial.number != 1:
                return super().train(member, losses)
            self.ledger.report(member, with_kept(history_of(losses[:1])))
            finish(member.job.record, losses[:1])
            return 1

    sweep = bench(space(), kind=Short).go()
    assert sweep.begun[1].state.name == "COMPLETE" and len(sweep.begun[1].intermediate_values) == 1
    assert 1 not in {trial.user_attrs.get("of") for trial in sweep.begun}


def test_one_that_ends_by_itself_where_a_generation_does_is_done_whoever_killed_it(bench: Any) -> None:
    """After the fourth epoch patience is out; one was trained elsewhere, one was killed before it could say so."""

    class Stale(Population):
        def train(self, member: Member, losses: list[float]) -> int:
            if member.entry.trial.number in (0, 1):
                losses = [0.5, 0.4, 0.6, 0.6]
            return super().train(member, losses)

    asked = space(fixed={"train.epochs": EPOCHS, "train.patience": 2})
    sweep = bench(asked, kind=Stale)
    early = sweep.space.experiment(sweep.space.settings({"optim.lr": 1e-3}))
    sweep.job(early).record.keep_history(history_of([0.5, 0.4, 0.6, 0.6]))  # and no result
    sweep.go()
    assert [len(trial.intermediate_values) for trial in sweep.begun[:2]] == [4, 4]
    assert [trial.state.name for trial in sweep.begun[:2]] == ["COMPLETE", "COMPLETE"]
    assert not {0, 1} & {trial.user_attrs.get("of") for trial in sweep.begun if line_of(trial)[-1][0] >= 4}


def test_after_the_last_epoch_there_is_no_other_generation(bench: Any) -> None:
    """Killed when the last epoch was known, and the result was not."""
    sweep = bench(space(), kind=Population)
    sweep.go()
    count = len(sweep.begun)
    again = bench(space(), name="again", kind=Population)
    for path in sweep.folder.parent.glob("runs/*/result.json"):
        path.unlink()
    assert len(again.go().begun) == count and again.told == sweep.told


def test_what_crashed_is_tried_again_by_a_later_command_unless_its_place_is_taken(bench: Any) -> None:
    sweep = bench(space(), kind=Population)
    members = [sweep.ledger.next(), sweep.ledger.next()]
    for member in members:
        assert sweep.ledger.ended(member, "out of memory", again=True) == "failed"
    later = bench(space(), kind=Population).go(fails=lambda member: member.entry.trial.number == 5)
    assert [trial.user_attrs.get("retries") for trial in later.begun if "retries" in trial.user_attrs] == [0, 1]
    assert {trial.user_attrs["replaces"] for trial in later.begun if line_of(trial)[-1][0] == 2} >= {5}
    assert later.states.count("COMPLETE") == 8
    assert bench(space(), kind=Population).ledger.next() is None


def test_another_number_of_trials_later(bench: Any) -> None:
    with pytest.raises(Crash):
        bench(space(), kind=Population).go(kill=12)
    fewer = bench(space(), trials=4, kind=Population).go()
    assert fewer.states.count("COMPLETE") == 8, "what was begun goes on"
    more = bench(space(), trials=10, kind=Population).go()
    assert more.states.count("COMPLETE") == 10 and "RUNNING" not in more.states


def test_no_trial_waits_for_other_seeds(bench: Any) -> None:
    """A trial ended early; its second seed trains while the others come to the end of the generation."""
    asked = space(seeds=(1, 2), trials=4)
    sweep = bench(asked, kind=Population)
    first = sweep.ledger.next()
    assert first
    finish(first.job.record, [0.5])
    sweep.ledger.ended(first)
    second = sweep.ledger.next()
    assert second and second.repeat == ("2",) and not second.first
    sweep.go()  # while that is under way
    assert {trial.state.name for trial in sweep.begun[1:]} == {"COMPLETE", "PRUNED"}
    assert sweep.begun[0].state.name == "RUNNING"


def test_other_seeds_of_the_best_follow_with_its_schedule(bench: Any) -> None:
    sweep = bench(space(seeds=(1, 2), trials=4), kind=Population).go()
    copies = [
        (trial, jobs) for trial, jobs in sweep.ledger.begun() if "of" in trial.user_attrs and trial.state.name == "COMPLETE"
    ]
    for _, jobs in copies:
        first, second = (job.experiment for job in jobs.values())
        assert first.optim == second.optim and first.optim.schedule and (first.train.seed, second.train.seed) == (1, 2)
    assert copies and all(job.record.result() for _, jobs in copies for job in jobs.values())


def architecture(trial: Any) -> dict[str, Any]:
    """A kind of encoder that brings a question, a rate by another name, one that two settings hang on."""
    settings = {"optim.lr": trial.suggest_float("rate", 1e-4, 1e-2, log=True)}
    both = trial.suggest_categorical("both", [0.0, 0.1])
    settings |= {"optim.weight_decay": both, "window.offset_s": both}
    if trial.suggest_categorical("encoder", ["simple_conv", "conv_rnn"]) == "conv_rnn":
        return settings | {"encoder": "conv_rnn", "encoder.lstm.layers": trial.suggest_int("layers", 1, 3)}
    return settings | {"encoder.depth": trial.suggest_categorical("depth", [2, 4])}


def test_only_settings_of_the_optimiser_turn_and_a_copy_keeps_the_architecture(bench: Any) -> None:
    asked = space(parameters=architecture)
    conv = {"rate": 1e-3, "both": 0.1, "encoder": "conv_rnn", "layers": 2}
    assert list(asked.scheduler.turning(asked, conv)) == ["rate"]
    sweep = bench(asked, kind=Population).go()
    for trial, jobs in sweep.ledger.begun():
        if "of" in trial.user_attrs:
            first = sweep.space.experiment(sweep.space.settings(line_of(trial)[0][1]))
            copied = next(iter(jobs.values())).experiment
            assert override(copied, {"optim.schedule": ""}) == first


def test_a_parameter_that_brings_questions_does_not_turn(bench: Any) -> None:
    def decay(trial: Any) -> dict[str, Any]:
        settings = {"optim.lr": trial.suggest_float("lr", 1e-5, 1e-1, log=True)}
        if trial.suggest_categorical("decay", [False, True]):
            settings["optim.weight_decay"] = trial.suggest_float("strength", 1e-5, 1e-1, log=True)
        return settings

    asked = space(parameters=decay)
    assert list(asked.scheduler.turning(asked, {"lr": 1e-3, "decay": True, "strength": 1e-2})) == ["lr", "strength"]
    sweep = bench(asked, kind=Population).go()
    assert sweep.states.count("COMPLETE") == 8
    drawn = figures(sweep.ledger)
    assert set(drawn) == {"history", "population"} and len(drawn["population"].axes) == 3


def test_copies_are_allowed_experiments_that_nobody_has(bench: Any) -> None:
    def steps(trial: Any) -> dict[str, Any]:
        return {
            "optim.lr": 10.0 ** round(trial.suggest_float("power", -5, -1)),
            "encoder.depth": trial.suggest_int("depth", 1, 4),
        }

    sweep = bench(space(parameters=steps, allowed=lambda experiment: experiment.optim.lr < 0.05), kind=Population).go()
    refused = [
        trial.user_attrs["refused"]
        for trial in sweep.ledger.study.trials
        if "replaces" in trial.user_attrs and "refused" in trial.user_attrs
    ]
    assert not refused
    experiments = [next(iter(jobs.values())).experiment for _, jobs in sweep.ledger.begun()]
    assert len({experiment.signature for experiment in experiments}) == len(experiments)
    assert max(experiment.optim.after(epochs).lr for experiment in experiments for epochs in range(EPOCHS)) < 0.05


@pytest.mark.parametrize(
    ("found", "value", "near"),
    [
        (FloatDistribution(1e-5, 1e-2, log=True), 1e-3, {8e-4, 1.25e-3}),
        (FloatDistribution(1e-5, 1e-2, log=True), 1e-2, {8e-3, 1e-2}),
        (FloatDistribution(0.0, 1.0, step=0.1), 0.6, {0.5, 0.7, 0.8}),
        (IntDistribution(1, 10), 4, {3, 5}),
        (CategoricalDistribution([0.0, 1e-4, 1e-3]), 1e-4, {0.0, 1e-3}),
        (CategoricalDistribution([0.0, 1e-4, 1e-3]), 1e-3, {1e-4, 1e-3}),
    ],
)
def test_settings_move_a_little_or_are_drawn_anew(found: Any, value: float, near: set[float]) -> None:
    asked = space(parameters={"optim.weight_decay": found})

    def drawn(rule: Pbt) -> set[float]:
        return {rule.moved(asked, {"optim.weight_decay": value}, Random(seed))["optim.weight_decay"] for seed in range(60)}

    anywhere, around = drawn(Pbt()), drawn(Pbt(anew=0.0))
    assert {round(number, 9) for number in around} <= near
    assert len(anywhere - around) > 0 or hasattr(found, "choices")
    assert all(found._contains(found.to_internal_repr(number)) for number in anywhere)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sampler": "grid", "parameters": {"optim.lr": CategoricalDistribution([1e-3, 1e-2])}}, r"there is no grid of them"),
        ({"trials": 3}, r"needs a population, found 3 trials; type at least 4"),
        ({"scheduler": "pbt:8"}, r"found scheduler.generation=8 and train.epochs=8"),
        ({"parameters": {"encoder.depth": CategoricalDistribution([2, 4])}}, r"one of optim.lr, .* must be searched"),
        ({"fixed": {"optim.schedule": "3:lr=0.1"}}, r"leave out optim.schedule"),
        ({"variants": {"rate": {"a": {}, "b": {"optim.schedule": "3:lr=0.1"}}}}, r"leave out optim.schedule"),
        ({"parameters": {"optim.schedule": CategoricalDistribution(["", "3:lr=1"])}}, r"leave out optim.schedule"),
        ({"objectives": ("parameters",)}, r'type scheduler="none"'),
    ],
)
def test_what_a_population_cannot_search(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check(space(**changed))


# weights


def test_a_copy_ends_with_the_weights_of_its_schedule_trained_from_the_start(tmp_path: Path) -> None:
    """Bit for bit, and it takes no step that was taken before."""
    turned = {"optim.schedule": "2:lr=0.01,2:weight_decay=0.1"}
    go(training(tmp_path / "whole", **turned))
    for enough in (1, 2):
        go(training(tmp_path / "first"), Ear(enough=enough))
        RunRecord(tmp_path / "first").keep_sizes(sizes_of(UPDATES))
        RunRecord(tmp_path / "copy").inherit(RunRecord(tmp_path / "first"), epochs=2)
        assert RunRecord(tmp_path / "copy").last.exists() == (enough == 2), "only from the end of the second epoch"
    ear = Ear()
    go(training(tmp_path / "copy", **turned), ear)
    assert len(ear.of(Steps)) == UPDATES
    go(training(tmp_path / "first"))
    (copy, history), (whole, expected), (first, _) = (trained_result(tmp_path / name) for name in ("copy", "whole", "first"))
    assert history == expected
    assert all(torch.equal(copy[name], whole[name]) for name in whole)
    assert not all(torch.equal(first[name], whole[name]) for name in whole), "the schedule changes something"


def test_nothing_is_taken_over_into_a_run_that_others_train(tmp_path: Path) -> None:
    go(training(tmp_path / "first"), Ear(enough=2))
    first, copy = RunRecord(tmp_path / "first"), RunRecord(tmp_path / "copy")
    first.keep_sizes(sizes_of(UPDATES))
    with copy.own("train", busy=print):
        copy.inherit(first, epochs=2)
        assert not copy.last.exists()
    copy.keep_checkpoint({"begun": True})
    copy.inherit(first, epochs=2)
    assert copy.checkpoint() == {"begun": True}


@pytest.mark.slow
def test_a_population_end_to_end(ray_cluster: None, raybrain: Callable[..., Ended], home: Path, tmp_path: Path) -> None:
    """Copies are made; one that was trained to the end is trained again in another home, and has the very same weights."""
    file = tmp_path / "rate.py"
    file.write_text(
        "'How fast?'\nfrom optuna.distributions import FloatDistribution\nfrom raybrain.tune.space import SearchSpace\n"
        "SPACE = SearchSpace(recipe='quickstart', parameters={'optim.lr': FloatDistribution(1e-6, 1e-2, log=True)}, trials=4,\n"
        "    metric='valid_loss', sampler='random', scheduler='pbt:1')\n"
    )
    where, tiny = ["--home", str(home), "--json"], [*TINY, "train.seed=11"]  # a seed that no other test has trained
    planned = raybrain("tune", str(file), *tiny, "--dry-run", *where)
    assert "up to 2 further trials" in planned.out, planned.err
    ended = raybrain("tune", str(file), *tiny, *where)
    assert ended.code == 0, ended.err
    sweep = ended.json["sweep"]
    assert sorted(trial["state"] for trial in sweep["trials"]) == ["finished"] * 4 + ["stopped early"] * 2
    found = runs(ended.json["tracking_uri"])
    parent = found[sweep["mlflow_run_id"]]
    children = [run for run in found.values() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.status for run in children) == ["FINISHED"] * 4 + ["KILLED"] * 2
    assert sum("a copy of trial" in run.data.tags.get("stopped", "") for run in children) == 2
    copy = next(trial for trial in sweep["trials"] if trial["copy_of"] is not None and trial["state"] == "finished")
    record = RunRecord(Path(copy["runs"][0]["folder"]))
    experiment = record.experiment()
    assert experiment
    optim = experiment.optim
    settings = [f"optim.lr={optim.lr}", f"optim.schedule={','.join(optim.schedule)}"]
    again = raybrain("train", "quickstart", *tiny, *settings, "--home", str(tmp_path), "--json")
    assert (again.code, again.json["signature"]) == (0, copy["signature"]), again.err
    best, known = (found.best() for found in (RunRecord(tmp_path / "runs" / record.path.name), record))
    assert best and known and best["epoch"] == known["epoch"]
    assert all(torch.equal(best["model"][name], weights) for name, weights in known["model"].items())
