"""Findings: what `raybrain doctor` has seen, as a table."""

from collections.abc import Iterable

from rich.table import Table

from raybrain.doctor.findings import Finding

STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red"}


def findings_table(findings: Iterable[Finding]) -> Table:
    """A row a finding."""
    table = Table(title="doctor")
    for name in ("looked at", "found", "", "what to do"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        state = f"[{STYLES[finding.state]}]{finding.state}[/]"
        table.add_row(_plain(finding.what), _plain(finding.found), state, _plain(finding.do))
    return table


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
