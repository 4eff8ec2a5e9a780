"""Submission: a raybrain command as a job of a Ray cluster, and following a job from anywhere.

A log is read anew every few seconds from where it was, so a connection that was lost is no loss, and anybody can read on.
"""

import http.client
import os
import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raybrain.config import InputError, first_line, plugin_files
from raybrain.secrets import hidden
from raybrain.working_folder import WorkingFolder, working_folder

LOOK_S = 2.0  # between two looks at the log of a job
BEGIN_S = 120.0  # how long a cluster may take to begin
LOST_S = 600.0  # how long a server may be away
STOP_S = 60  # how long a job that is stopped may take to end its trials; Ray's own 3 s would cut them off
STOPPED = 130
SERVER = "http://127.0.0.1:8265"
ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


def answers(address: str) -> bool:
    """Whether a Ray dashboard answers at an address, with a token or without."""
    try:
        urllib.request.urlopen(f"{address.rstrip('/')}/api/version", timeout=2).close()
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True


@dataclass(frozen=True)
class JobServer:
    """Where a Ray cluster takes jobs: the address of its dashboard."""

    address: str
    client: Any

    @classmethod
    def open(cls, address: str | None) -> "JobServer":
        """At ``address``, else $RAY_API_SERVER_ADDRESS, else the port of this machine that a dashboard is forwarded to.

        Raises:
            InputError: if nobody answers there, or the token is wrong.
        """
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient

        address = address or os.environ.get("RAY_API_SERVER_ADDRESS") or SERVER
        if not address.startswith(("http://", "https://")):
            raise InputError(f"{address!r} is no address of a dashboard; type one like {SERVER}")
        try:
            with _without(ADDRESSES):  # which Ray prefers to the address that it is given
                client = JobSubmissionClient(address)
            client.list_jobs()
        except AuthenticationError:
            raise InputError(
                f"the Ray cluster at {address} did not take your token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
                "~/.ray/auth_token to the token of that cluster"
            ) from None
        except (ConnectionError, RuntimeError, OSError) as error:
            reason = first_line(error)[:200]
            raise InputError(
                f"no Ray cluster takes jobs at {address} ({reason}); forward the port of its dashboard, and set "
                "RAY_AUTH_MODE=token and its token where it has one"
            ) from None
        return cls(address, client)

    def jobs(self) -> list[tuple[str, str, str]]:
        """Id, state and command of each job, the last one first."""
        some = [job for job in self.client.list_jobs() if job.submission_id]
        some.sort(key=lambda job: job.start_time or 0, reverse=True)
        return [(job.submission_id, str(job.status), job.entrypoint) for job in some]

    def submit(self, words: Sequence[str], folder: WorkingFolder) -> str:
        """Send a command of raybrain; return the id of the job.

        Raises:
            InputError: if it holds a secret: everybody who sees the cluster sees the command.
        """
        if any(hidden(word) != word for word in words):
            raise InputError(
                "the command holds a secret of your environment, and others see the commands of jobs; leave it out"
            )
        entrypoint = shlex.join(["raybrain", *words])
        environment = {"PYTHONUNBUFFERED": "1", "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S)} | _plugins(folder.path)
        runtime_env = {"working_dir": str(folder.path), "excludes": folder.patterns, "env_vars": environment}
        began = time.monotonic()
        while True:
            try:
                return str(self.client.submit_job(entrypoint=entrypoint, runtime_env=runtime_env))
            except (ConnectionError, RuntimeError) as error:
                begins = "try again later" in str(error)  # a head that has just begun says so
                if not begins or time.monotonic() - began > BEGIN_S:
                    raise InputError(f"{self.address} did not take the job: {' '.join(str(error).split())[:300]}") from None
                time.sleep(LOOK_S)

    def stop(self, job: str) -> None:
        """Let a job end its trials and stop."""
        self.client.stop_job(job)

    def follow(self, job: str, show: Callable[[str], object], say: Callable[[str], object]) -> int:
        """Show the log of a job from its beginning to its end; return its exit code.

        Raises:
            InputError: if there is no such job, or the server does not come back.
        """
        shown, lost = 0, 0.0
        while True:
            try:
                state = self.client.get_job_info(job)
                log = self.client.get_job_logs(job)
            except (ConnectionError, OSError, RuntimeError) as error:
                if "404" in str(error) or "does not exist" in str(error):
                    raise InputError(f"no job {job!r} at {self.address}; `raybrain follow` names them") from None
                lost = lost or _now(say, f"{self.address} does not answer; reading on when it does")
                if time.monotonic() - lost > LOST_S:
                    cure = f"type `raybrain follow {job}` when it is back"
                    raise InputError(f"{self.address} did not answer for long; the job may go on: {cure}") from None
                time.sleep(LOOK_S)
                continue
            lost = 0.0
            show(log[shown:])
            shown = len(log)
            if state.status.is_terminal():
                return _exit_code(state)
            time.sleep(LOOK_S)


@contextmanager
def _without(variables: Sequence[str]) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in variables if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def sources() -> WorkingFolder:
    """What of the current folder goes along with a job.

    Raises:
        InputError: if it is too much.
    """
    return working_folder(Path.cwd())


def _now(say: Callable[[str], object], line: str) -> float:
    say(line)
    return time.monotonic()


def _exit_code(state: Any) -> int:
    if str(state.status) == "STOPPED":
        return STOPPED
    code = state.driver_exit_code
    return code if code is not None else int(str(state.status) != "SUCCEEDED")


def _plugins(folder: Path) -> dict[str, str]:
    """The user's plug-ins by their places in the working folder, where the job runs; others as they are, on a shared disk."""
    files = [file.resolve() for file in plugin_files()]
    here = folder.resolve()
    places = [str(file.relative_to(here)) if file.is_relative_to(here) else str(file) for file in files]
    return {"RAYBRAIN_PLUGINS": os.pathsep.join(places)} if places else {}
