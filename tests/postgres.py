"""A Postgres server on this machine, for tests that need the database of a cluster: one for a whole run of pytest."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mlflow_server import free_port

USER = "raybrain"
PLAIN = ("fsync=off", "max_connections=200", "shared_buffers=16MB")  # nothing in it outlives the tests


def programs() -> Path | None:
    """The folder of Postgres' programs, which Debian keeps apart from others; None if it is not installed."""
    folders = [Path(found).parent] if (found := shutil.which("initdb")) else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def unprivileged() -> dict[str, Any]:
    """For subprocesses, whom they run as: Postgres refuses to be run by root."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next(known[name] for name in ("postgres", "nobody") if name in known)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@dataclass(frozen=True)
class Postgres:
    """A server that listens at a port of loopback, and asks for a password.

    Attributes:
        port: where.
        password: of :data:`USER`, who may do all.
    """

    port: int
    password: str

    def address(self, database: str = "postgres") -> str:
        """Of a database, as SQLAlchemy takes it."""
        return f"postgresql+psycopg://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def database(self, name: str = "test") -> str:
        """The address of a new, empty database whose name begins like this."""
        fresh = f"{name}_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {fresh}")
        return self.address(fresh)

    def execute(self, statement: str) -> None:
        """Do something that no database is needed for."""
        import psycopg

        with psycopg.connect(self.address().replace("+psycopg", ""), autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A server in a folder of its own, which is gone afterwards."""
    where, who = programs(), unprivileged()
    assert where, "ask programs() before"
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # a short name, as it becomes part of that of a socket
    server = Postgres(free_port(), secrets.token_hex(8))
    (folder / "password").write_text(server.password)
    for path in (folder, folder / "password"):
        os.chown(path, who.get("user", -1), who.get("group", -1))
    place = {**who, "cwd": folder, "stdin": subprocess.DEVNULL, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}}
    login = ["--username", USER, "--auth", "scram-sha-256", "--pwfile", str(folder / "password")]
    made = [str(where / "initdb"), "--pgdata", str(folder / "data"), "--no-sync", *login]
    try:
        subprocess.run(made, check=True, capture_output=True, **place)
        options = [f"port={server.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", *PLAIN]
        command = [
            str(where / "postgres"),
            "-D",
            str(folder / "data"),
            *(part for option in options for part in ("-c", option)),
        ]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, **place)
        try:
            _wait(server, process, folder / "log")
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # it then waits for nobody who is still connected
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: Postgres, process: "subprocess.Popen[bytes]", log: Path) -> None:
    import psycopg

    for _ in range(300):
        try:
            return server.execute("SELECT 1")
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
    raise AssertionError(f"Postgres does not answer: {log.read_text()}")
