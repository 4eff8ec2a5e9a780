"""Extent: how much data an experiment has, from the recordings if they are there, else from what is known of its studies."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.doctor.findings import Finding, refused
from raybrain.download.unpack import amount
from raybrain.experiment import DataConfig
from raybrain.identity import locate
from raybrain.recording import Recording
from raybrain.studies.base import Study

HEADERS = 3  # that are read of a study
COPIES = 3  # of a recording's float64 signal that are in memory while it is prepared
BRAIN = ("mag", "grad"), ("eeg",)


@dataclass(frozen=True)
class Extent:
    """Of one study: ``subjects`` and ``hertz`` are 0 where they are not known."""

    recordings: int
    subjects: int
    hours: float
    channels: int
    hertz: float

    @property
    def stimuli_hours(self) -> float:
        """Of different speech: as if all subjects heard the same; all of it if that is not known."""
        return self.hours / max(1, self.subjects)

    @property
    def task_bytes(self) -> float:
        """Memory that it takes to prepare a recording."""
        return COPIES * 8.0 * self.channels * self.hertz * self.hours * 3600 / max(1, self.recordings)


@dataclass(frozen=True)
class Footprint:
    """Of all studies together, when they are prepared: bytes on disk and segments."""

    store: float
    maps: float
    train: float
    valid: float
    task: float


@dataclass(frozen=True)
class Seen:
    """What was seen of a study; ``extent`` is None if nobody knows, ``missing`` are bytes to be downloaded."""

    finding: Finding
    extent: Extent | None
    missing: int = 0


def look_at(study: Study, cluster: Cluster) -> Seen:
    """How much there is of a study, or would be."""
    what = f"study {study.name}"
    try:
        study = locate(study, cluster.home)
        root = _root(study, cluster.cache)
        if root is None:
            return _to_download(study, cluster, what)
        recordings = study.recordings(root)
        found = _read(study, root, recordings)
    except InputError as error:
        return Seen(refused(what, error), _known(study))
    except OSError as error:
        return Seen(Finding(what, f"{error.filename}: {error.strerror}", "bad"), _known(study))
    expected = study.facts.recordings if study.whole else 0
    told = (
        f"{found.recordings} recordings of {found.subjects} subjects, {found.hours:.1f} h, {found.channels} channels in {root}"
    )
    if expected and found.recordings != expected:
        do = f"{expected} recordings are expected; look with `raybrain studies check {study.typed}`"
        return Seen(Finding(what, told, "warn", do), found)
    return Seen(Finding(what, told), found)


def _root(study: Study, cache: Path) -> Path | None:
    """Where a study lies; None if it must be downloaded."""
    if not study.hosts:
        return study.fetch(cache)
    download = study.download(cache)
    return download.folder if download.own() or download.ready() else None


def _to_download(study: Study, cluster: Cluster, what: str) -> Seen:
    """What is missing, by the first host that answers."""
    download, reasons = study.download(cluster.cache), []
    for offer in download.survey():
        if not offer.error:
            missing = offer.bytes(missing=True)
            told = f"{amount(missing)} to download from {offer.host}, {len(offer.missing)} files"
            do = f"raybrain studies fetch {study.typed} --home {shlex.quote(str(cluster.home))}"
            return Seen(Finding(what, told, "ok", do), _known(study), missing)
        reasons.append(offer.error)
    told = f"not there, and no host answers: {reasons[0]}"
    return Seen(Finding(what, told, "warn", f"put it, or a link to it, at {download.folder}"), _known(study))


def _known(study: Study) -> Extent | None:
    facts = study.facts
    if not (facts.hours and facts.channels):
        return None
    return Extent(facts.recordings, 0, facts.hours, facts.channels, facts.hertz)


def _read(study: Study, root: Path, recordings: Sequence[Recording]) -> Extent:
    """The extent of a study, from the headers of some recordings."""
    some = [recordings[len(recordings) * number // HEADERS] for number in range(HEADERS)]
    seconds, channels, hertz = [], [], []
    for recording in dict.fromkeys(some):
        raw = study.raw(root, recording)
        kinds = raw.get_channel_types()
        counts = [sum(kind in wanted for kind in kinds) for wanted in BRAIN]
        channels.append(counts[0] or counts[1])
        hertz.append(float(raw.info["sfreq"]))
        seconds.append(raw.n_times / hertz[-1])
    hours = sum(seconds) / len(seconds) * len(recordings) / 3600
    subjects = len({(recording.study, recording.subject) for recording in recordings})
    return Extent(len(recordings), subjects, hours, max(channels), max(hertz))


def sizes(data: DataConfig, extents: Sequence[Extent]) -> Footprint:
    """What the prepared data of some studies will take: float32 signal at one rate, and frames once a stimulus."""
    rate, split = data.signal.rate_hz, data.splits
    hours = sum(extent.hours for extent in extents)
    widest = max(extent.channels for extent in extents)
    frame = sum(feature.rate_hz * feature.size * 4 for feature in data.features)
    frames = 3600 * frame * sum(extent.stimuli_hours for extent in extents)
    windows = 3600 * hours / data.segments.stride_s
    return Footprint(
        store=frames + sum(3600 * rate * 4 * extent.hours * extent.channels for extent in extents),
        maps=frames + 3600 * rate * 4 * hours * widest,
        train=windows * (1 - split.test_ratio - split.valid_ratio - split.remove_ratio),
        valid=windows * split.valid_ratio,
        task=max(extent.task_bytes for extent in extents),
    )
