"""Tables give the very numbers that a plain computation from the prepared data gives; a node builds them once."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from raybrain.batch import step_draws
from raybrain.config import InputError, override
from raybrain.signal.window import WindowConfig
from raybrain.storage import write_json
from raybrain.store import EVENTS, SEGMENTS, Frames, Part, Store, brain_digest, chunk_table, feature_digest
from raybrain.store.parts import MANIFEST
from raybrain.train.tables import Tables, open_tables

RATE, WINDOW, OFFSET, BASELINE = 120.0, 361, 18, 61
CHANNELS = {"some_sub-01": 3, "some_sub-02": 2, "else_sub-01": 3}
FEATURES = {"words-a": (50.0, 1), "mel-b": (125.0, 3)}  # frame rate and size
# recording, split, anchor, start sample, stimulus, time of the first sample in its stimulus (none half-way between frames)
ROWS = [
    ("else_sub-01", "train", "grid", 0, "A", -0.5133),
    ("else_sub-01", "train", "grid", 1190, "A", 1.0033),  # over the border of two chunks
    ("some_sub-01", "train", "grid", 60, "B", 0.2573),
    ("some_sub-01", "valid", "grid", 600, "A", 0.0003),
    ("some_sub-01", "valid", "word", 661, "A", 0.5013),
    ("some_sub-02", "test", "word", 2639, "B", 0.0013),  # the very last samples
]
SEGMENT = dict(
    zip(("recording", "split", "anchor", "start_sample", "stimulus", "stimulus_s"), zip(*ROWS, strict=True), strict=True)
)


def write_part(store: Store, part: Part, signal: np.ndarray, tables: Mapping[str, pa.Table]) -> None:
    with store.draft(part.uid) as draft:
        draft.append(chunk_table(signal, RATE))
        store.write_part(part, draft, tables)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three recordings of 25 s, two stimuli of 3 s and two features."""
    store, rng = Store(tmp_path_factory.mktemp("store")), np.random.default_rng(0)
    for uid, channels in CHANNELS.items():
        signal = (rng.standard_normal((3000, channels)) * 1e-12 + 5e-12).astype(np.float32)
        signal[::97] *= 300  # beyond the clamp
        study, _, subject = uid.partition("_sub-")
        part = Part(
            **{"uid": uid, "study": study, "subject": subject, "key": "", "samples": 3000},
            channels=[f"c{n}" for n in range(channels)],
            positions=rng.random((channels, 2)).tolist(),
            places=[None, *[[0.1 * n, 0.02, 0.03] for n in range(1, channels)]],
            valid=[n != 1 for n in range(channels)],
            centre=(rng.standard_normal(channels) * 1e-12).tolist(),
            scale=(rng.random(channels) * 1e-12 + 1e-12).tolist(),
        )
        segments = [
            dict(zip(SEGMENTS.names, (split, anchor, start, stimulus, time, *said), strict=True))
            for of, split, anchor, start, stimulus, time in ROWS
            if of == uid
            for said in [("a sentence", 4, "word") if anchor == "word" else ("", -1, "")]
        ]
        write_part(
            store,
            part,
            signal,
            {"events": pa.Table.from_pylist([], schema=EVENTS), "segments": pa.Table.from_pylist(segments, schema=SEGMENTS)},
        )
    told = {}
    for name, (rate, size) in FEATURES.items():
        frames = {key: rng.random((int(3 * rate) + 1, size)).astype(np.float32) for key in ("A", "B", "not used")}
        for key, values in frames.items():
            Frames(store.root / "features" / name).write(key, values)
        mean, deviation = rng.random(size).tolist(), (rng.random(size) + 1).tolist()
        told[name] = {
            **{"rate_hz": rate, "size": size, "silence": -5.0, "mean": mean, "deviation": deviation, "weights": []},
            **{"feature": {"name": name[:-2]}, "folder": f"features/{name}", "files": dict.fromkeys(frames, 1)},
        }
    data = {"signal": {"rate_hz": RATE}, "segments": {"tmin_s": -0.5, "tmax_s": 2.5, "stride_s": 0.5}}
    others = {key: {} for key in MANIFEST}
    write_json(store.root / "manifest.json", others | {"data": data, "features": told})
    return store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("maps")


def opened(store: Store, folder: Path, window: WindowConfig | None = None) -> Tables:
    return open_tables(store, CHANNELS, content(store), digests(store, FEATURES), folder, window or WindowConfig())


