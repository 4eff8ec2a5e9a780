"""raybrain: the command line. One module for each group of commands; importing it here is what adds them."""

import os
import sys
import traceback

from raybrain.cli import experiments, home, jobs, models, reports, studies, sweeps, upkeep  # noqa: F401
from raybrain.cli.common import app, say

INTERRUPTED = 130


def main() -> None:
    """The entry point: what a person asked for and cannot be done is one line and exit code 2."""
    from raybrain.config import InputError
    from raybrain.secrets import hidden

    try:
        app()
    except InputError as error:
        _fail(str(getattr(error, "cause", error)))  # a Ray task wraps what it raises
    except SystemExit as error:
        if error.code == INTERRUPTED:
            say("stopped; the same command goes on where it was", err=True)
        raise
    except Exception as error:
        line = _one_line(error)
        if line is None:
            say(hidden(traceback.format_exc()), err=True)
            sys.exit(1)
        _fail(line)


def _one_line(error: Exception) -> str | None:
    """One line about what is wrong outside of raybrain; None if it may well be raybrain."""
    error = getattr(error, "controller_failure", error)  # what went wrong with the actor that leads a training
    module, name = type(error).__module__, type(error).__name__
    if module.startswith("mlflow."):
        from raybrain.storage import shown

        uri = os.environ.get("MLFLOW_TRACKING_URI", "the home folder")
        return f"MLflow at {shown(uri)}: {error}; when it answers again, the same command goes on where it was"
    if module == "ray.exceptions" and not name.startswith("RayTaskError"):
        return f"Ray failed ({name}); is the cluster still there? The same command goes on where it was"
    if isinstance(error, OSError) and not module.startswith("ray."):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return None


def _fail(message: str) -> None:
    from raybrain.secrets import hidden

    if os.environ.get("RAYBRAIN_DEBUG"):
        say(hidden(traceback.format_exc()), err=True)
    say(f"raybrain: {hidden(' '.join(message.split()))}", err=True)
    sys.exit(2)
