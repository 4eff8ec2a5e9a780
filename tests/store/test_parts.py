"""What is written to a store is read back, whole or not at all, and damage is noticed."""

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raybrain.config import InputError
from raybrain.features.base import Feature, Stimulus
from raybrain.features.mel import Mel
from raybrain.integrity import file_record
from raybrain.storage import aside, read_json, write_json
from raybrain.store import EVENTS, SEGMENTS, Frames, Part, Store, chunk_table, feature_name, frames_folder
from raybrain.store.parts import MANIFEST

RNG = np.random.default_rng(0)


def written(store: Store, uid: str = "some_sub-01", signal: np.ndarray | None = None, **more: Any) -> Part:
    """A part of 25 s of two channels at 120 Hz: three chunks."""
    if signal is None:
        signal = RNG.standard_normal((3000, 2)).astype(np.float32)
    part = Part(uid, "some", "01", key="key", samples=len(signal), channels=["a", "b"], centre=[0.5, 1e-12], **more)
    segments = [{"split": "train", "anchor": "grid", "start_sample": 60, "stimulus": "S", "stimulus_s": 0.25}]
    tables = {
        "events": pa.Table.from_pylist([], schema=EVENTS),
        "segments": pa.Table.from_pylist(segments, schema=SEGMENTS),
    }
    with store.draft(uid) as draft:
        draft.append(chunk_table(signal, 120.0))
        return store.write_part(part, draft, tables)


def test_part_round_trip(tmp_path: Path) -> None:
    store, signal = Store(tmp_path), RNG.standard_normal((3000, 2)).astype(np.float32)
    part = written(store, signal=signal)
    assert store.part(part.uid) == part
    assert set(part.files) == {"brain", "events", "segments"}
    chunks = list(store.brain(part.uid))
    assert [chunk.shape for chunk in chunks] == [(1200, 2), (1200, 2), (600, 2)]
    np.testing.assert_array_equal(np.concatenate(chunks), signal)
    segments = store.segments(part.uid)
    assert segments.schema == SEGMENTS
    assert segments["start_sample"].to_pylist() == [60]


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_frames_round_trip(tmp_path: Path, kind: str) -> None:
    """Halves are kept as halves, to the last bit, and read as float32."""
    frames = Frames(tmp_path / "mel-x")
    assert frames.missing("BA") == ["A", "B"]
    some = {"A": RNG.standard_normal((4, 3)).astype(kind), "B": np.zeros((0, 3), kind)}
    for key, array in some.items():
        frames.write(key, array)
    assert frames.missing("ABC") == ["C"]
    for key, array in some.items():
        found = frames.read(key)
        assert found.dtype == np.float32 and found.shape == array.shape
        np.testing.assert_array_equal(found, array)
        assert frames.length(key) == len(array)
        assert pq.read_schema(frames.path(key)).field("frames").type.value_type == pa.from_numpy_dtype(kind)
    assert frames.sizes("CA") == {"A": frames.path("A").stat().st_size, "C": 0}


class Modelled(Feature):
    """A feature of a model that may change."""

    revision: str = "1"

    def identity(self) -> dict[str, str]:
        return {"weights": f"digest of {self.revision}"}

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        raise AssertionError("nothing is extracted")


