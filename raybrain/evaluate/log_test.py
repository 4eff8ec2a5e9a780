"""Log of the test: all that an evaluation writes to the tracking store."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from raybrain.evaluate.marks import names_of
from raybrain.evaluate.statistics import records
from raybrain.metrics import TOP

if TYPE_CHECKING:
    from raybrain.evaluate.rank import Evaluation
    from raybrain.train.fit import Trained

SPLIT = "test"


def log_test(trained: "Trained", evaluation: "Evaluation") -> None:
    """Log tables and metrics of the test."""
    run = trained.tracking
    run.table(f"{SPLIT}_subjects", records(evaluation.subjects))
    run.table(f"{SPLIT}_studies", records(evaluation.studies))
    run.table(f"{SPLIT}_controls", records(evaluation.controls))
    run.table(f"{SPLIT}_context", records(evaluation.context))
    run.table(f"{SPLIT}_errors", records(evaluation.errors))
    run.table(f"{SPLIT}_breakdown", records(evaluation.breakdown))
    run.table(f"{SPLIT}_lags", records(evaluation.lags))
    for name in ("channels", "newcomers"):
        if len(rows := getattr(evaluation, name)):
            run.table(f"{SPLIT}_{name}", records(rows))
    run.table(f"{SPLIT}_marks", [mark | {"band": " to ".join(f"{end:g}" for end in mark["band"])} for mark in evaluation.marks])
    metrics = _study_metrics(evaluation.studies, trained.job.experiment.task.measures) | _control_metrics(evaluation.controls)
    metrics |= _context_metrics(evaluation.context)
    metrics |= {f"{SPLIT}_marks": float(len(evaluation.marks))}
    audit = evaluation.audit
    metrics |= {f"{SPLIT}_{kind}_in_two_splits": float(len(names)) for kind, names in audit.leaks.items()}
    if audit.gap and audit.gap.least_s is not None:
        metrics |= {f"{SPLIT}_gap_s": audit.gap.least_s, f"{SPLIT}_near_train": float(audit.gap.near)}
    run.metrics(metrics, step=int(trained.best["epoch"]))
    below = evaluation.studies["study"][evaluation.studies["below_baseline"]]
    run.tags({"below_baseline": ", ".join(below) or "no", "marks": ", ".join(names_of(evaluation.marks)) or "no"})
    if audit.shared:
        run.tags({"speech_in_train_and_test": f"yes, by design of held-out {audit.mode}s"})
    run.set_status("FINISHED")


def _study_metrics(studies: pd.DataFrame, measures: Sequence[str]) -> dict[str, float]:
    """The mean over studies, and each study's own numbers where there are several."""
    names = [f"{word}top{k}" for word in ("", "word_") for k in TOP] + [f"chance{k}" for k in TOP]
    names += [f"baseline{k}" for k in TOP] + ["mrr", "median_rank", "below_baseline", "candidates", *measures]
    metrics = {f"{SPLIT}_{name}": float(studies[name].mean()) for name in names}
    if len(studies) > 1:
        metrics |= {f"{SPLIT}_{name}/{row['study']}": float(row[name]) for row in records(studies) for name in names}
    return metrics


def _control_metrics(controls: pd.DataFrame) -> dict[str, float]:
    """Each control's top-10 accuracy, averaged over studies."""
    means = controls.groupby("control")["top10"].mean()
    return {f"{SPLIT}_control_top10/{name}": float(value) for name, value in means.items()}


def _context_metrics(context: pd.DataFrame) -> dict[str, float]:
    """Top-1 accuracy with context and with that of random groups, averaged over studies."""
    return {f"{SPLIT}_{name}_top1": float(context[f"{name}1"].mean()) for name in ("context", "random")} if len(context) else {}
