"""Breakdown: accuracies by what is known of the words, beside those of the baseline on the same segments."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from raybrain.metrics import TOP

PLACES = (1, 2, 3, 5, 9)  # the first places of groups of places in the sentence, counted from 1
LETTERS = (1, 4, 7)  # the smallest numbers of letters
FREQUENT = (1, 2, 5)  # the smallest numbers of candidates that carry the same word


def _group(bounds: tuple[int, ...]) -> Callable[[int], str]:
    """The name of the group that a number belongs to: "1", "3-4", "9+"."""

    def name(value: int) -> str:
        first = max(bound for bound in bounds if bound <= max(value, bounds[0]))
        after = [bound for bound in bounds if bound > first]
        if not after:
            return f"{first}+"
        return f"{first}" if after[0] == first + 1 else f"{first}-{after[0] - 1}"

    return name


def breakdown(ranks: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """A row for each study, property and group of words.

    Properties are the place in the sentence, the letters of the word, and how often the word stands among the test segments'
    candidates. ``median_rank`` is of the true segment, ``mrr`` its mean reciprocal rank.

    Args:
        ranks: one row per segment.
        baseline: the same rows, ranked by the baseline.
    """
    rows: list[dict[str, Any]] = []
    for study, table in ranks.groupby("study", sort=True):
        for name, groups in _properties(table).items():
            for group, some in table.groupby(groups, sort=False):
                rows.append({"study": study, "by": name, "group": group} | _accuracies(some, baseline.loc[some.index]))
    made = pd.DataFrame(rows)
    order = made["group"].str.extract(r"(\d+)")[0].astype(int)
    return made.assign(order=order).sort_values(["study", "by", "order"], ignore_index=True).drop(columns="order")


def _properties(table: pd.DataFrame) -> "dict[str, pd.Series[Any]]":
    word = table["word"].str.casefold()
    candidates = table.drop_duplicates(["sentence", "word_index"])["word"].str.casefold().value_counts()
    return {
        "place in the sentence": (table["word_index"] + 1).map(_group(PLACES)),
        "letters": word.str.len().map(_group(LETTERS)),
        "candidates with the word": word.map(candidates).map(_group(FREQUENT)),
    }


def _accuracies(some: pd.DataFrame, baseline: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = {"segments": len(some)}
    for k in TOP:
        row |= {f"top{k}": float((some["rank"] <= k).mean()), f"baseline{k}": float((baseline["rank"] <= k).mean())}
    return row | {"mrr": float((1 / some["rank"]).mean()), "median_rank": float(some["rank"].median())}
