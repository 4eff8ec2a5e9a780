"""Tables: everything training reads, once on a node, as memory maps that all workers and trials share.

Batches are formed by index: a step names rows, and the windows are cut, scaled and clamped where the tables lie.
Dimension letters: B segments, C channels, T samples, D feature dimensions, L layouts, R recordings.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
from torch import Tensor

from raybrain.batch import Batch, Shapes
from raybrain.experiment import SegmentConfig, WindowConfig
from raybrain.store import Part, Store

SPLITS = ("train", "valid", "valid_words", "test")
DEVICE_SHARE = 0.6  # of a GPU's free memory that tables may take


@dataclass(frozen=True)
class FeatureTable:
    """One feature of all stimuli. Row 0 of ``frames`` is silence."""

    name: str
    rate_hz: float
    frames: Tensor  # [frames D], z-scored
    first: Tensor  # [segments] float64: frame of the window's first sample, counted from the stimulus's first frame
    begin: Tensor  # [segments]: row of the stimulus's first frame
    count: Tensor  # [segments]: frames of the stimulus


@dataclass
class Tables:
    """Segments, signal and features, on one device.

    ``signal`` is [samples C]: all recordings one after another, each channel divided by its robust scale. ``centre`` is the
    robust centre in that unit. ``words`` names the word of each candidate.
    """

    signal: Tensor
    centre: Tensor  # [R C]
    layout: Tensor  # [R]
    positions: Tensor  # [L C 2]
    valid: Tensor  # [L C]
    subject: Tensor  # [R]
    recording: Tensor  # [segments]
    start: Tensor  # [segments], row of ``signal``
    candidate: Tensor  # [segments], which (sentence, word_index) of its study; -1 for windows on the grid
    features: list[FeatureTable]
    rows: dict[str, Tensor]  # segments of each split
    meta: dict[str, Any]
    window: WindowConfig
    where: str = field(default="memory map")

    @property
    def shapes(self) -> Shapes:
        """The sizes an encoder is built for."""
        return Shapes(
            channels=self.signal.shape[1],
            subjects=len(self.meta["subjects"]),
            features=sum(table.frames.shape[1] for table in self.features),
            times=self.meta["samples"] - self.offset,
            rate_hz=self.meta["rate_hz"],
            tmin_s=self.meta["tmin_s"],
        )

    @property
    def offset(self) -> int:
        """Samples by which the brain is read later than the speech."""
        return round(self.window.offset_s * float(self.meta["rate_hz"]))

    @property
    def device(self) -> torch.device:
        """Where the tables lie."""
        return self.signal.device

    def batch(self, rows: Tensor, draws: Tensor) -> Batch:
        """The brain side of some segments: cut, baselined, centred and clamped; [B C T]."""
        recording = self.recording[rows]
        index = self.start[rows, None] + torch.arange(self.meta["samples"], device=self.device)
        signal = self.signal[index]  # [B T C]
        baseline = self.meta["baseline_samples"]
        if baseline:
            signal = signal - signal[:, :baseline].mean(dim=1, keepdim=True)
        signal = signal[:, self.offset :] - self.centre[recording, None]
        if self.window.clamp is not None:
            signal = signal.clamp(-self.window.clamp, self.window.clamp)
        return Batch(
            brain=signal.transpose(1, 2).contiguous(),
            subject=self.subject[recording],
            layout=self.layout[recording],
            positions=self.positions,
            valid=self.valid,
            draws=draws,
        )

    def speech(self, rows: Tensor) -> Tensor:
        """The speech side of some segments: nearest frames at the brain's rate, [B D T]."""
        times = torch.arange(self.shapes.times, device=self.device, dtype=torch.float64) / self.meta["rate_hz"]
        parts = []
        for table in self.features:
            frame = torch.round(table.first[rows, None] + times * table.rate_hz).long()  # [B T]
            heard = (frame >= 0) & (frame < table.count[rows, None])
            parts.append(table.frames[torch.where(heard, table.begin[rows, None] + frame, 0)])
        return torch.cat(parts, dim=2).transpose(1, 2).contiguous()

    def place(self, device: torch.device, limit_bytes: int | None = None) -> "Tables":
        """These tables on ``device``, or as they are if they would take more than ``limit_bytes`` there."""
        if device.type == "cpu":
            return self
        torch.cuda.empty_cache()  # what an earlier trial of this process has left
        large = [self.signal, *(table.frames for table in self.features)]
        needed = sum(tensor.numel() * tensor.element_size() for tensor in large)
        limit = int(DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]) if limit_bytes is None else limit_bytes
        if needed > limit:
            return self
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        features = [
            FeatureTable(t.name, t.rate_hz, *(x.to(device) for x in (t.frames, t.first, t.begin, t.count)))
            for t in self.features
        ]
        rows = {split: tensor.to(device) for split, tensor in self.rows.items()}
        return Tables(**moved, features=features, rows=rows, meta=self.meta, window=self.window, where="GPU memory")

    def names(self, rows: Iterable[int]) -> list[str]:
        """The recordings of some segments, each once, for messages."""
        uids = self.meta["recordings"]
        return sorted({uids[int(self.recording[row])] for row in rows})


