"""Ledger: which training comes next, and what became of it. An Optuna study in a database is all its memory.

A trial is a point of the space; it is trained once for each repetition. Tune's own OptunaSearch is not used: it knows one
training per trial, leaves trials running for ever that end without a number, and cannot go on after a kill. Here a trial that
was cut off is still running in the database, and goes on under its own number.

Which trials go on is for a :class:`scheduler <raybrain.tune.schedulers.base.Scheduler>` to say: by its pruner after every
epoch, or by a :mod:`population <raybrain.tune.population>` of trials that wait for one another. Both judge by what the database
knows, so a killed sweep judges as before.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from raybrain.bucket.copies import WEIGHTS, fetch
from raybrain.config import InputError
from raybrain.experiment import Experiment
from raybrain.train.job import TrainJob
from raybrain.train.record import best_epoch, with_kept
from raybrain.tune.population import DRAWS, Line, Standing, line_of, line_settings
from raybrain.tune.seal import end_trial
from raybrain.tune.space import SearchSpace
from raybrain.tune.study import keep_drawn, sole_writer
from raybrain.tune.walk import settings_line, start

Repeat = tuple[str, ...]
Jobs = dict[Repeat, TrainJob]


@dataclass
class Entry:
    """A trial under way.

    Attributes:
        trial: of Optuna.
        jobs: its trainings by the names of the repetitions; the first is the one that the scheduler judges by.
        reported: epochs of the first training that the database knows.
        histories: of the trainings that are done.
        stopped: the epoch the scheduler stopped it after.
        over: whether the database knows how it ended.
    """

    trial: Any
    jobs: Jobs
    reported: set[int]
    histories: dict[Repeat, Sequence[dict[str, float]]] = field(default_factory=dict)
    stopped: int | None = None
    over: bool = False

    @property
    def is_recipe(self) -> bool:
        """Whether it is the recipe itself. No other trial stops it, as all are measured by it."""
        return "recipe" in self.trial.user_attrs


@dataclass(frozen=True)
class Member:
    """One training of a trial."""

    entry: Entry
    repeat: Repeat

    @property
    def job(self) -> TrainJob:
        """What to train."""
        return self.entry.jobs[self.repeat]

    @property
    def first(self) -> bool:
        """Whether the scheduler judges the trial by this training."""
        return self.repeat == next(iter(self.entry.jobs))

    @property
    def line(self) -> str:
        """Its settings, the names of the repetition, and what it is a copy of, in one line."""
        trial = self.entry.trial
        copied = [f"(a copy of trial {trial.user_attrs['of']})"] if "of" in trial.user_attrs else []
        return " ".join([settings_line(trial.params) or "the recipe", *self.repeat, *copied])


def jobs_of(space: SearchSpace, settings: Mapping[str, Any], make: Callable[[Experiment], TrainJob]) -> Jobs:
    """The trainings of a point by the names of the repetitions.

    Raises:
        InputError: if there can be no such experiment, or the space does not allow it.
    """
    if not space.allows(space.experiment(settings)):
        raise InputError("the space does not allow it")
    return {names: make(space.experiment({**settings, **changes})) for names, changes in space.repeats().items()}


def _ends(job: TrainJob, metrics: Mapping[str, float]) -> bool:
    """Whether a training ends by itself after an epoch, as :func:`with_kept` tells it."""
    train, epoch = job.experiment.train, metrics["epoch"]
    return epoch >= train.epochs or epoch - metrics["kept_epoch"] >= train.patience


class Ledger:
    """The trials of a sweep.

    Args:
        space: what is asked.
        study: the Optuna study, with the sampler and the pruner of the space.
        trials: how many distinct points there are to be.
        make: the job of an experiment; refuses one that cannot be trained.

    Raises:
        InputError: if a point of a grid cannot be trained.
    """

    def __init__(self, space: SearchSpace, study: Any, trials: int, make: Callable[[Experiment], TrainJob]) -> None:
        self.space, self.study, self.trials, self.make = space, study, trials, make
        self.ready: deque[Member] = deque()
        self.busy: dict[Path, Member] = {}  # trainings that were handed out, by their folders
        self.seen: set[str] = set()  # keys of the points that were begun
        self.cut_off: deque[Any] = deque()
        self.waiting: list[Member] = []  # for the end of a generation
        self.behind: deque[tuple[Member, str]] = deque()  # ended by that, with the reason, and not shown yet
        self.population = space.scheduler.population(space, study, trials, self._first_of)
        if self.population:
            self.trials = self.population.trials
        self.recipe = self._recipe()
        self._look_back()

    @property
    def left(self) -> int:
        """How many points are still to be drawn."""
        return max(0, self.trials - len(self.seen) - len(self.cut_off))

    @property
    def open(self) -> bool:
        """Whether anything may be left to train."""
        return bool(self.left or self.cut_off or self.ready or self.population)

    @sole_writer()
    def next(self) -> Member | None:
        """The next training; None if there is none now. If nothing is under way either, there will be none at all."""
        while True:
            member = next((member for member in self.ready if member.job.record.path not in self.busy), None)
            if member is None:
                if not self._begin() and not self._end_generation():
                    return None
                continue
            self.ready.remove(member)
            if self._waits(member):
                continue
            done = member.job.record.result()
            if done is None:
                self.busy[member.job.record.path] = member
                return member
            self._take(member, done.history)  # trained before, in whatever sweep

    @sole_writer()
    def report(self, member: Member, metrics: Mapping[str, float]) -> bool:
        """Take in a finished epoch, as :func:`with_kept` tells it; whether the training is to stop there."""
        entry, epoch = member.entry, int(metrics["epoch"])
        if entry.over:
            return True  # another training of this trial failed
        if not member.first or self.space.objectives:
            return False
        if epoch not in entry.reported:
            entry.reported.add(epoch)
            entry.trial.report(metrics[f"kept_{self.space.metric}"], epoch)
            if entry.trial.should_prune() and not entry.is_recipe and not _ends(member.job, metrics):
                entry.stopped = epoch
        if self.population and epoch == self.population.pause:
            return not _ends(member.job, metrics)
        return entry.stopped is not None and epoch >= entry.stopped

    @sole_writer()
    def ended(self, member: Member, reason: str | None = None, again: bool = False) -> str:
        """A training is over.

        Args:
            member: which.
            reason: why it failed.
            again: whether a later command is to try it again.

        Returns:
            How it ended: "finished", "stopped early", "failed", "cut off", or "waits" for the end of a generation.
        """
        self.busy.pop(member.job.record.path, None)
        entry = member.entry
        fetch(member.job.record.path, WEIGHTS)  # another node may have trained it
        if reason is None and self._waits(member):
            return "waits"
        done = member.job.record.result()
        if done is not None:
            self._take(member, done.history)
            return "finished"
        if entry.stopped is not None:
            self._close(entry, "PRUNED", reason=f"behind the others after epoch {entry.stopped}")
        elif reason is not None:
            self._close(entry, "FAIL", reason=reason, again=again)
        elif not entry.over:  # time is up: the trial stays open, and a later command goes on
            self._drop(entry)
            return "cut off"
        return "stopped early" if reason is None else "failed"

    def begun(self) -> list[tuple[Any, Jobs]]:
        """Every trial that was begun, with its trainings."""
        trials = self.study.get_trials(deepcopy=False)
        known = [frozen for frozen in trials if "key" in frozen.user_attrs and "refused" not in frozen.user_attrs]
        return [(frozen, jobs_of(self.space, line_settings(self.space, line_of(frozen)), self.make)) for frozen in known]

    def _look_back(self) -> None:
        """Find what earlier commands did, and what they left undone."""
        import optuna
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        self.seen = {
            frozen.user_attrs["key"]
            for frozen in trials
            if frozen.state.is_finished() and "key" in frozen.user_attrs and not self._retries(frozen)
        }
        for frozen in trials:
            if frozen.state == TrialState.RUNNING:
                self.cut_off.append((optuna.trial.Trial(self.study, frozen._trial_id), set(frozen.intermediate_values)))
            elif self._retries(frozen) and frozen.user_attrs["key"] not in self.seen:
                known = frozen.user_attrs
                kept = {name: known[name] for name in ("line", "replaces", "of") if name in known}
                self.study.enqueue_trial(frozen.params, user_attrs={**kept, "retries": frozen.number})
        points = self.space.points
        if points is not None:
            for point in points:
                jobs_of(self.space, point.settings, self.make)  # of what is planned nothing is passed over
                self.study.enqueue_trial(point.params, skip_if_exists=True)
        elif not trials and (first := start(self.space)):
            self.study.enqueue_trial(first.params)

    def _begin(self) -> bool:
        """Begin or go on with a trial; False if there is none."""
        for _ in range(DRAWS):
            if self.cut_off:
                trial, reported = self.cut_off.popleft()
            elif self.left:
                trial, reported = self.study.ask(), set()
            else:
                return False
            settings = self.space.suggest(trial)
            if "line" in trial.user_attrs:
                settings = line_settings(self.space, line_of(trial))
            try:
                jobs = jobs_of(self.space, settings, self.make)
            except InputError as error:
                self._refuse(trial, str(error))
                continue
            signature = next(iter(jobs.values())).experiment.signature
            key = json.dumps(trial.params, sort_keys=True) if self.space.sampler.planned else signature
            if key in self.seen:
                self._refuse(trial, "the same as another trial")
                continue
            self.seen.add(key)
            trial.set_user_attr("key", key)
            if signature == self.recipe:
                trial.set_user_attr("recipe", True)
            trial.set_user_attr("signatures", [job.experiment.signature for job in jobs.values()])
            keep_drawn(self.study)
            entry = Entry(trial, jobs, reported)
            members = [Member(entry, names) for names in jobs]
            self.ready.extend(members[:1] if self.space.scheduler.judges else members)
            return True
        self.trials = len(self.seen)  # there is nothing new
        return False

    def _recipe(self) -> str | None:
        """The signature of the recipe, of the first repetition; None if it cannot be trained."""
        try:
            return self._first({}).experiment.signature
        except InputError:
            return None

    def _retries(self, frozen: Any) -> bool:
        """Whether a trial crashed and is to be tried again, by this command."""
        return bool(frozen.user_attrs.get("again")) and not (self.population and self.population.copy_over(frozen.number))

    def _first_of(self, line: Line) -> TrainJob:
        """The training of a line that the scheduler judges it by."""
        return self._first(line_settings(self.space, line))

    def _first(self, settings: Mapping[str, Any]) -> TrainJob:
        """The training of a point that the scheduler judges it by."""
        return next(iter(jobs_of(self.space, settings, self.make).values()))

    def _waits(self, member: Member) -> bool:
        """Whether a training has come to the end of the generation; it then waits there for the others."""
        if self.population is None or not member.first or member.entry.over:
            return False
        pause = self.population.pause
        history = member.job.record.history()[:pause]
        if len(history) < pause or _ends(member.job, with_kept(history)):
            return False
        for epochs in range(1, pause + 1):
            self.report(member, with_kept(history[:epochs]))
        self.waiting.append(member)
        return True

    def _end_generation(self) -> bool:
        """Let those that wait go on, or copies in their places, if all have come; False if there is nobody."""
        if self.population is None or not self.waiting or any(member.first for member in self.busy.values()):
            return False
        last = self.population.pause - 1
        scores = [member.job.record.history()[last][self.space.metric] for member in self.waiting]
        trials = [member.entry.trial for member in self.waiting]
        standings = [Standing(trial.number, line_of(trial), score) for trial, score in zip(trials, scores, strict=True)]
        self.population.select(standings, self.seen)
        for member in self.waiting:
            if copy := self.population.copy_over(member.entry.trial.number):
                member.entry.over = True
                self.behind.append((member, copy.reason))
            else:
                self.ready.append(member)
        self.waiting = []
        self.trials = self.population.trials
        return True

    def _take(self, member: Member, history: Sequence[dict[str, float]]) -> None:
        """A training is done. After the first the others of its trial follow; after the last the trial is over."""
        entry = member.entry
        if entry.over:
            return
        for epochs in range(1, len(history) + 1):
            self.report(member, with_kept(history[:epochs]))  # the pruner learns from what was trained elsewhere, too
        entry.stopped = None
        entry.histories[member.repeat] = history
        if len(entry.histories) == len(entry.jobs):
            scores = {" ".join(names): best_epoch(history)[self.space.metric] for names, history in entry.histories.items()}
            self._close(entry, "COMPLETE", values=[fmean(scores.values()), *self._objectives(entry)], scores=scores)
        elif self.space.scheduler.judges and member.first:
            self.ready.extend(Member(entry, names) for names in list(entry.jobs)[1:])

    def _objectives(self, entry: Entry) -> list[float]:
        """What else is to be small, averaged over the trainings."""

        def one(name: str, job: TrainJob, history: Sequence[dict[str, float]]) -> float:
            if name == "seconds":
                return float(history[-1]["seconds"])
            sizes = job.record.sizes()
            assert sizes, f"{job.record.path} was trained and has no sizes"
            return float(sizes.parameters)

        return [
            fmean(one(name, entry.jobs[repeat], history) for repeat, history in entry.histories.items())
            for name in self.space.objectives
        ]

    def _close(self, entry: Entry, state: str, values: list[float] | None = None, **notes: Any) -> None:
        if entry.over:
            return
        self._drop(entry)
        entry.over = True
        for key, value in notes.items():
            entry.trial.set_user_attr(key, value)
        end_trial(self.study, entry.trial, state, values)

    def _drop(self, entry: Entry) -> None:
        self.ready = deque(member for member in self.ready if member.entry is not entry)

    def _refuse(self, trial: Any, why: str) -> None:
        trial.set_user_attr("refused", why)
        end_trial(self.study, trial, "FAIL")
