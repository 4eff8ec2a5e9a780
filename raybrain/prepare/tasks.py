"""Tasks: what a Ray Data worker does with one recording. Plain functions, no Ray."""

import hashlib
import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raybrain.config import InputError, tree
from raybrain.events import Event
from raybrain.prepare.plan import PlannedBlock
from raybrain.prepare.segments import events_table, make_segments
from raybrain.recording import Recording
from raybrain.signal.base import Context
from raybrain.signal.pipeline import read_signal
from raybrain.signal.window import Scaler
from raybrain.store import Part, Store, chunk_table
from raybrain.studies.base import Study

if TYPE_CHECKING:
    import pyarrow as pa

    from raybrain.experiment import DataConfig


@dataclass(frozen=True)
class Source:
    """A recording, the study it is of, and the folder that study lies in."""

    study: Study
    root: Path
    recording: Recording

    def stamps(self) -> dict[str, list[int]]:
        """Size and time of the files this recording is read from, by path."""
        return {str(path): stamp(path) for path in self.study.sources(self.root, self.recording)}


@dataclass(frozen=True)
class Job:
    """All that is needed to make one recording's part of a store."""

    source: Source
    store: Store
    data: "DataConfig"
    events: tuple[Event, ...]
    blocks: tuple[PlannedBlock, ...]
    stamps: dict[str, list[int]]

    @property
    def key(self) -> str:
        """Stands for everything the part is made from."""
        plan = [(b.block.start, b.block.duration, b.split, b.stimulus, b.origin_s) for b in self.blocks]
        content = [tree(self.source.study), self.source.recording.uid, plan, self.stamps, self.data.brain_signature]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def stamp(path: Path) -> list[int]:
    """Size and modification time of a file, or the sum and the latest of all that is in a folder; zeros if it is not there."""
    try:
        stats = [found.stat() for found in (path, *(path.rglob("*") if path.is_dir() else ()))]
    except FileNotFoundError:
        return [0, 0]
    return [sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)]


def guarded(task: Callable[[], dict[str, Any]], uid: str, log: Path) -> dict[str, Any]:
    """What ``task`` returns, or {"error": one line}: a failed recording never takes the others along.

    Faults that are not the data's are written to ``log`` with their traceback.
    """
    try:
        return {"uid": uid, "error": ""} | task()
    except InputError as error:
        return {"uid": uid, "error": str(error)}
    except Exception as error:  # a reader may fail in any way on a file it does not understand
        log.mkdir(parents=True, exist_ok=True)
        (log / f"{uid}.txt").write_text(traceback.format_exc())
        line = (str(error).splitlines() or [""])[0]
        return {"uid": uid, "error": f"{type(error).__name__}: {line} (more in {log / uid}.txt)"}


def make_part(job: Job) -> dict[str, Any]:
    """Read one recording, apply the steps to it and cut it; write its part of the store.

    Returns:
        Seconds of signal and number of segments.
    """
    data, source, rate = job.data, job.source, job.data.signal.rate_hz
    context = Context(rate, data.splits.seed, data.segments, partial(_train_starts, job))
    signal = read_signal(source.study.raw(source.root, source.recording), data.signal.steps, context)
    segments = _segments(job, rate, len(signal.values))
    scaler = Scaler.fitted(signal.values, _starts(segments), data.window, data.splits.seed)
    splits = segments["split"].to_pylist()
    part = Part(
        uid=source.recording.uid,
        study=source.recording.study,
        subject=source.recording.subject,
        key=job.key,
        samples=len(signal.values),
        channels=signal.channels,
        positions=signal.positions.tolist(),
        places=[place.tolist() if np.isfinite(place).all() else None for place in signal.places],
        valid=signal.valid.tolist(),
        centre=scaler.centre.tolist(),
        scale=scaler.scale.tolist(),
        segments={split: splits.count(split) for split in ("train", "valid", "test")},
    )
    brain = chunk_table(signal.values.astype(np.float32), rate)
    job.store.write_part(part, {"brain": brain, "events": events_table(job.events), "segments": segments})
    return {"seconds": len(signal.values) / rate, "segments": len(splits)}


def _segments(job: Job, rate_hz: float, samples: int) -> "pa.Table":
    return make_segments(job.events, job.blocks, job.data.segments, rate_hz, samples)


def _train_starts(job: Job, rate_hz: float, samples: int) -> np.ndarray:
    return _starts(_segments(job, rate_hz, samples))


def _starts(segments: "pa.Table") -> np.ndarray:
    """The first samples of the train windows, in order."""
    rows = zip(segments["split"].to_pylist(), segments["start_sample"].to_pylist(), strict=True)
    return np.array([start for split, start in rows if split == "train"], dtype=int)
