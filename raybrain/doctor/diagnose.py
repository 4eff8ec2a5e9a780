"""Run: all that is looked at, and what an experiment will take."""

import sys
from collections.abc import Iterator, Sequence

from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.doctor.extent import Extent, Footprint, Seen, look_at, sizes
from raybrain.doctor.findings import Finding, refused
from raybrain.doctor.machine import cpus, device, examine, memory_bytes
from raybrain.doctor.speed import Speed, measure
from raybrain.download.fetch import free_bytes
from raybrain.download.unpack import amount
from raybrain.experiment import Experiment
from raybrain.store import Store
from raybrain.train.order import contrast, resolve

LONG_S = 7 * 24 * 3600.0
CHANNELS, SUBJECTS = 208, 27  # where nobody knows: those of the paper's largest study


def run(cluster: Cluster, experiment: Experiment | None = None) -> Iterator[Finding]:
    """Look at the machine, and at what ``experiment`` needs of it; each finding as it is there."""
    yield from examine(cluster)
    if experiment is None:
        return
    seen: list[Seen] = []
    for study in experiment.data.studies:
        seen.append(look_at(study, cluster))
        yield seen[-1].finding
    known = [found.extent for found in seen if found.extent is not None]
    expected = sizes(experiment.data, known) if len(known) == len(seen) else None
    if expected:
        yield from _space(experiment, cluster, expected, sum(found.missing for found in seen))
        yield _prepare_memory(expected)
    else:
        yield Finding("prepared data", "not known without the recordings", "warn", "look again when they are there")
    yield from _training(experiment, cluster, known, expected)


def _space(experiment: Experiment, cluster: Cluster, expected: Footprint, missing: int) -> Iterator[Finding]:
    """What is going to be written, and whether each disk has room for all that falls to it."""
    store = cluster.home / "stores" / experiment.data.brain_signature
    there = (store / "manifest.json").exists()
    yield Finding("prepared data", f"there: {store}" if there else f"at most {amount(expected.store)}")
    yield Finding("memory maps", f"at most {amount(expected.maps)}")
    needs = {cluster.home: missing + (0.0 if there else expected.store), cluster.maps: expected.maps}
    if device(cluster.home) == device(cluster.maps):
        needs = {cluster.home: sum(needs.values())}
    for folder, needed in needs.items():
        free = free_bytes(folder)
        told = f"{amount(needed)} in all are going to be written to {folder}, {amount(free)} are free"
        full = "make room, or choose another disk with --home DIR or --cluster scratch=DIR"
        yield Finding("disk", told) if needed <= free else Finding("disk", told, "bad", full)


def _prepare_memory(expected: Footprint) -> Finding:
    """One recording a CPU at a time, each with some copies of its signal."""
    total, _ = memory_bytes()
    needed = expected.task * cpus()
    told = f"about {amount(expected.task)} a recording, {cpus()} at a time"
    if needed <= total:
        return Finding("memory to prepare", told)
    return Finding("memory to prepare", told, "warn", "give Ray fewer CPUs: `ray start --head --num-cpus 1` and --address auto")


def _training(
    experiment: Experiment, cluster: Cluster, known: Sequence[Extent], expected: Footprint | None
) -> Iterator[Finding]:
    """A step, all of them, and the memory of a worker."""
    channels = max((extent.channels for extent in known), default=CHANNELS)
    subjects = sum(extent.subjects or extent.recordings for extent in known) or SUBJECTS
    segments = _segments(experiment, cluster, expected)
    train = resolve(experiment.train, cluster.workers)
    try:
        speed = measure(experiment, cluster, channels, subjects)
        updates = contrast(train, cluster.workers, segments or sys.maxsize).updates_per_epoch
    except InputError as error:
        yield refused("training", error)
        return
    batch = f"{train.batch_size} segments" + (f" over {cluster.workers} workers" if cluster.workers > 1 else "")
    guess = "" if speed.segments * cluster.workers == train.batch_size else f", going by one of {speed.segments}"
    told = f"{speed.seconds:.3g} s on {speed.device} for {batch}{guess}; {speed.parameters:,} parameters"
    yield Finding("a training step", told)
    seconds = speed.seconds * updates * train.epochs
    some = f"about {segments:,} train segments, " if segments else ""
    told = f"{some}{updates:,} steps an epoch, {train.epochs} epochs at most: {duration(seconds)}"
    long = seconds > LONG_S
    yield Finding("training", told, "warn" if long else "ok", "use a GPU, more --workers or a smaller encoder" if long else "")
    yield _worker_memory(speed, cluster)


def _worker_memory(speed: Speed, cluster: Cluster) -> Finding:
    total, _ = memory_bytes()
    gpu = f", {amount(speed.device_memory)} on the GPU" if speed.device_memory else ""
    told = f"{amount(speed.memory)}{gpu}, and the memory maps as far as there is room"
    if speed.memory * cluster.workers <= total:
        return Finding("memory of a worker", told)
    return Finding("memory of a worker", told, "bad", "type a smaller train.batch_size, or use a machine with more memory")


def _segments(experiment: Experiment, cluster: Cluster, expected: Footprint | None) -> int:
    """Of the train split: as prepared, else as expected; 0 if nobody knows."""
    try:
        manifest = Store(cluster.home / "stores" / experiment.data.brain_signature).manifest
        return int(manifest["counts"]["train"])
    except InputError:
        return int(expected.train) if expected else 0


def duration(seconds: float) -> str:
    """Seconds for people: 3.5 h."""
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