def open_tables(store: Store, uids: Iterable[str], digest: str, features: list[str], folder: Path, window: Any) -> Tables:
    """The tables of a store on this node; the first process to ask makes them, the others wait.

    Args:
        store: prepared data.
        uids: the recordings to use.
        digest: names the content of what is read (Prepared.digest).
        features: folder names of the features, in order.
        folder: where memory maps lie; best on a disk of this node.
        window: a WindowConfig.
    """
    path = folder / digest
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / f"{digest}.lock"):
        if not (path / "meta.json").exists():
            temporary = Path(tempfile.mkdtemp(dir=folder, prefix=f".{digest}-"))
            try:
                _build(store, sorted(uids), features, temporary)
                shutil.rmtree(path, ignore_errors=True)
                os.replace(temporary, path)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return _load(path, window)


def _load(path: Path, window: Any) -> Tables:
    meta = json.loads((path / "meta.json").read_text())

    def tensor(name: str) -> Tensor:
        return torch.from_numpy(np.load(path / f"{name}.npy"))

    def mapped(name: str) -> Tensor:
        array = np.load(path / f"{name}.npy", mmap_mode="c")  # copy on write: torch wants a writable array
        return torch.from_numpy(array)

    features = [
        FeatureTable(f["name"], f["rate_hz"], mapped(f"frames{i}"), *(tensor(f"{k}{i}") for k in ("first", "begin", "count")))
        for i, f in enumerate(meta["features"])
    ]
    small = ("centre", "layout", "positions", "valid", "subject", "recording", "start", "candidate")
    split = tensor("split")
    tensors: dict[str, Any] = {name: tensor(name) for name in small}
    rows = {name: torch.nonzero(split == code)[:, 0] for code, name in enumerate(SPLITS)}
    return Tables(mapped("signal"), **tensors, features=features, rows=rows, meta=meta, window=window)


def _build(store: Store, uids: list[str], features: list[str], folder: Path) -> None:
    """Write all arrays of a store to ``folder``."""
    manifest = store.manifest
    parts = [part for uid in uids if (part := store.part(uid))]
    assert len(parts) == len(uids), "a part vanished while it was used"
    rate = manifest["data"]["signal"]["rate_hz"]
    segments = SegmentConfig.model_validate(manifest["data"]["segments"])
    begins = _write_signal(store, parts, folder)
    columns = _segment_columns(store, parts, begins)
    described = [_write_frames(store, manifest["features"][name], name, i, columns, folder) for i, name in enumerate(features)]
    subjects = sorted({(part.study, part.subject) for part in parts})
    for name, array in {
        **_layout_arrays(parts),
        "subject": np.array([subjects.index((part.study, part.subject)) for part in parts]),
        **{key: columns[key] for key in ("recording", "start", "split", "candidate")},
    }.items():
        np.save(folder / f"{name}.npy", array)
    meta = {
        "rate_hz": rate,
        "tmin_s": segments.tmin_s,
        "baseline_samples": segments.baseline_samples(rate),
        "samples": segments.samples(rate),
        "recordings": uids,
        "subjects": [list(subject) for subject in subjects],
        "candidates": columns["candidates"],
        "features": described,
    }
    (folder / "meta.json").write_text(json.dumps(meta))


