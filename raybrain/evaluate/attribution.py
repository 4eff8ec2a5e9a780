"""Attribution: what the candidate is that stands first, beside the true one. Errors differ in what they say of a model."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

KINDS = {
    "right": "the stretch that was heard",
    "overlapping": "another stretch that overlaps it",
    "same sentence": "another stretch of the same sentence",
    "same sound": "another sentence of the same sound",
    "other": "something else",
}
COUNTED = tuple(KINDS)[1:-1]  # of each segment it is kept how many candidates are of these kinds; one is right
CELLS = 2**22  # pairs of candidates that are compared at once
Columns = Mapping[str, np.ndarray]  # number, stimulus, second at which it begins there, sentence (a number); of candidates


def kinds_of(truth: Columns, other: Columns, length_s: float) -> np.ndarray:
    """The kind of other candidates beside the true ones, as indices into KINDS.

    Args:
        truth: the true candidates.
        other: those they are compared with, of the same shape or one that goes with it.
        length_s: of a window.
    """
    same_sound = truth["stimulus"] == other["stimulus"]
    overlapping = same_sound & (np.abs(truth["second"] - other["second"]) < length_s)
    conditions = [truth["number"] == other["number"], overlapping, truth["sentence"] == other["sentence"], same_sound]
    return np.select(conditions, range(len(conditions)), default=len(conditions))


def kind_counts(candidates: Columns, length_s: float) -> np.ndarray:
    """How many candidates of a pool are of each kind where one of them is true; [candidates kinds].

    Args:
        candidates: of the pool.
        length_s: of a window.
    """
    count = len(candidates["number"])
    size, parts = max(1, CELLS // count), []
    for start in range(0, count, size):
        truth = {name: values[start : start + size, None] for name, values in candidates.items()}
        kinds = kinds_of(truth, candidates, length_s)
        parts.append(np.stack([(kinds == kind).sum(axis=1) for kind in range(len(KINDS))], axis=1))
    return np.concatenate(parts)


def attributed(ranks: pd.DataFrame) -> list[dict[str, Any]]:
    """A row for each study and kind: the share of all segments, of the errors, and of guesses that know nothing.

    Args:
        ranks: one row per segment: study, ``kind``, ``candidates``, and how many of these are of each kind of COUNTED.
    """
    rows: list[dict[str, Any]] = []
    for study, group in ranks.groupby("study", sort=True):
        errors = group[group["kind"] != "right"]
        blind = {kind: float((group[kind] / group["candidates"]).mean()) for kind in COUNTED}
        blind["right"] = float((1 / group["candidates"]).mean())
        blind["other"] = max(0.0, 1 - sum(blind.values()))
        for kind in KINDS:
            share = float((group["kind"] == kind).mean())
            of_errors = float((errors["kind"] == kind).mean()) if len(errors) else 0.0
            rows.append({"study": study, "kind": kind, "share": share, "of_errors": of_errors, "blind": blind[kind]})
    return rows
