"""Compared: models side by side on the segments that all of them were tested on: which is better, by how much, on whom."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pandas as pd

from raybrain.config import InputError
from raybrain.evaluate.rank import Evaluation
from raybrain.evaluate.segment_rows import PLACE
from raybrain.evaluate.statistics import PairedDifference, bootstrap_interval, holm
from raybrain.experiment import Experiment
from raybrain.metrics import mean_chance
from raybrain.report.compared_settings import differing
from raybrain.train.order import RunSizes

MEASURES = {"top1": 1, "top10": 10}  # of which differences are tested, and how many candidates count
ALL = "all studies"
SIGNIFICANT = 0.05
KEY = ["subject", *PLACE, "again"]


@dataclass(frozen=True)
class TestedRun:
    """A run with its results on the test split.

    Attributes:
        name: of its folder.
        experiment: what was asked.
        evaluation: the results.
        sizes: what it was trained on; None if that is not known.
    """

    name: str
    experiment: Experiment
    evaluation: Evaluation
    sizes: RunSizes | None = None

    @property
    def hours(self) -> float:
        """Of recordings in its train split, all subjects together; 0 if that is not known."""
        segments = self.experiment.data.segments
        return self.sizes.train_segments * min(segments.stride_s, segments.length_s) / 3600 if self.sizes else 0.0

    @property
    def subjects(self) -> int:
        """How many people it was trained with; 0 if that is not known."""
        return self.sizes.train_subjects if self.sizes else 0


@dataclass(frozen=True)
class ComparedModel:
    """Runs that ask the same but for the seed, or the study; what a sweep has in one row of its table.

    Attributes:
        name: what it is called in tables.
        runs: one for each seed and study.
    """

    name: str
    runs: tuple[TestedRun, ...]

    @property
    def studies(self) -> list[str]:
        """All that it was tested on."""
        return sorted({study for run in self.runs for study in run.evaluation.ranks["study"].unique()})

    def ranks(self, study: str) -> list[pd.DataFrame]:
        """The ranks of each run of a study, a row for each segment, by what names the segment."""
        parts = [run.evaluation.ranks for run in self.runs]
        return [_keyed(part[part["study"] == study]) for part in parts if (part["study"] == study).any()]

    def baseline(self, study: str) -> pd.DataFrame | None:
        """The ranks of its baseline, likewise."""
        parts = [run.evaluation.baseline for run in self.runs if (run.evaluation.ranks["study"] == study).any()]
        known = [part for part in parts if len(part)]
        return _keyed(known[0][known[0]["study"] == study]) if known else None


def _keyed(ranks: pd.DataFrame) -> pd.DataFrame:
    """One row per segment, by its subject, recording, sentence and place; what is heard again is counted."""
    return ranks.assign(again=ranks.groupby(["subject", *PLACE]).cumcount()).set_index(KEY).sort_index()


@dataclass(frozen=True)
class ModelScore:
    """A model on the shared segments of a study; accuracies as shares.

    Attributes:
        study: which.
        model: which.
        own: how many segments it was tested on.
        segments: how many of them are shared.
        candidates: that each estimate was ranked against.
        seeds: how many.
        accuracy: of each measure, the mean over seeds.
        sd: of each measure, over seeds; None for one seed.
        interval: of each measure, 95 % over subjects, or over segments of a single subject.
        chance: of each measure.
        baseline: of each measure, ridge regression on the same segments.
        train_subjects: how many people the model was trained with; 0 if that is not known.
        train_hours: of their recordings, all together.
    """

    study: str
    model: str
    own: int
    segments: int
    candidates: int
    seeds: int
    accuracy: dict[str, float]
    sd: dict[str, float | None]
    interval: dict[str, tuple[float, float]]
    chance: dict[str, float]
    baseline: dict[str, float]
    train_subjects: int = 0
    train_hours: float = 0.0


@dataclass(frozen=True)
class PairTest:
    """The second of two models against the first, in one measure, on what both were tested on.

    Attributes:
        study: which, or ALL.
        first: a model.
        second: another one.
        measure: of accuracy.
        difference: how far the second is ahead of the first.
        better: subjects who are decoded better by the second.
        worse: subjects who are decoded worse.
        holm: the p-value corrected for all tests of the same measure.
    """

    study: str
    first: str
    second: str
    measure: str
    difference: PairedDifference
    better: int
    worse: int
    holm: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the difference is none of chance, with all tests counted."""
        return self.holm is not None and self.holm < SIGNIFICANT

    def result(self) -> dict[str, Any]:
        """For --json."""
        return {**asdict(self), "significant": self.significant}


