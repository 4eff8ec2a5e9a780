"""Outcome: what came of a sweep, for people and for MLflow: its trials, the best one, what mattered."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import stdev
from typing import Any

from raybrain.config import InputError, override
from raybrain.experiment import Experiment, recipe
from raybrain.metrics import well_above
from raybrain.plain import tree, typed
from raybrain.storage import aside
from raybrain.tracking.base import TrackedRun, TrackingStore
from raybrain.train.fit import Trained, recall
from raybrain.train.job import TrainJob
from raybrain.train.order import resolve
from raybrain.train.record import best_epoch, is_complete
from raybrain.tune.figures import figures
from raybrain.tune.ledger import Jobs, Ledger, Repeat
from raybrain.tune.log_sweep import log_trials
from raybrain.tune.population import line_of, line_settings
from raybrain.tune.space import SearchSpace
from raybrain.tune.study import dashboard
from raybrain.tune.sweep_record import SweepRecord

STATES = {"COMPLETE": "finished", "PRUNED": "stopped early", "FAIL": "failed", "RUNNING": "cut off"}


@dataclass(frozen=True)
class Swept:
    """What came of a sweep.

    Attributes:
        name: of the sweep, and of its folder.
        trials: one row per trial, best first; also in the folder as ``trials.json``.
        best: the trainings of the best trial by the names of the repetitions.
        commands: that train them, as typed; None for what no command line can say.
        front: numbers of the trials that no other beats in every objective.
        left: how many trials are still to be run.
        dashboard: the command that shows the search.
        tracking: the parent run.
    """

    name: str
    trials: list[dict[str, Any]]
    best: dict[Repeat, Trained]
    commands: list[str | None]
    front: list[int]
    left: int
    dashboard: str
    tracking: TrackedRun

    @property
    def keys(self) -> list[str]:
        """The names of all parameters, in order of appearance."""
        return list(dict.fromkeys(key for row in self.trials for key in row["params"]))

    @property
    def finished(self) -> list[dict[str, Any]]:
        """The trials that were trained to the end, best first; the first one won."""
        return [row for row in self.trials if row["state"] == "finished"]

    @property
    def tied(self) -> list[int]:
        """Numbers of the trials that share the best score: not by a copy, nor by the same training."""
        best = [row for row in self.finished if row["score"] == self.finished[0]["score"]]
        numbers = {row["trial"] for row in best}
        trials = {row["signature"]: row["trial"] for row in reversed(best) if row["copy_of"] not in numbers}
        return sorted(trials.values())

    @property
    def unripe(self) -> list[int]:
        """Numbers of the trials that were stopped before they were well above chance, if those are most of the stopped."""
        stopped = [row for row in self.trials if row["state"] == "stopped early"]
        early = sorted(row["trial"] for row in stopped if row["above_chance"] is False)
        return early if len(early) > len(stopped) / 2 else []

    def result(self) -> dict[str, Any]:
        """For --json."""
        trials = {"name": self.name, "mlflow_run_id": self.tracking.id, "trials": self.trials, "left": self.left}
        return trials | {"front": self.front, "commands": self.commands}


def outcome(
    ledger: Ledger, store: TrackingStore, tracking: TrackedRun, record: SweepRecord, again: Callable[[TrainJob], Trained]
) -> Swept:
    """Put together what is known of a sweep; keep it in its folder, and log it.

    Args:
        ledger: what was tried.
        store: where runs are logged.
        tracking: the run of the sweep.
        record: its folder.
        again: makes a finished training whole, of which something was damaged since.

    Raises:
        InputError: if no trial was trained to the end.
    """
    space = ledger.space
    begun = {frozen.user_attrs["key"]: (frozen, jobs) for frozen, jobs in ledger.begun()}  # what was tried again counts last
    sign = 1 if space.mode == "min" else -1
    rows = [_row(space, frozen, jobs) for frozen, jobs in begun.values()]
    rows.sort(key=lambda row: (row["score"] is None, sign * (row["score"] or 0), row["trial"]))
    done = [row for row in rows if row["state"] == "finished"]
    if not done:
        tracking.set_status("FAILED")
        why = "; ".join(sorted({row["reason"] for row in rows if row["state"] == "failed"})) or "time was up"
        raise InputError(f"no trial of {record.path.name} was trained to the end ({why}); its folder is {record.path}")
    frozen, jobs = next((frozen, jobs) for frozen, jobs in begun.values() if frozen.number == done[0]["trial"])
    best = {repeat: recall(job, store) or again(job) for repeat, job in jobs.items()}
    settings = line_settings(space, line_of(frozen))
    commands = [command(space, {**settings, **changes}) for changes in space.repeats().values()]
    front = [frozen.number for frozen in ledger.study.best_trials] if space.objectives else []
    cut_off = sum(row["state"] == "cut off" for row in rows)
    swept = Swept(record.path.name, rows, best, commands, front, ledger.left + cut_off, dashboard(record.path), tracking)
    _keep(ledger, swept, jobs, record)
    tracking.set_status("FINISHED")
    return swept


def _row(space: SearchSpace, frozen: Any, jobs: Jobs) -> dict[str, Any]:
    """What is known of a trial."""
    runs: list[dict[str, Any]] = []
    state = STATES[frozen.state.name]
    judged = max(frozen.intermediate_values, default=None) if state == "stopped early" else None
    for repeat, job in jobs.items():
        history = job.record.history()[:judged]  # another sweep may have gone on with it
        best = best_epoch(history) if history else {}
        whole = job.record.state == "finished" or is_complete(history, job.experiment.train)  # its result may be damaged
        known = {"score": best.get(space.metric), "epochs": len(history), "finished": whole}
        top10 = best.get("valid_top10")
        known["above_chance"] = None if top10 is None else well_above(top10, best["valid_chance10"])
        known["as_published"] = as_published(space, line_of(frozen)[0][1], repeat, job.experiment)
        name = {"repeat": list(repeat), "signature": job.experiment.signature, "folder": str(job.record.path)}
        runs.append({**name, **known})
    scores = [run["score"] for run in runs if run["finished"]]
    values = frozen.values if state == "finished" else None
    return {
        "trial": frozen.number,
        "params": line_of(frozen)[0][1],
        "signature": runs[0]["signature"],
        "epochs": max(run["epochs"] for run in runs),
        "metric": space.metric,
        "score": values[0] if values else runs[0]["score"],
        "sd": stdev(scores) if values and len(scores) > 1 else None,
        **dict(zip(space.objectives, values[1:] if values else [None] * len(space.objectives), strict=True)),
        "above_chance": runs[0]["above_chance"],
        "state": state,
        "recipe": "recipe" in frozen.user_attrs,
        "copy_of": frozen.user_attrs.get("of"),
        "schedule": list(next(iter(jobs.values())).experiment.optim.schedule) if "of" in frozen.user_attrs else [],
        "reason": frozen.user_attrs.get("reason", ""),
        "runs": runs,
    }


def as_published(space: SearchSpace, params: Mapping[str, Any], repeat: Repeat, experiment: Experiment) -> bool:
    """Whether a training is the one the space asks for, with nothing changed on the command line."""
    plain = replace(space, asked={})
    try:
        asked = plain.experiment({**plain.settings(params), **plain.repeats()[repeat]})
    except InputError:  # a variant that only the command line knows
        return False
    return asked.model_copy(update={"train": resolve(asked.train, 1)}).signature == experiment.signature


def command(space: SearchSpace, settings: Mapping[str, Any]) -> str | None:
    """The command line that trains an experiment; None if its settings cannot be typed."""
    changes = {key: typed(value) for key, value in {**space.fixed, **space.asked, **settings}.items()}
    try:
        if override(recipe(space.recipe), changes) != space.experiment(settings):
            return None
    except InputError:
        return None
    return " ".join(["raybrain train", space.recipe, *(shlex.quote(f"{key}={value}") for key, value in changes.items())])


def _keep(ledger: Ledger, swept: Swept, jobs: Jobs, record: SweepRecord) -> None:
    """Keep and log trials, best configuration and figures, unless nothing is new."""
    key = swept.tracking.key
    if record.logged(key) and record.trials() == swept.trials:
        return
    experiments = [tree(job.experiment) for job in jobs.values()]
    record.keep_trials(swept.trials, {**swept.finished[0], "commands": swept.commands, "experiments": experiments})
    for name, figure in figures(ledger).items():
        with aside(record.figures / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=160)
    log_trials(swept, ledger.space.metric, record)
    record.keep_logged(key)
