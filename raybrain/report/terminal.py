"""Tables for the terminal: accuracy always beside chance and the number of candidates."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Group
from rich.table import Table
from rich.text import Text

from raybrain.doctor.findings import Finding
from raybrain.download.unpack import amount
from raybrain.evaluate.attribution import KINDS
from raybrain.evaluate.channel_rows import UNIQUE
from raybrain.evaluate.controls import SEGMENTS, WHAT
from raybrain.evaluate.lags import peak
from raybrain.evaluate.marks import LEAKS, Mark, measured
from raybrain.housekeeping import Item
from raybrain.metrics import TOP
from raybrain.report import explain
from raybrain.report.results import Cell, shown_p
from raybrain.store import SplitAudit


def accuracy_table(studies: pd.DataFrame, subjects: pd.DataFrame, measures: Sequence[str] = ()) -> Table:
    """Top-k accuracy of every study and of its subjects beside chance and baseline, and further measures of the task."""
    table = Table(title="test: finding the right segment among all candidates, beside chance and ridge regression")
    table.add_column("study")
    table.add_column("subject")
    accuracies = [f"top-{k} (chance, ridge)" for k in TOP]
    for name in ("segments / candidates", *accuracies, "95 % of top-10", "word top-10", *measures):
        table.add_column(name, justify="right")
    for _, study in studies.iterrows():
        for _, row in subjects[subjects["study"] == study["study"]].iterrows():
            table.add_row(str(row["study"]), str(row["subject"]), *_cells(row, measures))
        table.add_row(str(study["study"]), "all", *_cells(study, measures), style="bold", end_section=True)
    return table


def _cells(row: "pd.Series[Any]", measures: Sequence[str]) -> list[str | Text]:
    accuracies = [_beside(row[f"top{k}"], row[f"chance{k}"], row[f"baseline{k}"]) for k in TOP]
    interval = f"{100 * row['low10']:.1f}-{row['high10']:.1%}"
    words = f"{row['word_top10']:.1%} of {row['words']}"
    further = [f"{row[name]:.3f}" for name in measures]
    return [f"{row['segments']} / {row['candidates']}", *accuracies, interval, words, *further]


def _beside(accuracy: float, chance: float, baseline: float) -> Text:
    """An accuracy with chance and baseline; marked if it is below the latter."""
    shown = f"{accuracy:.1%} ({100 * chance:.1f}, {100 * baseline:.1f})"
    return Text(shown, style="yellow" if accuracy < baseline else "")


def baseline_line(studies: pd.DataFrame) -> str:
    """Whether a model is better than ridge regression, in one line."""
    below = [
        f"{row['study']} top-{k} {row[f'top{k}']:.1%} < {row[f'baseline{k}']:.1%}"
        for _, row in studies.iterrows()
        for k in (TOP[0], TOP[-1])
        if row[f"top{k}"] < row[f"baseline{k}"]
    ]
    if below:
        return f"BELOW ITS BASELINE, ridge regression on the same windows: {'; '.join(below)}"
    return "baseline: not below ridge regression on the same windows, in any study"


def control_lines(control: str, controls: pd.DataFrame) -> list[str]:
    """Whether what was trained on noise, or on shuffled pairs, is at chance: a line for each study, of such trainings alone."""
    lines = []
    for _, row in controls[controls["control"] == "model"].iterrows() if control != "none" else ():
        k = measured(row["candidates"])
        fine = row[f"top{k}"] <= row[f"band_high{k}"]
        verdict = "at chance, as it must be" if fine else "ABOVE CHANCE: the test can be passed otherwise"
        band = f"with candidates exchanged {row[f'band_low{k}']:.1%} to {row[f'band_high{k}']:.1%}"
        seen = f"top-{k} of {row['study']} is {row[f'top{k}']:.1%}"
        lines.append(f"control: trained with train.control={control}, {seen}, {band}: {verdict}")
    return lines


def mark_lines(marks: Sequence[Mark]) -> list[str]:
    """What should make one doubt the result, a line each."""
    lines = []
    for mark in marks:
        low, high = mark["band"]
        shown = "{:.1%}".format if mark["measure"].startswith("top") else "{:.3g}".format
        band = f"above {shown(low)}" if high == 1 else f"{shown(low)} to {shown(high)}"
        where = f" in {mark['study']}" if mark["study"] else ""
        seen = f"{mark['measure']} {shown(mark['value'])}, should be {band}"
        lines.append(f"MARKED by {mark['control']}{where}: {mark['meaning']} ({seen})")
    return lines


def lag_lines(lags: pd.DataFrame) -> list[str]:
    """When after the sound the recording tells most of it, a line for each study."""
    lines = []
    for study, curve in lags.groupby("study", sort=True) if len(lags) else ():
        highest = peak(curve)
        if highest is None:
            lines.append(f"lags: the recording tells nothing of the sound at any single lag ({study})")
            continue
        tells = f"r = {highest['correlation']:.3f}, chance below {highest['noise']:.3f}"
        lines.append(
            f"lags: the recording tells most of the sound {1000 * highest['lag_s']:.0f} ms after it ({study}, {tells})"
        )
    return lines


def channel_lines(channels: pd.DataFrame) -> list[str]:
    """How well channels of the brain are estimated, a line for each study; nothing where something else was aimed at."""
    lines = []
    for study, rows in channels.groupby("study", sort=True) if len(channels) else ():
        own, ridge, ceiling = (float(rows[name].mean()) for name in ("correlation", "ridge", "ceiling"))
        others = "nobody else heard the same" if math.isnan(ceiling) else f"the mean of the other people {ceiling:.3f}"
        best = rows.sort_values("correlation", ascending=False).to_dict("records")[0]
        adds = {str(name).removeprefix(UNIQUE): rows[name].mean() for name in rows if str(name).startswith(UNIQUE)}
        alone = "".join(f"; {name} alone adds {value:.3f}" for name, value in adds.items())
        lines.append(
            f"channels: mean correlation {own:.3f}, ridge regression {ridge:.3f}, {others}; best {best['channel']} with"
            f" {best['correlation']:.3f}{alone} ({study}, {len(rows)} channels)"
        )
    return lines


def absent_lines(absent: Sequence[Mapping[str, Any]]) -> list[str]:
    """The controls that a study cannot have, a line each."""
    return [f"no control {one['control']} of {one['study']}: {one['reason']}" for one in absent]


def errors_table(errors: pd.DataFrame) -> Table:
    """What stands first: the truth, or what else; beside guesses that know nothing."""
    table = Table(title="what stands first (in brackets: if every candidate did equally often)")
    table.add_column("study")
    for kind in KINDS.values():
        table.add_column(kind, justify="right")
    for study, group in errors.groupby("study", sort=True):
        cells = [f"{row['share']:.1%} ({row['blind']:.1%})" for _, row in group.iterrows()]
        table.add_row(str(study), *cells)
    return table


def context_lines(context: pd.DataFrame) -> list[str]:
    """What it adds to score candidates by what was heard around them, a line for each study."""
    lines = []
    for _, row in context.iterrows():
        if row["weight"] == 0:
            lines.append(f"context: adds nothing on the valid split ({row['study']})")
            continue
        scores = f"top-1 {row['plain1']:.1%} -> {row['context1']:.1%}, of random groups {row['random1']:.1%}"
        odd = "; RANDOM GROUPS GAIN TOO, so this is not context" if row["odd"] else ""
        lines.append(f"context: with that of the same {row['of']} {scores} ({row['study']}, {row['segments']} segments){odd}")
    return lines


def controls_table(controls: pd.DataFrame) -> Table:
    """What is left of the accuracy without the brain: it should lie in the range of chance."""
    table = Table(
        title=f"controls, on up to {SEGMENTS} segments a study: all but the model should be in their band, the model above"
    )
    table.add_column("study")
    table.add_column("estimates")
    for name in ("segments", "candidates", *(f"top-{k} (chance)" for k in TOP), "99.9 % band of top-10"):
        table.add_column(name, justify="right")
    for _, row in controls.iterrows():
        accuracies = [f"{row[f'top{k}']:.1%} ({row[f'chance{k}']:.1%})" for k in TOP]
        span = f"{row['band_low10']:.1%} - {row['band_high10']:.1%}"
        sizes = [str(row["segments"]), str(row["candidates"])]
        style = "yellow" if row["marked"] else ""
        table.add_row(str(row["study"]), WHAT[row["control"]], *sizes, *accuracies, span, style=style)
    return table


def leak_lines(leaks: Mapping[str, Sequence[str]]) -> list[str]:
    """What stands in two splits, one line for each kind; hopefully nothing."""
    return [
        f"{len(some)} {LEAKS.get(kind, kind)} in two splits ({'; '.join(some[:3])})" for kind, some in leaks.items() if some
    ]


def shared_line(audit: SplitAudit) -> list[str]:
    """That the same speech is trained on and tested, where that is so by design."""
    if not audit.shared:
        return []
    counts = " and ".join(f"{len(some)} {LEAKS.get(kind, kind)}" for kind, some in audit.shared.items())
    return [f"same speech in train and test: yes, by design of held-out {audit.mode}s ({counts} in two splits)"]


def audit_line(audit: SplitAudit) -> str:
    """The split audit in one line."""
    kinds = " or ".join(LEAKS.get(kind, kind) for kind in audit.leaks)
    parts = leak_lines(audit.leaks) or [f"no {kinds} in two splits"]
    parts += shared_line(audit)
    if audit.gap and audit.gap.least_s is None:
        parts.append("no test window has a train window in its recording")
    elif audit.gap:
        gap = audit.gap
        parts.append(
            f"the test windows are at least {gap.least_s:.2f} s from train windows of their recording, "
            f"{gap.near} of {gap.windows} are nearer than their {gap.window_s:g} s"
        )
    return f"split audit: {'; '.join(parts)}"


def results_table(cells: Sequence[Cell], compared: Sequence[Mapping[str, Any]]) -> Table:
    """A sweep on the test split: mean and deviation over seeds, beside chance and what was published, if it was."""
    table = Table(title="test: top-10 segment accuracy, mean and standard deviation over seeds, in percent")
    published = any(cell.published for cell in cells)
    for name in ("study", "row"):
        table.add_column(name)
    names = ["top-10", "chance", "ridge", "candidates", "seeds", "top-1"]
    names += ["published", "accepted", ""] if published else []
    names += ["marked by"] if any(cell.marks for cell in cells) else []
    for name in [*names, "Holm p against first row"]:
        table.add_column(name, justify="right")
    p = {(one["study"], one["row"]): shown_p(one["holm"]) for one in compared}
    columns = list(dict.fromkeys(cell.column for cell in cells))
    for cell in sorted(cells, key=lambda cell: columns.index(cell.column)):
        top1 = f"{100 * sum(cell.top1) / len(cell.top1):.1f}"
        ridge = "" if cell.baseline is None else f"{'< ' if cell.below else ''}{100 * cell.baseline:.1f}"
        numbers = [cell.percent, f"{100 * cell.chance:.1f}", ridge, str(cell.candidates), str(len(cell.top10)), top1]
        if published:
            numbers += _verdict(cell)
        numbers += [", ".join(cell.marks)] if "marked by" in names else []
        style = "" if cell.passed is None else "green" if cell.passed else "red"
        table.add_row(cell.column, cell.row, *numbers, p.get((cell.column, cell.row), ""), style=style)
    return table


def _verdict(cell: Cell) -> list[str]:
    if cell.published is None:
        return ["", "", ""]
    span = f"{max(cell.published.low, 0):.1f} - {cell.published.high:.1f}"
    return [str(cell.published), span, "pass" if cell.passed else "FAIL"]


def trials_table(trials: Sequence[Mapping[str, Any]], metric: str, keys: Sequence[str]) -> Table:
    """The trials of a sweep, best first."""
    table = Table(title=f"sweep: {len(trials)} trials, best {metric} first")
    turned = ["schedule"] if any(trial.get("schedule") for trial in trials) else []
    for name in ("trial", *keys, *turned, "epochs", metric, "state"):
        table.add_column(name.split(".")[-1] if name in keys else name, justify="right" if name != "state" else "left")
    for trial in trials:
        score = trial["score"]
        shown = "" if score is None else _score(score, metric)
        if trial.get("sd") is not None:
            shown += f" +- {_score(trial['sd'], metric)}"
        values = [_short(trial["params"].get(key, "")) for key in keys]
        values += [" ".join(trial["schedule"])] if turned else []
        copied = f", copy of {trial['copy_of']}" if trial.get("copy_of") is not None else ""
        known = ", the recipe" if trial.get("recipe") else ""
        table.add_row(str(trial["trial"]), *values, str(trial["epochs"]), shown, trial["state"] + known + copied)
    return table


def check_table(title: str, recordings: Sequence[Mapping[str, Any]]) -> Table:
    """What a look at each recording of a study told."""
    table = Table(title=title)
    numbers = ("seconds", "channels (usable)", "hertz", "sounds", "words", "sentences", "phonemes")
    table.add_column("recording", overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    table.add_column("problems", overflow="fold", min_width=20)
    for row in recordings:
        shown = {**row, "seconds": f"{row['seconds']:.0f}", "channels (usable)": f"{row['channels']} ({row['usable']})"}
        shown["hertz"] = f"{row['hertz']:g}"
        style = "red" if row["problems"] else "yellow" if row["odd"] else ""
        lines = [*row["problems"], *(f"odd: {line}" for line in row["odd"])]
        table.add_row(row["recording"], *(str(shown[name]) for name in numbers), "; ".join(lines), style=style)
    return table


def features_table(features: Sequence[Mapping[str, Any]]) -> Table:
    """What kinds of features there are and what each takes; the pip line for what is missing stands below what it is."""
    table = Table(title="features, with their default settings")
    for name in ("feature", "what", "unit"):
        table.add_column(name)
    table.add_column("size", justify="right")
    table.add_column("Hz", justify="right")
    table.add_column("needs")
    for row in features:
        needs = [*row["needs"], *row["packages"], *(["a model"] if row["model"] else [])]
        what = f"{row['what']}\n{row['install']}" if row["missing"] else row["what"]
        size = "?" if row["size"] is None else str(row["size"])
        table.add_row(row["name"], what, row["unit"], size, f"{row['rate_hz']:g}", ", ".join(needs))
    return table


def _score(value: float, metric: str) -> str:
    return f"{value:.1%}" if "top" in metric else f"{value:.4f}"


def repeats_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Top-k accuracy on the test split, mean and standard deviation over the repetitions of a trial, beside chance."""
    table = Table(title="test: mean and standard deviation over repetitions")
    for name in ("study", "repetitions", *(f"top-{k} (chance)" for k in TOP)):
        table.add_column(name, justify="left" if name == "study" else "right")
    for study, group in pd.DataFrame(rows).groupby("study"):
        spread = {k: f" +- {group[f'top{k}'].std():.1%}" if len(group) > 1 else "" for k in TOP}
        cells = [f"{group[f'top{k}'].mean():.1%}{spread[k]} ({group[f'chance{k}'].mean():.1%})" for k in TOP]
        table.add_row(str(study), str(len(group)), *cells)
    return table