@dataclass(frozen=True)
class StudyScores:
    """What models make of the segments of a study that all of them were tested on.

    Attributes:
        study: which.
        hits: of each measure, by model: a value for each segment, the mean over seeds, by what names the segment.
        scores: one for each model.
        same_candidates: whether all were ranked against the same ones.
    """

    study: str
    hits: dict[str, dict[str, pd.Series]]
    scores: list[ModelScore]
    same_candidates: bool

    def differences(self, measure: str, first: str, second: str) -> list[np.ndarray]:
        """For each subject, by how much the second model is better in each segment."""
        each = self.hits[measure][second] - self.hits[measure][first]
        return [values.to_numpy() for _, values in each.groupby(level="subject")]

    def subjects(self, measure: str) -> pd.DataFrame:
        """The accuracy of each subject, a row each, with a column for each model."""
        return pd.DataFrame({model: hits.groupby(level="subject").mean() for model, hits in self.hits[measure].items()})


@dataclass(frozen=True)
class ModelComparison:
    """Models side by side.

    Attributes:
        models: in the order in which they were named.
        studies: those that at least two of them were tested on.
        notes: what must be known to read the numbers: segments that are not shared, other candidates, studies left out.
    """

    models: list[ComparedModel]
    studies: list[StudyScores]
    notes: list[str] = field(default_factory=list)

    @cached_property
    def tests(self) -> list[PairTest]:
        """Every two models in every study and over all studies; p-values are corrected among all tests of a measure."""
        tests = []
        for measure in MEASURES:
            some = list(self._tests(measure))
            corrected = holm([test.difference.p for test in some])
            tests += [PairTest(**{**vars(test), "holm": p}) for test, p in zip(some, corrected, strict=True)]
        return tests

    def _tests(self, measure: str) -> Iterator[PairTest]:
        for first, second in itertools.combinations([model.name for model in self.models], 2):
            parts = {
                s.study: s.differences(measure, first, second) for s in self.studies if {first, second} <= set(s.hits[measure])
            }
            if len(parts) > 1:
                parts[ALL] = [one for part in parts.values() for one in part]
            for study, part in parts.items():
                means = np.round([one.mean() for one in part], 12)
                better, worse = int((means > 0).sum()), int((means < 0).sum())
                yield PairTest(study, first, second, measure, PairedDifference.of(part), better, worse)

    @cached_property
    def settings(self) -> list[tuple[str, list[str]]]:
        """In what the experiments of the models differ."""
        return differing([model.runs[0].experiment for model in self.models])

    def result(self) -> dict[str, Any]:
        """For --json."""
        return {
            "models": [{"name": model.name, "runs": [run.name for run in model.runs]} for model in self.models],
            "scores": [asdict(score) for study in self.studies for score in study.scores],
            "tests": [test.result() for test in self.tests],
            "subjects": [
                {"study": study.study, "measure": measure, "subject": subject, **row}
                for study in self.studies
                for measure in MEASURES
                for subject, row in study.subjects(measure).to_dict("index").items()
            ],
            "settings": dict(self.settings),
            "notes": self.notes,
        }


