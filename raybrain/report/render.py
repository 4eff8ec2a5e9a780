"""Render: the pages of ``templates/``, each one HTML file that needs no other."""

from pathlib import Path
from typing import Any

from raybrain.report.style import DARK, LIGHT
from raybrain.storage import aside


def render(template: str, **content: Any) -> str:
    """A page with its content; every text in it is escaped, and what the content lacks is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("raybrain.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made = environment.get_template(template).render(light=LIGHT, dark=DARK, **content)
    return made.encode(errors="backslashreplace").decode()  # a file name may hold half a character


def keep_page(path: Path, text: str) -> None:
    """Write a page whole or not at all."""
    with aside(path) as temporary:
        temporary.write_text(text)
