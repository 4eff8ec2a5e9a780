"""Run: recordings -> store; one task a recording, each feature once a stimulus."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from raybrain import __version__
from raybrain.bucket.copies import fetch
from raybrain.claims import claim
from raybrain.cluster import Cluster, ray_session
from raybrain.config import InputError
from raybrain.events import Sound, sentence_blocks
from raybrain.identity import locate
from raybrain.integrity import file_record
from raybrain.plain import tree
from raybrain.prepare import extract as features
from raybrain.prepare.parallel import console, each_recording, write_parts
from raybrain.prepare.plan import Heard, PlannedBlock, SplitPlan, make_plan, why_empty
from raybrain.prepare.plausible import misplaced, odd_times
from raybrain.prepare.sound_check import refuse_unheard, sound_remarks
from raybrain.prepare.sources import sources_of
from raybrain.prepare.tasks import Job, Source, relative
from raybrain.signal.base import Step
from raybrain.storage import content_digest, remove_left_over, renewed, write_table
from raybrain.store import Gap, Part, Prepared, Store, brain_digest, feature_digest, feature_name, frames_folder
from raybrain.studies.base import FolderStudy

if TYPE_CHECKING:
    from raybrain.data_config import DataConfig

Records = dict[str, dict[str, Any]]  # of files, by name


def run(data: "DataConfig", cluster: Cluster, tables: Collection[str] = ()) -> Prepared:
    """Prepare what is not prepared yet; recordings too of which an earlier version did not write some of ``tables``.

    Raises:
        InputError: if a package is missing, no recording could be prepared, or one could not and that is not accepted
            (``cluster.strict``), or a split is empty.
    """
    for feature in data.features:
        feature.check()
    data = locate(data, cluster.home)
    store = Store(cluster.home / "stores" / data.brain_signature)
    claim(cluster.home, [store.root, *(frames_folder(cluster.home, feature).folder for feature in data.features)])
    for folder in (store.root, *(frames_folder(cluster.home, feature).folder for feature in data.features)):
        fetch(folder)
    sources = sources_of(data, cluster)
    work = _Work(data, store, sources, _left_out(sources), tables)
    current = _current_parts(store, sources, data.signal.steps, tables)
    prepared = _finished(work, current)
    if prepared is None:
        with ray_session(cluster):
            prepared = _prepare(work, current, cluster)
    if cluster.strict:
        _refuse_failed(prepared)
    return prepared


def _refuse_failed(prepared: Prepared) -> None:
    for uid, reason in prepared.failed.items():
        more = f" ({len(prepared.failed) - 1} more are missing, too)" if len(prepared.failed) > 1 else ""
        raise InputError(f"{uid}: {reason}{more}; mend or remove it, or type the command without --strict")


@dataclass(frozen=True)
class _Work:
    """What is to be prepared, with which ``tables``, and what of it has failed so far: recordings and the reasons."""

    data: "DataConfig"
    store: Store
    sources: Sequence[Source]
    left_out: Mapping[str, str]
    tables: Collection[str] = ()
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def logs(self) -> Path:
        return self.store.root / "failed"

    def fail(self, uid: str, reason: str) -> None:
        self.failed[uid] = reason
        _report(f"failed {uid}: {reason}")


def _left_out(sources: Sequence[Source]) -> dict[str, str]:
    """What somebody may miss among the recordings, by study and path, and the reason for each."""
    studies = {(source.recording.study, source.root): source.study for source in sources}
    left_out = {
        f"{name}/{out.path}": out.reason for (name, root), study in studies.items() for out in study.left_out(root) if out.odd
    }
    for name, reason in left_out.items():
        _report(f"left out {name}: {reason}")
    return left_out


def _current_parts(store: Store, sources: Sequence[Source], steps: Sequence[Step], tables: Collection[str]) -> dict[str, Part]:
    """The parts with all ``tables`` whose recordings are read from the same files as they were.

    Wherever these lie now, and whatever their times.
    """
    written = [source for source in sources if store.written(source.recording.uid)]
    # here, as studies may not be asked by many threads
    files = {source.recording.uid: source.files(steps) for source in written}

    def current(uid: str) -> Part | None:
        part = store.part(uid)
        return store.unchanged(part, files[uid]) if part and set(tables) <= set(part.files) else None

    with console.status("comparing what is prepared with its files"), ThreadPoolExecutor() as pool:
        return {uid: part for uid, part in zip(files, pool.map(current, files), strict=True) if part}


def _finished(work: _Work, current: Mapping[str, Part]) -> Prepared | None:
    """What an earlier run prepared, if all of it is there and nothing it was made from has changed."""
    data, store, sources = work.data, work.store, work.sources
    try:
        manifest = store.manifest
    except InputError:
        return None
    if manifest["failed"] or manifest["sources"] != {uid: part.origin for uid, part in current.items()}:
        return None
    if len(current) < len(sources) or manifest.get("left_out", {}) != work.left_out:
        return None
    recorded = zip(_roots(sources), manifest["sounds"], strict=True)
    if not all(renewed(root / name, record) for root, sounds in recorded for name, record in sounds.items()):
        return None
    names = [feature_name(feature) for feature in data.features]
    known = manifest["features"]
    if any(name not in known or known[name]["plan"] != manifest["plan"] for name in names):
        return None
    if not all(features.unchanged(known[name], store.frames(name)) for name in names):
        return None
    return _prepared(data, store, manifest)


def _roots(sources: Sequence[Source]) -> list[Path]:
    """The folders of all studies, in the order in which they are asked for."""
    return list(dict.fromkeys(source.root for source in sources))


def _sounds(heard: Sequence[Heard], sources: Sequence[Source], store: Store) -> tuple[list[Records], dict[str, str]]:
    """Records of the sounds heard from the folder of each study, and the checksum of each sound by path."""
    roots = {source.recording.uid: source.root for source in sources}
    known: dict[Path, Records] = {}
    with suppress(InputError):  # there is no manifest the first time
        known = dict(zip(_roots(sources), store.manifest["sounds"], strict=True))
    records: dict[Path, Records] = {root: {} for root in _roots(sources)}
    digests: dict[str, str] = {}
    for item in heard:
        root = roots[item.recording.uid]
        for path in sorted({event.filepath for event in item.events if isinstance(event, Sound)} - set(digests)):
            name = relative(Path(path), root)
            before = known.get(root, {}).get(name)
            records[root][name] = (before and renewed(Path(path), before)) or file_record(Path(path))
            digests[path] = records[root][name]["sha256"]
    return list(records.values()), digests


def _prepare(work: _Work, current: Mapping[str, Part], cluster: Cluster) -> Prepared:
    data, store, failed = work.data, work.store, work.failed
    for folder in (store.root, *(frames_folder(cluster.home, feature).folder for feature in data.features)):
        remove_left_over(folder.rglob(".*"))
    heard = list(_read_events(work))
    _refuse_nothing(work)
    sounds, digests = _sounds(heard, work.sources, store)
    plan = _make_all_parts(work, heard, digests, dict(current))
    usable = [item for item in heard if item.recording.uid in plan.blocks]
    empty = why_empty(plan, usable, digests, data.splits, data.segments.length_s)
    if empty:
        raise InputError(empty)
    by_uid = {source.recording.uid: source for source in work.sources}
    fetch(store.root)  # other nodes may have made some of it
    parts = {uid: part for uid in sorted(by_uid) if uid not in failed and (part := store.part(uid))}
    used = features.Corpus.of(plan, parts)
    key = content_digest(sorted(used.splits.items()))
    made = {feature_name(f): features.make_feature(f, used, store, cluster) | {"plan": key} for f in data.features}
    write_table(store.root / "recordings.parquet", _recordings_table(parts, {**failed, **work.left_out}, data))
    write_table(store.root / "stimuli.parquet", _stimuli_table(plan))
    manifest = {
        "raybrain": __version__,
        "data": {key: value for key, value in tree(data).items() if key != "features"},
        "sources": {uid: parts[uid].origin if uid in parts else "" for uid in by_uid},
        "sounds": sounds,
        "failed": failed,
        "left_out": work.left_out,
        "recordings": _states(by_uid, failed, work.left_out),
        "counts": {split: sum(p.segments[split] for p in parts.values()) for split in ("train", "valid", "test")},
        "stimuli": len(plan.stimuli),
        "plan": key,
        **_block_sizes(plan),
        "sentences_in_two_splits": plan.sentences_in_two_splits,
        "audio_in_two_splits": plan.audio_in_two_splits,
        "held_out_in_two_splits": plan.held_out_in_two_splits,
        "gap": asdict(Gap.of(map(store.segments, parts), data.segments.length_s, data.signal.rate_hz)),
        "untrained": _untrained(parts.values()),
        "features": made,
    }
    return _prepared(data, store, store.write_manifest(manifest))


def _make_all_parts(work: _Work, heard: Sequence[Heard], digests: Mapping[str, str], current: dict[str, Part]) -> SplitPlan:
    """Plan the splits and make the parts; where a recording fails, those that remain are planned and made anew without it."""
    by_uid = {source.recording.uid: source for source in work.sources}
    suspects = _failed_before(work.store)  # first of all: if they fail again, what is there stays as it is
    while True:
        usable = [item for item in heard if item.recording.uid not in work.failed]
        plan = make_plan(usable, digests, work.data.splits)
        _refuse_short_blocks(plan, work.data)
        uids = {item.recording.uid: item for item in usable}
        jobs = [Job(by_uid[uid], work.store, work.data, item.events, plan.blocks[uid]) for uid, item in uids.items()]
        tried = [job for job in jobs if job.source.recording.uid in suspects] or jobs
        suspects = set()
        known = len(work.failed)
        _make_parts(work, tried, current)
        _refuse_nothing(work)
        if tried is jobs and len(work.failed) == known:
            return plan


def _failed_before(store: Store) -> set[str]:
    with suppress(InputError):  # there is no manifest the first time
        return set(store.manifest["failed"])
    return set()


def _refuse_short_blocks(plan: SplitPlan, data: "DataConfig") -> None:
    longest = max((planned.block.duration for blocks in plan.blocks.values() for planned in blocks), default=0.0)
    if longest < data.segments.length_s:
        raise InputError(
            f"a window of {data.segments.length_s:g} s must lie inside one block, and the longest block is {longest:.1f} s; "
            f"type data.splits.min_block_s={2 * data.segments.length_s:g} or shorter data.segments"
        )


def _prepared(data: "DataConfig", store: Store, manifest: dict[str, Any]) -> Prepared:
    recordings = tuple(sorted(set(manifest["sources"]) - set(manifest["failed"])))
    for split, count in manifest["counts"].items():
        if count == 0:
            raise InputError(
                f"no {split} segments in {len(recordings)} recordings: a window of {data.segments.length_s:g} s must lie "
                f"inside one block, and there are {manifest['blocks']} blocks, the longest of "
                f"{manifest['longest_block_s']:.1f} s; change data.splits.min_block_s, data.splits.seed or data.segments"
            )
    parts = [part for uid in recordings if (part := store.part(uid))]
    assert len(parts) == len(recordings), "a part vanished while it was used"
    brain = brain_digest(parts)
    names = [feature_name(feature) for feature in data.features]
    digests = {name: feature_digest(name, manifest["features"][name]) for name in names}
    failed = {**manifest["failed"], **manifest.get("left_out", {})}
    return Prepared(store, recordings, failed, content_digest([brain, *digests.items()]), brain, digests)


def _states(uids: Iterable[str], failed: Mapping[str, str], left_out: Mapping[str, str]) -> dict[str, str]:
    """What became of each recording: "ready", or why it failed or is left out."""
    ready = {uid: f"failed: {failed[uid]}" if uid in failed else "ready" for uid in sorted(uids)}
    return ready | {name: f"left out: {reason}" for name, reason in left_out.items()}


def _untrained(parts: Iterable[Part]) -> list[str]:
    """The subjects with no train segments, as "study/subject"."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts[f"{part.study}/{part.subject}"] += part.segments["train"]
    return sorted(who for who, count in counts.items() if not count)