def compare_models(models: Sequence[ComparedModel]) -> ModelComparison:
    """Put models side by side on what they share.

    Raises:
        InputError: if there is only one, or no two of them share a test segment.
    """
    if len(models) < 2:
        only = models[0] if models else None
        seeds = f": its {len(only.runs)} runs differ in their seed alone" if only and len(only.runs) > 1 else ""
        raise InputError(f"{only.name if only else 'nothing'} alone cannot be compared{seeds}; type the name of another run")
    by_study = {study: [model for model in models if study in model.studies] for study in _studies(models)}
    notes, studies = [], []
    for study, some in by_study.items():
        if len(some) < 2:
            notes.append(f"{study} is left out: of these models only {some[0].name} was tested on it")
            continue
        scores = _study_scores(study, some)
        if scores is None:
            notes.append(f"{study} is left out: no test segment is shared by {', '.join(model.name for model in some)}")
            continue
        studies.append(scores)
        notes += _notes(scores)
    if not studies:
        tested = "; ".join(f"{model.name} on {', '.join(model.studies)}" for model in models)
        why = "no study in common" if len(notes) == sum(" only " in note for note in notes) else "no test segment in common"
        raise InputError(f"these models were tested on {why}, so nothing can be compared ({tested})")
    return ModelComparison(list(models), studies, notes)


def _studies(models: Sequence[ComparedModel]) -> list[str]:
    return sorted({study for model in models for study in model.studies})


def _study_scores(study: str, models: Sequence[ComparedModel]) -> StudyScores | None:
    ranks = {model.name: model.ranks(study) for model in models}
    shared = next(iter(ranks.values()))[0].index
    for part in (part for parts in ranks.values() for part in parts):
        shared = shared.intersection(part.index)
    if not len(shared):
        return None
    shared = shared.sort_values()
    hits = {
        measure: {
            name: sum((part.loc[shared, "rank"] <= k).astype(float) for part in parts) / len(parts)
            for name, parts in ranks.items()
        }
        for measure, k in MEASURES.items()
    }
    named = [
        set(part.reset_index()[["sentence", "word_index"]].itertuples(index=False))
        for parts in ranks.values()
        for part in parts
    ]
    same = all(one == named[0] for one in named)
    scores = [
        _score(model, study, ranks[model.name], {measure: of[model.name] for measure, of in hits.items()}) for model in models
    ]
    return StudyScores(study, hits, scores, same)


def _score(model: ComparedModel, study: str, ranks: Sequence[pd.DataFrame], hits: dict[str, pd.Series]) -> ModelScore:
    shared = next(iter(hits.values())).index
    parts, baseline = [part.loc[shared] for part in ranks], model.baseline(study)
    each = {measure: [float((part["rank"] <= k).mean()) for part in parts] for measure, k in MEASURES.items()}
    candidates = Counter(parts[0]["candidates"].tolist())
    return ModelScore(
        study,
        model.name,
        own=max(map(len, ranks)),
        segments=len(shared),
        candidates=int(parts[0]["candidates"].max()),
        seeds=len(parts),
        accuracy={measure: fmean(values) for measure, values in each.items()},
        sd={measure: stdev(values) if len(values) > 1 else None for measure, values in each.items()},
        interval={
            measure: bootstrap_interval(
                each.groupby(level="subject").sum().tolist(), each.groupby(level="subject").size().tolist()
            )
            for measure, each in hits.items()
        },
        chance={measure: mean_chance(k, candidates) for measure, k in MEASURES.items()},
        baseline={}
        if baseline is None
        else {measure: float((baseline.loc[shared, "rank"] <= k).mean()) for measure, k in MEASURES.items()},
        train_subjects=model.runs[0].subjects,
        train_hours=model.runs[0].hours,
    )


def _notes(scores: StudyScores) -> list[str]:
    """What is not the same for all models in a study."""
    notes = []
    own = {score.model: score.own for score in scores.scores}
    shared = scores.scores[0].segments
    if any(count != shared for count in own.values()):
        listed = ", ".join(f"{name} {count}" for name, count in own.items())
        notes.append(f"{scores.study}: compared on the {shared} test segments that all share ({listed} were tested)")
    if not scores.same_candidates:
        listed = ", ".join(f"{score.model} {score.candidates}" for score in scores.scores)
        notes.append(
            f"{scores.study}: NOT THE SAME CANDIDATES ({listed}): differences are partly of the candidates, not of the models"
        )
    return notes