def test_feature_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames have a name of all they depend on; how they are scaled is told by the manifest, not by their folder."""
    assert feature_name(Mel()).startswith("mel-")
    assert feature_name(Mel()) == feature_name(Mel(bands=120)) != feature_name(Mel(bands=40))
    assert feature_name(Mel()) != feature_name(Mel(scale="dimension"))
    home = Path("home")
    assert frames_folder(home, Mel()) == frames_folder(home, Mel(scale="dimension")) != frames_folder(home, Mel(bands=40))
    assert frames_folder(home, Mel()).folder == home / "features" / feature_name(Mel())
    assert frames_folder(home, Mel()) != frames_folder(home, Mel(stored_as="float16"))
    before = feature_name(Mel()), feature_name(Modelled())
    monkeypatch.setattr(Modelled, "identity", lambda self: {"weights": "others"})
    monkeypatch.setattr(Mel, "version", Mel.version + 1)
    assert feature_name(Mel()) != before[0] and feature_name(Modelled()) != before[1]


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"^no prepared data in {tmp_path}; run `raybrain prepare` first$"):
        _ = Store(tmp_path).manifest
    assert Store(tmp_path).part("some_sub-01") is None


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_an_error_keeps_the_old_file_and_leaves_nothing(tmp_path: Path, stop: type[BaseException]) -> None:
    path = tmp_path / "folder" / "file.txt"
    with aside(path) as temporary:
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(stop), aside(path) as temporary:
        temporary.write_text("new and half")
        raise stop
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_is_one_line_and_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    write_json(path, 1)
    before = path.read_bytes()

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=rf"cannot write {path}: the disk is full; make room and run the same command again"):
        write_json(path, 2)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_json_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    for bad in (float("nan"), object()):
        with pytest.raises((ValueError, TypeError)):
            write_json(path, {"a": bad})
    assert json.loads(path.read_text())["content"] == read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


# damage


def flip(path: Path, at: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_a_flipped_byte_is_noticed_by_who_reads_it(tmp_path: Path, at: float) -> None:
    store = Store(tmp_path)
    part = written(store)
    path = store.table_path("brain", part.uid)
    flip(path, at)
    with pytest.raises(InputError, match=r"damaged data in .* delete it and run again") as error:
        list(store.brain(part.uid))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_or_cut_file_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.table_path("brain", written(store).uid)
    for content in (path.read_bytes()[:-50], b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match=str(path)):
            list(store.brain("some_sub-01"))
    path.unlink()
    with pytest.raises(InputError, match=str(path)):
        list(store.brain("some_sub-01"))


@pytest.mark.parametrize("table", ["brain", "events", "segments"])
def test_a_damaged_part_is_set_aside(tmp_path: Path, table: str) -> None:
    store = Store(tmp_path)
    part, other = written(store), written(store, uid="some_sub-02")
    path = store.table_path(table, part.uid)
    flip(path, 0.5)
    bad = path.read_bytes()
    assert store.part(part.uid) is None
    assert (tmp_path / "damaged" / f"{part.uid}.{table}.parquet").read_bytes() == bad
    assert not path.exists()
    assert store.part(part.uid) is None
    assert store.part(other.uid) == other
    again = written(store)
    assert store.part(again.uid) == again


def test_a_touched_file_is_still_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of a store has other times; its checksums are the same, and are compared once."""
    store = Store(tmp_path)
    part = written(store)
    os.utime(store.table_path("brain", part.uid), (1, 1))
    touched = store.part(part.uid)
    assert touched
    assert replace(touched, files=part.files) == part
    assert touched.files["brain"] == {**part.files["brain"], "mtime_ns": 10**9}
    assert not (tmp_path / "damaged").exists()
    monkeypatch.setattr("raybrain.storage.file_digest", lambda path: pytest.fail(f"{path} was read again"))
    assert store.part(part.uid) == touched


def test_sources_are_known_by_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, folder = Store(tmp_path / "store"), tmp_path / "data"
    folder.mkdir()
    for name in ("a.eeg", "b.tsv"):
        (folder / name).write_text(name)
    sources = {name: folder / name for name in ("a.eeg", "b.tsv")}
    part = written(store, sources={name: file_record(path) for name, path in sources.items()})
    assert store.unchanged(part, sources) == part
    assert store.unchanged(part, {"a.eeg": sources["a.eeg"]}) is None
    copied = {name: tmp_path / f"copy of {name}" for name in sources}
    for name, path in copied.items():
        path.write_text(name)
        os.utime(path, (1, 1))
    moved = store.unchanged(part, copied)
    assert moved
    assert moved.origin == part.origin
    assert store.part(part.uid) == moved, "the times of the copies are kept"
    with monkeypatch.context() as patch:
        patch.setattr("raybrain.storage.file_digest", lambda path: pytest.fail(f"{path} was read again"))
        assert store.unchanged(moved, copied) == moved
    copied["a.eeg"].write_text("A.EEG")  # of the same size
    assert store.unchanged(moved, copied) is None
    copied["a.eeg"].unlink()
    assert store.unchanged(moved, copied) is None


@pytest.mark.parametrize("links", [True, False])
def test_a_part_of_another_store_is_adopted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def refuse(*paths: Path) -> None:
        raise OSError("no links on this disk")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    first, second = Store(tmp_path / "first"), Store(tmp_path / "second")
    part = written(first)
    assert second.adopt(part, first)
    assert second.part(part.uid) == part
    assert second.table_path("brain", part.uid).samefile(first.table_path("brain", part.uid)) == links
    shutil.rmtree(first.root)
    assert second.part(part.uid) == part
    other = written(first, uid="some_sub-02")
    first.table_path("segments", other.uid).unlink()
    assert not second.adopt(other, first)
    assert second.part(other.uid) is None