def content(store: Store, uids: Iterable[str] = CHANNELS) -> str:
    return brain_digest([part for uid in sorted(uids) if (part := store.part(uid))])


def digests(store: Store, names: Iterable[str]) -> dict[str, str]:
    return {name: feature_digest(name, store.manifest["features"][name]) for name in names}


def brain(store: Store, row: int, window: WindowConfig, baseline: int = BASELINE) -> np.ndarray:
    """[C T] of a segment, straight from the prepared signal."""
    uid, start = SEGMENT["recording"][row], SEGMENT["start_sample"][row]
    part = store.part(uid)
    assert part is not None
    values = np.concatenate(list(store.brain(uid)))[start : start + WINDOW].astype(float)
    assert len(values) == WINDOW
    if baseline:
        values = values - values[:baseline].mean(axis=0)
    values = (values - part.centre) / part.scale
    limit = window.clamp or np.inf
    return np.clip(values, -limit, limit)[round(window.offset_s * RATE) :].T


def test_without_baseline(store: Store, folder: Path) -> None:
    tables = opened(store, folder)
    assert tables.window.baseline_samples == BASELINE
    tables = replace(tables, window=replace(tables.window, baseline_samples=0))
    found = tables.brain(torch.tensor([1]), step_draws(0, 0)).signal[0].numpy()
    expected = brain(store, 1, WindowConfig(), baseline=0)
    np.testing.assert_allclose(found[: len(expected)], expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("changes", [{}, {"clamp": None}, {"offset_s": 0, "clamp": 2}])
def test_brain(store: Store, folder: Path, changes: dict[str, float | None]) -> None:
    window = override(WindowConfig(), changes)
    tables = opened(store, folder, window)
    rows = torch.tensor([5, 0, 1, 2, 3])
    batch = tables.brain(rows, step_draws(0, 0))
    assert batch.signal.shape == (5, 3, WINDOW - tables.window.offset_samples)
    assert tables.shapes.times == batch.signal.shape[2] == (343 if "offset_s" not in changes else 361)
    for found, row in zip(batch.signal.numpy(), rows.tolist(), strict=True):
        expected = brain(store, row, window)
        np.testing.assert_allclose(found[: len(expected)], expected, rtol=2e-4, atol=2e-4)
    if window.clamp:
        assert batch.signal.abs().max() == window.clamp, "the planted outliers are clamped"


def test_fewer_channels_are_padded_and_invalid(store: Store, folder: Path) -> None:
    tables = opened(store, folder)
    batch = tables.brain(torch.arange(len(ROWS)), step_draws(0, 0))
    for row, uid in enumerate(SEGMENT["recording"]):
        part = store.part(uid)
        assert part is not None
        count = len(part.channels)
        layout = int(batch.layout[row])
        assert batch.valid[layout].tolist() == part.valid + [False] * (3 - count)
        np.testing.assert_allclose(batch.positions[layout, :count], part.positions, rtol=1e-6)
        assert (batch.signal[row, count:] == 0).all()
        assert (batch.signal[row, :count] != 0).any()


def test_the_layouts_have_the_names_of_their_channels(store: Store, folder: Path) -> None:
    tables = opened(store, folder)
    shapes = tables.shapes
    assert shapes.subjects == ("else/01", "some/01", "some/02")
    assert len(shapes.layouts) == len(tables.positions) == 3
    for uid, layout in zip(sorted(CHANNELS), tables.layout.tolist(), strict=True):
        part = store.part(uid)
        assert part is not None
        assert list(shapes.layouts[layout].channels) == part.channels
        assert list(shapes.layouts[layout].valid) == part.valid
        np.testing.assert_allclose(shapes.layouts[layout].positions, part.positions, rtol=1e-6)
        assert [place and list(place) for place in shapes.layouts[layout].places] == part.places


def test_recordings_with_the_same_names_and_positions_share_a_layout(tmp_path: Path) -> None:
    """Its places are the mean of what is known of theirs: heads do not lie all the same way."""
    store, flat = Store(tmp_path / "store"), [[0.0, 1.0], [1.0, 0.0]]
    sensors: dict[str, tuple[list[str], list[list[float] | None]]] = {
        "s_sub-1": (["a", "b"], [[0.0, 0.0, 0.1], None]),
        "s_sub-2": (["a", "b"], [[0.0, 0.02, 0.1], [0.1, 0.0, 0.0]]),
        "s_sub-3": (["a", "c"], [None, None]),
    }
    tables = {
        "events": pa.Table.from_pylist([], schema=EVENTS),
        "segments": pa.Table.from_pylist([], schema=SEGMENTS),
    }
    for uid, (channels, places) in sensors.items():
        known = {"positions": flat, "valid": [True, True], "centre": [0.0, 0.0], "scale": [1.0, 1.0]}
        part = Part(uid, "s", uid[-1], "", samples=400, channels=channels, places=places, **known)  # type: ignore[arg-type]
        write_part(store, part, np.ones((400, 2), np.float32), tables)
    data = {"signal": {"rate_hz": RATE}, "segments": {}}
    write_json(store.root / "manifest.json", {key: {} for key in MANIFEST} | {"data": data})
    opened = open_tables(store, sensors, content(store, sensors), {}, tmp_path / "maps", WindowConfig())
    assert opened.layout.tolist() == [0, 0, 1]
    assert [layout.channels for layout in opened.layouts] == [("a", "b"), ("a", "c")]
    assert [layout.places for layout in opened.layouts] == [((0.0, 0.01, 0.1), (0.1, 0.0, 0.0)), (None, None)]


def test_a_map_of_an_older_version_is_made_anew(store: Store, tmp_path: Path) -> None:
    opened(store, tmp_path)
    meta = tmp_path / f"brain-{content(store)}" / "meta.json"
    meta.write_text(json.dumps({"subjects": [], "recordings": []}))
    assert opened(store, tmp_path).shapes.subjects == ("else/01", "some/01", "some/02")


def test_who_and_which(store: Store, folder: Path) -> None:
    tables = opened(store, folder)
    assert tables.meta["subjects"] == [["else", "01"], ["some", "01"], ["some", "02"]]
    assert tables.brain(torch.arange(6), step_draws(0, 0)).subject.tolist() == [0, 0, 1, 1, 1, 2]
    assert {split: rows.tolist() for split, rows in tables.rows.items()} == {
        "train": [0, 1, 2],
        "valid": [3],
        "valid_words": [4],
        "test": [5],
    }
    assert (tables.candidate >= 0).tolist() == [False] * 4 + [True] * 2
    assert tables.candidate[4] != tables.candidate[5], "a word of the valid split is no candidate of the test split"
    assert tables.names([5, 0, 1]) == ["else_sub-01", "some_sub-02"]


def test_speech(store: Store, folder: Path) -> None:
    """Each sample has the frame nearest to it, z-scored; silence before the first event and after the last frame."""
    tables, manifest = opened(store, folder), store.manifest
    rows = torch.tensor([3, 0, 1, 2, 4, 5])
    found = tables.speech(rows).numpy()
    assert found.shape == (6, 4, 343)
    quiet = 0
    for values, row in zip(found, rows.tolist(), strict=True):
        first = 0
        for name, (rate, size) in FEATURES.items():
            frames = store.frames(name).read(SEGMENT["stimulus"][row])
            told = manifest["features"][name]
            for sample in range(0, 343, 3):
                nearest = round((SEGMENT["stimulus_s"][row] + sample / RATE) * rate)
                silent = not 0 <= nearest < len(frames)
                quiet += silent
                frame = np.full(size, -5.0) if silent else frames[nearest]
                expected = (frame - told["mean"]) / told["deviation"]
                np.testing.assert_allclose(values[first : first + size, sample], expected, rtol=1e-5, atol=1e-5)
            first += size
    assert quiet > 50
    before = found[1, 0, : int(0.5 * RATE)]
    assert (before == before[0]).all(), "the first row starts half a second before its stimulus"
    assert found[1, 0, 70] != before[0]


def test_no_offset_moves_the_brain_alone(store: Store, folder: Path) -> None:
    now, later = opened(store, folder, WindowConfig(offset_s=0)), opened(store, folder)
    rows = torch.arange(3)
    torch.testing.assert_close(now.speech(rows)[..., :343], later.speech(rows))
    brain = [tables.brain(rows, step_draws(0, 0)).signal for tables in (now, later)]
    torch.testing.assert_close(brain[0][..., OFFSET:], brain[1])


@pytest.mark.slow
def test_two_processes_build_once(store: Store, tmp_path: Path) -> None:
    """Reading a recording's signal takes a second and is written down; the one who waits does not read."""
    code = f"""
import time
from dataclasses import replace
from pathlib import Path
from tests.train.test_tables import Store, opened, torch
read = Store.brain
def slowly(self, uid):
    with open({str(tmp_path / "log")!r}, "a") as log:
        log.write(uid + "\\n")
    time.sleep(1)
    return read(self, uid)
Store.brain = slowly
tables = opened(Store(Path({str(store.root)!r})), Path({str(tmp_path / "maps")!r}))
print(float(tables.signal.double().sum()), tables.speech(torch.arange(6)).double().sum().item())
"""
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        for _ in range(2)
    ]
    told = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert told[0] == told[1] != ""
    assert sorted((tmp_path / "log").read_text().split()) == sorted(CHANNELS)
    names = [f"brain-{content(store)}", *(f"{name}-{digest}" for name, digest in digests(store, FEATURES).items())]
    assert sorted(os.listdir(tmp_path / "maps")) == sorted([*names, *(f"{name}.lock" for name in names)])


