"""Sweeps whose trainings are pretended: what a training leaves behind is written by hand, so none is run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution

from raybrain.cluster import Cluster
from raybrain.experiment import Experiment
from raybrain.store import Store
from raybrain.train.job import TrainJob
from raybrain.train.order import Contrast, RunSizes
from raybrain.train.record import RunRecord, with_kept
from raybrain.tune.ledger import Ledger, Member
from raybrain.tune.space import SearchSpace
from raybrain.tune.study import open_study
from raybrain.tune.sweep_record import SweepRecord
from raybrain.tune.walk import grid

DEPTH = CategoricalDistribution([2, 4])
LR = FloatDistribution(1e-4, 1e-2, log=True)


def space(**changed: Any) -> SearchSpace:
    return SearchSpace(**{"recipe": "quickstart", "parameters": {"encoder.depth": DEPTH}, "trials": 4, **changed})


def architecture(trial: Any) -> dict[str, Any]:
    kind = trial.suggest_categorical("encoder", ["simple_conv", "conv_rnn"])
    if kind == "conv_rnn":
        return {"encoder": kind, "encoder.lstm.layers": trial.suggest_int("lstm.layers", 1, 3)}
    return {"encoder.depth": trial.suggest_categorical("depth", [2, 4])}  # the recipe's kind, with all else it says of it


class Bench:
    """A sweep whose trainings are pretended."""

    def __init__(self, folder: Path, asked: SearchSpace, trials: int = 0) -> None:
        self.folder, self.space = folder, asked
        folder.mkdir(parents=True, exist_ok=True)
        study = open_study(asked, SweepRecord(folder))
        self.ledger = Ledger(asked, study, trials or asked.trials or len(grid(asked)), self.job)

    def job(self, experiment: Experiment) -> TrainJob:
        home = self.folder.parent
        run = RunRecord(home / "runs" / experiment.signature)
        return TrainJob(experiment, Cluster(home=home), Store(home), (), "digest", "brain", {}, run, {})

    @property
    def begun(self) -> list[Any]:
        found = self.ledger.study.get_trials(deepcopy=False)
        return [trial for trial in found if "refused" not in trial.user_attrs]

    @property
    def states(self) -> list[str]:
        return [trial.state.name for trial in self.begun]

    def train(self, member: Member, losses: list[float]) -> int:
        """Epochs trained until the end or a stop."""
        history = history_of(losses)
        for epochs in range(1, len(history) + 1):
            if self.ledger.report(member, with_kept(history[:epochs])):
                member.job.record.keep_history(history[:epochs])
                return epochs
        finish(member.job.record, losses)
        return len(history)

    def run(self, score: Callable[[Experiment], float]) -> list[tuple[Experiment, int]]:
        """Run to the end; what was trained, and for how long."""
        trained = []
        while member := self.ledger.next():
            experiment = member.job.experiment
            epochs = self.train(member, [score(experiment) / (1 + epoch) for epoch in range(experiment.train.epochs)])
            trained.append((experiment, epochs))
            self.ledger.ended(member)
        return trained


def history_of(losses: list[float]) -> list[dict[str, float]]:
    return [{"epoch": n + 1, "valid_loss": loss, "valid_top10": 1 - loss, "seconds": n + 1.0} for n, loss in enumerate(losses)]


def sizes_of(updates: int = 1) -> RunSizes:
    return RunSizes(Contrast(16, 1, 16, 16, 0, updates), parameters=10, data="memory map")


def finish(record: RunRecord, losses: list[float]) -> None:
    history = history_of(losses)
    record.keep_history(history)
    record.keep_sizes(sizes_of())
    record.finish("signature", "digest", history)


def runs(uri: str) -> dict[str, Any]:
    """All MLflow runs by id."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    return {run.info.run_id: run for run in client.search_runs([e.experiment_id for e in client.search_experiments()])}
