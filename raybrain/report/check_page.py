"""Check page: what ``raybrain studies check`` saw as one HTML file that needs no other, a row per recording."""

from collections.abc import Mapping
from typing import Any

from raybrain.report.render import render


def check_page(report: Mapping[str, Any]) -> str:
    """The page of a study's check, as plain data of it; every text in it is escaped."""
    return render("check.html", report=report)
