"""Quality pictures: a recording's sensors, spectra, time and alignment, and numbers of all recordings side by side."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from raybrain.report.oddness import FAR, MEASURES, UNITS, Judged
from raybrain.report.style import LIGHT, canvas, shades, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STATES = {"bad": "bad", "odd": "odd", "left out": "chance", "mended": "c2", "good": "model"}  # and their colours
MARKS = {"bad": "X", "odd": "D", "left out": "x", "mended": "s", "good": "o"}
NAMED = 12  # channels at most that are named in a map
SPLITS = {"train": "model", "valid": "c2", "test": "ridge"}
ROWS, ROW_S = 3, 5.0  # of a picture of the minute
LETTERS = 14  # of a word that are shown there
DASHED = (0, (4, 3))
MOST = 10.0  # deviations that are told apart


@styled()
def sensors_picture(one: Judged) -> "Figure":
    """Where the sensors lie, and which are used: a mark for each, the nose above; those that are not good are named."""
    figure, (axes,) = canvas(height=330)
    states = {channel["name"]: channel["state"] for channel in one.row["channels"]}
    places = dict(zip(one.part.channels, one.part.positions, strict=True))
    for state, colour in STATES.items():
        names = [name for name in places if states.get(name, "good") == state]
        if names:
            x, y = np.array([places[name] for name in names]).T
            size = 3.5 if state == "good" else 7
            axes.plot(x, y, MARKS[state], color=LIGHT[colour], markersize=size, label=f"{len(names)} {state}", linewidth=0)
        for name in names[:NAMED] if state != "good" else ():
            axes.annotate(
                name, (places[name][0], places[name][1]), (5, 3), textcoords="offset points", fontsize=10, color=LIGHT["ink"]
            )
    _head(axes)
    figure.legend(loc="outside lower left", ncols=3, borderaxespad=0, handletextpad=0.2, columnspacing=1)
    return figure


@styled()
def response_map(one: Judged) -> "Figure":
    """The correlation of each sensor with what is heard, at the lag of the highest response: the larger, the more."""
    figure, (axes,) = canvas(height=330)
    places = dict(zip(one.part.channels, one.part.positions, strict=True))
    rows = [row for row in one.row["channels"] if row["response"] is not None and row["name"] in places]
    values = np.nan_to_num(np.abs([row["response"] for row in rows]))
    x, y = np.array([places[row["name"]] for row in rows]).T
    axes.plot(x, y, "o", color=LIGHT["chance"], markersize=2, linewidth=0)
    most = max(float(values.max()), 1e-9)
    axes.scatter(x, y, s=20 + 120 * values / most, c=values, cmap=shades("model"), vmin=0, vmax=most, linewidths=0)
    axes.annotate(f"largest: {most:.3f}", (0, 0), xycoords="axes fraction", color=LIGHT["quiet"])
    _head(axes)
    return figure


@styled()
def component_picture(component: Mapping[str, Any], places: Mapping[str, Sequence[float]]) -> "Figure":
    """Where a component is seen: the larger, the more, in one colour or the other by its sign."""
    figure, (axes,) = canvas(height=300)
    seen = [
        (places[name], weight)
        for name, weight in zip(component["channels"], component["weights"], strict=True)
        if name in places
    ]
    (x, y), weights = np.array([place for place, _ in seen]).T, np.array([weight for _, weight in seen])
    sizes = 4 + 140 * np.abs(weights) / max(float(np.abs(weights).max(initial=0.0)), 1e-30)
    for side, colour in ((weights >= 0, "model"), (weights < 0, "ridge")):
        axes.scatter(x[side], y[side], s=sizes[side], color=LIGHT[colour], alpha=0.75, linewidths=0)
    _head(axes)
    return figure


def _head(axes: "Axes") -> None:
    """A map of sensors seen from above."""
    axes.set(xlim=(-0.08, 1.08), ylim=(-0.08, 1.12), xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.annotate("nose", (0.5, 1.08), ha="center", color=LIGHT["quiet"])
    axes.annotate("L", (-0.06, 0.5), color=LIGHT["quiet"])
    axes.annotate("R", (1.04, 0.5), color=LIGHT["quiet"])


@styled()
def spectra_picture(row: Mapping[str, Any], kind: str) -> "Figure":
    """Spectral density over good channels of a kind, before the steps and as prepared: medians, and quartiles shaded."""
    figure, (axes,) = canvas(height=270)
    factor, unit = UNITS.get(kind, (1.0, "unit"))
    for spectrum in (one for one in row["spectra"] if one["kind"] == kind):
        colour = LIGHT["ridge" if spectrum["stage"] == "prepared" else "model"]
        low, middle, high = (factor * np.array(spectrum[name][1:], dtype=float) for name in ("low", "middle", "high"))
        seen = middle > 0
        hz = np.array(spectrum["hz"][1:])[seen]
        axes.fill_between(hz, low[seen], high[seen], color=colour, alpha=0.18, linewidth=0)
        axes.plot(hz, middle[seen], color=colour, label=spectrum["stage"], linewidth=1.4)
    axes.axvline(row["line_hz"], color=LIGHT["chance"], linestyle=DASHED, linewidth=1.2)
    beside: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "right"}
    axes.annotate(f"{row['line_hz']:.0f} Hz", (row["line_hz"], 0), (-4, 6), color=LIGHT["quiet"], **beside)
    axes.set(xscale="log", yscale="log", xlabel="frequency, Hz", ylabel=f"{unit} per √Hz")
    recorded = factor * np.array(next(one["middle"][1:] for one in row["spectra"] if one["kind"] == kind))
    if (recorded > 0).any():  # what a filter leaves beyond its edge is next to nothing
        axes.set_ylim(bottom=recorded[recorded > 0].min() / 10)
    axes.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    axes.set_xticks([], minor=True)
    axes.grid(axis="both")
    figure.legend(loc="outside lower left", ncols=2, borderaxespad=0)
    return figure


@styled()
def time_picture(row: Mapping[str, Any], events: Sequence[Mapping[str, Any]], windows: Mapping[str, np.ndarray]) -> "Figure":
    """The recording along time: what was heard, bad stretches and boundaries, and windows of each split and those lost.

    Args:
        row: of the table QUALITY.
        events: of the store.
        windows: when those of each split begin, in seconds.
    """
    figure, (axes,) = canvas(width=720, height=230)
    minutes = 1 / 60
    names = ["sounds", "words", "bad stretches", *(f"{split} windows" for split in SPLITS), "lost windows"]
    for place, kind, colour in ((0, "sound", "model"), (1, "word", "c2")):
        spans = [(minutes * event["start_s"], minutes * event["duration_s"]) for event in events if event["kind"] == kind]
        axes.broken_barh(spans, (place - 0.3, 0.6), color=LIGHT[colour], alpha=0.6, linewidth=0)
    spans = [(minutes * one["start_s"], minutes * (one["stop_s"] - one["start_s"])) for one in row["stretches"]]
    axes.broken_barh(spans, (1.7, 0.6), color=LIGHT["bad"], linewidth=0.8, edgecolor=LIGHT["bad"])
    ticks: dict[str, Any] = {"linewidth": 0, "marker": "|", "markersize": 9, "markeredgewidth": 0.8}
    for place, (split, colour) in enumerate(SPLITS.items(), start=3):
        axes.plot(minutes * windows[split], np.full(len(windows[split]), place), color=LIGHT[colour], **ticks)
    lost = minutes * np.array(row["lost_windows_s"])
    axes.plot(lost, np.full(len(lost), len(names) - 1), color=LIGHT["bad"], **ticks)
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, minutes * row["seconds"]), xlabel="time, minutes")
    axes.grid(axis="x")
    return figure


@styled()
def alignment_picture(curve: Mapping[str, Any]) -> "Figure":
    """Correlation over lags, with what shifted pairings reach: 5 % to 95 % of them shaded, the limit of their peaks dashed."""
    figure, (axes,) = canvas(height=250)
    lags = 1000 * np.array(curve["lags_s"])
    axes.axhspan(curve["low"], curve["high"], color=LIGHT["chance"], alpha=0.2, linewidth=0, label="chance, 5 to 95 %")
    axes.axhline(curve["limit"], color=LIGHT["chance"], linestyle=DASHED, linewidth=1.4, label="95 % of peaks by chance")
    axes.plot(lags, curve["response"], color=LIGHT["model"], linewidth=1.8)
    axes.plot([1000 * curve["peak_s"]], [curve["peak"]], "o", color=LIGHT["ridge"], markersize=7, label="peak")
    axes.axvline(0, color=LIGHT["rule"], linewidth=1)
    axes.annotate(
        f"{1000 * curve['peak_s']:.0f} ms",
        (1000 * curve["peak_s"], curve["peak"]),
        (7, 2),
        textcoords="offset points",
    )
    axes.set(xlabel="lag, ms", ylabel="correlation", xlim=(lags[0], lags[-1]))
    axes.set_ylim(0, 1.15 * max(curve["peak"], curve["limit"]))
    figure.legend(loc="outside lower left", ncols=2, borderaxespad=0)
    return figure


@styled()
def words_picture(row: Mapping[str, Any], events: Sequence[Mapping[str, Any]], first_s: float) -> "Figure":
    """Fifteen seconds of the sound's amplitude, a row every five seconds; words stand where they begin."""
    figure, panels = canvas(height=330, down=ROWS)
    hz, begin = row["minute_hz"], row["minute_s"]
    amplitude = np.array(row["minute"])
    most = max(float(amplitude.max(initial=0.0)), 1e-9)
    for number, axes in enumerate(panels):
        start = first_s + ROW_S * number
        times = begin + np.arange(len(amplitude)) / hz
        inside = (times >= start) & (times < start + ROW_S)
        axes.fill_between(times[inside], amplitude[inside] / most, color=LIGHT["model"], alpha=0.5, linewidth=0)
        for event in events:
            if event["kind"] == "word" and start <= event["start_s"] < start + ROW_S:
                axes.plot([event["start_s"]] * 2, [0, 1.05], color=LIGHT["ridge"], linewidth=0.8)
                word = event["text"] if len(event["text"]) <= LETTERS else f"{event['text'][: LETTERS - 1]}…"
                beside: dict[str, Any] = {"rotation": 60, "fontsize": 10, "va": "bottom", "annotation_clip": False}
                axes.annotate(word, (event["start_s"], 1.05), **beside).set_in_layout(False)
        axes.set(xlim=(start, start + ROW_S), ylim=(0, 2.6), yticks=[])
        axes.spines["left"].set_visible(False)
    panels[-1].set_xlabel("time, s; amplitude as a share of the largest")
    return figure


@styled()
def numbers_picture(every: Sequence[Judged]) -> "Figure":
    """Each number of all recordings, in robust deviations from the median: a dot each; beyond the lines is odd."""
    names = [name for name in MEASURES if any(not np.isnan(one.deviations[name]) for one in every)]
    figure, (axes,) = canvas(height=90 + 32 * len(names))
    for place, name in enumerate(names):
        values = np.array([one.deviations[name] for one in every])
        values = values[~np.isnan(values)]
        shift = 0.22 * (np.arange(len(values)) % 5 - 2) / 2
        far = MEASURES[name].distance(values) > FAR
        dots: dict[str, Any] = {"markersize": 5, "alpha": 0.7, "markeredgewidth": 0}
        for some, colour in ((~far, "model"), (far, "odd")):
            axes.plot(values[some].clip(-MOST, MOST), place + shift[some], "o", color=LIGHT[colour], **dots)
    for edge in (-FAR, FAR):
        axes.axvline(edge, color=LIGHT["chance"], linestyle=DASHED, linewidth=1.2)
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(-1.05 * MOST, 1.05 * MOST), xlabel="robust deviations")
    axes.grid(axis="x")
    return figure
