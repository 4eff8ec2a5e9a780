"""Breakdown: accuracies by what is known of the words, beside those of the baseline on the same segments."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from raybrain.evaluate.word_class import language_code, word_class
from raybrain.metrics import TOP

PLACES = (1, 2, 3, 5, 9)  # the first places of groups of places in the sentence, counted from 1
LETTERS = (1, 4, 7)  # the smallest numbers of letters
FREQUENT = (1, 2, 5)  # the smallest numbers of candidates that carry the same word
ZIPF = (0, 3, 4, 5, 6)  # the smallest Zipf frequencies of words in their language: 3 is once in a million words


def _group(bounds: tuple[int, ...]) -> Callable[[int], str]:
    """The name of the group that a number belongs to: "1", "3-4", "9+"."""

    def name(value: int) -> str:
        first = max(bound for bound in bounds if bound <= max(value, bounds[0]))
        after = [bound for bound in bounds if bound > first]
        if not after:
            return f"{first}+"
        return f"{first}" if after[0] == first + 1 else f"{first}-{after[0] - 1}"

    return name


def breakdown(ranks: pd.DataFrame, baseline: pd.DataFrame, languages: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A row for each study, property and group of words.

    Properties are the place in the sentence, the letters of the word, how often the word stands among the test segments'
    candidates, whether it is a content or a function word (:mod:`raybrain.evaluate.word_class`), and its Zipf frequency in the
    language (wordfreq); the last two for languages of which that is known. ``median_rank`` is of the true segment, ``mrr`` its
    mean reciprocal rank.

    Args:
        ranks: one row per segment.
        baseline: the same rows, ranked by the baseline.
        languages: of the words of each study; where there is none, English.
    """
    rows: list[dict[str, Any]] = []
    for study, table in ranks.groupby("study", sort=True):
        for name, groups in _properties(table, (languages or {}).get(str(study), "")).items():
            for group, some in table.groupby(groups, sort=False):
                rows.append({"study": study, "by": name, "group": group} | _accuracies(some, baseline.loc[some.index]))
    made = pd.DataFrame(rows)
    order = made["group"].str.extract(r"(\d+)")[0].astype(float)  # what has no number goes by its name
    sorted_rows = made.assign(order=order).sort_values(["study", "by", "order", "group"], ignore_index=True)
    return sorted_rows.drop(columns="order")


def _properties(table: pd.DataFrame, language: str) -> "dict[str, pd.Series[Any]]":
    word = table["word"].str.casefold()
    candidates = table.drop_duplicates(["sentence", "word_index"])["word"].str.casefold().value_counts()
    return {
        "place in the sentence": (table["word_index"] + 1).map(_group(PLACES)),
        "letters": word.str.len().map(_group(LETTERS)),
        "candidates with the word": word.map(candidates).map(_group(FREQUENT)),
    } | _in_language(word, language)


def _in_language(word: "pd.Series[Any]", language: str) -> "dict[str, pd.Series[Any]]":
    """What depends on the language; nothing where it is not known."""
    import wordfreq

    words, known, code = word.unique().tolist(), {}, language_code(language)
    classes = {text: word_class(text, language) for text in words}
    if None not in classes.values():
        known["word class"] = word.map(classes)
    if code in wordfreq.available_languages():  # of another one wordfreq would take the nearest
        known["word frequency"] = word.map({text: _zipf(wordfreq.zipf_frequency(text, code)) for text in words})
    return known


def _zipf(value: float) -> str:
    """The name of a group of frequencies: "0-3", "3-4", "6+"."""
    low = max(bound for bound in ZIPF if bound <= value)
    high = next((bound for bound in ZIPF if bound > low), math.inf)
    return f"{low}+" if high == math.inf else f"{low}-{high}"


def _accuracies(some: pd.DataFrame, baseline: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = {"segments": len(some)}
    for k in TOP:
        row |= {f"top{k}": float((some["rank"] <= k).mean()), f"baseline{k}": float((baseline["rank"] <= k).mean())}
    return row | {"mrr": float((1 / some["rank"]).mean()), "median_rank": float(some["rank"].median())}
