"""Run: rank every test segment against all candidates of its study, in Ray tasks; tables a subject, beside chance.

With every result come the controls, ranked the same way, and the split audit.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.progress import track

from raybrain.cluster import ray_session, worker_resources
from raybrain.config import InputError
from raybrain.console import PlainConsole
from raybrain.evaluate.controls import Models, control_rows
from raybrain.evaluate.log_test import SPLIT, log_test
from raybrain.evaluate.statistics import bootstrap_interval, records
from raybrain.metrics import TOP, mean_candidates, mean_chance
from raybrain.store import leaks
from raybrain.tasks.retrieve import rank_rows
from raybrain.train.fit import Trained
from raybrain.train.job import TrainJob, make_place, trial_device
from raybrain.train.maps import are_whole
from raybrain.train.order import Contrast
from raybrain.train.step import Learner, Place
from raybrain.train.tables import Tables

console = PlainConsole(stderr=True)


@dataclass(frozen=True)
class Evaluation:
    """Results on the test split.

    Attributes:
        ranks: one row per segment: study, subject, recording, sentence, word_index, word, rank, candidates, word_rank, words,
            and further measures of the task.
        subjects: a row a subject: accuracies in [0, 1].
        studies: a row a study: the mean over its segments, and chance.
        controls: a row a study and control, as :func:`raybrain.evaluate.controls.control_rows` makes them.
        leaks: what the split audit found in two splits, by kind; nothing is best.
    """

    ranks: pd.DataFrame
    subjects: pd.DataFrame
    studies: pd.DataFrame
    controls: pd.DataFrame
    leaks: dict[str, list[str]]


def run(trained: Trained) -> Evaluation:
    """Evaluate what is not evaluated yet; keep ranks and controls in the run's folder, and log them."""
    record = trained.job.record
    if record.logged("evaluated", trained.tracking.key) and record.test() is not None:
        return _evaluated(trained)
    with record.own("evaluate", lambda line: console.print(f"{line}; waiting for it", highlight=False, soft_wrap=True)):
        return _evaluated(trained)


def _evaluated(trained: Trained) -> Evaluation:
    job = trained.job
    known = job.record.test()
    ranks, controls = known or _rank(job)
    if known is None:
        job.record.keep_test(ranks, controls)
    measures = job.experiment.task.measures
    subjects, studies = (summary(ranks, by, measures) for by in (["study", "subject"], ["study"]))
    evaluation = Evaluation(ranks, subjects, studies, pd.DataFrame(controls), leaks(job.store.manifest))
    if job.record.logged("evaluated", trained.tracking.key):
        return evaluation
    log_test(trained, evaluation)
    job.record.keep_logged("evaluated", trained.tracking.key)  # last, so that what was cut off before is logged again
    return evaluation


def summary(ranks: pd.DataFrame, by: list[str], measures: Sequence[str] = ()) -> pd.DataFrame:
    """Top-k accuracy of segments and of words in each group, with chance, the number of candidates and 95 % intervals.

    ``low10`` and ``high10`` are of the top-10 accuracy: over subjects where a group has several, else over segments. Further
    ``measures`` of the task are means over segments.
    """
    rows: list[dict[str, Any]] = []
    for key, group in ranks.groupby(by, sort=True):
        row: dict[str, Any] = dict(zip(by, key, strict=True)) | {"segments": len(group)}
        candidates, words = (Counter(group[name].tolist()) for name in ("candidates", "words"))
        row["candidates"] = mean_candidates(candidates)
        for k in TOP:
            row[f"top{k}"] = float((group["rank"] <= k).mean())
            row[f"chance{k}"] = mean_chance(k, candidates)
        by_subject = (group["rank"] <= 10).groupby(group["subject"]).agg(["sum", "count"])
        row["low10"], row["high10"] = bootstrap_interval(by_subject["sum"].tolist(), by_subject["count"].tolist())
        row["words"] = mean_candidates(words)
        for k in TOP:
            row[f"word_top{k}"] = float((group["word_rank"] <= k).mean())
        rows.append(row | {name: float(group[name].mean()) for name in measures})
    return pd.DataFrame(rows)


def _rank(job: TrainJob) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    are_whole(job.brain, job.features, job.cluster.maps)  # says here what is damaged; whoever reads it makes it again
    with ray_session(job.cluster):
        import ray

        shards = job.cluster.workers
        each = worker_resources(job.cluster)
        options = {"num_cpus": each["CPU"], "num_gpus": each.get("GPU", 0), "max_retries": 3}
        task = ray.remote(**options)(rank_shard)
        waiting = [task.remote(job, shard, shards) for shard in range(shards)]
        controls = ray.remote(**options)(rank_controls).remote(job)
        found = []
        for _ in track(range(shards), description="evaluate:", console=console, transient=True):
            ready, waiting = ray.wait(waiting, num_returns=1)
            found += ray.get(ready)
        rows = ray.get(controls)
    return pd.concat(found).sort_values(["recording", "sentence", "word_index"], ignore_index=True), rows


def rank_controls(job: TrainJob) -> list[dict[str, Any]]:
    """The controls of a run with its best weights."""
    learner = load_learner(job, make_place(job.cluster, 0, 1, trial_device(job.cluster)))
    untrained = _learner(job, learner.tables, learner.place)
    pools = learner.task.pools(learner.tables.words(SPLIT, job.experiment.test.subjects))
    return records(control_rows(Models(learner, untrained), pools))


def rank_shard(job: TrainJob, shard: int, shards: int) -> pd.DataFrame:
    """Rank one of ``shards`` equal shares of the test segments with the best weights of a run."""
    place = make_place(job.cluster, 0, 1, trial_device(job.cluster))
    learner = load_learner(job, place)
    tables = learner.tables
    frames = []
    for pool in learner.task.pools(tables.words(SPLIT, job.experiment.test.subjects)):
        count = len(pool.rows)
        mine = slice(shard * count // shards, (shard + 1) * count // shards)
        ranked = rank_rows(learner, pool, mine)
        rows = pool.rows[mine]
        recording = tables.recording.cpu()[rows].tolist()
        subjects = [tables.meta["subjects"][index] for index in tables.subject.cpu()[recording].tolist()]
        known = [tables.meta["candidates"][number] for number in tables.candidate.cpu()[rows].tolist()]
        frames.append(
            pd.DataFrame(
                {
                    "study": pool.study,
                    "subject": [subject for _, subject in subjects],
                    "recording": [tables.meta["recordings"][index] for index in recording],
                    **{key: [item[key] for item in known] for key in ("sentence", "word_index", "word")},
                    "rank": ranked.segment.numpy(),
                    "candidates": len(pool.stands),
                    "word_rank": ranked.word.numpy(),
                    "words": int(pool.words.max()) + 1,
                    **{name: values.numpy() for name, values in ranked.measures.items()},
                }
            )
        )
    return pd.concat(frames)


def load_learner(job: TrainJob, place: Place) -> Learner:
    """The model of a finished run, with its best weights."""
    learner = _learner(job, job.tables(place.device), place)
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
