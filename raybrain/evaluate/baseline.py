"""Baseline: what ridge regression makes of the same test segments, among the same candidates. Computed once for the same data.

It knows nothing of the encoder, loss and optimiser that were asked for, so all experiments that share data, window, task and
test share its ranks: a file in the home, named by the signature of the experiment that asks for ridge regression.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from raybrain.bucket.copies import fetch
from raybrain.encoders.base import Encoder
from raybrain.evaluate.segment_rows import COLUMNS, segment_rows
from raybrain.experiment import Experiment, TrainConfig
from raybrain.integrity import is_whole, say_damaged, stamp
from raybrain.metrics import TOP
from raybrain.storage import aside, locked, read_remakable, write_json
from raybrain.train.closed_form import fitted
from raybrain.train.job import TrainJob
from raybrain.train.step import Place

if TYPE_CHECKING:
    from raybrain.train.tables import Tables

NAME = "ridge"
BASELINES = "baselines"  # the folder in a home


def baseline_of(experiment: Experiment) -> Experiment:
    """The experiment that asks for ridge regression on the same data."""
    train = TrainConfig(**{name: getattr(experiment.train, name) for name in ("subjects", "leave_out", "share")})
    parts = {name: getattr(experiment, name) for name in ("data", "window", "task", "test")}
    return Experiment(**parts, encoder=Encoder.kind(NAME)(), train=train)


def baseline_path(job: TrainJob) -> Path:
    """Where the ranks of a job's baseline are kept."""
    return job.cluster.home / BASELINES / f"{baseline_of(job.experiment).signature}-{job.digest[:8]}.parquet"


def baseline_ranks(job: TrainJob) -> pd.DataFrame | None:
    """The rows of :func:`~raybrain.evaluate.segment_rows.segment_rows` of ridge regression.

    None before they are made, and if they are damaged or of an earlier version: then they are made again.
    """
    path = baseline_path(job)
    for file in (path.with_suffix(".json"), path):
        fetch(file)
    stamped = read_remakable(path.with_suffix(".json"))
    if stamped is None or not path.exists():
        return None
    if not is_whole(path, stamped):
        say_damaged(path)
        return None
    known = pd.read_parquet(path)
    return known if set(COLUMNS) <= set(known.columns) else None


def make_baseline(job: TrainJob, tables: "Tables", place: Place) -> pd.DataFrame:
    """The ranks of a job's baseline, made unless they are there; one process at a time makes them."""
    path = baseline_path(job)
    with locked(path):
        if (known := baseline_ranks(job)) is not None:
            return known
        experiment = baseline_of(job.experiment)
        learner = fitted(experiment, tables, place)
        pools = learner.task.pools(tables.words("test", experiment.test.subjects))
        made = segment_rows(learner, pools).sort_values(["recording", "sentence", "word_index"], ignore_index=True)
        with aside(path) as temporary:
            made.to_parquet(temporary)
        write_json(path.with_suffix(".json"), stamp(path))
    return made


def beside(summary: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """A summary with the accuracies of the same summary of the baseline, and whether it is below in top-1 or top-10."""
    columns = {f"baseline{k}": baseline[f"top{k}"].to_numpy() for k in TOP}
    worse = [summary[f"top{k}"].to_numpy() < columns[f"baseline{k}"] for k in TOP]
    return summary.assign(**columns, below_baseline=worse[0] | worse[-1])