@pytest.mark.parametrize("ask", ["part", "verified"])
def test_a_part_that_is_being_written_anew_is_not_taken_for_damaged(
    ask: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody looks when its tables are new, and what says so is not written yet."""
    store, writing, looked = Store(tmp_path), threading.Event(), threading.Event()
    before = written(store)
    seen: list[object] = []

    def write(path: Path, value: Any) -> None:
        writing.set()
        assert not looked.wait(0.5), "who looks waits"
        write_json(path, value)

    def look() -> None:
        writing.wait()
        seen.append(store.part(before.uid) if ask == "part" else store.verified(before))
        looked.set()

    thread = threading.Thread(target=look)
    thread.start()
    monkeypatch.setattr("raybrain.store.parts.write_json", write)
    new = written(store)
    thread.join()
    assert seen == [new if ask == "part" else True]
    assert store.part(before.uid) == new and store.verified(before)
    assert not (tmp_path / "damaged").exists()


def test_two_who_write_the_manifest_lose_no_feature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second reads it while the first has read it, and not yet written."""
    store, rest = Store(tmp_path), dict.fromkeys(MANIFEST, 0)
    store.write_manifest({**rest, "features": {"zero": 0}})
    reading, waiting = threading.Event(), threading.Event()

    def write(path: Path, value: Any) -> None:
        reading.set()
        waiting.wait(1.0)  # as long as the second may need to read
        write_json(path, value)

    monkeypatch.setattr("raybrain.store.parts.write_json", write)

    def second() -> None:
        reading.wait()
        store.write_manifest({**rest, "features": {"two": 2}})

    first = {**rest, "features": {"one": 1}}
    threads = [threading.Thread(target=second), threading.Thread(target=store.write_manifest, args=[first])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.manifest["features"] == {"zero": 0, "one": 1, "two": 2}


def test_a_part_without_its_tables_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    part = written(store)
    store.table_path("segments", part.uid).unlink()
    assert store.part(part.uid) is None


@pytest.mark.parametrize("text", ["", "{", "{}", '{"uid": "x", "unknown": 1}', "[]"])
def test_an_unreadable_part_is_none(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path)
    part = written(store)
    (tmp_path / "parts" / f"{part.uid}.json").write_text(text)
    assert store.part(part.uid) is None


@pytest.mark.parametrize("text", ["", "{"])
def test_an_unreadable_manifest_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="raybrain prepare"):
        _ = Store(tmp_path).manifest


def test_segments_that_are_damaged_are_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.table_path("segments", written(store).uid)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match=str(path)):
        store.segments("some_sub-01")


def test_an_unreadable_file_of_frames_is_set_aside(tmp_path: Path) -> None:
    frames = Frames(tmp_path / "mel-x")
    for key in "AB":
        frames.write(key, np.ones((4, 3), np.float32))
    bad = frames.path("A").read_bytes()[:-50]
    frames.path("A").write_bytes(bad)
    assert frames.missing("AB") == ["A"]
    assert (frames.folder / "damaged" / "A.parquet").read_bytes() == bad
    assert not frames.path("A").exists()


def test_a_file_that_cannot_be_read_is_not_taken_for_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be whole: the disk does not answer, too many files are open, it is somebody else's."""
    frames, store = Frames(tmp_path / "mel-x"), Store(tmp_path / "store")
    frames.write("A", np.ones((4, 3), np.float32))
    part = written(store)

    def refuse(*arguments: Any, **settings: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "read_table", refuse)
        looks: list[Callable[[], object]] = [lambda: frames.missing("A"), lambda: frames.read("A"), lambda: frames.length("A")]
        for look in [*looks, lambda: store.segments(part.uid)]:
            with pytest.raises(OSError, match="Too many open files") as error:
                look()
            assert error.value.errno == errno.EMFILE
    assert frames.missing("A") == []


def test_damaged_frames_are_named(tmp_path: Path) -> None:
    frames = Frames(tmp_path / "mel-x")
    frames.write("A", RNG.standard_normal((400, 30)).astype(np.float32))
    flip(frames.path("A"), 0.5)
    with pytest.raises(InputError, match="damaged data in") as error:
        frames.read("A")
    assert str(frames.path("A")) in str(error.value)
