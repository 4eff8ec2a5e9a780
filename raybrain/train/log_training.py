"""Log of training: all that a training writes to the tracking store."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from raybrain.config import InputError, first_line
from raybrain.plain import differences, flat
from raybrain.tracking.base import TrackedRun, TrackingStore
from raybrain.train.record import Row

if TYPE_CHECKING:
    from raybrain.experiment import Experiment
    from raybrain.train.job import TrainJob


T = TypeVar("T")
PATIENCE_S, PAUSE_S = 600.0, 5.0


def patiently(store: TrackingStore, act: Callable[[], T]) -> T:
    """Do something with a tracking store; while that does not answer, wait for it.

    A training begins and ends with its store. Were it to fail where a server starts anew, a sweep would soon be out of trials.

    Raises:
        InputError: if the store does not answer for PATIENCE_S.
    """
    import tenacity

    def say(state: Any) -> None:
        if state.attempt_number == 1:
            print(f"the tracking store does not answer ({reason(state)}); waiting for it", flush=True)

    def reason(state: Any) -> str:
        return first_line(state.outcome.exception())

    def away(error: BaseException) -> bool:
        return isinstance(error, Exception) and store.is_away(error)

    stop, wait = tenacity.stop_after_delay(PATIENCE_S), tenacity.wait_fixed(PAUSE_S)
    try:
        return tenacity.Retrying(retry=tenacity.retry_if_exception(away), stop=stop, wait=wait, before_sleep=say)(act)
    except tenacity.RetryError as error:
        last = first_line(error.last_attempt.exception() or error)
        cure = "what is trained is kept, and the same command logs it when it does"
        raise InputError(f"the tracking store {store.address} does not answer ({last}); {cure}") from None


def begin_log(job: "TrainJob", store: TrackingStore, name: str = "", parent: str | None = None) -> "TrainJob":
    """The job with its tracked run: the one it had before if that is still there, else a new one.

    Args:
        job: what is trained.
        store: where it is tracked.
        name: of a new run; what is asked and the signature if empty.
        parent: id of the run that a new one belongs to.
    """
    run = store.find(job.record.tracking())
    if run is not None:
        run.set_status("RUNNING")
    else:
        cluster = job.cluster
        tags = {
            "signature": job.experiment.signature,
            "data": job.digest,
            "workers": cluster.workers,
            "precision": cluster.precision,
        }
        changed = {f"changed.{key}": value for key, value in differences(job.experiment).items()}
        run = store.start(name or _name(job.experiment), parent, flat(job.experiment), tags | changed)
        job.record.keep_tracking(run.key)
    return replace(job, tracking=run)


def _name(experiment: "Experiment") -> str:
    """An experiment for people: ``simple_conv, mel, synthetic (1a2b3c4d5e6f)``."""
    features, studies = ("+".join(part.name for part in parts) for parts in (experiment.data.features, experiment.data.studies))
    return f"{experiment.encoder.name}, {features}, {studies} ({experiment.signature})"


class EpochLog:
    """Logs epochs as they are done. If the store does not answer, training goes on, and they are logged later.

    Args:
        run: where; None for nowhere.
    """

    def __init__(self, run: TrackedRun | None) -> None:
        self.run = run
        self.known: int | None = None  # epochs that the store has

    def add(self, history: Sequence[Row]) -> None:
        """Log the epochs that the store does not have."""
        try:
            self.complete(history)
        except Exception as error:  # whatever a server, a proxy or a database may do
            print(f"the tracking store does not answer ({type(error).__name__}); training goes on", flush=True)

    def complete(self, history: Sequence[Row]) -> None:
        """Log the epochs that the store does not have, or raise what hinders it."""
        if self.run is None:
            return
        if self.known is None:
            self.known = self.run.last_step("valid_loss")
        for row in history[self.known :]:
            self.run.metrics({key: value for key, value in row.items() if key != "epoch"}, step=int(row["epoch"]))
            self.known = int(row["epoch"])


def log_interruption(job: "TrainJob", error: BaseException) -> None:
    """Say that a training was interrupted, or crashed."""
    assert job.tracking
    with suppress(Exception):  # what went wrong is worth more than what else goes wrong
        job.tracking.set_status("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")


def log_result(job: "TrainJob", history: Sequence[Row]) -> None:
    """Log what came of a training, its model included."""
    assert job.tracking
    EpochLog(job.tracking).complete(history)
    sizes = job.record.sizes()
    if sizes:
        job.tracking.tags({f"step.{key}": value for key, value in sizes.flat().items()})
    job.tracking.artifact(job.record.model)
    job.tracking.artifact(job.record.settings)
