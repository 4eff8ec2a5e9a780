"""Commands for the machine and what is kept on it: doctor, ui."""

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from raybrain.cli.common import (
    Address,
    Home,
    Json,
    ProfileName,
    Settings,
    Where,
    Workers,
    app,
    console,
    known_cluster,
    make_cluster,
    make_experiment,
    print_json,
    say,
)


@app.command()
def doctor(
    recipe: Annotated[str | None, typer.Argument(help="a recipe: also look at what it needs", show_default=False)] = None,
    settings: Settings = None,
    workers: Workers = None,
    profile: ProfileName = None,
    home: Home = None,
    address: Address = None,
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Look at this machine, and at what an experiment will take of it: downloads, disk, memory, time."""
    from raybrain.doctor.diagnose import Diagnosis
    from raybrain.report.terminal import findings_table

    experiment = make_experiment(recipe, settings, home) if recipe else None
    cluster = make_cluster(home, where, profile, address=address, workers=workers)
    diagnosis = Diagnosis(cluster, experiment)
    with console().status("looking"):
        findings = list(diagnosis.findings())
    console().print(findings_table(findings))
    cost = diagnosis.cost and diagnosis.cost.result()
    print_json(as_json, {"findings": [vars(finding) for finding in findings], "cost": cost})
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)


@app.command()
def ui(
    home: Home = None,
    where: Where = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="port on this machine")] = 5000,
) -> None:
    """Open the MLflow UI on the results: http://127.0.0.1:5000; say how to see sweeps in Optuna's dashboard, and Ray's own."""
    from raybrain.config import InputError

    cluster = known_cluster(home, where)
    store = cluster.tracking_store()
    command, environment = cluster.tracker.page(cluster.home, port)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise InputError(f"port {port} is in use; type --port {port + 1 if port < 65535 else 5000}")
    for line in _other_pages(cluster.home):
        say(line)
    say(f"results of {store.address} at {cluster.tracker.view(cluster.home, port)} (Ctrl-C ends)")
    os.execve(command[0], command, {**os.environ, **environment})


def _other_pages(home: Path) -> list[str]:
    """What else there is to look at: the index of the home, Optuna's dashboard, Ray's."""
    from raybrain.submission import SERVER, answers
    from raybrain.tune.study import dashboard
    from raybrain.tune.sweep_record import sweep_records

    lines = []
    if (home / "index.html").exists():
        lines.append(f"all runs and sweeps in one page: {home / 'index.html'}; raybrain report --all writes it anew")
    if sweeps := sweep_records(home):
        commands = dict.fromkeys(dashboard(sweep.path) for sweep in sweeps)
        more = f" ({len(commands)} sweeps; this is the last one's)" if len(commands) > 1 else ""
        lines.append(f"a sweep in Optuna's dashboard: pip install optuna-dashboard, then {list(commands)[-1]}{more}")
    address = os.environ.get("RAY_API_SERVER_ADDRESS") or SERVER
    lines.append(f"Ray's dashboard at {address}" if answers(address) else f"Ray's dashboard: none runs at {address}")
    return lines
