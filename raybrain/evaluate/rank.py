"""Run: rank every test segment against all candidates of its study, in Ray tasks; a table of subjects, beside chance and ridge.

With every result come the controls, ranked the same way, what errors are, what context adds, and the split audit.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from rich.progress import track

from raybrain.bucket.copies import fetch
from raybrain.cluster import Cluster, ray_session
from raybrain.config import InputError
from raybrain.console import PlainConsole
from raybrain.evaluate.attribution import attributed
from raybrain.evaluate.baseline import baseline_of, baseline_ranks, beside, make_baseline
from raybrain.evaluate.breakdown import breakdown
from raybrain.evaluate.channel_rows import channel_rows
from raybrain.evaluate.context import context_rows
from raybrain.evaluate.controls import Models, control_rows
from raybrain.evaluate.lags import lag_rows
from raybrain.evaluate.log_test import SPLIT, log_test
from raybrain.evaluate.marks import Mark, marked, marks_of, shared_by_design
from raybrain.evaluate.newcomers import newcomer_rows
from raybrain.evaluate.segment_rows import COLUMNS, PLACE, segment_rows
from raybrain.evaluate.silence import find_silence
from raybrain.evaluate.statistics import bootstrap_interval, records
from raybrain.metrics import TOP, mean_candidates, mean_chance
from raybrain.placement import worker_resources
from raybrain.store import SplitAudit, Store
from raybrain.train.fit import Trained, say_busy
from raybrain.train.job import TrainJob, make_place, trial_device
from raybrain.train.maps import are_whole
from raybrain.train.order import Contrast
from raybrain.train.record import RunRecord
from raybrain.train.step import Learner, Place
from raybrain.train.tables import Tables

console = PlainConsole(stderr=True)
Rows = list[dict[str, Any]]
TABLES = ("controls", "context", "lags", "absent")  # the smaller ones that a run keeps
FURTHER = ("channels", "newcomers")  # those that some runs alone have


@dataclass(frozen=True)
class Evaluation:
    """Results on the test split.

    Attributes:
        ranks: one row per segment, as :func:`raybrain.evaluate.segment_rows.segment_rows` makes them.
        subjects: one row per subject: accuracies in [0, 1], those of chance, and those of the baseline, ridge regression.
        studies: one row per study: the mean over its segments.
        controls: one row per study and control, as :func:`raybrain.evaluate.controls.control_rows` makes them, and whether it
            is ``marked``.
        audit: what stands in two splits, by mistake or by design, and how near test windows come to train windows.
        context: one row per study, as :func:`raybrain.evaluate.context.context_rows` makes them.
        baseline: one row per segment: the ranks of the baseline.
        lags: one row per study and lag, as :func:`raybrain.evaluate.lags.lag_rows` makes them.
        absent: study, control and reason for each control that a study cannot have.
        languages: of the words of each study.
        trained: what it was trained on, ``train.control``.
        channels: one row per study and channel, as :func:`raybrain.evaluate.channel_rows.channel_rows` makes them, where the
            brain is aimed at.
        newcomers: one row per subject who was left out and minutes of calibration, as
            :func:`raybrain.evaluate.newcomers.newcomer_rows` makes them.
    """

    ranks: pd.DataFrame
    subjects: pd.DataFrame
    studies: pd.DataFrame
    controls: pd.DataFrame
    audit: SplitAudit
    context: pd.DataFrame = field(default_factory=pd.DataFrame)
    baseline: pd.DataFrame = field(default_factory=pd.DataFrame)
    lags: pd.DataFrame = field(default_factory=pd.DataFrame)
    absent: Rows = field(default_factory=list)
    languages: Mapping[str, str] = field(default_factory=dict)
    trained: str = "none"
    channels: pd.DataFrame = field(default_factory=pd.DataFrame)
    newcomers: pd.DataFrame = field(default_factory=pd.DataFrame)

    @cached_property
    def marks(self) -> list[Mark]:
        """What should make one doubt the result, as :func:`raybrain.evaluate.marks.marks_of` says it; nothing is best."""
        return [
            *marks_of(self.controls, self.lags, self.context, self.audit.leaks, self.trained),
            *shared_by_design(self.audit),
        ]

    @cached_property
    def errors(self) -> pd.DataFrame:
        """One row per study and kind of error, as :func:`raybrain.evaluate.attribution.attributed` makes them."""
        return pd.DataFrame(attributed(self.ranks))

    @cached_property
    def breakdown(self) -> pd.DataFrame:
        """Accuracies by place in the sentence, class, frequency and length of the word, beside those of the baseline."""
        return breakdown(self.ranks, self.baseline, self.languages)


@dataclass(frozen=True)
class _Kept:
    """What a run keeps of its test."""

    ranks: pd.DataFrame
    controls: Rows
    context: Rows
    lags: Rows
    absent: Rows
    channels: Rows = field(default_factory=list)
    newcomers: Rows = field(default_factory=list)

    @classmethod
    def of(cls, job: TrainJob) -> "_Kept | None":
        """That of a run; None if there is nothing, or an earlier version kept less."""
        known = job.record.test()
        if known is None or not set(TABLES) <= known[1].keys() or not set(COLUMNS) <= set(known[0].columns):
            return None
        further = {name: known[1].get(name, []) for name in FURTHER}
        return cls(known[0], **{name: known[1][name] for name in TABLES}, **further)


def run(trained: Trained) -> Evaluation:
    """Evaluate what is not evaluated yet; keep the results in the run's folder, and log it.

    Raises:
        InputError: if the weights of the run are gone, or its estimates are not finite.
    """
    job = trained.job
    if job.record.logged("evaluated", trained.tracking.key):
        kept, baseline = _Kept.of(job), baseline_ranks(job)
        if kept and baseline is not None:
            return _evaluation(job, kept, baseline)
    with job.record.own("evaluate", say_busy):
        return _evaluated(trained)


def recall(record: RunRecord, home: Path) -> Evaluation | None:
    """The evaluation that a run keeps, read without its data; None if it was not tested, or by an earlier version.

    Args:
        record: of the run.
        home: where its baseline and its store are.
    """
    experiment, result = record.experiment(), record.result()
    if experiment is None or result is None:
        return None
    store = Store(home / "stores" / experiment.data.brain_signature)
    job = TrainJob(experiment, Cluster(home=home), store, (), result.digest, "", {}, record, {})
    kept, baseline = _Kept.of(job), baseline_ranks(job)
    return None if kept is None or baseline is None else _evaluation(job, kept, baseline)


def _evaluated(trained: Trained) -> Evaluation:
    """Rank what is not ranked yet, and log it; for who owns the run."""
    job = trained.job
    kept, baseline = _Kept.of(job), baseline_ranks(job)
    fresh = kept is None or baseline is None
    if kept is None:
        kept = _rank(job)
        job.record.keep_test(kept.ranks, {name: getattr(kept, name) for name in (*TABLES, *FURTHER)})
        baseline = baseline_ranks(job)
    if baseline is None:
        baseline = _baseline_alone(job)
    evaluation = _evaluation(job, kept, baseline)
    if fresh or not job.record.logged("evaluated", trained.tracking.key):
        log_test(trained, evaluation)
        job.record.keep_logged("evaluated", trained.tracking.key)  # last, so that what was cut off before is logged again
    return evaluation


def _evaluation(job: TrainJob, kept: _Kept, baseline: pd.DataFrame) -> Evaluation:
    """The tables of what was ranked."""
    measures = job.experiment.task.measures
    same = kept.ranks[PLACE].to_numpy().tolist() == baseline[PLACE].to_numpy().tolist()
    assert same, "baseline and model were tested on other segments"
    subjects, studies = (
        beside(summary(kept.ranks, by, measures), summary(baseline, by, measures)) for by in (["study", "subject"], ["study"])
    )
    return Evaluation(
        kept.ranks,
        subjects,
        studies,
        marked(pd.DataFrame(kept.controls)),
        _audit(job.store),
        pd.DataFrame(kept.context),
        baseline,
        pd.DataFrame(kept.lags),
        kept.absent,
        _languages(job),
        job.experiment.train.control,
        pd.DataFrame(kept.channels),
        pd.DataFrame(kept.newcomers),
    )


def _languages(job: TrainJob) -> dict[str, str]:
    """The language of the words of each study, of those whose events say so."""
    known: dict[str, str] = {}
    for uid in job.recordings:
        part = job.store.part(uid)
        if part is None or part.study in known:
            continue
        events = job.store.events(uid)
        if "language" in events.column_names:
            known[part.study] = next((row["language"] for row in events.to_pylist() if row["kind"] == "word"), "")
    return known


def _audit(store: Store) -> SplitAudit:
    """The audit of a store; nothing is known of one that is there no more."""
    with suppress(InputError):
        return SplitAudit.of(store.manifest)
    return SplitAudit({})


def summary(ranks: pd.DataFrame, by: list[str], measures: Sequence[str] = ()) -> pd.DataFrame:
    """Top-k accuracy of segments and of words in each group, with chance, the number of candidates and 95 % intervals.

    ``low10`` and ``high10`` are of the top-10 accuracy: over subjects where a group has several, else over segments. ``mrr`` is
    the mean reciprocal rank of the true segment. Further ``measures`` of the task are means over segments.
    """
    rows: Rows = []
    for key, group in ranks.groupby(by, sort=True):
        row: dict[str, Any] = dict(zip(by, key, strict=True)) | {"segments": len(group)}
        candidates, words = (Counter(group[name].tolist()) for name in ("candidates", "words"))
        row["candidates"] = mean_candidates(candidates)
        for k in TOP:
            row[f"top{k}"] = float((group["rank"] <= k).mean())
            row[f"chance{k}"] = mean_chance(k, candidates)
        by_subject = (group["rank"] <= 10).groupby(group["subject"]).agg(["sum", "count"])
        row["low10"], row["high10"] = bootstrap_interval(by_subject["sum"].tolist(), by_subject["count"].tolist())
        row["mrr"], row["median_rank"] = float((1 / group["rank"]).mean()), float(group["rank"].median())
        row["words"] = mean_candidates(words)
        for k in TOP:
            row[f"word_top{k}"] = float((group["word_rank"] <= k).mean())
        rows.append(row | {name: float(group[name].mean()) for name in measures})
    return pd.DataFrame(rows)


def _rank(job: TrainJob) -> _Kept:
    """Rank everything, in Ray tasks; the baseline among it, which is kept where other runs find it."""
    are_whole(job.brain, job.features, job.cluster.maps)  # says here what is damaged; whoever reads it makes it again
    with ray_session(job.cluster):
        import ray

        shards = job.cluster.workers
        options = _options(job)
        parts = [ray.remote(**options)(rank_shard).remote(job, shard, shards) for shard in range(shards)]
        tasks = (rank_controls, rank_context, rank_lags, rank_baseline)
        others = [ray.remote(**options)(task).remote(job) for task in tasks]
        asked = {"channels": job.experiment.task.aims_at_brain, "newcomers": bool(job.experiment.train.leave_out)}
        made = {"channels": rank_channels, "newcomers": rank_newcomers}
        further = {name: ray.remote(**options)(made[name]).remote(job) for name in FURTHER if asked[name]}
        waiting = [*parts, *others, *further.values()]
        for _ in track(range(len(waiting)), description="evaluate:", console=console, transient=True):
            ready, waiting = ray.wait(waiting, num_returns=1)
            ray.get(ready)  # what fails, fails at once
        ranked, ((controls, absent), context, (lags, no_lags), _) = ray.get(parts), ray.get(others)
        extra = {name: ray.get(task) for name, task in further.items()}
    ranks = pd.concat(ranked).sort_values(PLACE, ignore_index=True)
    newcomers, too_few = extra.get("newcomers", ([], []))
    return _Kept(ranks, controls, context, lags, absent + no_lags + too_few, extra.get("channels", []), newcomers)


def _options(job: TrainJob) -> dict[str, float]:
    """What each task is given: as much as a worker of the cluster. It may ask the cluster for machines, so ask it once."""
    each = worker_resources(job.cluster)
    return {"num_cpus": each["CPU"], "num_gpus": each.get("GPU", 0), "max_retries": 3}


def _baseline_alone(job: TrainJob) -> pd.DataFrame:
    with ray_session(job.cluster):
        import ray

        ranks: pd.DataFrame = ray.get(ray.remote(**_options(job))(rank_baseline).remote(job))
    return ranks


def rank_shard(job: TrainJob, shard: int, shards: int) -> pd.DataFrame:
    """Rank one of ``shards`` shares of the test segments with the best weights of a run."""
    learner = load_learner(job, _place(job))
    return segment_rows(learner, learner.task.pools(learner.tables.words(SPLIT, job.experiment.test.subjects)), shard, shards)


def rank_controls(job: TrainJob) -> tuple[Rows, Rows]:
    """The controls of a run with its best weights, and those that it cannot have."""
    learner = load_learner(job, _place(job))
    models = Models(learner, _learner(job, learner.tables, learner.place), find_silence(learner.tables, job.store))
    rows, absent = control_rows(models, learner.task.pools(learner.tables.words(SPLIT, job.experiment.test.subjects)))
    return records(rows), absent


def rank_lags(job: TrainJob) -> tuple[Rows, Rows]:
    """The lag curves of a run's data, and why there are none."""
    tables = job.tables(_place(job).device)
    curves, absent = lag_rows(tables, job.experiment.task.pools(tables.words(SPLIT, job.experiment.test.subjects)))
    return records(curves), absent


