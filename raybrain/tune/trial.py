"""Trial: one training of a sweep, as Ray Tune calls it in a process of the trial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.data_config import DataConfig
from raybrain.experiment import Experiment
from raybrain.identity import locate
from raybrain.store import Prepared
from raybrain.tracking.base import TrackingStore
from raybrain.train.fit import Call, CannotTrain, Ending, check, fit, make_job, reason_of, train, work
from raybrain.train.job import TrainJob, make_place, trial_device
from raybrain.train.messages import Epochs, Exchange, Message, Sender
from raybrain.train.record import Row, with_kept


def trial_job(experiment: Experiment, data: Mapping[DataConfig, Prepared], cluster: Cluster) -> TrainJob:
    """The job of a training of a sweep.

    Args:
        experiment: what to train.
        data: what was prepared, by settings in which all places are looked up.
        cluster: where it runs.

    Raises:
        InputError: if it cannot be trained on data that were prepared for the sweep.
    """
    prepared = data.get(locate(experiment.data, cluster.home))
    if prepared is None:
        raise InputError("its data were not foreseen: what changes data must be a choice among named values")
    check(experiment, cluster, prepared)
    return make_job(experiment, prepared, cluster)


def report(history: Sequence[Row]) -> None:
    """Tell Tune of the last of these epochs, and on which node."""
    import ray
    from ray import tune

    tune.report({**with_kept(history), "node": ray.get_runtime_context().get_node_id()})


class TrialAudience:
    """Hears of a training in the process of its trial: tells Tune of every epoch once, and waits for the sweep's verdict."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.epochs = 0

    def hear(self, message: Message) -> None:
        """Tell Tune of an epoch."""
        if isinstance(message, Epochs):
            while self.epochs < len(message.history):
                self.epochs += 1
                report(message.history[: self.epochs])

    def stops(self, epoch: int) -> bool:
        """The verdict of the sweep."""
        return self.sender.stops(epoch)


@dataclass(frozen=True)
class TrialTraining:
    """What Ray Tune calls with one training of a trial.

    Attributes:
        data: what was prepared.
        cluster: where it runs.
        store: where it is logged.
        purpose: what other processes are told that want to train the same: the sweep.
        parent: id of the sweep's run in the tracking store.
        exchange: where verdicts are passed.
    """

    data: dict[DataConfig, Prepared]
    cluster: Cluster
    store: TrackingStore
    purpose: str
    parent: str
    exchange: Exchange

    def __call__(self, config: dict[str, Any]) -> None:
        """Train, telling Tune of every epoch: here if one worker is enough, else with workers of its own."""
        import ray.train
        from ray import tune

        job = trial_job(Experiment.model_validate(config["experiment"]), self.data, self.cluster)
        audience = TrialAudience(Sender(self.exchange, job.record.path.name, judged=True))

        def with_workers(job: TrainJob) -> Ending:
            return fit(job, self.exchange, audience.hear, judged=True)

        def here(job: TrainJob) -> Ending:
            self.exchange.clear(job.record.path.name)
            return work(job, make_place(self.cluster, 0, 1, trial_device(self.cluster)), audience)

        def busy(line: str) -> None:  # another sweep trains the very same thing
            tune.report({"busy": line})

        call = Call(here if self.cluster.workers == 1 else with_workers, self.purpose, busy, config["line"], self.parent)
        try:
            trained = train(job, self.store, call)
        except InputError as error:
            tune.report({"reason": str(error), "again": not isinstance(error, CannotTrain)})
        except ray.train.TrainingFailedError as error:  # its workers have had all their restarts
            tune.report({"reason": reason_of(error), "again": True})
        else:
            if trained and not audience.epochs:  # trained by another process
                report(trained.history)
