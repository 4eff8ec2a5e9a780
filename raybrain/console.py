"""Console: where lines and tables for people go. What others wrote is shown as text, whatever it holds.

Names, words and paths come from files of other people. A control character among them would move the cursor, change the
title of a window or write to the clipboard; a bracket would be taken for a colour.
"""

import re
from typing import Any

from rich.console import Console
from rich.text import Text

# what moves, hides or turns around text: control characters but tab and newline, marks of direction, and halves of characters
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    r"""A text as it may be shown on a terminal: ``\x1b`` instead of an escape character, and so on."""
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class PlainConsole(Console):
    """A console that shows strings as they are; colours are for :class:`rich.text.Text` and for styles."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as text of a line or of a cell of a table."""
        return super().render_str(plain(text), **options)
