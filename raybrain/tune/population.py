"""Population: trials that wait for one another after every generation, when copies of good ones take the place of bad ones.

What comes out can be repeated: a copy is a trial like any other. Its experiment has the settings of the first of its line,
and an ``optim.schedule`` that says after which epochs they changed. So it has a signature and a folder of its own, and whoever
trains that experiment from the start gets the same weights: to take over those of the trial that was copied only saves the
epochs that both have in common. It takes over how long the valid loss has got no better, too.

Ray Tune's own scheduler is not used: what comes out of it has no such experiment, it copies no trial of several workers, and
it does not go on after a kill. Here all decisions are drawn from what the database knows: one that was written down before a
kill is carried out after it. How long a generation is and how settings change is the scheduler's
(:class:`~raybrain.tune.schedulers.pbt.Pbt`).
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from itertools import pairwise
from random import Random
from typing import Any

from raybrain.config import InputError
from raybrain.experiment import SCHEDULED
from raybrain.train.job import TrainJob
from raybrain.tune.schedulers.pbt import SCHEDULE, Pbt
from raybrain.tune.seal import end_trial
from raybrain.tune.space import SearchSpace

DRAWS = 20  # in search of a point that is new and allowed

Line = Sequence[tuple[int, Mapping[str, Any]]]  # after how many epochs which Optuna parameters hold; the first after none


@dataclass(frozen=True)
class Standing:
    """How well a trial does at the end of a generation: its number, the line it comes from, the score of its last epoch."""

    number: int
    line: Line
    score: float


@dataclass(frozen=True)
class Copy:
    """A trial that takes the place of another: numbers of the one that ends and of the one that is copied, its own line."""

    replaces: int
    of: int
    line: Line

    @property
    def reason(self) -> str:
        """Why the other one ended."""
        return f"behind the others after epoch {self.line[-1][0]}; a copy of trial {self.of} took its place"


def line_of(frozen: Any) -> Line:
    """The line of an Optuna trial: its own parameters from the start on, unless it is a copy."""
    return [(epochs, params) for epochs, params in frozen.user_attrs.get("line", [(0, frozen.params)])]


def line_settings(space: SearchSpace, line: Line) -> dict[str, Any]:
    """The dotted settings of a line: those of its first, and how they change."""
    if len(line) == 1:
        return space.settings(line[0][1])
    stages = [(epochs, space.experiment(space.settings(params)).optim) for epochs, params in line]
    changes = [
        f"{epochs}:{setting}={getattr(now, setting)!r}"
        for (_, before), (epochs, now) in pairwise(stages)
        for setting in SCHEDULED
        if getattr(now, setting) != getattr(before, setting)
    ]
    return space.settings(line[0][1]) | ({SCHEDULE: changes} if changes else {})


class Population:
    """The generations of a sweep, in the database of its Optuna study.

    Args:
        rule: how long a generation is, how many trials end after it, and how settings change.
        space: what is asked.
        study: its Optuna study.
        size: trials that there are at the start of a generation.
        first: the first training of a line; refuses one that cannot be trained.
    """

    def __init__(self, rule: Pbt, space: SearchSpace, study: Any, size: int, first: Callable[[Line], TrainJob]) -> None:
        self.rule, self.space, self.study, self.first = rule, space, study, first
        begun = [frozen for frozen in study.get_trials(deepcopy=False) if "key" in frozen.user_attrs]
        originals = sum(not frozen.user_attrs.keys() & {"refused", "replaces", "retries"} for frozen in begun)
        self.size = max(size, originals)  # an earlier command may have asked for more
        self.plans: list[list[Copy]] = []
        while (plan := study.user_attrs.get(_key(len(self.plans)))) is not None:
            self.plans.append([Copy(**copy) for copy in plan])
        for copies in self.plans:  # a kill may have come between a plan and its end
            self._carry_out(copies)

    @property
    def pause(self) -> int:
        """The epoch after which trainings wait for one another."""
        return (len(self.plans) + 1) * self.rule.generation

    @property
    def trials(self) -> int:
        """How many trials there are in all, so far."""
        return self.size + sum(map(len, self.plans))

    def copy_over(self, number: int) -> Copy | None:
        """What has taken the place of a trial, if anything has."""
        return next((copy for copies in self.plans for copy in copies if copy.replaces == number), None)

    def select(self, standings: Sequence[Standing], seen: Set[str]) -> None:
        """End a generation: copy the best of the trials that wait over the worst, and into the places of those that failed.

        Args:
            standings: of those that wait.
            seen: signatures that copies cannot have, for other trials have them.
        """
        failed = self._failed()
        sign = 1 if self.space.mode == "min" else -1
        ranked = sorted(standings, key=lambda one: (sign * one.score, one.number))
        share = int(self.size * self.rule.share)
        spared = len(ranked) - min(max(share - len(failed), 0), len(ranked) // 2)
        places = [*failed, *(one.number for one in ranked[spared:])]
        copies: list[Copy] = []
        taken = set(seen)
        for number in places:
            if copy := self._copy(number, ranked[: min(share, spared)], taken):
                copies.append(copy)
        self.study.set_user_attr(_key(len(self.plans)), [asdict(copy) for copy in copies])
        self.plans.append(copies)
        self._carry_out(copies)

    def _failed(self) -> list[int]:
        """Numbers of the trials that failed, and whose places nobody has taken."""
        trials = self.study.get_trials(deepcopy=False)
        retried = {frozen.user_attrs["retries"] for frozen in trials if "retries" in frozen.user_attrs}
        failed = [frozen.number for frozen in trials if frozen.state.name == "FAIL" and "refused" not in frozen.user_attrs]
        return [number for number in failed if number not in retried and self.copy_over(number) is None]

    def _copy(self, number: int, best: Sequence[Standing], taken: set[str]) -> Copy | None:
        """What takes the place of a trial, a new experiment; None if there is none."""
        draw = Random(f"{self.rule.seed} {self.pause} {number}")
        for _ in range(DRAWS):
            chosen = draw.choice(best)
            params = self.rule.moved(self.space, chosen.line[-1][1], draw)
            line = [*chosen.line, (self.pause, params)]
            try:
                allowed = self.space.allows(self.space.experiment(self.space.settings(params)))
                signature = self.first(line).experiment.signature
            except InputError:
                continue
            if allowed and signature not in taken:
                taken.add(signature)
                return Copy(number, chosen.number, line)
        return None

    def _carry_out(self, copies: Sequence[Copy]) -> None:
        """Do what is not done yet."""
        import optuna

        trials = self.study.get_trials(deepcopy=False)
        there = {frozen.user_attrs["replaces"] for frozen in trials if "replaces" in frozen.user_attrs}
        for copy in copies:
            if copy.replaces in there:
                continue
            epochs, params = copy.line[-1]
            self.first(copy.line).record.inherit(self.first(copy.line[:-1]).record, epochs)
            ended = trials[copy.replaces]
            if not ended.state.is_finished():
                trial = optuna.trial.Trial(self.study, ended._trial_id)
                trial.set_user_attr("reason", copy.reason)
                end_trial(self.study, trial, "PRUNED")
            self.study.enqueue_trial(params, user_attrs={"line": copy.line, "replaces": copy.replaces, "of": copy.of})


def _key(generation: int) -> str:
    return f"generation {generation + 1}"
