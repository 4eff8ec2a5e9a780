"""Diagnose: all that is looked at, and what an experiment will take."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from raybrain.bucket.address import typed_path
from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.doctor.findings import Finding, failed
from raybrain.doctor.machine import cpus, device, examine, memory_bytes
from raybrain.download.fetch import free_bytes
from raybrain.download.unpack import amount
from raybrain.estimate.costs import Cost, DataSize, Estimator, duration
from raybrain.estimate.extent import folder_of, known_extent, read_extent
from raybrain.estimate.speed import Speed, measure
from raybrain.experiment import Experiment
from raybrain.identity import locate
from raybrain.studies.base import Study
from raybrain.train.order import contrast, resolve

LONG_S = 7 * 24 * 3600.0
CHANNELS, SUBJECTS = 208, 27  # where nobody knows: those of the paper's largest study


@dataclass
class Diagnosis:
    """What is found out, as it is found out.

    Attributes:
        cluster: the machine.
        experiment: also look at what it needs; None for the machine alone.
        cost: what the experiment takes, once that is known.
    """

    cluster: Cluster
    experiment: Experiment | None = None
    cost: Cost | None = None
    missing: int = field(default=0, init=False)  # bytes to be downloaded

    def findings(self) -> Iterator[Finding]:
        """Look at the machine, and at what the experiment needs of it."""
        yield from examine(self.cluster)
        if self.experiment is None:
            return
        for study in self.experiment.data.studies:
            yield self._study(study)
        estimator = Estimator(self.cluster)
        data = estimator.data(self.experiment.data)
        yield from self._disk(self.experiment, data)
        yield from self._training(self.experiment, data, estimator)
        self.cost = estimator.cost([self.experiment])

    def _study(self, study: Study) -> Finding:
        """How much there is of a study, or would be."""
        what = f"study {study.name}"
        try:
            study = locate(study, self.cluster.home)
            root = folder_of(study, self.cluster.cache)
            if root is None:
                return self._to_download(study, what) if study.hosts else _to_make(study, what)
            there = read_extent(study, root)
        except InputError as error:
            return failed(what, error)
        except OSError as error:
            return Finding(what, f"{error.filename}: {error.strerror}", "bad")
        expected = study.facts.recordings if study.whole else 0
        counted = f"{there.recordings} recordings of {there.subjects} subjects, {there.hours:.1f} h, {there.channels} channels"
        if expected and there.recordings != expected:
            advice = f"{expected} recordings are expected; look with `raybrain studies check {study.typed}`"
            return Finding(what, f"{counted} in {root}", "warn", advice)
        return Finding(what, f"{counted} in {root}")

    def _to_download(self, study: Study, what: str) -> Finding:
        """What is missing, by the first host that answers."""
        download, reasons = study.download(self.cluster.cache), []
        for offer in download.survey():
            if not offer.error:
                missing = offer.bytes(missing=True)
                self.missing += missing
                offered = f"{amount(missing)} to download from {offer.host}, {len(offer.missing)} files"
                advice = f"raybrain studies fetch {study.typed} --home {shlex.quote(typed_path(self.cluster.home))}"
                return Finding(what, offered, "ok", advice)
            reasons.append(offer.error)
        reason = f"not there, and no host answers: {reasons[0]}"
        return Finding(what, reason, "warn", f"put it, or a link to it, at {download.folder}")

    def _disk(self, experiment: Experiment, data: DataSize) -> Iterator[Finding]:
        """What is going to be written, whether each disk has room for all that falls to it, and memory to prepare."""
        if data.footprint is None:
            yield Finding("prepared data", "not known without the recordings", "warn", "look again when they are there")
            return
        store = self.cluster.home / "stores" / experiment.data.brain_signature
        yield Finding("prepared data", f"there: {store}" if data.ready else f"at most {amount(data.missing)}")
        yield Finding("memory maps", f"at most {amount(data.footprint.maps)}")
        needs = {self.cluster.home: self.missing + data.missing, self.cluster.maps: data.footprint.maps}
        if device(self.cluster.home) == device(self.cluster.maps):
            needs = {self.cluster.home: sum(needs.values())}
        for folder, needed in needs.items():
            free = free_bytes(folder)
            written = f"{amount(needed)} in all are going to be written to {folder}, {amount(free)} are free"
            full = "make room, or choose another disk with --home DIR or --cluster scratch=DIR"
            yield Finding("disk", written) if needed <= free else Finding("disk", written, "bad", full)
        if not data.ready:
            yield _memory_to_prepare(data.footprint.task)

    def _training(self, experiment: Experiment, data: DataSize, estimator: Estimator) -> Iterator[Finding]:
        """A step, all of them, and the memory of a worker."""
        cluster, train = self.cluster, resolve(experiment.as_read().train, self.cluster.workers)
        channels = estimator.channels(experiment.data) or CHANNELS
        try:
            speed = measure(experiment, cluster, channels, data.subjects or SUBJECTS)
            contrast(train, cluster.workers, *([] if data.segments is None else [data.segments]))
        except InputError as error:
            yield failed("training", error)
            return
        yield _step(speed, cluster, train.batch_size)
        estimator.paces.remember(experiment, speed)
        cost = estimator.cost([experiment])
        if cost.steps is None or cost.seconds is None:
            steps = train.updates_per_epoch * train.epochs
            known = f"{steps:,} steps at most, by what is not known of the data: {duration(speed.seconds * steps)}"
            yield Finding("training", known, "warn", "look again when the recordings are there")
        else:
            yield _all_steps(data, cost, train.epochs)
        if cost.expense:
            yield Finding("on the cluster", "; ".join(cost.expense.lines()))
        yield _worker_memory(speed, cluster)


def _to_make(study: Study, what: str) -> Finding:
    extent = known_extent(study)
    assert extent is not None, "what is neither downloaded nor made has a folder"
    return Finding(what, f"{extent.recordings} recordings, {extent.hours:.1f} h, {extent.channels} channels, made here")


def _memory_to_prepare(task: float) -> Finding:
    """One recording a CPU at a time, each with some copies of its signal."""
    total, _ = memory_bytes()
    needed = f"about {amount(task)} a recording, {cpus()} at a time"
    if task * cpus() <= total:
        return Finding("memory to prepare", needed)
    advice = "give Ray fewer CPUs: `ray start --head --num-cpus 1` and --address auto"
    return Finding("memory to prepare", needed, "warn", advice)


def _step(speed: Speed, cluster: Cluster, batch_size: int) -> Finding:
    batch = f"{batch_size} segments" + (f" over {cluster.workers} workers" if cluster.workers > 1 else "")
    guess = "" if speed.segments * cluster.workers == batch_size else f", going by one of {speed.segments}"
    measured = f"{speed.seconds:.3g} s on {speed.device} for {batch}{guess}; {speed.parameters:,} parameters"
    return Finding("a training step", measured)


def _all_steps(data: DataSize, cost: Cost, epochs: int) -> Finding:
    assert cost.steps is not None and cost.seconds is not None
    steps = f"about {data.segments:,} train segments, {cost.steps // epochs:,} steps an epoch, {epochs} epochs at most"
    long = cost.seconds > LONG_S
    advice = "use a GPU, more --workers or a smaller encoder" if long else ""
    return Finding("training", f"{steps}: {duration(cost.seconds)}", "warn" if long else "ok", advice)


def _worker_memory(speed: Speed, cluster: Cluster) -> Finding:
    total, _ = memory_bytes()
    gpu = f", {amount(speed.device_memory)} on the GPU" if speed.device_memory else ""
    needed = f"{amount(speed.memory)}{gpu}, and the memory maps as far as there is room"
    if speed.memory * cluster.workers <= total:
        return Finding("memory of a worker", needed)
    return Finding("memory of a worker", needed, "bad", "type a smaller train.batch_size, or use a machine with more memory")
