"""Commands for the machine and what is kept on it: doctor, ui."""

import os
import socket
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

    experiment = make_experiment(recipe, settings) if recipe else None
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
    """Open the MLflow UI on the results: http://127.0.0.1:5000."""
    from raybrain.config import InputError

    cluster = known_cluster(home, where)
    store = cluster.tracking_store()
    command, environment = cluster.tracker.page(cluster.home, port)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise InputError(f"port {port} is in use; type --port {port + 1 if port < 65535 else 5000}")
    say(f"results of {store.address} at http://127.0.0.1:{port} (Ctrl-C ends)")
    os.execve(command[0], command, {**os.environ, **environment})
