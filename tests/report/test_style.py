"""Pictures follow the colours of their page, and a real browser reads every page, at two widths and in two schemes."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raybrain.report.page import SweepReport, page
from raybrain.report.quality_page import recording_page, study_page
from raybrain.report.style import DARK, LIGHT, canvas, picture, png, styled
from raybrain.store import EVENTS, SEGMENTS, Store
from tests.browser import Browser
from tests.report.test_quality_page import judge, row_of
from tests.report.test_report import seeds_of

WORD = {"kind": "word", "start_s": 2.0, "duration_s": 0.3, "text": "<word>" * 9}


def test_the_colours_of_a_picture_are_those_of_its_page() -> None:
    with styled():
        figure, (axes,) = canvas(height=120)
        axes.plot([0, 1], [0, 1], color=LIGHT["model"])
        axes.set_title("a $b$ <c> \x1b")
    drawn = picture(figure, 'what "is" <seen>')
    assert "var(--model)" in drawn.svg and not set(re.findall("#[0-9a-f]{6}", drawn.svg)) & set(LIGHT.values())
    assert "a $b$ &lt;c&gt; \\x1b" in drawn.svg, "text stays text, of which a browser can make sense"
    assert 'aria-label="what &quot;is&quot; &lt;seen&gt;"' in drawn.svg and "<style" not in drawn.svg
    ids = re.findall(r' id="([^"]+)"', drawn.svg)
    assert all(drawn.svg.count(f"#{name}") for name in ids), "what nobody refers to would be there twice on a page"
    assert png(figure).startswith(b"\x89PNG")


def test_both_schemes_can_be_read() -> None:
    """Contrast of text of at least 4.5 and of what is drawn of at least 3, as WCAG 2.2 asks."""

    def bright(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    assert LIGHT.keys() == DARK.keys() and len(set(LIGHT.values())) == len(LIGHT)
    for scheme in (LIGHT, DARK):
        for name in scheme.keys() - {"paper", "panel", "rule"}:
            for behind in ("paper", "panel"):
                low, high = sorted((bright(scheme[name]), bright(scheme[behind])))
                assert (high + 0.05) / (low + 0.05) >= (3 if name == "chance" else 4.5), (name, behind)


def check_page(chromium: Browser, path: Path) -> None:
    """No error, no request, nothing wider than the screen, in both schemes."""
    for scheme, paper in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(18, 22, 29)")):
        for width in (1280, 390):
            chromium.look(path, width, scheme)
            assert not chromium.errors
            assert [address for address in chromium.requests if not address.startswith("data:")] == [path.as_uri()]
            assert chromium.value("document.documentElement.scrollWidth") == width
            assert chromium.value("getComputedStyle(document.body).backgroundColor") == paper
    chromium.look(path, 800, "dark", "print")
    assert chromium.value("getComputedStyle(document.body).color") == "rgb(27, 34, 48)", "dark letters on paper"
    nameless = "document.querySelectorAll('svg:not([aria-label]), img:not([alt]), th:not([scope]), table:not(:has(caption))')"
    assert chromium.value(f"{nameless}.length") == 0
    assert chromium.value("document.querySelectorAll('h1').length") == 1


def test_the_page_of_a_sweep_in_a_browser(chromium: Browser, tmp_path: Path) -> None:
    long = {("a-study-" * 12, "encoder=simple_conv, depth=12, hidden=320, " * 4): 0.6, ("b", "y" * 90): 0.3}
    file = tmp_path / "report.html"
    file.write_text(page(SweepReport("ablation-" * 9, seeds_of(long), ["trial 7 failed: " + "no room " * 30])))
    check_page(chromium, file)


def test_the_pages_of_quality_in_a_browser(chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"a-recording-" * 9: row_of(remarks=["no room " * 40 + "x" * 200]), **{uid: row_of(uid) for uid in "bcdefg"}}
    rows["late"] = row_of(lost_windows_s=[2.0] * 60, stretches=[{"start_s": 2.0, "stop_s": 9.0, "why": "BAD_" + "y" * 90}])
    component = {"name": "ica 3", "reason": "eye", "channels": [f"E{number}" for number in range(1, 20)]}
    rows["late"]["components"] = [component | {"weights": np.linspace(-1e-5, 2e-5, 19)}]
    every = judge(**rows)
    monkeypatch.setattr(Store, "events", lambda store, uid: pa.Table.from_pylist([WORD], schema=EVENTS))
    monkeypatch.setattr(Store, "segments", lambda store, uid: pa.Table.from_pylist([], schema=SEGMENTS))
    pages = {one.part.uid: recording_page(Store(tmp_path), one) for one in every if one.part.uid == "late" or one.marks}
    pages["study"] = study_page("a-study-" * 12, every, {"b" * 90: "no file " * 30})
    for number, content in enumerate(pages.values()):
        (tmp_path / f"{number}.html").write_text(content)
        check_page(chromium, tmp_path / f"{number}.html")