def _write_signal(store: Store, parts: list[Part], folder: Path) -> np.ndarray:
    """Write the signal of all recordings, padded to the widest; return the row at which each begins."""
    begins = np.cumsum([0] + [part.samples for part in parts])
    width = max(len(part.channels) for part in parts)
    out = np.lib.format.open_memmap(folder / "signal.npy", mode="w+", dtype=np.float32, shape=(int(begins[-1]), width))
    for part, begin in zip(parts, begins, strict=False):
        at, scale = int(begin), np.array(part.scale)
        for chunk in store.brain(part.uid):
            out[at : at + len(chunk), : chunk.shape[1]] = chunk / scale
            at += len(chunk)
        assert at == begin + part.samples, f"{part.uid} has {at - begin} samples, not {part.samples}"
    out.flush()
    return begins


def _layout_arrays(parts: list[Part]) -> dict[str, np.ndarray]:
    width = max(len(part.channels) for part in parts)
    centre = np.zeros((len(parts), width), np.float32)
    layouts: dict[bytes, int] = {}
    places, valid, layout = [], [], []
    for row, part in enumerate(parts):
        count = len(part.channels)
        centre[row, :count] = np.array(part.centre) / np.array(part.scale)
        place, known = np.zeros((width, 2), np.float32), np.zeros(width, bool)
        place[:count], known[:count] = part.positions, part.valid
        key = place.tobytes() + known.tobytes()
        if key not in layouts:
            layouts[key] = len(layouts)
            places.append(place)
            valid.append(known)
        layout.append(layouts[key])
    return {"centre": centre, "layout": np.array(layout), "positions": np.stack(places), "valid": np.stack(valid)}


def _segment_columns(store: Store, parts: list[Part], begins: np.ndarray) -> dict[str, Any]:
    """All segments of all recordings, column by column. Candidates are numbered in order of (study, sentence, word_index)."""
    rows = [
        (number, part.study, int(begins[number]), row)
        for number, part in enumerate(parts)
        for row in store.segments(part.uid).to_pylist()
    ]
    named = {
        (study, row["split"], row["sentence"], row["word_index"]): row["word"]
        for _, study, _, row in rows
        if row["anchor"] == "word"
    }
    candidates = sorted(named)
    number_of = {key: number for number, key in enumerate(candidates)}
    split = [f"{r['split']}_words" if r["split"] == "valid" and r["anchor"] == "word" else r["split"] for *_, r in rows]
    return {
        "recording": np.array([number for number, *_ in rows]),
        "start": np.array([begin + row["start_sample"] for _, _, begin, row in rows]),
        "split": np.array([SPLITS.index(name) for name in split]),
        "candidate": np.array(
            [number_of.get((study, r["split"], r["sentence"], r["word_index"]), -1) for _, study, _, r in rows]
        ),
        "stimulus": [row["stimulus"] for *_, row in rows],
        "stimulus_s": np.array([row["stimulus_s"] for *_, row in rows], dtype=np.float64),
        "candidates": [
            {"study": study, "split": split, "sentence": sentence, "word_index": index, "word": named[key]}
            for key in candidates
            for study, split, sentence, index in [key]
        ],
    }


def _write_frames(
    store: Store, feature: dict[str, Any], name: str, number: int, columns: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """Write one feature of all used stimuli, z-scored, and where each segment starts in it."""
    used = set(columns["stimulus"])
    lengths = {key: len(frames) for key, frames in store.frames(name) if key in used}
    missing = used - set(lengths)
    assert not missing, f"{len(missing)} stimuli have no {name}"
    begins = dict(zip(lengths, np.cumsum([1, *lengths.values()])[:-1], strict=True))
    mean, deviation = np.array(feature["mean"]), np.array(feature["deviation"])
    shape = (1 + sum(lengths.values()), feature["size"])
    out = np.lib.format.open_memmap(folder / f"frames{number}.npy", mode="w+", dtype=np.float32, shape=shape)
    out[0] = (feature["silence"] - mean) / deviation
    for key, frames in store.frames(name):
        if key in used:
            out[begins[key] : begins[key] + len(frames)] = (frames - mean) / deviation
    out.flush()
    np.save(folder / f"first{number}.npy", columns["stimulus_s"] * feature["rate_hz"])
    np.save(folder / f"begin{number}.npy", np.array([begins[key] for key in columns["stimulus"]]))
    np.save(folder / f"count{number}.npy", np.array([lengths[key] for key in columns["stimulus"]]))
    return {"name": name, "rate_hz": feature["rate_hz"], "size": feature["size"]}
