"""Compared curves: accuracy over the number of subjects and the hours that models were trained with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from raybrain.report.compared import ModelComparison, ModelScore, StudyScores
from raybrain.report.compared_settings import differing
from raybrain.report.pictures import wrapped
from raybrain.report.style import LIGHT, SERIES, canvas, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Axis = Literal["train_subjects", "train_hours"]
AXES: dict[Axis, str] = {"train_hours": "hours of training data, all subjects together", "train_subjects": "subjects"}
SIZES = {"train.subjects": "train_subjects", "train.share": "train_hours"}  # settings that limit what is trained on


@dataclass(frozen=True)
class SizeCurve:
    """Models that differ in how much they were trained on, and in nothing else.

    Attributes:
        name: what they share, where there are several such curves.
        scores: in order of size.
    """

    name: str
    scores: tuple[ModelScore, ...]


def size_curves(comparison: ModelComparison, study: StudyScores, axis: Axis) -> list[SizeCurve]:
    """The curves of a study over the number of subjects, or of hours; empty where nothing varies in that alone.

    Over subjects, models are joined that had the same share of every recording; over hours, those with the same subjects.
    """
    firsts = {model.name: model.runs[0].experiment for model in comparison.models}
    rows = differing(list(firsts.values()))
    place = {name: number for number, name in enumerate(firsts)}
    groups: dict[tuple[str, ...], list[ModelScore]] = {}
    for score in study.scores:
        if getattr(score, axis):
            key = tuple(f"{name}={values[place[score.model]]}" for name, values in rows if not _is_size(name, axis))
            groups.setdefault(key, []).append(score)
    curves = []
    for key, scores in groups.items():
        ordered = sorted(scores, key=lambda score: getattr(score, axis))
        if len({getattr(score, axis) for score in scores}) > 1:
            curves.append(SizeCurve(", ".join(key) if len(groups) > 1 else "", tuple(ordered)))
    return curves


def _is_size(name: str, axis: Axis) -> bool:
    """Whether a setting is what varies along an axis; also how many there are in a study that is made here."""
    made = {"train_subjects": "subjects", "train_hours": "minutes"}[axis]
    return SIZES.get(name) == axis or (name.startswith("data.studies.") and name.endswith(f".{made}"))


@styled()
def size_picture(curves: Sequence[SizeCurve], axis: Axis) -> "Figure":
    """Top-10 accuracy over how much was trained on, with 95 % intervals; chance dashed."""
    names, lines = wrapped([curve.name or "top-10" for curve in curves])
    several = len(curves) > 1
    figure, (axes,) = canvas(height=240 + (16 * sum(lines) if several else 0))
    for number, (name, curve) in enumerate(zip(names, curves, strict=True)):
        colour = SERIES[number % len(SERIES)]
        x = [getattr(score, axis) for score in curve.scores]
        y = [100 * score.accuracy["top10"] for score in curve.scores]
        low, high = ([100 * score.interval["top10"][end] for score in curve.scores] for end in (0, 1))
        axes.plot(x, y, "o-", color=colour, label=name, markersize=6)
        axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
    chance = 100 * min(score.chance["top10"] for curve in curves for score in curve.scores)
    axes.axhline(chance, color=LIGHT["chance"], linestyle=(0, (4, 3)), linewidth=1.4, label=f"chance {chance:.1f} %")
    axes.set(xlabel=AXES[axis], ylabel="top-10 accuracy, %", ylim=(0, 100), xlim=(0, None))
    axes.grid(axis="y")
    figure.legend(loc="outside lower left", borderaxespad=0)
    return figure
