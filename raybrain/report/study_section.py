"""Study section: the test of one study as a page shows it: accuracies, errors, controls, groups of words."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from raybrain.evaluate.attribution import KINDS
from raybrain.evaluate.controls import SEGMENTS, WHAT
from raybrain.evaluate.rank import Evaluation
from raybrain.metrics import TOP
from raybrain.report.run_pictures import (
    controls_picture,
    errors_picture,
    groups_picture,
    lags_picture,
    people_picture,
    telling,
)
from raybrain.report.style import picture

ABOVE = ("place", "length", "envelope")  # controls that a model has to be better than
FURTHER = ("95 % of top-10", "word top-10", "mean reciprocal rank", "median rank")


def study_section(evaluation: Evaluation, study: str, measures: Sequence[str]) -> dict[str, Any]:
    """Everything about the test of one study, as plain texts and pictures.

    Args:
        evaluation: of all studies.
        study: which.
        measures: further ones of the task.
    """
    whole: dict[Any, Any] = evaluation.studies[evaluation.studies["study"] == study].to_dict("records")[0]
    subjects, errors, groups, controls, lags = (
        table[table["study"] == study] if len(table) else table
        for table in (evaluation.subjects, evaluation.errors, evaluation.breakdown, evaluation.controls, evaluation.lags)
    )
    k = telling(evaluation.studies[evaluation.studies["study"] == study])
    return {
        "name": study,
        "tiles": _tiles(whole, len(subjects)),
        "people": picture(people_picture(subjects, whole["chance10"]), f"{study}: top-10 accuracy of every subject"),
        "head": ["subject", "segments / candidates", *(f"top-{k}" for k in TOP), *FURTHER, *measures],
        "rows": [_accuracies(row, row.get("subject", "all"), measures) for row in [*subjects.to_dict("records"), whole]],
        "errors": picture(errors_picture(errors), f"{study}: what stands first, for all test segments"),
        "error_rows": [_error(row) for row in errors.to_dict("records")],
        "controls": _controls(controls, study, whole["chance10"]),
        "groups": [
            picture(groups_picture(some, k), f"{study}: top-{k} accuracy by {by} (in brackets: segments)")
            for by, some in groups.groupby("by", sort=False)
        ],
        "lags": picture(lags_picture(lags), f"{study}: correlation of the envelope with what one lag tells")
        if len(lags)
        else None,
    }


def _tiles(row: Mapping[Any, Any], people: int) -> list[dict[str, str]]:
    """The numbers that are read first."""
    tiles = [
        {
            "number": f"{row[f'top{k}']:.1%}",
            "what": f"top-{k} accuracy",
            "note": f"chance {row[f'chance{k}']:.1%}, ridge regression {row[f'baseline{k}']:.1%}",
            "mark": "odd" if row[f"top{k}"] < row[f"baseline{k}"] else "",
        }
        for k in (10, 1)
    ]
    interval = f"95 % of top-10 from {100 * row['low10']:.1f} to {row['high10']:.1%}"
    tiles.append(
        {"number": f"{row['candidates']:g}", "what": "candidates", "note": "each estimate is ranked against", "mark": ""}
    )
    who = f"of {people} people" if people > 1 else "of one person"
    tiles.append({"number": f"{row['segments']}", "what": "test segments", "note": f"{who}; {interval}"})
    return tiles


def _accuracies(row: Mapping[Any, Any], name: str, measures: Sequence[str]) -> list[Any]:
    beside = [
        {
            "text": f"{row[f'top{k}']:.1%}",
            "note": f"chance {100 * row[f'chance{k}']:.1f}, ridge {100 * row[f'baseline{k}']:.1f}",
            "mark": "odd" if row[f"top{k}"] < row[f"baseline{k}"] else "",
        }
        for k in TOP
    ]
    interval, words = f"{100 * row['low10']:.1f}-{row['high10']:.1%}", f"{row['word_top10']:.1%} of {row['words']:g}"
    ranks = [f"{row['mrr']:.3f}", f"{row['median_rank']:g}"]
    return [name, f"{row['segments']} / {row['candidates']:g}", *beside, interval, words, *ranks] + [
        f"{row[measure]:.3f}" for measure in measures
    ]


def _error(row: Mapping[Any, Any]) -> list[str]:
    of_errors = "" if row["kind"] == "right" else f"{row['of_errors']:.1%}"
    return [KINDS[row["kind"]], f"{row['share']:.1%}", of_errors, f"{row['blind']:.1%}"]


def _controls(controls: pd.DataFrame, study: str, chance: float) -> dict[str, Any]:
    """Controls that must be in their band as a picture, all of them as a table."""
    rows = controls.to_dict("records")
    drawn = [
        {
            "name": WHAT[row["control"]],
            "value": row["top10"],
            "band": (row["band_low10"], row["band_high10"]),
            "mark": row["marked"],
            "is_model": row["control"] == "model",
        }
        for row in rows
        if row["control"] not in ABOVE
    ]
    what = f"{study}: top-10 accuracy of the model and of the controls; grey: where 99.9 % of permutations lie"
    return {
        "picture": picture(controls_picture(drawn, chance), what),
        "rows": [_control(row) for row in rows],
        "segments": min(SEGMENTS, int(controls["segments"].max())),
    }


def _control(row: Mapping[Any, Any]) -> list[Any]:
    name = row["control"]
    must = "" if name == "model" else "the model must be better" if name in ABOVE else "must lie in its band"
    band = f"{100 * row['band_low10']:.1f} to {row['band_high10']:.1%}"
    mark = {"text": "MARKED" if row["marked"] else "as it should be", "mark": "bad" if row["marked"] else "good", "note": must}
    return [WHAT[name], f"{row['top1']:.1%}", f"{row['top10']:.1%}", band, f"{row['mrr']:.3f}", "" if name == "model" else mark]