def test_a_build_that_fails_leaves_nothing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        open_tables(store, CHANNELS, content(store), {"no such feature": "x"}, tmp_path, WindowConfig())
    assert os.listdir(tmp_path) == ["no such feature-x.lock"]
    with pytest.raises(InputError, match="prepared anew while they were used"):
        open_tables(store, CHANNELS, content(store), {"mel-b": "of other data"}, tmp_path, WindowConfig())
    assert opened(store, tmp_path).where == "memory map"


def test_a_recording_that_is_prepared_anew_meanwhile_does_not_pass_for_the_one_before(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(shutil.copytree(store.root, tmp_path / "store"))
    before, uid, read = content(store), min(CHANNELS), Store.brain

    def prepared_anew(self: Store, wanted: str) -> Iterator[np.ndarray]:
        part = store.part(uid)
        if wanted == uid and part:
            tables = {name: pq.read_table(store.table_path(name, uid), partitioning=None) for name in ("events", "segments")}
            write_part(store, part, np.ones((3000, CHANNELS[uid]), np.float32), tables)
        return read(self, wanted)

    monkeypatch.setattr(Store, "brain", prepared_anew)
    with pytest.raises(InputError, match="prepared anew while they were used"):
        open_tables(store, CHANNELS, before, {}, tmp_path / "maps", WindowConfig())
    assert not (tmp_path / "maps" / f"brain-{before}").exists()
    monkeypatch.undo()
    assert content(store) != before
    assert open_tables(store, CHANNELS, content(store), {}, tmp_path / "maps", WindowConfig()).where == "memory map"


def test_other_features_share_the_signal(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep over features copies the signal once, and each feature once."""

    def paths() -> dict[str, int]:
        return {str(path.relative_to(tmp_path)): path.stat().st_ino for path in tmp_path.rglob("*.npy")}

    def asked(*names: str) -> Tables:
        return open_tables(store, CHANNELS, content(store), digests(store, names), tmp_path, WindowConfig())

    both = asked("words-a", "mel-b")
    before = paths()
    assert sum(path.endswith("signal.npy") for path in before) == 1
    assert sum(path.endswith("frames.npy") for path in before) == 2
    monkeypatch.setattr(Store, "brain", None)
    monkeypatch.setattr(Frames, "read", None)
    rows, turned, alone = torch.arange(len(ROWS)), asked("mel-b", "words-a"), asked("mel-b")
    assert paths() == before
    torch.testing.assert_close(turned.speech(rows), both.speech(rows)[:, [1, 2, 3, 0]])
    torch.testing.assert_close(alone.speech(rows), both.speech(rows)[:, 1:])


def test_what_a_killed_build_left_is_removed(store: Store, tmp_path: Path) -> None:
    """By the next one to write the same, who holds the lock; what others are writing is left alone."""
    code = f"""
import os, signal
from dataclasses import replace
from pathlib import Path
from tests.train.test_tables import Store, opened
Store.brain = lambda self, uid: os.kill(os.getpid(), signal.SIGKILL)
opened(Store(Path({str(store.root)!r})), Path({str(tmp_path)!r}))
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    assert killed.returncode == -signal.SIGKILL
    assert len([path for path in tmp_path.iterdir() if path.name.startswith(f".brain-{content(store)}-")]) == 1
    (tmp_path / ".brain-another-x").mkdir()
    opened(store, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [".brain-another-x"]


def test_slices_are_named(store: Store, folder: Path) -> None:
    shapes = opened(store, folder).shapes
    assert [(part.name, part.start, part.stop, part.weights) for part in shapes.slices] == [
        ("words", 0, 1, ()),
        ("mel", 1, 4, ()),
    ]
    assert shapes.features == 4


def test_classes_become_dimensions(tmp_path: Path, store: Store) -> None:
    """Of three classes stored as numbers, each a dimension; where nothing is heard, the class of silence."""
    manifest = store.manifest
    frames = np.array([[0], [2], [2], [1]], np.float32)
    for key in "AB":
        Frames(tmp_path / "ids-c").write(key, frames)
    told = {
        **{"rate_hz": 1.0, "size": 1, "silence": 1.0, "mean": [0.0], "deviation": [1.0], "weights": [0.5, 2.0, 1.0]},
        **{"feature": {"name": "ids"}, "folder": str(tmp_path / "ids-c"), "files": dict.fromkeys("AB", 1)},
    }
    try:
        write_json(store.root / "manifest.json", manifest | {"features": manifest["features"] | {"ids-c": told}})
        tables = open_tables(store, CHANNELS, content(store), digests(store, ["ids-c", "words-a"]), tmp_path, WindowConfig())
    finally:
        write_json(store.root / "manifest.json", manifest)
    assert [(part.name, part.start, part.stop, part.weights) for part in tables.shapes.slices] == [
        ("ids", 0, 3, (0.5, 2.0, 1.0)),
        ("words", 3, 4, ()),
    ]
    assert tables.shapes.features == 4
    speech = tables.speech(torch.tensor([0]))[0]
    assert speech.dtype == torch.float32
    times = -0.5133 + np.arange(343) / RATE
    expected = [int(frames[round(time), 0]) if round(time) >= 0 else 1 for time in times]
    assert speech[:3].argmax(dim=0).tolist() == expected
    assert set(expected) == {0, 1, 2}
    assert (speech[:3].sum(dim=0) == 1).all()


MEMORY = """
import sys, pathlib, torch
from raybrain.train.tables import load_tables
from raybrain.signal.window import WindowConfig
def private():
    lines = open('/proc/self/smaps_rollup').read().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(('Private_Clean', 'Private_Dirty')))
tables = load_tables(pathlib.Path(sys.argv[1]), [], WindowConfig())
before = private()
rows = torch.arange(len(tables.start))
total = 0.0
for part in torch.split(rows, 8):
    total += float(tables.signal[tables.start[part, None] + torch.arange(400)].sum())
print('ready', flush=True)
sys.stdin.readline()
print(private() - before, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is counted where /proc tells it")
def test_four_readers_hold_one_copy(tmp_path: Path) -> None:
    """Four processes read all of the data; what each holds for itself is far less than the data."""
    samples, channels, window = 400_000, 64, 400
    signal = np.lib.format.open_memmap(tmp_path / "signal.npy", mode="w+", dtype=np.float32, shape=(samples, channels))
    signal[:] = 1.0
    signal.flush()
    starts = np.arange(0, samples - window, window)
    zeros = np.zeros(len(starts), dtype=np.int64)
    for name, array in {
        "centre": np.zeros((1, channels), np.float32),
        "layout": np.zeros(1, np.int64),
        "positions": np.zeros((1, channels, 2), np.float32),
        "valid": np.ones((1, channels), bool),
        "subject": np.zeros(1, np.int64),
        "recording": zeros,
        "start": starts,
        "candidate": zeros,
        "split": zeros,
        "stimulus": zeros,
        "stimulus_s": zeros,
    }.items():
        np.save(tmp_path / f"{name}.npy", array)
    meta = {"rate_hz": 120.0, "tmin_s": 0.0, "samples": window, "baseline_samples": 0, "stimuli": []}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    readers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for reader in readers:
        assert reader.stdout
        assert reader.stdout.readline() == "ready\n"
    own = [int(reader.communicate("\n")[0]) for reader in readers]  # KiB
    data = samples * channels * 4 // 1024
    assert data > 90_000
    assert all(kib < data / 4 for kib in own), f"{own} KiB of {data} KiB"


# on a device


@pytest.mark.parametrize(
    ("free", "share", "where"),
    [
        (2.0, 1.0, "GPU memory"),
        (1.5, 1.0, "memory map"),  # others have taken it
        (10.0, 0.2, "GPU memory"),
        (10.0, 0.1, "memory map"),  # though as good as all is free: it is for the processes that come
    ],
)
def test_tables_take_no_more_of_a_device_than_their_share(
    free: float, share: float, where: str, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = opened(store, folder)
    needed = sum(tensor.numel() * tensor.element_size() for tensor in (tables.signal, *(t.frames for t in tables.features)))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free * needed), 10 * needed))
    placed = tables.place(torch.device("meta"), share)
    assert placed.where == where
    assert placed.device.type == ("meta" if where == "GPU memory" else "cpu")
