"""Quality page: what people look at before they believe in a recording, and which recordings of a study are odd."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from raybrain.report.oddness import MEASURES, UNITS, Judged, judged, response_of, shown
from raybrain.report.quality_pictures import (
    ROW_S,
    ROWS,
    alignment_picture,
    component_picture,
    numbers_picture,
    response_map,
    sensors_picture,
    spectra_picture,
    time_picture,
    words_picture,
)
from raybrain.report.render import render
from raybrain.report.style import Picture, picture
from raybrain.storage import aside
from raybrain.store import Prepared, Store

MOST_ROWS = 60  # of a table of channels or stretches
MOST_MAPS = 12  # of components
NAMES = {"mag": "magnetometers", "grad": "gradiometers", "eeg": "electrodes"}


def write_pages(prepared: Prepared, folder: Path, recording: str = "") -> tuple[list[Judged], list[Path]]:
    """Write a page for each study and one for each recording, or for one ``recording`` alone.

    Returns:
        The recordings, the oddest first, and the pages that people open first.

    Raises:
        InputError: if a table of the store is damaged.
    """
    every = judged(prepared)
    for one in every:
        if recording in ("", one.part.uid):
            _write(folder / page_name(one.part.uid), recording_page(prepared.store, one))
    if recording:
        return [one for one in every if one.part.uid == recording], [folder / page_name(recording)]
    studies = list(dict.fromkeys(one.part.study for one in every))
    pages = []
    for study in sorted(studies):
        pages.append(folder / f"study-{page_name(study)}")
        failed = {uid: why for uid, why in prepared.failed.items() if uid.startswith((f"{study}_", f"{study}/"))}
        _write(pages[-1], study_page(study, [one for one in every if one.part.study == study], failed))
    return every, pages


def _write(path: Path, content: str) -> None:
    with aside(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def page_name(uid: str) -> str:
    """The file name of a recording's page."""
    return f"{uid}.html"


def study_page(study: str, every: Sequence[Judged], failed: Mapping[str, str]) -> str:
    """The recordings of a study, the oddest first, as HTML: ``templates/quality_study.html``."""
    odd = [one for one in every if one.marks]
    shown_numbers = [name for name in MEASURES if any(not np.isnan(one.numbers[name]) for one in every)]
    compared = any(not np.isnan(value) for one in every for value in one.deviations.values())
    what = "numbers of all recordings, in robust deviations from the median one"
    return render(
        "quality_study.html",
        study=study,
        count=len(every),
        odd=len(odd),
        hours=sum(one.row["seconds"] for one in every) / 3600,
        recordings=[
            {"uid": one.part.uid, "page": quote(page_name(one.part.uid)), "marks": one.marks, "score": f"{one.score:.1f}"}
            for one in every
        ],
        head=["recording", *shown_numbers],
        rows=[[one.part.uid, *(_cell(one, name) for name in shown_numbers)] for one in every],
        pictures=[picture(numbers_picture(every), what)] if compared else [],
        failed=[[uid, why] for uid, why in failed.items()],
    )


def _cell(one: Judged, name: str) -> Any:
    far = one.deviations[name]
    note = "" if np.isnan(far) else f"{far:+.1f}"
    odd = any(mark.startswith(f"{name}:") for mark in one.marks)
    return {"text": shown(one, name), "note": note, "mark": "odd" if odd else ""}


def recording_page(store: Store, one: Judged) -> str:
    """A recording as HTML: ``templates/quality.html``, in which every text is escaped."""
    row, uid = one.row, one.part.uid
    events = store.events(uid).to_pylist()
    segments = store.segments(uid)
    rate_hz = row["minute_hz"]
    splits, starts = np.array(segments["split"]), np.array(segments["start_sample"]) / rate_hz
    windows = {split: starts[splits == split] for split in ("train", "valid", "test")}
    along = picture(time_picture(row, events, windows), "what was heard when, bad stretches, and windows")
    troubled = [channel for channel in row["channels"] if channel["state"] != "good"]
    response = response_of(row)
    return render(
        "quality.html",
        uid=uid,
        subject=one.part.subject,
        study=one.part.study,
        study_page=quote(f"study-{page_name(one.part.study)}"),
        seconds=row["seconds"],
        recorded_hz=row["recorded_hz"],
        rate_hz=rate_hz,
        marks=one.marks,
        used=sum(one.part.valid),
        channels=len(row["channels"]),
        windows=row["windows"],
        lost=len(row["lost_windows_s"]),
        response=response,
        numbers=[[name, shown(one, name), _far(one, name)] for name in MEASURES],
        compared=any(not np.isnan(far) for far in one.deviations.values()),
        maps=list(_maps(one)),
        troubled=[_channel_row(channel) for channel in troubled[:MOST_ROWS]],
        untold=max(0, len(troubled) - MOST_ROWS),
        spectra=list(_spectra(row)),
        along=along,
        stretches=[
            [f"{stretch['start_s']:.2f}", f"{stretch['stop_s'] - stretch['start_s']:.2f}", stretch["why"]]
            for stretch in row["stretches"][:MOST_ROWS]
        ],
        remarks=row["remarks"],
        components=list(_components(one)),
        alignments=[picture(alignment_picture(found), found["what"]) for found in row["alignment"]],
        words=list(_words(row, events)),
    )


def _far(one: Judged, name: str) -> str:
    return "–" if np.isnan(one.deviations[name]) else f"{one.deviations[name]:+.1f}"


def _maps(one: Judged) -> Iterator[Picture]:
    yield picture(sensors_picture(one), "sensors seen from above, and which of them are used")
    if any(channel["response"] is not None for channel in one.row["channels"]):
        what = "correlation with what is heard at the lag of the highest response, without sign: the larger, the more"
        yield picture(response_map(one), what)


def _components(one: Judged) -> Iterator[Picture]:
    """The components that steps took off."""
    places = dict(zip(one.part.channels, one.part.positions, strict=True))
    for component in one.row["components"][:MOST_MAPS]:
        yield picture(component_picture(component, places), f"{component['name']}: {component['reason']}")


def _channel_row(channel: Mapping[str, Any]) -> list[Any]:
    factor, unit = UNITS.get(channel["kind"], (1.0, ""))
    known = channel["deviation"] is not None
    mark = {"bad": "bad", "odd": "odd"}.get(channel["state"], "")
    deviation = f"{factor * channel['deviation']:.3g} {unit}" if known else "not a number"
    return [channel["name"], {"text": channel["state"], "note": "", "mark": mark}, channel["reason"], deviation]


def _spectra(row: Mapping[str, Any]) -> Iterator[Picture]:
    for kind in dict.fromkeys(one["kind"] for one in row["spectra"]):
        what = f"{NAMES.get(kind, kind)}: spectral density in the median good channel, quartiles of the channels shaded"
        yield picture(spectra_picture(row, kind), what)


def _words(row: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Iterator[Picture]:
    """A minute of what was heard, if there is sound."""
    if not row["minute"]:
        return
    span = ROWS * ROW_S
    for start in np.arange(row["minute_s"], row["minute_s"] + len(row["minute"]) / row["minute_hz"] - 1, span):
        what = f"amplitude of the sound and words, from {start:.0f} to {start + span:.0f} s"
        yield picture(words_picture(row, events, float(start)), what)
