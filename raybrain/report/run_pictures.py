"""Run pictures: one training and its test as pictures: curves, subjects, errors, controls, groups of words.

Each is drawn for one study, as wide as a phone, beside what says whether it is good: chance and ridge regression.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from raybrain.evaluate.attribution import KINDS
from raybrain.metrics import TOP
from raybrain.report.pictures import LINE, ROW, mark_chance, row_axes, wrapped
from raybrain.report.style import LIGHT, canvas, styled
from raybrain.train.record import Row, best_epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODEL: dict[str, Any] = {"marker": "o", "markersize": 7, "color": LIGHT["model"], "linestyle": "none", "clip_on": False}
RIDGE: dict[str, Any] = {
    "marker": "D",
    "markersize": 6,
    "color": LIGHT["ridge"],
    "markerfacecolor": "none",
    "linestyle": "none",
}
BAND = 10  # pixels from the middle of a band to its edge


@styled()
def losses_picture(history: Sequence[Row]) -> "Figure":
    """Train and valid loss after each epoch, the kept epoch marked."""
    figure, axes = _epochs("loss")
    epochs = [row["epoch"] for row in history]
    axes.plot(epochs, [row["train_loss"] for row in history], color=LIGHT["quiet"], label="train")
    axes.plot(epochs, [row["valid_loss"] for row in history], color=LIGHT["model"], label="valid")
    _mark_kept(axes, history, "valid_loss", 1)
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")
    return figure


@styled()
def accuracies_picture(history: Sequence[Row]) -> "Figure":
    """Top-1 and top-10 accuracy on the valid split after each epoch, with chance of top-10."""
    figure, axes = _epochs("accuracy on the valid split, %")
    epochs = [row["epoch"] for row in history]
    for k, colour in ((10, "model"), (1, "c2")):
        axes.plot(epochs, [100 * row[f"valid_top{k}"] for row in history], color=LIGHT[colour], label=f"top-{k}")
    _mark_kept(axes, history, "valid_top10", 100)
    chance = 100 * history[-1]["valid_chance10"]
    axes.axhline(chance, color=LIGHT["chance"], linestyle=(0, (4, 3)), linewidth=1.4, label="chance of top-10")
    axes.set_ylim(0, 103)
    axes.legend(loc="lower right")
    return figure


def _epochs(what: str) -> "tuple[Figure, Axes]":
    from matplotlib.ticker import MaxNLocator

    figure, (axes,) = canvas(height=230)
    axes.set(xlabel="epoch", ylabel=what)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
    return figure, axes


def _mark_kept(axes: "Axes", history: Sequence[Row], name: str, times: float) -> None:
    kept = best_epoch(history)
    axes.plot([kept["epoch"]], [times * kept[name]], "o", color=LIGHT["model"], markersize=7)


@styled()
def people_picture(subjects: pd.DataFrame, chance: float) -> "Figure":
    """Top-10 accuracy of every subject with its interval, best first, beside ridge regression and chance."""
    rows = subjects.sort_values("top10", ascending=False)
    figure, (axes,) = canvas(height=70 + 24 * len(rows))
    places = np.arange(len(rows))
    low, high = 100 * rows["low10"].to_numpy(), 100 * rows["high10"].to_numpy()
    axes.hlines(places, low, high, color=LIGHT["model"], linewidth=2, alpha=0.5)
    axes.plot(100 * rows["baseline10"], places, label="ridge regression", **RIDGE)
    axes.plot(100 * rows["top10"], places, label="this model", **MODEL)
    axes.set_yticks(places, [_short(str(name)) for name in rows["subject"]])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    _percent(axes, chance, "top-10 accuracy, %")
    return figure


@styled()
def errors_picture(errors: pd.DataFrame) -> "Figure":
    """What stands first: bars of the model; ticks where guesses that know nothing end."""
    names, lines = wrapped(list(KINDS.values()))
    figure, (axes,) = canvas(height=56 + sum(ROW + LINE * (count - 1) for count in lines))
    places = row_axes(axes, names, lines)
    by_kind = {row["kind"]: row for row in errors.to_dict("records")}
    for place, kind in zip(places, KINDS, strict=True):
        colour = LIGHT["model"] if kind == "right" else LIGHT["ridge"]
        share, blind = 100 * by_kind[kind]["share"], 100 * by_kind[kind]["blind"]
        axes.barh(place, share, height=13, color=colour, alpha=0.85)
        axes.plot([blind, blind], [place - BAND, place + BAND], color=LIGHT["ink"], linewidth=2)
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of test segments, %")
    axes.grid(axis="x")
    return figure


@styled()
def controls_picture(rows: Sequence[dict[str, Any]], chance: float) -> "Figure":
    """Controls as dots, each with the band it must lie in.

    Args:
        rows: ``name``, ``value`` and the ``band`` as shares; ``mark`` where it is not as it should be.
        chance: of the study.
    """
    names, lines = wrapped([row["name"] for row in rows])
    figure, (axes,) = canvas(height=80 + sum(ROW + LINE * (count - 1) for count in lines))
    places = row_axes(axes, names, lines)
    for place, row in zip(places, rows, strict=True):
        low, high = (100 * bound for bound in row["band"])
        axes.barh(place, high - low, left=low, height=2 * BAND, color=LIGHT["chance"], alpha=0.3)
        colour = LIGHT["bad" if row["mark"] else "model" if row["is_model"] else "ink"]
        axes.plot([100 * row["value"]], [place], **MODEL | {"color": colour})
    _percent(axes, chance, "top-10 accuracy, %")
    return figure


@styled()
def groups_picture(groups: pd.DataFrame, k: int) -> "Figure":
    """Top-k accuracy of groups of words, beside ridge regression."""
    figure, (axes,) = canvas(height=210)
    places = np.arange(len(groups))
    axes.plot(places, 100 * groups[f"baseline{k}"], label="ridge regression", **RIDGE)
    axes.plot(places, 100 * groups[f"top{k}"], label="this model", **MODEL)
    labels = [f"{group}\n({segments})" for group, segments in zip(groups["group"], groups["segments"], strict=True)]
    axes.set_xticks(places, labels)
    axes.set(ylabel=f"top-{k} accuracy, %", ylim=(0, 103), xlim=(-0.6, len(groups) - 0.4))
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")
    return figure


def telling(studies: pd.DataFrame) -> int:
    """The k of which the top-k accuracy tells most: the one farthest from both ends."""
    return min(TOP, key=lambda k: abs(float(studies[f"top{k}"].mean()) - 0.5))


@styled()
def lags_picture(lags: pd.DataFrame) -> "Figure":
    """How well single lags reconstruct the envelope, and what curves without a response reach somewhere."""
    figure, (axes,) = canvas(height=230)
    noise = float(lags["noise"].iloc[0])
    axes.axhspan(-noise, noise, color=LIGHT["chance"], alpha=0.3, linewidth=0)
    axes.axvline(0, color=LIGHT["chance"], linestyle=(0, (4, 3)), linewidth=1.4)
    axes.plot(lags["lag_s"], lags["correlation"], color=LIGHT["model"])
    axes.set(xlabel="lag of the recording behind the sound, s", ylabel="correlation", xlim=(-1, 1))
    axes.grid(axis="y")
    return figure


def _percent(axes: "Axes", chance: float, what: str) -> None:
    mark_chance(axes, chance)
    axes.set_xlim(0, 100)
    axes.set_xlabel(what)
    axes.grid(axis="x")


def _short(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:15]}…"
