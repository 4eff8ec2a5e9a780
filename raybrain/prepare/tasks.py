"""Tasks: what a Ray Data worker does with one recording. Plain functions, no Ray."""

import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raybrain.config import InputError
from raybrain.events import Event, Word
from raybrain.integrity import file_record
from raybrain.prepare.plan import PlannedBlock
from raybrain.prepare.quality import Before, Watch, quality_table
from raybrain.prepare.segments import events_table, make_segments, without_bad
from raybrain.recording import Recording
from raybrain.signal.bad_stretches import BadStretch, bad_stretches, beyond, described
from raybrain.signal.base import Context, Step
from raybrain.signal.extremes import Extremes
from raybrain.signal.odd_signal import odd_recording
from raybrain.signal.pipeline import Signal, read_signal
from raybrain.signal.window import Gathered, Scaler, drawn_starts
from raybrain.storage import content_digest
from raybrain.store import Draft, Part, Store, chunk_samples, chunk_table
from raybrain.studies.base import Study

if TYPE_CHECKING:
    from raybrain.data_config import DataConfig


CHUNKED_BYTES = 768 * 2**20  # 0.3 to 0.6 GiB were measured, libraries and all, for recordings of any length
LOADED_BYTES = 4  # in memory per byte in a file, at most: of 16-bit numbers come 64-bit ones


@dataclass(frozen=True)
class Source:
    """A recording, the study it is of, and the folder that study lies in."""

    study: Study
    root: Path
    recording: Recording

    def files(self, steps: Sequence[Step] = ()) -> dict[str, Path]:
        """The files this recording is read from, those inside of folders too, and those that some steps read beside them.

        By path below the study's folder.
        """
        files = {file for path in self.study.sources(self.root, self.recording) for file in _files(path)}
        files |= {file for step in steps for file in step.files(sorted(files))}
        return {relative(file, self.root): file for file in sorted(files)}


@dataclass(frozen=True)
class Job:
    """All that is needed to make one recording's part of a store."""

    source: Source
    store: Store
    data: "DataConfig"
    events: tuple[Event, ...]
    blocks: tuple[PlannedBlock, ...]

    @property
    def key(self) -> str:
        """Stands for everything the part is made from, but for the content of the files the recording is read from."""
        plan = [(b.block.start, b.block.duration, b.split, b.stimulus, b.origin_s) for b in self.blocks]
        return content_digest([self.data.reading_signature(self.source.study), self.source.recording.uid, plan])

    def files(self) -> dict[str, Path]:
        """The files that the part is made from, by path below the study's folder."""
        return self.source.files(self.data.signal.steps)

    def adopt(self, tables: Collection[str] = ()) -> bool:
        """Take the part from another store of the same home, if one has it, ``tables`` too.

        Not where no files say what it was made from.
        """
        uid = self.source.recording.uid
        for other in map(Store, sorted(self.store.root.parent.glob("*"))):
            written = other.written(uid) if other != self.store else None
            if written is None or written.key != self.key or not written.sources or not set(tables) <= set(written.files):
                continue
            part = other.part(uid)
            same = other.unchanged(part, self.files()) if part else None
            if same and self.store.adopt(same, other):
                return True
        return False


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in path.rglob("*") if file.is_file())
    elif path.is_file():
        yield path


def relative(path: Path, root: Path) -> str:
    """``path`` below ``root``, with slashes; all of it if it lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


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


@dataclass(frozen=True)
class _Recorded:
    """A recording as it was, what is odd about it, and its stretches that are not used."""

    before: Before
    odd: Sequence[str]
    bad: Sequence[BadStretch]


def working_memory(job: Job) -> int:
    """Bytes that a process needs to make a part: as many whatever its length, unless a step has the whole recording loaded."""
    steps, study = job.data.signal.steps, job.source.study
    whole = next((number for number, step in enumerate(steps) if not (step.in_chunks or step.takes_gaps)), None)
    if whole is None:
        return CHUNKED_BYTES
    loaded = LOADED_BYTES * sum(path.stat().st_size for path in job.files().values())
    if study.facts.hertz and any(step.name == "resample" for step in steps[:whole]):
        loaded = int(loaded * min(1.0, job.data.signal.rate_hz / study.facts.hertz))
    return CHUNKED_BYTES + loaded


@dataclass(frozen=True)
class DraftedPart:
    """A part that is complete but not in its place: its signal is written aside. Can be pickled.

    Attributes:
        part: what is known of the recording.
        draft: its signal.
        tables: the other tables, by name.
        remarks: what is odd about the signal, and how many windows were left out.
    """

    part: Part
    draft: Draft
    tables: dict[str, pa.Table]
    remarks: list[str]

    def write_to(self, store: Store) -> dict[str, Any]:
        """Put it in its place; the remarks."""
        try:
            store.write_part(self.part, self.draft, self.tables)
        except BaseException:
            self.draft.discard()
            raise
        return {"remarks": self.remarks}


def make_part(job: Job) -> dict[str, Any]:
    """Make one recording's part of the store, in this process; the remarks."""
    return draft_part(job).write_to(job.store)


def draft_part(job: Job) -> DraftedPart:
    """Read one recording, apply the steps to it and cut it.

    Signal is read, resampled and written aside a few seconds at a time, as far as the steps allow it. Where it is flat is known
    once it was read: if that costs windows, it is read once more without these, as steps and scaler are fitted on windows.
    """
    raw = job.source.study.raw(job.source.root, job.source.recording)
    recorded = _Recorded(odd=odd_recording(raw), before=Before.of(raw), bad=bad_stretches(raw))
    drafted = _attempt(job, recorded)
    if not isinstance(drafted, DraftedPart):
        drafted = _attempt(job, replace(recorded, bad=sorted([*recorded.bad, *drafted])))
    assert isinstance(drafted, DraftedPart), "the same windows lie over other flat stretches"
    return drafted


