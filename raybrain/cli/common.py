"""Common: the options, steps and output that commands share. Heavy libraries load inside, so that help is quick."""

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from raybrain.answers import Answer
    from raybrain.cluster import Cluster
    from raybrain.experiment import Experiment
    from raybrain.store import Prepared

app = typer.Typer(
    name="raybrain",
    help="Find out which model, features and training decode speech best from MEG and EEG.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Recipe = Annotated[str, typer.Argument(help="a recipe, see `raybrain list recipes`")]
Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="changed settings, like encoder.depth=6", show_default=False),
]
Home = Annotated[Path | None, typer.Option(help="folder for all that is written; else $RAYBRAIN_HOME, else ~/.raybrain")]
Json = Annotated[bool, typer.Option("--json", help="make the last line of output one JSON object")]
Address = Annotated[
    str | None,
    typer.Option(help="a running Ray cluster, `auto` for one on this machine; else $RAY_ADDRESS, else starts its own"),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="training processes, one GPU each where there are GPUs; else the profile's, else 1")
]
ProfileName = Annotated[
    str | None, typer.Option("--profile", help="a kind of cluster, from `raybrain list clusters`; other options change it")
]
Accept = Annotated[bool, typer.Option("--accept-failed", help="exit 0 though some recordings could not be prepared")]
Strict = Annotated[bool, typer.Option("--strict", help="end where a recording cannot be prepared; what is done is kept")]
Where = Annotated[
    list[str] | None,
    typer.Option("--cluster", metavar="KEY=VALUE", help="how it runs: precision, compile, gpus, failures, checkpoint_s, ..."),
]


def say(line: str, err: bool = False) -> None:
    """Print a line for people."""
    from raybrain.console import plain

    typer.echo(plain(line), err=err)


def changes_of(settings: list[str] | None, home: Path | None = None) -> dict[str, str]:
    """KEY=VALUE words as changes of settings. A model to start from may be called like a run of the home."""
    from raybrain.config import InputError

    changes: dict[str, str] = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise InputError(f"{setting!r} is no setting; type KEY=VALUE, like encoder.depth=6")
        changes[key] = value
    if model := changes.get("start.model"):
        from raybrain.cluster import home_path
        from raybrain.predict.model import find_model

        changes["start.model"] = str(find_model(model, home_path(home)))
    return changes


def make_experiment(recipe_name: str, settings: list[str] | None, home: Path | None) -> "Experiment":
    """The experiment of a recipe with changed settings."""
    from raybrain.experiment import recipe

    return recipe(recipe_name, changes_of(settings, home))


def make_cluster(home: Path | None, where: list[str] | None, profile_name: str | None = None, /, **options: Any) -> "Cluster":
    """Where a command runs: the profile, changed by ``options``, changed by ``--cluster``. Who writes to the home makes it."""
    from raybrain.cluster import Cluster
    from raybrain.config import override
    from raybrain.profiles import profile

    settings = profile(profile_name).settings if profile_name else {}
    typed = {key: value for key, value in {"home": home, **options}.items() if value is not None}
    return override(Cluster(), settings | typed | changes_of(where))


def known_cluster(home: Path | None, where: list[str] | None, profile_name: str | None = None, /, **options: Any) -> "Cluster":
    """Where a command runs that shows what is there; a home that is not is refused rather than made."""
    from raybrain.bucket.address import place_of
    from raybrain.bucket.objects import is_home
    from raybrain.config import InputError

    cluster = make_cluster(home, where, profile_name, **options)
    place = place_of(cluster.home)
    if not (is_home(place) if place else cluster.home.is_dir()):
        raise InputError(
            f"no home {place or f'folder {cluster.home}'}; type --home DIR, or set RAYBRAIN_HOME, to say where results are"
        )
    return cluster


def show_answer(answer: "Answer") -> None:
    """Print the tables of a tested experiment, and where all of it is."""
    from raybrain.bucket.address import typed_path
    from raybrain.report.newcomer_curves import newcomers_table
    from raybrain.report.terminal import (
        absent_lines,
        accuracy_table,
        audit_line,
        baseline_line,
        channel_lines,
        context_lines,
        control_lines,
        controls_table,
        errors_table,
        lag_lines,
        mark_lines,
    )

    evaluation, job, run = answer.evaluation, answer.trained.job, answer.trained.tracking
    console().print(accuracy_table(evaluation.studies, evaluation.subjects, job.experiment.task.measures))
    for line in [baseline_line(evaluation.studies), *control_lines(job.experiment.train.control, evaluation.controls)]:
        say(line)
    if len(evaluation.newcomers):
        console().print(newcomers_table(evaluation.newcomers))
    console().print(errors_table(evaluation.errors))
    for line in context_lines(evaluation.context):
        say(line)
    console().print(controls_table(evaluation.controls))
    for line in [
        *channel_lines(evaluation.channels),
        *lag_lines(evaluation.lags),
        *absent_lines(evaluation.absent),
        audit_line(evaluation.audit),
    ]:
        say(line)
    for line in mark_lines(evaluation.marks) or ["nothing marks this result: all controls are where they should be"]:
        say(line)
    say(f"signature {job.experiment.signature}, tracked as run {run.id} in {run.address}")
    say(f"all of it in {job.record.path}; look at it with `raybrain ui --home {shlex.quote(typed_path(job.cluster.home))}`")


def console() -> "Console":
    """Standard output, wide enough for a table: a narrow terminal breaks lines, which is better than numbers cut off."""
    from raybrain.console import PlainConsole

    return PlainConsole(width=max(shutil.get_terminal_size((140, 0)).columns, 120))


def exit_for_failed(prepared: "Prepared", accepted: bool) -> None:
    """End with exit code 1 if recordings failed and nobody accepted that."""
    if not prepared.failed or accepted:
        return
    total = len(prepared.failed) + len(prepared.recordings)
    names = ", ".join(sorted(prepared.failed))
    say(f"{len(prepared.failed)} of {total} recordings failed ({names}); add --accept-failed to go without them", err=True)
    raise typer.Exit(1)


def print_json(wanted: bool, value: Any) -> None:
    """Print ``value`` as the last line, if that was asked for."""
    if wanted:
        sys.stderr.flush()
        print(json.dumps(value), flush=True)
