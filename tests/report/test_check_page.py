"""The check of a study as a page, and what `--strict` makes of what is odd."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from raybrain.cli.common import app
from raybrain.prepare import survey


def surveyed(odd: list[str], problems: list[str]) -> survey.Survey:
    one = survey.RecordingSurvey("tiny_sub-01", 7200.0, 8, 1, 500.0, 3, 40, 5, 0, problems, 7, odd)
    return survey.Survey(Path("/data/<b>"), [one], [], None)


@pytest.mark.parametrize(
    ("odd", "problems", "strict", "code"),
    [([], [], True, 0), (["x"], [], False, 0), (["x"], [], True, 1), ([], ["y"], False, 1), (["x"], ["y"], True, 1)],
)
def test_what_exits_with_1(odd: Any, problems: Any, strict: bool, code: int, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(survey, "survey_study", lambda study, cluster: surveyed(odd, problems))
    ended = CliRunner().invoke(
        app, ["studies", "check", "synthetic", "--home", str(tmp_path), *(["--strict"] if strict else [])]
    )
    assert ended.exit_code == code, ended.output
    assert ("1 odd" in ended.output) == bool(odd)


def test_the_page_has_a_row_per_recording_and_every_text_is_escaped(monkeypatch: Any, tmp_path: Path) -> None:
    odd = ["2 sounds are <script>alert(1)</script>"]
    monkeypatch.setattr(survey, "survey_study", lambda study, cluster: surveyed(odd, ["no & such <file>"]))
    page = tmp_path / "check.html"
    ended = CliRunner().invoke(app, ["studies", "check", "synthetic", "--home", str(tmp_path), "--html", str(page)])
    assert ended.exit_code == 1, ended.output
    html = page.read_text()
    shown = {"channels": "7 of 8", "hours": "2.00", "Hz": "500", "sounds": "3", "words": "40", "sentences": "5"}
    cells = "".join(f'<td title="{name}">{text}</td>' for name, text in shown.items())
    assert f"<td>tiny_sub-01</td>{cells}" in html
    assert "<b>no &amp; such &lt;file&gt;</b>" in html
    assert "<script>" not in html
    assert "/data/&lt;b&gt;" in html
