"""Newcomer curves: accuracy over minutes of calibration, of people whom nothing was trained with, as a table and a picture."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.table import Table

from raybrain.metrics import TOP
from raybrain.report.pictures import wrapped
from raybrain.report.style import LIGHT, SERIES, Picture, canvas, picture, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {"top": "model", "ridge": "ridge, from all others on", "alone": "ridge, of the minutes alone"}
BRACKETS = "chance, ridge from all others on, ridge of the minutes alone"
MODELS = tuple(colour for colour in SERIES if colour != LIGHT["ridge"])


def mean_newcomers(newcomers: pd.DataFrame) -> pd.DataFrame:
    """A row for each study and number of minutes: means over people and trainings; ``sd1`` is how the model's top-1 spreads."""
    numbers = [f"{kind}{k}" for kind in (*KINDS, "chance") for k in TOP]
    rows: list[dict[str, Any]] = []
    for (study, asked), group in newcomers.groupby(["study", "asked"], sort=True):
        row = {"study": study, "asked": asked, "subjects": group["subject"].nunique(), "trainings": len(group)}
        row |= {name: float(group[name].astype(float).mean()) for name in ("minutes", "candidates", *numbers)}
        rows.append(row | {"sd1": float(group["top1"].std()) if len(group) > 1 else 0.0})
    return pd.DataFrame(rows)


def newcomers_table(newcomers: pd.DataFrame) -> Table:
    """How well each person who was left out is decoded, beside ridge regression on the same minutes, and chance."""
    table = Table(title=f"people who were left out, over minutes of calibration (in brackets: {BRACKETS})")
    for name in ("study", "subject"):
        table.add_column(name)
    for name in ("minutes", "windows", "segments / candidates", *(f"top-{k}" for k in TOP)):
        table.add_column(name, justify="right")
    for _, row in newcomers.iterrows():
        sizes = [f"{row['minutes']:.1f}", str(row["windows"]), f"{row['segments']} / {row['candidates']}"]
        table.add_row(str(row["study"]), str(row["subject"]), *sizes, *_percents(row))
    return table


def mean_newcomers_table(newcomers: pd.DataFrame) -> Table:
    """The mean over people and trainings."""
    table = Table(
        title=f"people who were left out, over minutes of calibration: means over all of them (in brackets: {BRACKETS})"
    )
    table.add_column("study")
    for name in ("people", "minutes", "candidates", *(f"top-{k}" for k in TOP)):
        table.add_column(name, justify="right")
    for _, row in mean_newcomers(newcomers).iterrows():
        sizes = [str(row["subjects"]), f"{row['minutes']:.1f}", f"{row['candidates']:.0f}"]
        table.add_row(str(row["study"]), *sizes, *_percents(row))
    return table


def _percents(row: "pd.Series[Any]") -> list[str]:
    """For each k an accuracy, and in brackets chance and ridge regression."""
    cells = []
    for k in TOP:
        beside = [row[f"{kind}{k}"] for kind in ("chance", "ridge", "alone")]
        cells.append(f"{row[f'top{k}']:.1%} ({', '.join('-' if pd.isna(one) else f'{100 * one:.1f}' for one in beside)})")
    return cells


def newcomers_pictures(newcomers: Mapping[str, pd.DataFrame]) -> list[Picture]:
    """A picture for each study of the curves of some models, by name."""
    some = {name: rows for name, rows in newcomers.items() if len(rows)}
    drawn = []
    for study in sorted({str(study) for rows in some.values() for study in rows["study"]}):
        curves = {
            name: mean_newcomers(rows[rows["study"] == study]) for name, rows in some.items() if (rows["study"] == study).any()
        }
        people = max(int(curve["subjects"].max()) for curve in curves.values())
        who = f"{people} people who were" if people > 1 else "1 person who was"
        what = f"{study}: top-1 accuracy of {who} left out, over minutes of"
        drawn.append(picture(newcomers_picture(curves), f"{what} calibration; diamonds: ridge regression; dashed: chance"))
    return drawn


@styled()
def newcomers_picture(curves: Mapping[str, pd.DataFrame]) -> "Figure":
    """Top-1 accuracy over minutes of calibration, of some models by name, beside ridge regression and chance.

    Args:
        curves: rows of :func:`mean_newcomers` of one study.
    """
    first = next(iter(curves.values()))
    names, lines = wrapped([*curves, *list(KINDS.values())[1:]])
    figure, (axes,) = canvas(height=240 + 16 * sum(lines))
    for number, (name, curve) in enumerate(zip(names, curves.values(), strict=False)):
        colour = MODELS[number % len(MODELS)]
        axes.plot(curve["minutes"], 100 * curve["top1"], "o-", color=colour, label=name, markersize=6, clip_on=False)
        low, high = (100 * (curve["top1"] + sign * curve["sd1"]) for sign in (-1, 1))
        axes.fill_between(curve["minutes"], low.clip(lower=0), high.clip(upper=100), color=colour, alpha=0.12, linewidth=0)
    for name, (kind, style) in zip(names[len(curves) :], _styles(), strict=True):
        axes.plot(first["minutes"], 100 * first[f"{kind}1"], color=LIGHT["ridge"], label=name, **style)
    chance = 100 * float(first["chance1"].mean())
    axes.axhline(chance, color=LIGHT["chance"], linestyle=(0, (4, 3)), linewidth=1.4, label=f"chance {chance:.1f} %")
    axes.set(xlabel="minutes of calibration", ylabel="top-1 accuracy, %", ylim=(0, 100), xlim=(0, None))
    axes.grid(axis="y")
    figure.legend(loc="outside lower left", borderaxespad=0)
    return figure


def _styles() -> Sequence[tuple[str, dict[str, Any]]]:
    hollow = {"marker": "D", "markersize": 6, "markerfacecolor": "none", "clip_on": False}
    return [("ridge", hollow), ("alone", hollow | {"linestyle": ":"})]
