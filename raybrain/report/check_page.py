"""Check page: what ``raybrain studies check`` saw as one HTML file that needs no other, a row per recording."""

from collections.abc import Mapping
from typing import Any


def check_page(report: Mapping[str, Any]) -> str:
    """The page of a study's check, as plain data of it; every text in it is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("raybrain.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("check.html").render(report=report)
