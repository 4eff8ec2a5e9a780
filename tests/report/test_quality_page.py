"""Which recordings are odd, and the pages that show it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raybrain.report.oddness import Judged, compared, numbers_of
from raybrain.report.quality_page import page_name, recording_page, study_page
from raybrain.store import Part, Store
from tests.conftest import TINY, Ended

LAGS = np.linspace(-0.5, 1.0, 151)


def row_of(uid: str = "", **changed: Any) -> dict[str, Any]:
    """A row of the table QUALITY of a good recording, but for what is changed; no two are quite alike."""
    rng = np.random.default_rng(list(uid.encode()))
    channels = [
        {"name": f"E{number}", "kind": "eeg", "deviation": 1e-5 * rng.uniform(0.95, 1.05), "deviation_after": 1e-5}
        | {"state": "good", "reason": "", "response": 0.1}
        for number in range(20)
    ]
    hz = np.arange(0.0, 61.0)
    spectra = [
        {"stage": stage, "kind": "eeg", "hz": hz, "low": 1e-6 + 0 * hz, "middle": 2e-6 + 0 * hz, "high": 3e-6 + 0 * hz}
        for stage in ("before the steps", "prepared")
    ]
    response = {"what": "the brain behind the sound", "lags_s": LAGS, "response": np.exp(-((LAGS - 0.1) ** 2) / 0.001)}
    response |= {"low": 0.1, "high": 0.2, "limit": 0.3, "peak": 1.0, "peak_s": 0.1, "deviations": rng.uniform(9, 10)}
    return {
        "seconds": 60.0,
        "recorded_hz": 500.0,
        "channels": channels,
        "spectra": spectra,
        "line_hz": 50.0,
        "line_db_before": rng.uniform(5, 6),
        "line_db_after": 3.0,
        "stretches": [],
        "windows": 100,
        "lost_windows_s": [],
        "alignment": [response],
        "components": [],
        "minute_s": 1.0,
        "minute_hz": 120.0,
        "minute": [0.1] * 1200,
        "remarks": [],
    } | changed


def judge(**rows: dict[str, Any]) -> list[Judged]:
    names = [f"E{number}" for number in range(20)]
    places = np.random.default_rng(0).uniform(size=(20, 2)).tolist()
    parts = [Part(uid, "a", uid, "", channels=names, positions=places, valid=[True] * 20) for uid in rows]
    return compared([Judged(part, rows[part.uid], numbers_of(rows[part.uid])) for part in parts])


def test_recordings_are_ranked_by_what_is_odd() -> None:
    late = {**row_of()["alignment"][0], "peak_s": 0.6}
    lost = {**row_of()["alignment"][0], "peak": 0.2, "deviations": 0.1}
    loud = [{**channel, "deviation": 3e-5} for channel in row_of()["channels"]]
    flat = [{**channel, "state": "odd", "reason": "flat"} if channel["name"] == "E4" else channel for channel in loud]
    usual = {uid: row_of(uid) for uid in "bcdefg"}
    odd = {
        "hum": row_of(line_db_before=30.0),
        "late": row_of(alignment=[late]),
        "lost": row_of(alignment=[lost], lost_windows_s=[1.0] * 50),
        "loud": row_of(channels=flat),
    }
    ranked = judge(**usual, **odd)
    marks = {one.part.uid: "\n".join(one.marks) for one in ranked}
    assert set(list(marks)[:4]) == set(odd) and not any(marks[uid] for uid in usual)
    assert marks["hum"].startswith("power line: 30.0 dB is +8.")
    assert "lag: 600 ms is +10.0 deviations" in marks["late"]
    assert "lost windows: 50 % of 100" in marks["lost"] and "not follow what is heard more than by chance" in marks["lost"]
    assert "used though odd: E4 (flat)" in marks["loud"] and "amplitude: 30 µV is +4." in marks["loud"]
    scores = [one.score for one in ranked]
    assert scores == sorted(scores, reverse=True)
    json.dumps([one.result() for one in ranked], allow_nan=False)


def test_of_a_few_recordings_nobody_says_which_is_unlike_the_others() -> None:
    few = judge(b=row_of("b"), c=row_of("c"), hum=row_of(line_db_before=60.0))
    assert not any(one.marks for one in few)
    assert all(value is None for one in few for value in one.result()["deviations"].values())


def test_a_study_page_links_its_recordings_and_every_text_is_escaped() -> None:
    name = "a_sub-1 & <i>"
    every = judge(**{name: row_of(remarks=["<script>"]), "b": row_of(line_db_before=float("nan"))})
    html = study_page("<a>", every, {"a_sub-9": "no <file>"})
    assert f'href="{name.replace(" ", "%20").replace("&", "%26").replace("<", "%3C").replace(">", "%3E")}.html"' in html
    assert "&lt;a&gt;" in html and "no &lt;file&gt;" in html and "<i>" not in html and "nan" not in html


def test_a_page_without_sound_and_alignment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    from raybrain.store import EVENTS, SEGMENTS

    monkeypatch.setattr(Store, "events", lambda store, uid: pa.Table.from_pylist([], schema=EVENTS))
    monkeypatch.setattr(Store, "segments", lambda store, uid: pa.Table.from_pylist([], schema=SEGMENTS))
    dead = [{**channel, "response": None} for channel in row_of()["channels"]]
    (one,) = judge(b=row_of(alignment=[], minute=[], channels=dead, remarks=["<script>alert(1)</script>"]))
    html = recording_page(Store(Path("unused")), one)
    assert "There is too little to tell" in html and "A minute of what was heard" not in html
    assert "&lt;script&gt;alert" in html and "<script" not in html


@pytest.mark.slow
def test_the_command_writes_pages_and_refuses_what_is_not_there(
    raybrain: Callable[..., Ended], home: Path, ray_cluster: None
) -> None:
    asked = ("quality", "quickstart", *TINY, "--home", str(home))
    wrong = raybrain(*asked, "--recording", "synthetic-meg_sub-9")
    assert wrong.code == 2
    assert wrong.err.strip().splitlines()[-1].startswith("raybrain: no recording called 'synthetic-meg_sub-9'")
    ended = raybrain(*asked, "--json")
    assert ended.code == 0, ended.err
    uids = [one["recording"] for one in ended.json["recordings"]]
    (page,) = map(Path, ended.json["pages"])
    assert len(uids) == 2 and all(f'href="{page_name(uid)}"' in page.read_text() for uid in uids)
    assert {path.name for path in page.parent.iterdir()} == {page.name, *map(page_name, uids)}
    one = raybrain(*asked, "--recording", uids[0], "--json").json
    assert one["pages"] == [str(page.parent / page_name(uids[0]))]
    assert [item["recording"] for item in one["recordings"]] == uids[:1]
