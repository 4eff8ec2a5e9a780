"""Statistics: intervals of accuracies and of differences, and tests of two models over the same subjects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
import pandas as pd

LEVEL = 0.95
RESAMPLES = 5000
SEED = 2036
DIGITS = 12  # after the point, that tell two accuracies apart; what differs by less is rounding
EXACT, EXACT_TIED = 50, 13  # so many subjects scipy tests exactly, without ties and with them


def bootstrap_interval(hits: Sequence[float], segments: Sequence[int], level: float = LEVEL) -> tuple[float, float]:
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
        p: the p-value of the two-sided Wilcoxon signed-rank test; 1 if no subject differs, None for one subject: no test is
            possible then.
        exact: whether it is exact, as it is for few subjects, or that of a normal approximation.
    """

    subjects: int
    difference: float
    p: float | None
    exact: bool = True


def compare(first: Mapping[tuple[str, str], float], second: Mapping[tuple[str, str], float]) -> Comparison:
    """The Wilcoxon signed-rank test over the subjects of both models (Défossez et al. 2023, Methods, "Statistics").

    Args:
        first: the accuracy by (study, subject).
        second: the same for the other model.

    Raises:
        ValueError: if no subject has results of both.
    """
    both = sorted(set(first) & set(second))
    if not both:
        raise ValueError("no subject was tested with both models")
    differences = np.array([second[subject] - first[subject] for subject in both])
    return Comparison(len(both), float(differences.mean()), *signed_rank(differences))


def signed_rank(differences: np.ndarray) -> tuple[float | None, bool]:
    """The p-value of the two-sided Wilcoxon signed-rank test, and whether it is exact; None for fewer than two values.

    Zeros are left out. Values that are equal but for rounding are tied.
    """
    from scipy.stats import wilcoxon

    if len(differences) < 2:
        return None, True
    rounded = np.round(differences, DIGITS)
    rounded = rounded[rounded != 0]
    if not len(rounded):
        return 1.0, True
    tied = len(np.unique(np.abs(rounded))) < len(rounded)
    return float(wilcoxon(rounded).pvalue), len(rounded) <= (EXACT_TIED if tied else EXACT)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """p-values of a family of tests, corrected so that one true null hypothesis is rejected as rarely as in a single test.

    Holm, "A simple sequentially rejective multiple test procedure", 1979. What is None was not tested, and stays None.
    """
    corrected: list[float | None] = [None] * len(values)
    tested = sorted((value, place) for place, value in enumerate(values) if value is not None)
    least = 0.0
    for rank, (value, place) in enumerate(tested):
        least = max(least, min(1.0, (len(tested) - rank) * value))
        corrected[place] = least
    return corrected


@dataclass(frozen=True)
class PairedDifference:
    """How much better the second of two models is on the same segments, as a share; subjects count alike.

    Attributes:
        subjects: how many.
        segments: how many, over all of them.
        mean: over subjects, of their means over segments.
        over_subjects: the interval of the mean when subjects are resampled; None for one subject.
        over_segments: that when the segments of each subject are resampled, and the subjects stay.
        p: of the Wilcoxon signed-rank test over subjects; None for one subject.
        exact: whether that is exact.
    """

    subjects: int
    segments: int
    mean: float
    over_subjects: tuple[float, float] | None
    over_segments: tuple[float, float]
    p: float | None
    exact: bool

    @classmethod
    def of(cls, differences: Sequence[np.ndarray]) -> "PairedDifference":
        """That of the differences in each segment of each subject.

        Args:
            differences: for each subject, the second model's score in each segment less the first's.

        Raises:
            ValueError: if there is no subject, or one without segments.
        """
        if not differences or not all(map(len, differences)):
            raise ValueError("expected differences of at least one subject, in at least one segment each")
        means = np.array([one.mean() for one in differences])
        count, segments = len(means), sum(map(len, differences))
        over_subjects = mean_interval(means) if count > 1 else None
        return cls(count, segments, float(means.mean()), over_subjects, segments_interval(differences), *signed_rank(means))


def mean_interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean, when the values (of subjects, say) are resampled."""
    drawn = np.random.default_rng(SEED).integers(len(values), size=(RESAMPLES, len(values)))
    return _percentiles(values[drawn].mean(axis=1), level)


def segments_interval(groups: Sequence[np.ndarray], level: float = LEVEL) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean over groups of their means, when the values inside each are resampled."""
    rng = np.random.default_rng(SEED)
    total = np.zeros(RESAMPLES)
    for group in groups:
        values, counts = np.unique(np.round(group, DIGITS), return_counts=True)
        total += rng.multinomial(len(group), counts / len(group), size=RESAMPLES) @ values / len(group)
    return _percentiles(total / len(groups), level)


def _percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
