"""Commands for the machine and what is kept on it: ui."""

import os
import socket
import sys
from typing import Annotated

import typer

from raybrain.cli.common import Home, app


@app.command()
def ui(home: Home = None, port: Annotated[int, typer.Option(min=1, max=65535, help="port on this machine")] = 5000) -> None:
    """Open the MLflow UI on the results: http://127.0.0.1:5000."""
    from raybrain.cluster import home_folder
    from raybrain.config import InputError
    from raybrain.tracking import Tracker

    tracker = Tracker.open(home_folder(home))
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise InputError(f"port {port} is in use; type --port {port + 1 if port < 65535 else 5000}")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", tracker.uri, "--port", str(port)]
    typer.echo(f"results of {tracker.uri} at http://127.0.0.1:{port} (Ctrl-C ends)")
    os.execv(sys.executable, command)