def rank_context(job: TrainJob) -> Rows:
    """What context adds to a run with its best weights."""
    learner = load_learner(job, _place(job))
    valid, test = (learner.tables.words(split, job.experiment.test.subjects) for split in ("valid_words", SPLIT))
    return context_rows(learner, learner.task.pools(valid), learner.task.pools(test))


def rank_channels(job: TrainJob) -> Rows:
    """How well each channel of the brain is estimated by a run with its best weights."""
    learner = load_learner(job, _place(job))
    pools = learner.task.pools(learner.tables.words(SPLIT, job.experiment.test.subjects))
    return records(channel_rows(learner, baseline_of(job.experiment), pools))


def rank_newcomers(job: TrainJob) -> tuple[Rows, Rows]:
    """How well those are decoded who were left out, over minutes of calibration, and why not where these are too few."""
    learner, experiment = load_learner(job, _place(job)), job.experiment
    pools = learner.task.pools(learner.tables.words(SPLIT, experiment.test.subjects))
    return newcomer_rows(learner, experiment, baseline_of(experiment), pools)


def rank_baseline(job: TrainJob) -> pd.DataFrame:
    """The ranks of a job's baseline."""
    place = _place(job)
    return make_baseline(job, job.tables(place.device), place)


def _place(job: TrainJob) -> Place:
    return make_place(job.cluster, 0, 1, trial_device(job.cluster))


def load_learner(job: TrainJob, place: Place) -> Learner:
    """The model of a finished run, with its best weights."""
    learner = _learner(job, job.tables(place.device), place)
    fetch(job.record.path)
    saved = job.record.best(place.device)
    if saved is None:
        raise InputError(f"{job.record.path} has no best.pt; delete that folder and run `raybrain train` again")
    learner.restore({"model": saved["model"]})
    learner.network.eval()
    return learner


def _learner(job: TrainJob, tables: Tables, place: Place) -> Learner:
    """The model of a run as it was before training."""
    unused = Contrast(1, 1, 1, 1, 0, 1)
    return Learner(job.experiment, tables, unused, place)
