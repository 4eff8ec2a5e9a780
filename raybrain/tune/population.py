"""Population: population-based training (Jaderberg et al. 2017, arXiv:1711.09846, section 3) whose results can be repeated.

All trials train for a generation of ``grace`` epochs, then wait for one another. The worst quarter ends there; copies of trials
of the best quarter take their places, weights and all, and go on with other settings of the optimiser. A copy is a trial like
any other: its experiment has the settings of the first of its line, and an ``optim.schedule`` that says after which epochs
they changed. So it has a signature and a folder of its own, and whoever trains that experiment from the start gets the same
weights: to take over those of the trial that was copied only saves the epochs that both have in common. It takes over how
long the valid loss has got no better, too.

Ray Tune's own scheduler is not used: what comes out of it has no such experiment, it copies no trial of several workers, and
it does not go on after a kill. Here all decisions are drawn from what the database knows: one that was written down before a
kill is carried out after it.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from itertools import pairwise
from random import Random
from typing import Any

from raybrain.config import InputError
from raybrain.experiment import SCHEDULED
from raybrain.train.worker import TrainJob
from raybrain.tune.space import SearchSpace
from raybrain.tune.walk import ends, extremes, nearest

SHARE = 0.25  # of the trials, at either end
FACTORS = (0.8, 1.25)
ANEW = 0.25  # how often a setting is drawn anew rather than moved
DRAWS = 20  # in search of a point that is new and allowed
SMALLEST = 4  # trials: one of them is a quarter
TURNING = tuple(f"optim.{setting}" for setting in SCHEDULED)
SCHEDULE = "optim.schedule"

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


def turning(space: SearchSpace, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a point that can change while it trains, and their distributions.

    They are those that settings of the optimiser hang on, and nothing else: no other setting, and no other parameter.
    """
    here, found = nearest(space, params), {}
    for name, distribution in here.asked.items():
        others = [nearest(space, {**here.params, name: value}) for value in ends(distribution)]
        keys = here.settings.keys() | {key for other in others for key in other.settings}
        changed = {key for key in keys if any(here.settings.get(key) != other.settings.get(key) for other in others)}
        if changed and changed <= set(TURNING) and all(other.asked.keys() == here.asked.keys() for other in others):
            found[name] = distribution
    return found


def check_population(space: SearchSpace) -> None:
    """Refuse a space that a population cannot search.

    Raises:
        InputError: naming what is wrong.
    """
    if space.sampler == "grid":
        raise InputError('the scheduler "pbt" makes points of its own, so there is no grid of them; type sampler="random"')
    if (space.trials or 0) < SMALLEST:
        raise InputError(f'the scheduler "pbt" needs a population, found {space.trials} trials; type at least {SMALLEST}')
    experiment, points = space.experiment(), extremes(space)
    if space.grace >= experiment.train.epochs:
        found = f"grace={space.grace} and train.epochs={experiment.train.epochs}"
        raise InputError(f'with the scheduler "pbt" grace is the length of a generation, found {found}; type less or more')
    settings = [
        *(point.settings for point in points),
        *(changes for named in space.variants.values() for changes in named.values()),
    ]
    if experiment.optim.schedule or any(found.get(SCHEDULE) for found in settings):
        raise InputError('the scheduler "pbt" finds the schedule itself; leave out optim.schedule, or type scheduler="none"')
    if not any(turning(space, point.params) for point in points):
        raise InputError(
            f'the scheduler "pbt" changes settings while trials train, so one of {", ".join(TURNING)} must be searched, '
            "with nothing else hanging on it"
        )


def most_copies(space: SearchSpace, size: int) -> int:
    """How many copies a population of this size makes if no trial fails."""
    generations = (space.experiment().train.epochs - 1) // space.grace
    return generations * int(size * SHARE)


class Population:
    """The generations of a sweep, in the database of its Optuna study.

    Args:
        space: what is asked.
        study: its Optuna study.
        size: trials that there are at the start of a generation.
        first: the first training of a line; refuses one that cannot be trained.
    """

    def __init__(self, space: SearchSpace, study: Any, size: int, first: Callable[[Line], TrainJob]) -> None:
        self.space, self.study, self.first = space, study, first
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
        return (len(self.plans) + 1) * self.space.grace

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
        share = int(self.size * SHARE)
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
        found = self.study.get_trials(deepcopy=False)
        retried = {frozen.user_attrs["retries"] for frozen in found if "retries" in frozen.user_attrs}
        failed = [frozen.number for frozen in found if frozen.state.name == "FAIL" and "refused" not in frozen.user_attrs]
        return [number for number in failed if number not in retried and self.copy_over(number) is None]

    def _copy(self, number: int, best: Sequence[Standing], taken: set[str]) -> Copy | None:
        """What takes the place of a trial, a new experiment; None if none is found."""
        draw = Random(f"{self.space.sampler_seed} {self.pause} {number}")
        for _ in range(DRAWS):
            chosen = draw.choice(best)
            params = moved(self.space, chosen.line[-1][1], draw)
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

        found = self.study.get_trials(deepcopy=False)
        there = {frozen.user_attrs["replaces"] for frozen in found if "replaces" in frozen.user_attrs}
        for copy in copies:
            if copy.replaces in there:
                continue
            epochs, params = copy.line[-1]
            self.first(copy.line).record.inherit(self.first(copy.line[:-1]).record, epochs)
            ended = found[copy.replaces]
            if not ended.state.is_finished():
                optuna.trial.Trial(self.study, ended._trial_id).set_user_attr("reason", copy.reason)
                self.study.tell(ended.number, state=optuna.trial.TrialState.PRUNED)
            told = {"line": copy.line, "replaces": copy.replaces, "of": copy.of}
            self.study.enqueue_trial(params, user_attrs=told)


def moved(space: SearchSpace, params: Mapping[str, Any], draw: Random) -> dict[str, Any]:
    """A point near another: what can change while it trains is moved a little, or now and then drawn anew."""
    return dict(params) | {name: _moved(params[name], found, draw) for name, found in turning(space, params).items()}


def _moved(value: Any, found: Any, draw: Random) -> Any:
    from optuna.samplers import RandomSampler

    if draw.random() < ANEW:
        return RandomSampler(seed=draw.getrandbits(32)).sample_independent(None, None, "", found)
    if hasattr(found, "choices"):
        place = found.choices.index(value) + draw.choice((-1, 1))
        return found.choices[min(max(place, 0), len(found.choices) - 1)]
    near = float(f"{value * draw.choice(FACTORS):.4g}")  # a schedule is for people to read
    if found.step is not None:
        near = found.low + round((near - found.low) / found.step) * found.step
    return min(max(near, found.low), found.high)


def _key(generation: int) -> str:
    return f"generation {generation + 1}"
