"""Whatever stands in an events table or a TextGrid: it is read without loss, or refused in one line that names the file."""

import contextlib
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raybrain.config import InputError
from raybrain.studies.bids.bids_table import read_rows
from raybrain.studies.readers.textgrids import read_tiers

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORD = st.text(st.characters(whitelist_categories=("L", "N"), max_codepoint=0x2FFF), min_size=1, max_size=8)
ENTRY = st.tuples(st.integers(1, 3), WORD)


@QUICK
@given(content=st.binary(max_size=300))
def test_any_bytes_as_a_table(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "sub-01_events.tsv"
    file.write_bytes(b"onset\tduration\tword\n" + content)
    try:
        rows = read_rows(file)
    except InputError as error:
        assert str(file) in str(error)
        assert "\n" not in str(error)
        return
    for row in rows:
        with contextlib.suppress(InputError):
            row.number("onset")


@QUICK
@given(words=st.lists(WORD.filter(lambda word: word.lower() not in ("nan", "na")), min_size=1, max_size=20))
def test_no_word_of_a_table_is_lost(words: list[str], tmp_path: Path) -> None:
    file = tmp_path / "sub-01_events.tsv"
    lines = ["onset\tduration\tword", *(f"{number}.5\t0.3\t{word}" for number, word in enumerate(words))]
    file.write_text("\n".join(lines), encoding="utf-8")
    rows = read_rows(file)
    assert [row.text("word") for row in rows] == words
    assert [row.number("onset") for row in rows] == [number + 0.5 for number in range(len(words))]


@QUICK
@given(
    content=st.binary(max_size=300), start=st.sampled_from([b"", b'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'])
)
def test_any_bytes_as_a_textgrid(content: bytes, start: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.TextGrid"
    file.write_bytes(start + content)
    try:
        read_tiers(file)
    except InputError as error:
        assert str(file) in str(error)
        assert "\n" not in str(error)


@QUICK
@given(entries=st.lists(ENTRY, min_size=1, max_size=12))
def test_no_interval_of_a_textgrid_is_lost(entries: list[tuple[int, str]], tmp_path: Path) -> None:
    file, time, lines = tmp_path / "a.TextGrid", 0, []
    for length, word in entries:
        lines += [str(time), str(time + length), f'"{word}"']
        time += length
    head = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", str(time), "<exists>", "1"]
    tier = ['"IntervalTier"', '"words"', "0", str(time), str(len(entries))]
    file.write_text("\n".join([*head, *tier, *lines, ""]), encoding="utf-8")
    assert [(interval.stop - interval.start, interval.label) for interval in read_tiers(file)["words"]] == entries
