"""Statistics: how far an accuracy can be trusted, and whether two models differ over subjects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

LEVEL = 0.95
RESAMPLES = 5000
SEED = 2036


def bootstrap_interval(hits: Sequence[int], segments: Sequence[int], level: float = LEVEL) -> tuple[float, float]:
    """The percentile bootstrap interval of the share of hits among all segments.

    Subjects are what is drawn again, since segments of one subject are alike. A single subject's segments are drawn instead:
    the number of hits in a resample of them is binomial, so that interval is computed and not drawn.

    Args:
        hits: of each subject.
        segments: of each subject, at least one.
        level: of the interval.
    """
    if len(hits) != len(segments) or not len(hits) or min(segments) < 1:
        raise ValueError(f"hits and segments of each subject, at least one of each, found {list(hits)} and {list(segments)}")
    found, of = np.array(hits, dtype=float), np.array(segments, dtype=float)
    tail = (1 - level) / 2
    if len(found) == 1:
        from scipy.stats import binom

        low, high = binom.ppf([tail, 1 - tail], int(of[0]), found[0] / of[0]) / of[0]
        return float(low), float(high)
    drawn = np.random.default_rng(SEED).integers(len(found), size=(RESAMPLES, len(found)))
    low, high = np.quantile(found[drawn].sum(axis=1) / of[drawn].sum(axis=1), [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Comparison:
    """Two models over the same subjects.

    Attributes:
        subjects: who have both.
        difference: the mean of second minus first over subjects, as a share.
        p: of the two-sided Wilcoxon signed-rank test; 1 where no subject differs.
    """

    subjects: int
    difference: float
    p: float


def compare(first: Mapping[tuple[str, str], float], second: Mapping[tuple[str, str], float]) -> Comparison:
    """Wilcoxon signed-rank test over the subjects of both models (Défossez et al. 2023, Methods, "Statistics").

    Args:
        first: accuracy by (study, subject).
        second: the same of the other model.

    Raises:
        ValueError: if no subject has both.
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