def settings_table(tree: Mapping[str, Any], differences: Mapping[str, Any]) -> Table:
    """Every setting by its dotted name; what is not the default is marked."""
    table = Table(box=None, pad_edge=False)
    table.add_column("setting")
    table.add_column("value")
    for key, value in tree.items():
        changed = any(key == name or key.startswith(f"{name}.") for name in differences)
        table.add_row(key, str(value), style="bold green" if changed else "")
    return table


MOST = 10  # rows of a kind that are shown of what a home keeps
MANY = {"run": "runs", "sweep": "sweeps", "comparison": "comparisons", "quality": "pages of quality", "baseline": "baselines"}
MANY |= {"store": "stores", "map": "memory maps", "study": "studies"}


def home_table(items: Sequence[Item], most: int | None = MOST) -> Table:
    """What a home keeps, kind by kind, the largest first; with a total for each kind."""
    table = Table()
    table.add_column("kept", overflow="fold")
    table.add_column("size", justify="right")
    for name in ("what", "used by"):
        table.add_column(name, overflow="fold")
    kinds = dict.fromkeys(item.kind for item in items)
    for kind in kinds:
        some = sorted((item for item in items if item.kind == kind), key=lambda item: -item.bytes)
        table.add_row(f"{MANY.get(kind, kind)}: {len(some)}", amount(sum(item.bytes for item in some)), style="bold")
        for item in some[:most]:
            users = ", ".join(item.used_by[:3]) + (f" and {len(item.used_by) - 3} more" if len(item.used_by) > 3 else "")
            names = [f"  {_home_name(item)}", amount(item.bytes), item.what]
            table.add_row(*names, Text(item.needless, style="yellow") if item.needless else users)
        if most is not None and len(some) > most:
            table.add_row(f"  and {len(some) - most} more", amount(sum(item.bytes for item in some[most:])))
        table.add_section()
    return table


def _home_name(item: Item) -> str:
    """Where something lies, as short as it is clear."""
    return item.path.name if item.kind not in ("Ray's files", "left behind") else str(item.path)


def explained(groups: Iterable[explain.Group]) -> Group:
    """Every setting as it is typed, what it means and what is allowed, group by group."""
    parts: list[Text | Table] = []
    for group in groups:
        parts += [Text(), Text.assemble((group.name or "experiment", "bold"), f": {group.what}")]
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(width=48, overflow="fold")
        table.add_column(ratio=4)
        table.add_column(ratio=3, style="dim")
        for setting in group.settings:
            allowed = ", ".join(filter(None, [setting.allowed, setting.unit]))
            table.add_row(f"  {setting.name}={setting.value}", setting.meaning, allowed)
        parts.append(table)
    return Group(*parts)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


STATES = {"ok": "green", "warn": "yellow", "bad": "bold red"}


def findings_table(findings: Iterable[Finding]) -> Table:
    """One row per finding."""
    table = Table(title="doctor")
    for name in ("check", "result", "", "what to do"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        state = Text(finding.state, style=STATES[finding.state])
        table.add_row(finding.what, finding.result, state, finding.advice)
    return table