def _block_sizes(plan: SplitPlan) -> dict[str, Any]:
    durations = [_heard_s(plan, planned) for blocks in plan.blocks.values() for planned in blocks]
    return {"blocks": len(durations), "longest_block_s": max(durations, default=0.0)}


def _heard_s(plan: SplitPlan, planned: PlannedBlock) -> float:
    """The seconds of a block; of one that goes on to the end of the recording, to the end of what is heard in it."""
    if math.isfinite(planned.block.duration):
        return planned.block.duration
    return planned.origin_s + plan.stimuli[planned.stimulus].duration - planned.block.start


def _refuse_nothing(work: _Work) -> None:
    if len(work.failed) < len(work.sources):
        return
    uid, reason = next(iter(work.failed.items()))
    more = f" ({len(work.failed) - 1} more recordings failed too)" if len(work.failed) > 1 else ""
    raise InputError(f"{uid}: {reason}{more}")


def _read_events(work: _Work) -> Iterator[Heard]:
    """What was heard in each recording whose events can be read."""

    def read(source: Source) -> dict[str, Any]:
        events = source.study.events(source.root, source.recording)
        sentence_blocks(events, source.study.blocks_by)  # refuses events that form no block
        refuse_unheard(events)
        remarks = [*misplaced(events), *odd_times(events), *sound_remarks(events), *_folder_remarks(source)]
        return {"events": tuple(events), "remarks": remarks}

    by_uid = {source.recording.uid: source for source in work.sources}
    for row in each_recording(work.sources, read, work.logs, "prepare: events"):
        if row["error"]:
            work.fail(row["uid"], row["error"])
            continue
        for remark in row["remarks"]:
            _say_odd(row["uid"], remark)
        source = by_uid[row["uid"]]
        yield Heard(source.recording, row["events"], source.study.blocks_by)


