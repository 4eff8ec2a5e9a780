"""Log of a sweep: all that a sweep writes to the tracking store, besides what its trainings write."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from raybrain.plain import flat
from raybrain.tracking.base import Status, TrackedRun, TrackingStore
from raybrain.train.job import TrainJob
from raybrain.tune.space import SearchSpace
from raybrain.tune.space_record import searched
from raybrain.tune.sweep_record import SweepRecord

if TYPE_CHECKING:
    from raybrain.tune.outcome import Swept


def begin_sweep_log(space: SearchSpace, store: TrackingStore, record: SweepRecord) -> TrackedRun:
    """The run that the trials of a sweep belong to: the one it had before if that is still there, else a new one.

    A new one takes over the trials of one that somebody deleted.
    """
    before = record.tracking()
    run = store.find(before)
    if run is not None:
        run.set_status("RUNNING")
        return run
    name = record.path.name
    tags = {"sweep": name, "question": space.question, "mlflow.note.content": space.question}
    asked = {f"searched.{key}": value for key, value in {**searched(space), **space.searched}.items()}
    settings = {key: getattr(space, key) for key in ("recipe", "metric", "seeds", "over")}
    settings |= flat(space.sampler, "sampler.") | flat(space.scheduler, "scheduler.")
    run = store.start(name, params=asked | settings, tags=tags)
    record.keep_tracking(run.key)
    if before and before.address == store.address:
        store.adopt(before.id, run)
    return run


def log_sweep_interruption(run: TrackedRun, error: BaseException) -> None:
    """Say that a sweep was interrupted, or crashed."""
    with suppress(Exception):  # what went wrong is worth more than what else goes wrong
        run.set_status("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")


def log_trials(swept: "Swept", metric: str, record: SweepRecord) -> None:
    """Log the trials of a sweep, the best one and the figures."""
    run, best = swept.tracking, swept.finished[0]
    for path in record.files:
        run.artifact(path)
    run.table("trials", [_flat_trial(row) for row in swept.trials])
    run.metrics({f"best_{metric}": best["score"]}, step=len(swept.trials))
    schedule = {"optim.schedule": " ".join(best["schedule"])} if best["schedule"] else {}
    settings = {**best["params"], **schedule, "signature": best["signature"]}
    run.tags({f"best.{key}": value for key, value in settings.items()})
    for path in sorted(record.figures.glob("*.png")):
        run.artifact(path, "figures")


def log_winner(run: TrackedRun, tested: Sequence[Mapping[str, Any]]) -> None:
    """Log what the best trial has reached on the test split: one row per repetition and study."""
    run.table("best_test_studies", tested)


def log_stop(job: TrainJob, store: TrackingStore, purpose: str, how: str, reason: str | None) -> None:
    """End the tracked run of a training that a sweep did not finish, if it has not ended; say why, if that is known.

    What another process trains now, or trained last, is left alone.

    Args:
        job: what was to be trained.
        store: where it is tracked.
        purpose: what this sweep's processes say they train it for.
        how: it ended.
        reason: why, if that is known.
    """
    if job.record.state == "new":
        return
    with job.record.settled() as owner:  # if that is us, it is in a process of a trial that ends with this one
        if owner is None or owner.purpose != purpose or job.record.state == "finished":
            return
        status: Status = "FAILED" if how == "failed" else "KILLED"
        with suppress(Exception):  # the store may be gone; the sweep's results are not
            run = store.find(job.record.tracking())
            if run is None:
                return
            if run.status() == "RUNNING":
                run.tags({"stopped": how})
                run.set_status(status)
            if reason:
                run.tags({"stopped": f"{how}: {reason}"})


def _flat_trial(row: Mapping[str, Any]) -> dict[str, Any]:
    known = {key: value for key, value in row.items() if key not in ("runs", "params")}
    folders = " ".join(run["folder"] for run in row["runs"])
    return known | {"schedule": " ".join(row["schedule"]), "params": json.dumps(row["params"]), "folders": folders}
