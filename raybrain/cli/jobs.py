"""Commands for jobs of a Ray cluster: submit, follow."""

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from raybrain.cli.common import Home, Json, app, print_json, say

if TYPE_CHECKING:
    from raybrain.submission import JobServer

COMMANDS = ("prepare", "train", "evaluate", "tune", "report", "reproduce", "doctor", "studies", "home", "list", "show")
Server = Annotated[
    str | None, typer.Option(help="the cluster's dashboard; else $RAY_API_SERVER_ADDRESS, else http://127.0.0.1:8265")
]


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def submit(
    words: Annotated[
        list[str], typer.Argument(metavar="COMMAND...", help="any command of raybrain, as you would type it here")
    ],
    server: Server = None,
    detach: Annotated[bool, typer.Option("--detach", help="do not follow the job")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Run a command on a Ray cluster as a job, and follow it; `raybrain follow ID` does so again, from anywhere."""
    from raybrain.config import InputError, hint
    from raybrain.submission import JobServer, sources

    if words[0] not in COMMANDS:
        raise InputError(f"no command {words[0]!r} for a job{hint(words[0], COMMANDS)}")
    folder = sources()
    opened = JobServer.open(server)
    given = ["--home", str(home)] if home else []  # of the cluster: nothing is made here
    job = opened.submit([*words, *given], folder)
    size = sum(folder.files.values()) / 1e6
    say(f"job {job} at {opened.address}, with {len(folder.files)} files ({size:.1f} MB) of {folder.path}")
    say(f"follow it again with: raybrain follow {job}")
    _say_where_results_are()
    if detach:
        print_json(as_json, {"job": job, "server": opened.address})
        return
    _follow(opened, job, as_json)


@app.command()
def follow(
    job: Annotated[
        str | None, typer.Argument(help="the id of a job; without one, all jobs are named", show_default=False)
    ] = None,
    server: Server = None,
    home: Home = None,  # every command takes it, so that a script can say it everywhere
    as_json: Json = False,
) -> None:
    """Show the log of a job from its beginning to its end, and end with its exit code."""
    from raybrain.submission import JobServer

    opened = JobServer.open(server)
    if job:
        _follow(opened, job, as_json)
        return
    jobs = opened.jobs()
    for id_, state, command in jobs:
        say(f"{id_}  {state:9}  {command}")
    print_json(as_json, {"jobs": [{"job": id_, "state": state, "command": command} for id_, state, command in jobs]})


def _follow(server: "JobServer", job: str, as_json: bool) -> None:
    from raybrain.submission import STOPPED

    try:
        code = server.follow(job, lambda text: typer.echo(text, nl=False), lambda line: say(line, err=True))
    except KeyboardInterrupt:
        with suppress(typer.Abort):  # nobody answers, or with Ctrl-C
            if typer.confirm("\nstop the job? It goes on otherwise", default=False, err=True):
                server.stop(job)
                say("stopping; its trials end first", err=True)
        say(f"follow it again with: raybrain follow {job}", err=True)
        raise typer.Exit(STOPPED) from None
    print_json(as_json, {"job": job, "exit_code": code})
    if code:
        raise typer.Exit(code)


def _say_where_results_are() -> None:
    from raybrain.storage import shown

    if address := os.environ.get("MLFLOW_TRACKING_URI"):
        say(f"MLflow: {shown(address)}")
