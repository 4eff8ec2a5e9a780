"""Rows of BIDS tables, including ``*_events.tsv`` whose ``trial_type`` holds a dict. Nothing is ever evaluated as code.

Not a study itself.
"""

import ast
import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raybrain.config import InputError

MISSING = ("", "n/a", "N/A", "nan", "NaN")  # but not "None", which is a word
NO_WORD = ("", "n/a", "N/A")
LONGEST_DICT = 10_000  # characters
WANTED = "expected rows with trial_type 'sound' and a stim_file, and rows with a word, best with word_index and sequence_id"


@dataclass(frozen=True)
class Row:
    """A row of a table: its values as they are written, but for quotes around them."""

    file: Path
    line: int
    values: dict[str, str] = field(repr=False)

    def text(self, column: str) -> str:
        """The value of a column; empty if it is n/a or there is no such column."""
        text = self.values.get(column, "")
        return "" if text in MISSING else text

    def spoken(self, column: str) -> str:
        """The value of a column of words, in which nan is a word like others; empty if it is n/a."""
        text = self.values.get(column, "")
        return "" if text in NO_WORD else text

    def number(self, column: str) -> float | None:
        """The value of a column as a finite number; None if it is n/a.

        Raises:
            InputError: if it is something else.
        """
        text = self.text(column)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(f"{column} is {text!r}, not a number" + ("; write it with a point" if "," in text else ""))
        return value

    @property
    def duration(self) -> float | None:
        """The duration in seconds; None if it is n/a."""
        value = self.number("duration")
        if value is not None and value < 0:
            raise self.error(f"duration is {value:g} s, which is negative")
        return value

    def error(self, problem: str) -> InputError:
        """An error message that names this row."""
        return InputError(f"{self.file}, line {self.line}: {problem}")


def read_rows(file: Path) -> list[Row]:
    """The rows of ``*_events.tsv``. A dict in ``trial_type`` adds columns to its row; its ``kind`` becomes the trial_type.

    Raises:
        InputError: as for ``read_table``; or if a dict contains something other than plain values.
    """
    return [_unfolded(row) for row in read_table(file, ("onset",), f"; {WANTED}")]


def bad_channels(file: Path) -> list[str]:
    """The channels that ``*_channels.tsv`` marks as bad; none if the file or its column status does not exist."""
    if not file.is_file():
        return []
    return [row.text("name") for row in read_table(file, ("name",)) if row.text("status").lower() == "bad"]


def read_table(file: Path, columns: Sequence[str], wanted: str = "") -> list[Row]:
    """The rows of a table. Quotes are only removed around a whole field, since a word may contain one.

    Raises:
        InputError: if it cannot be read, lacks one of ``columns`` (``wanted`` is added to that message), or has rows of unequal
            length.
    """
    table = _cells(file)
    header = [_field(name) for name in table[0]] if table else []
    for column in columns:
        if column not in header:
            present = ", ".join(header) or "nothing"
            raise InputError(f"{file} has no column {column!r} (found {present}); BIDS tables are separated by tabs{wanted}")
    rows = []
    for number, values in enumerate(table[1:], start=2):
        if not any(values):
            continue
        if len(values) != len(header):
            raise InputError(f"{file}, line {number}: {len(values)} values for {len(header)} columns; is it truncated?")
        fields = [_field(value) for value in values]
        row = dict(zip(header, fields, strict=True))
        twice = next((name for name, value in zip(header, fields, strict=True) if name and row[name] != value), "")
        if twice:
            raise InputError(f"{file}, line {number}: two columns are called {twice!r} and differ; rename one of them")
        rows.append(Row(file, number, row))
    return rows


def column_values(file: Path, column: str) -> set[str]:
    """The values of one column, whatever else the table holds; none if it cannot be read."""
    try:
        header, *rows = _cells(file) or [[]]
    except InputError:
        return set()
    number = header.index(column) if column in header else len(header)
    return {_field(values[number]) for values in rows if len(values) > number}


def _cells(file: Path) -> list[list[str]]:
    """The lines of a table, split at tabs. A line ends at a newline only: words may hold what else ends lines in Unicode."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        if "\0" in text:
            raise InputError(f"{file} is not UTF-8 text; save it as UTF-8, separated by tabs")
        return list(csv.reader(text.split("\n"), delimiter="\t", quoting=csv.QUOTE_NONE))
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8 text; save it as UTF-8, separated by tabs") from None
    except (OSError, csv.Error) as error:
        raise InputError(f"{file} cannot be read as a table: {error}") from None


def last_onset(file: Path) -> float:
    """The last onset in ``file``; 0 if there is none that can be read."""
    starts = [0.0]
    for row in read_rows(file):
        try:
            starts.append(row.number("onset") or 0.0)
        except InputError:  # reported when the events are read
            continue
    return max(starts)


def _field(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('""', '"')
    return text


def _unfolded(row: Row) -> Row:
    text = row.text("trial_type")
    if not text.startswith("{"):
        return row
    inside = _plain_dict(text)
    if inside is None:
        raise row.error(f"trial_type {text[:60]!r} is not a dict of plain values (text, numbers)")
    named = inside.get("kind", inside.get("trial_type", ""))
    return Row(row.file, row.line, row.values | inside | {"trial_type": named})


def _plain_dict(text: str) -> dict[str, str] | None:
    """A dict of text and numbers, as written by Python, pandas (with ``nan``) or JSON; None for anything else."""
    if len(text) > LONGEST_DICT:
        return None
    for parse in (json.loads, _literal):
        try:
            content = parse(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if not isinstance(content, dict):
            return None
        if all(isinstance(key, str) and isinstance(value, str | int | float | None) for key, value in content.items()):
            return {key: "" if value is None or value != value else _field(str(value)) for key, value in content.items()}
    return None


def _literal(text: str) -> Any:
    """Parse a Python literal, in which the values of a dict may be ``nan``; they become None."""
    node = ast.parse(text, mode="eval").body
    if isinstance(node, ast.Dict):
        node.values = [ast.Constant(None) if isinstance(v, ast.Name) and v.id == "nan" else v for v in node.values]
    return ast.literal_eval(node)
