"""Commands for many experiments: tune."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from raybrain.cli.common import (
    Accept,
    Address,
    Home,
    Json,
    ProfileName,
    Settings,
    Strict,
    Where,
    Workers,
    app,
    changes_of,
    console,
    exit_for_failed,
    make_cluster,
    print_json,
    say,
    show_answer,
)

if TYPE_CHECKING:
    from raybrain.answers import SweepAnswer

FINER = {"valid_loss": "", "valid_top1": "; valid_loss is finer, where features and contrast are the same"}
UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@app.command()
def tune(
    space: Annotated[str, typer.Argument(help="a search space: a file, or a name from `raybrain list spaces`")],
    settings: Settings = None,
    trials: Annotated[int | None, typer.Option(min=1, help="how many trials; else what the space says")] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(help="stop at the first end of an epoch after this long, like 90m or 8h; the same command goes on"),
    ] = None,
    max_concurrent: Annotated[str, typer.Option(help="trainings at once; auto is as many as there is room for")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="go on with an earlier sweep, or say that there is none")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show trials, data and cost; do nothing")] = False,
    workers: Workers = None,
    profile: ProfileName = None,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    accept_failed: Accept = False,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Sweep a search space; the best trial by the valid split is evaluated on the test split, once."""
    from raybrain import flow
    from raybrain.tune.forecast import make_forecast
    from raybrain.tune.space import load_space
    from raybrain.tune.sweep import Limits, make_sweep

    cluster = make_cluster(home, where, profile, address=address, workers=workers, strict=strict or None)
    asked = make_sweep(load_space(space), changes_of(settings, home), trials)
    limits = Limits(_seconds(time_budget), _at_once(max_concurrent), resume)
    if dry_run:
        flow.check(asked, cluster)
        forecast = make_forecast(asked, cluster)
        for line in forecast.lines():
            say(line)
        print_json(as_json, forecast.result())
        return
    answer = flow.sweep(asked, cluster, limits=limits)
    _show(answer, asked.space.metric)
    print_json(as_json, answer.result())
    for part in answer.prepared:
        exit_for_failed(part, accept_failed)
    if answer.swept.left and not time_budget:  # what a fault cut off; where time was up, that was asked for
        raise typer.Exit(1)


def _show(answer: "SweepAnswer", metric: str) -> None:
    """The table of trials, the best one's test results, and where to look further."""
    from raybrain.report.newcomer_curves import mean_newcomers_table
    from raybrain.report.terminal import repeats_table, trials_table

    swept = answer.swept
    console().print(trials_table(swept.trials, metric, swept.keys))
    if len(swept.tied) > 1:
        who = f"of the trials that were trained to the end {', '.join(map(str, swept.tied))} share the best {metric}"
        say(f"{who}, and the first is taken{FINER.get(metric, '; valid_top1 is finer')}", err=True)
    if swept.unripe:
        who = f"most trials that were stopped early ({', '.join(map(str, swept.unripe))}) were not well above chance by then"
        say(f"{who}, so speed may have decided; a larger scheduler.grace judges later", err=True)
    if swept.front:
        say(f"best of their kind (nothing is better in every objective): trials {', '.join(map(str, swept.front))}")
    for one in answer.answers.values():
        show_answer(one)
    if len(answer.answers) > 1:
        console().print(repeats_table(answer.tested))
        if len(answer.newcomers):
            console().print(mean_newcomers_table(answer.newcomers))
    if swept.left:
        say(f"{swept.left} trials are still to be run; the same command goes on", err=True)
    for command in filter(None, swept.commands):
        say(f"the best again: {command}")
    say(f"look at the search with: {swept.dashboard}")


def _seconds(text: str | None) -> float | None:
    from raybrain.config import InputError

    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not match or float(match[1]) == 0:
        raise InputError(f"--time-budget {text}: type a time, like 45s, 90m, 8h or 2d")
    return float(match[1]) * UNITS[match[2]]


def _at_once(text: str) -> int | None:
    from raybrain.config import InputError

    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise InputError(f"--max-concurrent {text}: type auto, or a number of trainings")
    return int(text)
