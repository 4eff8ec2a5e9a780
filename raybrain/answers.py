"""Answers: what comes back for a question, as tables, pictures and plain data."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from raybrain.evaluate.rank import Evaluation
from raybrain.evaluate.statistics import records
from raybrain.experiment import Experiment
from raybrain.report.pictures import answer_picture
from raybrain.store import Prepared, SplitAudit
from raybrain.train.fit import Trained
from raybrain.tune.ledger import Repeat
from raybrain.tune.outcome import Swept

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Answer:
    """A trained and tested experiment.

    Attributes:
        prepared: the data.
        trained: the training; ``trained.history`` has one row per epoch.
        evaluation: the results on the test split, with controls and the split audit.
    """

    prepared: Prepared
    trained: Trained
    evaluation: Evaluation

    @property
    def experiment(self) -> Experiment:
        """What was asked."""
        return self.trained.job.experiment

    @cached_property
    def table(self) -> "pd.DataFrame":
        """One row per subject, then one per study (subject "all"): top-k accuracy, chance and the number of candidates."""
        import pandas as pd

        both = pd.concat([self.evaluation.subjects, self.evaluation.studies.assign(subject="all")], ignore_index=True)
        return both.sort_values("study", kind="stable", ignore_index=True)

    def figure(self) -> "Figure":
        """Top-10 accuracy of every subject, with chance."""
        return answer_picture(self.trained, self.evaluation)

    def result(self) -> dict[str, Any]:
        """Everything as plain data: what ``--json`` prints."""
        job = self.trained.job
        return prepared_result(job.experiment, self.prepared) | {
            "mlflow_run_id": self.trained.tracking.id,
            "tracking_uri": self.trained.tracking.address,
            "run": str(job.record.path),
            "best": self.trained.best,
            "history": self.trained.history,
            "test": records(self.evaluation.studies),
            "subjects": records(self.evaluation.subjects),
            "controls": records(self.evaluation.controls),
            "lags": records(self.evaluation.lags),
            "newcomers": records(self.evaluation.newcomers),
            "absent": self.evaluation.absent,
            "marks": self.evaluation.marks,
            "errors": records(self.evaluation.errors),
            "context": records(self.evaluation.context),
            "breakdown": records(self.evaluation.breakdown),
            **_audited(self.evaluation.audit),
        }

    def _repr_html_(self) -> str:
        return str(self.table.to_html(index=False))


@dataclass(frozen=True)
class SweepAnswer:
    """A sweep, and its best trial on the test split.

    Attributes:
        swept: the trials, best first by the valid split.
        prepared: the data of every data part.
        answers: the best trial's trainings by the names of their repetitions: the only ones that meet the test split.
    """

    swept: Swept
    prepared: tuple[Prepared, ...]
    answers: dict[Repeat, Answer]

    @property
    def best(self) -> Answer:
        """The best trial, its first repetition."""
        return next(iter(self.answers.values()))

    @cached_property
    def table(self) -> "pd.DataFrame":
        """One row per trial, best first."""
        import pandas as pd

        return pd.DataFrame([row | row["params"] for row in self.swept.trials]).drop(columns=["params", "runs"])

    @property
    def tested(self) -> list[dict[str, Any]]:
        """One row per repetition of the best trial and study: results on the test split."""
        return [
            {"repeat": " ".join(repeat), **row}
            for repeat, answer in self.answers.items()
            for row in records(answer.evaluation.studies)
        ]

    @cached_property
    def newcomers(self) -> "pd.DataFrame":
        """One row per repetition of the best trial, subject who was left out, and minutes of calibration."""
        import pandas as pd

        return pd.concat([answer.evaluation.newcomers for answer in self.answers.values()], ignore_index=True)

    def result(self) -> dict[str, Any]:
        """Everything as plain data: what ``--json`` prints."""
        repeats = {" ".join(repeat): records(answer.evaluation.studies) for repeat, answer in self.answers.items()}
        return self.best.result() | {"repeats": repeats, "sweep": self.swept.result()}

    def _repr_html_(self) -> str:
        return str(self.table.to_html(index=False))


def prepared_result(experiment: Experiment, prepared: Prepared) -> dict[str, Any]:
    """What was prepared, as plain data."""
    manifest = prepared.store.manifest
    return {
        "signature": experiment.signature,
        "store": str(prepared.store.root),
        "recordings": list(prepared.recordings),
        "failed_recordings": prepared.failed,
        "counts": manifest["counts"],
        **{f"{kind}_in_two_splits": some for kind, some in SplitAudit.of(manifest).leaks.items()},
    }


def _audited(audit: SplitAudit) -> dict[str, Any]:
    return {"in_two_splits": audit.leaks, "shared_by_design": audit.shared, "gap": audit.gap and asdict(audit.gap)}
