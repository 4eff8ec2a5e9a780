"""Compared words: a comparison of models in lines and tables for people, on a terminal or a page."""

from collections.abc import Sequence

from rich.table import Table

from raybrain.evaluate.statistics import PairedDifference
from raybrain.report.compared import ALL, MEASURES, SIGNIFICANT, ModelComparison, ModelScore, PairTest
from raybrain.report.terminal import mark_lines

SHORT = {"top1": "top-1", "top10": "top-10"}


def verdicts(comparison: ModelComparison, measure: str = "top10") -> list[str]:
    """Which is better, by how much and on whom, a line for every two models: in the study, or over all studies."""
    lines = []
    for test in comparison.tests:
        if test.measure == measure and (test.study == ALL or not _is_pooled(comparison, test)):
            lines.append(_verdict(test))
    return lines


def _is_pooled(comparison: ModelComparison, test: PairTest) -> bool:
    return any((t.study, t.first, t.second) == (ALL, test.first, test.second) for t in comparison.tests)


def _verdict(test: PairTest) -> str:
    difference, where = test.difference, test.study if test.study != ALL else "all studies"
    on = f"{SHORT[test.measure]}, {where}"
    if not difference.mean and not (test.better or test.worse):
        return f"{test.second} and {test.first} are equally accurate on every subject ({on})"
    best, other = (test.second, test.first) if difference.mean > 0 else (test.first, test.second)
    won = test.better if difference.mean > 0 else test.worse
    points = f"{100 * abs(difference.mean):.1f} points"
    if test.significant:
        head = f"{best} is better than {other} by {points}"
    else:
        head = f"{best} is ahead of {other} by {points}, which may be chance"
    return f"{head} ({on}): better on {won} of {difference.subjects} subjects; {shown_test(test)}"


def shown_test(test: PairTest) -> str:
    """A test in words."""
    difference = test.difference
    if difference.p is None:
        return "one subject, so no test over subjects is possible"
    kind = "exact" if difference.exact else "normal approximation"
    floor = 2.0 ** (1 - difference.subjects)
    least = f", and no less is possible with {difference.subjects} subjects than {floor:.2g}" if floor > SIGNIFICANT else ""
    return f"Wilcoxon p = {difference.p:.2g} ({kind}{least}), Holm {test.holm:.2g}"


def shown_difference(difference: PairedDifference) -> tuple[str, str, str]:
    """A difference in points, and its 95 % intervals over subjects and over segments."""
    return (f"{100 * difference.mean:+.1f}", _span(difference.over_subjects), _span(difference.over_segments))


def _span(interval: tuple[float, float] | None) -> str:
    return "one subject" if interval is None else f"{100 * interval[0]:+.1f} to {100 * interval[1]:+.1f}"


def scores_table(comparison: ModelComparison) -> Table:
    """Every model on the shared segments of every study, beside chance and ridge regression."""
    table = Table(title="test, on the segments that all share: mean over seeds, beside chance and ridge regression")
    for name, side in zip(SCORE_HEAD, "llrrrrr", strict=True):
        table.add_column(name, justify="left" if side == "l" else "right", overflow="fold")
    for study in comparison.studies:
        for score in study.scores:
            table.add_row(*score_cells(score), end_section=score is study.scores[-1])
    return table


SCORE_HEAD = (
    "study",
    "model",
    "segments / candidates",
    "seeds",
    "top-1 (chance, ridge)",
    "top-10 (chance, ridge)",
    "95 % of top-10",
)


def score_cells(score: ModelScore) -> list[str]:
    """A row of a table of scores."""
    low, high = score.interval["top10"]
    return [
        *(score.study, score.model, f"{score.segments} / {score.candidates}", str(score.seeds)),
        *(_beside(score, measure) for measure in MEASURES),
        f"{100 * low:.1f}-{high:.1%}",
    ]


def _beside(score: ModelScore, measure: str) -> str:
    sd = score.sd[measure]
    spread = f" ± {100 * sd:.1f}" if sd is not None else ""
    ridge = f", {100 * score.baseline[measure]:.1f}" if measure in score.baseline else ""
    below = "below ridge: " if score.accuracy[measure] < score.baseline.get(measure, 0.0) else ""
    return f"{below}{100 * score.accuracy[measure]:.1f}{spread} ({100 * score.chance[measure]:.1f}{ridge})"


TEST_HEAD = (
    *("study", "model", "against", "of", "points", "95 % over subjects", "95 % over segments"),
    *("better, worse, all", "p", "p, Holm"),
)


def tested_cells(test: PairTest) -> list[str]:
    """A row of a table of tests."""
    difference = test.difference
    equal = f"{test.better}, {test.worse}, {difference.subjects}"
    p, holm = ("no test" if value is None else f"{value:.2g}" for value in (difference.p, test.holm))
    return [test.study, test.second, test.first, SHORT[test.measure], *shown_difference(difference), equal, p, holm]


def tests_table(tests: Sequence[PairTest]) -> Table:
    """Every two models; significant differences stand out."""
    table = Table(title="differences on the same segments, subjects counted alike; p of the Wilcoxon test over subjects")
    for number, name in enumerate(TEST_HEAD):
        wide = 14 if number in (5, 6) else None
        table.add_column(name, justify="left" if number < 4 else "right", overflow="fold", min_width=wide)
    for test in tests:
        table.add_row(*tested_cells(test), style="bold green" if test.significant else "")
    return table


def settings_table(rows: Sequence[tuple[str, Sequence[str]]], models: Sequence[str]) -> Table:
    """In what the models differ."""
    table = Table(title="settings that differ")
    for name in ("setting", *models):
        table.add_column(name, overflow="fold")
    for name, values in rows:
        table.add_row(name, *values)
    return table


def doubt_lines(comparison: ModelComparison) -> list[str]:
    """What must be known of a model before its numbers are believed: controls, audit and baseline."""
    lines = []
    for model in comparison.models:
        for run in model.runs:
            evaluation = run.evaluation
            below = evaluation.studies["study"][evaluation.studies["below_baseline"]]
            lines += [f"{model.name}: below ridge regression on {study}" for study in below]
            lines += [f"{model.name}: {line}" for line in mark_lines(evaluation.marks)]
    return list(dict.fromkeys(lines))
