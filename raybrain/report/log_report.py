"""Log of reports: the pages, tables and pictures that reports write to the tracking store."""

from pathlib import Path
from typing import Any

from raybrain.tracking.base import TrackedRun


def log_page(run: TrackedRun, path: Path, rows: list[dict[str, Any]]) -> None:
    """Log the page of a sweep, and its table."""
    run.artifact(path)
    run.table("report", rows)


def log_picture(run: TrackedRun, path: Path) -> None:
    """Log the picture of the subjects of one experiment."""
    run.artifact(path, "figures")


def log_run_page(run: TrackedRun, path: Path) -> None:
    """Log the page of one experiment."""
    run.artifact(path)