def _attempt(job: Job, recorded: _Recorded) -> DraftedPart | list[BadStretch]:
    """The part, unless windows lie over flat stretches: then these."""
    data, bad, rate = job.data, recorded.bad, job.data.signal.rate_hz
    files = tuple(job.source.files().values())
    context = Context(rate, data.splits.seed, data.segments, partial(_train_starts, job, bad), files)
    signal = read_signal(recorded.before.raw, data.signal.steps, context)
    every = make_segments(job.events, job.blocks, data.segments, rate, signal.samples)
    segments = _used(job, every, bad)
    watch = Watch(recorded.before, signal, job.events, rate)
    with job.store.draft(job.source.recording.uid) as draft:
        scaler, extreme = _written(job, signal, segments, draft, watch)
        flat = beyond(signal.flat.stretches(), bad)
        if without_bad(segments, flat, data.segments, rate).num_rows < len(segments):
            draft.discard()
            return flat
        remarks = [*recorded.odd, *signal.remarks, *_losses(job, every, segments, bad, extreme)]
        segments = segments.filter(pa.array(~extreme))
        lost = np.setdiff1d(every["start_sample"], segments["start_sample"])
        part = _part(job, signal, segments, scaler)
        quality = quality_table(watch.row([*bad, *flat], lost, len(every), remarks))
    tables = {"events": events_table(job.events), "segments": segments, "quality": quality}
    return DraftedPart(part, draft, tables, remarks)


def _used(job: Job, every: pa.Table, bad: Sequence[BadStretch]) -> pa.Table:
    """The windows that hold nothing bad; InputError if there are none."""
    segments = without_bad(every, bad, job.data.segments, job.data.signal.rate_hz)
    if not len(segments):
        words = sum(isinstance(event, Word) for event in job.events)
        why = (
            f"{described(bad)} takes all {len(every)} windows" if len(every) else f"none lies inside one block ({words} words)"
        )
        raise InputError(f"nothing of it can be used: of windows of {job.data.segments.length_s:g} s {why}")
    return segments


def _losses(job: Job, every: pa.Table, segments: pa.Table, bad: Sequence[BadStretch], extreme: np.ndarray) -> Iterator[str]:
    """How many windows are left out and why; InputError if none is left."""
    if left_out := len(every) - len(segments):
        yield f"{described(bad)}: {left_out} of {len(every)} windows are left out"
    if extreme.any():
        limit = f"data.segments.reject={job.data.segments.reject:g}"
        if extreme.all():
            raise InputError(f"all {len(every)} windows go beyond {limit}; type a higher one, or mark noisy channels bad")
        yield f"{extreme.sum()} of {len(every)} windows are left out, as a channel goes beyond {limit}"


def _written(job: Job, signal: Signal, segments: pa.Table, draft: Draft, watch: Watch) -> tuple[Scaler, np.ndarray]:
    """Write the signal, chunk by chunk; the scaler is fitted on what passes by, and ``watch`` looks at it.

    Returns:
        The scaler, and which of the windows go beyond what ``data.segments.reject`` allows, [windows].
    """
    data, rate, window = job.data, job.data.signal.rate_hz, job.data.window
    starts = drawn_starts(_starts(segments), signal.samples, window, data.splits.seed)
    gathered = Gathered(starts, window.samples, signal.samples, len(signal.channels))
    limit = data.segments.reject
    every = segments["start_sample"].to_numpy()
    extremes = Extremes(every if limit else every[:0], window.samples, window.baseline_samples, len(signal.channels))
    length = chunk_samples(rate)
    for number, piece in enumerate(signal.pieces(length)):
        draft.append(chunk_table(piece, rate, number * length))
        gathered.pass_by(number * length, piece)
        extremes.pass_by(number * length, piece)
        watch.pass_by(number * length, piece)
    scaler = Scaler.of(gathered.windows, window.baseline_samples, data.signal.scaling)
    beyond = extremes.beyond(limit, scaler, signal.valid) if limit else np.zeros(len(segments), dtype=bool)
    return scaler, beyond


def _part(job: Job, signal: Signal, segments: pa.Table, scaler: Scaler) -> Part:
    source, splits = job.source, segments["split"].to_pylist()
    return Part(
        uid=source.recording.uid,
        study=source.recording.study,
        subject=source.recording.subject,
        key=job.key,
        sources={name: file_record(path) for name, path in job.files().items()},
        samples=signal.samples,
        channels=signal.channels,
        positions=signal.positions.tolist(),
        places=[place.tolist() if np.isfinite(place).all() else None for place in signal.places],
        valid=signal.valid.tolist(),
        centre=scaler.centre.tolist(),
        scale=scaler.scale.tolist(),
        segments={split: splits.count(split) for split in ("train", "valid", "test")},
    )


def _train_starts(job: Job, bad: Sequence[BadStretch], rate_hz: float, samples: int) -> np.ndarray:
    segments = make_segments(job.events, job.blocks, job.data.segments, rate_hz, samples)
    return _starts(without_bad(segments, bad, job.data.segments, rate_hz))


def _starts(segments: pa.Table) -> np.ndarray:
    """The first samples of the train windows, in order."""
    rows = zip(segments["split"].to_pylist(), segments["start_sample"].to_pylist(), strict=True)
    return np.array([start for split, start in rows if split == "train"], dtype=int)