def _folder_remarks(source: Source) -> list[str]:
    """What is odd about a recording in a folder of the user's, such as electrodes that are placed by their names."""
    if isinstance(source.study, FolderStudy):
        with suppress(InputError):  # said when the signal is read
            return source.study.problems(source.root, source.recording)
    return []


def _make_parts(work: _Work, jobs: Sequence[Job], current: dict[str, Part]) -> None:
    """Make the parts that are not ``current``, which then are."""
    others = [job for job in jobs if (part := current.get(job.source.recording.uid)) is None or part.key != job.key]
    missing = [job for job in others if not job.adopt(work.tables)]
    if len(missing) < len(others):
        console.print(f"prepare: {len(others) - len(missing)} signals are there already, in another store", highlight=False)

    def show(outcome: dict[str, Any]) -> None:
        if outcome["error"]:
            work.fail(outcome["uid"], outcome["error"])
        for remark in outcome["remarks"]:
            _say_odd(outcome["uid"], remark)

    write_parts(missing, work.logs, "prepare: signals", show)
    for uid in (job.source.recording.uid for job in others):
        part = work.store.part(uid) if uid not in work.failed else None
        if part:
            current[uid] = part


def _report(line: str) -> None:
    console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)


def _say_odd(uid: str, remark: str) -> None:
    console.print(f"odd {uid}: {remark}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def _recordings_table(parts: dict[str, Part], failed: dict[str, str], data: "DataConfig") -> pa.Table:
    rows = [
        {
            "recording": part.uid,
            "study": part.study,
            "subject": part.subject,
            "seconds": part.samples / data.signal.rate_hz,
            "channels": len(part.channels),
            "bad_channels": len(part.channels) - sum(part.valid),
            "status": "ready",
        }
        | {f"{split}_segments": count for split, count in part.segments.items()}
        for part in parts.values()
    ]
    return pa.Table.from_pylist(rows + [{"recording": uid, "status": reason} for uid, reason in failed.items()])


def _stimuli_table(plan: SplitPlan) -> pa.Table:
    splits: dict[str, set[str]] = {}
    for block in (block for blocks in plan.blocks.values() for block in blocks):
        splits.setdefault(block.stimulus, set()).add(block.split)
    return pa.Table.from_pylist(
        [
            {
                "stimulus": key,
                "split": ", ".join(sorted(splits[key])),
                "seconds": stimulus.duration,
                "sounds": [sound.filepath for sound in stimulus.sounds],
                "words": " ".join(word.word for word in stimulus.words),
            }
            for key, stimulus in sorted(plan.stimuli.items())
        ]
    )
