"""Sidecars: the small tables beside a recording in a BIDS folder, as plain text. Not a study itself."""

import csv
from pathlib import Path

from raybrain.config import InputError

MISSING = ("", "n/a")


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a tab-separated table by column; what is n/a is the empty string.

    Raises:
        InputError: it cannot be read, lacks one of ``columns``, or a row has more or fewer values than there are columns.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a UTF-8 table: {error}") from None
    table = [[value.strip() for value in row] for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]
    header = table[0] if table else []
    missing = [column for column in columns if column not in header]
    if missing:
        found = ", ".join(header) or "nothing"
        raise InputError(f"{path} has no column {missing[0]!r} (found {found}); BIDS tables are separated by tabs")
    rows = []
    for number, values in enumerate(table[1:], start=2):
        if not any(values):
            continue
        if len(values) != len(header):
            raise InputError(f"{path}, line {number}: {len(values)} values for {len(header)} columns; is it cut off?")
        known = ("" if value in MISSING else value for value in values)
        rows.append(dict(zip(header, known, strict=True)))
    return rows


def bad_channels(path: Path) -> list[str]:
    """The channels that ``*_channels.tsv`` marks as bad; none if there is no such file, or no column status."""
    if not path.is_file():
        return []
    return [row["name"] for row in read_table(path, ("name",)) if row.get("status", "").lower() == "bad"]
