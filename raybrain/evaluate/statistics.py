"""Statistics: confidence intervals of accuracies, and comparisons of two models over subjects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
import pandas as pd

LEVEL = 0.95
RESAMPLES = 5000
SEED = 2036


def bootstrap_interval(hits: Sequence[int], segments: Sequence[int], level: float = LEVEL) -> tuple[float, float]:
    """The percentile bootstrap interval of the share of hits among all segments.

    Subjects are resampled, since the segments of one subject are not independent. For a single subject, its segments are
    resampled: the number of hits in a resample is then binomial, so the interval is computed exactly.

    Args:
        hits: the number of hits of each subject.
        segments: the number of segments of each subject, at least one.
        level: the confidence level.

    Returns:
        The lower and upper bound, as shares.

    Raises:
        ValueError: if there are no subjects, or a subject has no segments.
    """
    if len(hits) != len(segments) or not len(hits) or min(segments) < 1:
        raise ValueError(
            f"expected hits and segments of each subject, at least one segment, found {list(hits)} and {list(segments)}"
        )
    correct, total = np.array(hits, dtype=float), np.array(segments, dtype=float)
    tail = (1 - level) / 2
    if len(correct) == 1:
        from scipy.stats import binom

        low, high = binom.ppf([tail, 1 - tail], int(total[0]), correct[0] / total[0]) / total[0]
        return float(low), float(high)
    drawn = np.random.default_rng(SEED).integers(len(correct), size=(RESAMPLES, len(correct)))
    low, high = np.quantile(correct[drawn].sum(axis=1) / total[drawn].sum(axis=1), [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Comparison:
    """A comparison of two models over the same subjects.

    Attributes:
        subjects: the number of subjects that have results of both.
        difference: the mean over subjects of the second model's accuracy minus the first's, as a share.
        p: the p-value of the two-sided Wilcoxon signed-rank test; 1 if no subject differs.
    """

    subjects: int
    difference: float
    p: float


def compare(first: Mapping[tuple[str, str], float], second: Mapping[tuple[str, str], float]) -> Comparison:
    """The Wilcoxon signed-rank test over the subjects of both models (Défossez et al. 2023, Methods, "Statistics").

    Args:
        first: the accuracy by (study, subject).
        second: the same for the other model.

    Raises:
        ValueError: if no subject has results of both.
    """
    from scipy.stats import wilcoxon

    both = sorted(set(first) & set(second))
    if not both:
        raise ValueError("no subject was tested with both models")
    differences = np.array([second[subject] - first[subject] for subject in both])
    p = float(wilcoxon(differences).pvalue) if differences.any() else 1.0
    return Comparison(len(both), float(differences.mean()), p)


def over_seeds(subjects: Sequence[pd.DataFrame], measure: str = "top10") -> dict[tuple[str, str], float]:
    """The mean accuracy of each (study, subject) over the tables of several seeds."""
    means = pd.concat(list(subjects)).groupby(["study", "subject"])[measure].mean()
    return {(study, subject): float(value) for study, subject, value in means.reset_index().itertuples(index=False)}


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as plain rows; None where it has no number, which JSON has no word for."""
    rows = frame.to_dict("records")
    return [
        {str(key): None if isinstance(value, float) and isnan(value) else value for key, value in row.items()} for row in rows
    ]
