"""Marks: what of a result should make one doubt it, in one list that terminal, MLflow and reports show.

A mark says which control it comes from, what that means, the value that was seen, and the band in which it should lie.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from raybrain.evaluate.lags import AT_SOUND_S, peak
from raybrain.metrics import TOP
from raybrain.store import SplitAudit

Mark = dict[str, Any]  # study, control, meaning, measure, value, band
MEANS = {
    "random": "random estimates find segments, so candidates are not equal",
    "untrained": "an encoder that learned nothing finds segments: input and candidates look alike as they are",
    "other segment": "the input of another segment finds them, so something else than what was heard tells them apart",
    "noise": "noise in place of the input finds them, so the recording is not what tells them apart",
    "shifted": "the input of ten seconds away finds them, so something slow or constant tells them apart",
    "flat": "where the input is flat tells segments apart: they differ in length, or are padded",
    "silence": "the input of a stretch in which nothing is heard finds them, so it is not the response to speech",
    "place": "the place in the sentence alone explains what the model finds",
    "length": "how much is heard in a window alone explains what the model finds",
    "envelope": "the model finds no more than its estimate of the envelope does",
}
EXPLAINED = ("place", "length")
FEW = 2  # times as many candidates as the k of top-k there must be
TRAINED = {"noise": "trained on noise", "shuffled": "trained on shuffled pairs"}
EDGE = 1e-6  # to round
LEAKS = {"sentences": "sentences", "audio": "stretches of audio"}  # what kinds of an audit are called, if otherwise


def measured(candidates: int) -> int:
    """The k of the top-k accuracy that marks go by: the largest that leaves something to be found among the candidates."""
    return max(k for k in TOP if k == TOP[0] or FEW * k <= candidates)


def marked(controls: pd.DataFrame) -> pd.DataFrame:
    """The rows of controls with ``marked``: whether a control is outside of what it should be."""
    if not len(controls):
        return controls
    models = controls[controls["control"] == "model"].set_index("study")
    flags = [_is_marked(row, models.loc[row["study"]]) for _, row in controls.iterrows()]
    return controls.assign(marked=flags)


def _is_marked(row: "pd.Series[Any]", model: "pd.Series[Any]") -> bool:
    k = measured(row["candidates"])
    if row["control"] == "model":
        return False
    if row["control"] not in (*EXPLAINED, "envelope"):
        return _is_above(row[f"top{k}"], row[f"band_high{k}"])
    if not _is_above(model[f"top{k}"], model[f"band_high{k}"]):
        return False  # there is nothing to explain
    if row["control"] == "envelope":
        return bool(model["mrr"] <= row["mrr"] < 1)
    return not any(_is_above(model[f"top{one}"], row[f"band_high{one}"]) for one in (TOP[0], k))


def _is_above(accuracy: float, high: float) -> bool:
    """Whether an accuracy is above a band, whose end is inside and may have been rounded otherwise."""
    return bool(accuracy > high + EDGE)


def marks_of(
    controls: pd.DataFrame, lags: pd.DataFrame, context: pd.DataFrame, leaks: Mapping[str, Sequence[str]], trained: str
) -> list[Mark]:
    """Everything that marks a result.

    Args:
        controls: as :func:`marked` gives them.
        lags: the curves.
        context: what context adds.
        leaks: what stands in two splits, by kind.
        trained: the setting ``train.control``.
    """
    made: list[Mark] = []
    for _, rows in controls.groupby("study", sort=True):
        model = rows[rows["control"] == "model"].iloc[0]
        made += [_control(row, model) for _, row in rows.iterrows() if row["marked"]] + _trained(model, trained)
    for study, curve in lags.groupby("study", sort=True) if len(lags) else ():
        made += _at_sound(str(study), curve)
    made += [_context(row) for _, row in context.iterrows() if row["odd"]]
    return [*made, *_in_two_splits(leaks)]


def _mark(study: str, control: str, meaning: str, measure: str, value: float, band: tuple[float, float]) -> Mark:
    names = {"study": study, "control": control, "meaning": meaning, "measure": measure}
    return {**names, "value": float(value), "band": [float(end) for end in band]}


def _control(row: "pd.Series[Any]", model: "pd.Series[Any]") -> Mark:
    control, top = row["control"], f"top{measured(row['candidates'])}"
    high = row[f"band_high{top[3:]}"]
    if control == "envelope":
        return _mark(row["study"], control, MEANS[control], "mrr", model["mrr"], (row["mrr"], 1.0))
    if control in EXPLAINED:
        return _mark(row["study"], control, MEANS[control], top, model[top], (high, 1.0))
    return _mark(row["study"], control, MEANS[control], top, row[top], (row[f"band_low{top[3:]}"], high))


def _trained(model: "pd.Series[Any]", trained: str) -> list[Mark]:
    """That a model which was trained on nothing is above chance."""
    k = measured(model["candidates"])
    low, high = model[f"band_low{k}"], model[f"band_high{k}"]
    if trained == "none" or not _is_above(model[f"top{k}"], high):
        return []
    meaning = f"a model {TRAINED[trained]} passes the test, so what was trained otherwise may pass it in the same way"
    return [_mark(model["study"], TRAINED[trained], meaning, f"top{k}", model[f"top{k}"], (low, high))]


def _at_sound(study: str, curve: pd.DataFrame) -> list[Mark]:
    highest = peak(curve)
    if highest is None or highest["lag_s"] > AT_SOUND_S + EDGE:
        return []
    meaning = "the recording tells of the sound before it is heard, so events and recording are not aligned"
    if highest["lag_s"] >= -AT_SOUND_S - EDGE:
        meaning = "the recording tells of the sound at once and not later: it may hold the sound itself, from the earphones say"
    return [_mark(study, "lags", meaning, "lag_s", highest["lag_s"], (AT_SOUND_S, float(curve["lag_s"].max())))]


def _context(row: "pd.Series[Any]") -> Mark:
    meaning = "windows grouped at random support each other too, so what context adds is not context"
    return _mark(row["study"], "context", meaning, "top1", row["random1"], (0.0, row["plain1"]))


def _in_two_splits(leaks: Mapping[str, Sequence[str]]) -> list[Mark]:
    shared = {LEAKS.get(kind, kind): len(some) for kind, some in leaks.items() if some}
    if not shared:
        return []
    what = " and ".join(f"{count} {kind}" for kind, count in shared.items())
    meaning = f"{what} stand in two splits: what is tested was partly trained on"
    return [_mark("", "split audit", meaning, "count", sum(shared.values()), (0.0, 0.0))]


def shared_by_design(audit: SplitAudit) -> list[Mark]:
    """That what is tested was trained on, by other people say: where whole subjects, sessions or recordings are held out."""
    count = sum(map(len, audit.shared.values()))
    if not count:
        return []
    meaning = (
        f"the same speech is trained on and tested, by design of held-out {audit.mode}s: new are those, and not what is said"
        " (data.splits.new_speech=yes tests both)"
    )
    return [_mark("", "split audit", meaning, "count", count, (0.0, 0.0))]


def names_of(marks: Sequence[Mark]) -> list[str]:
    """The controls that marks come from, with their studies: ``noise (synthetic-meg)``."""
    return [f"{mark['control']} ({mark['study']})" if mark["study"] else str(mark["control"]) for mark in marks]
