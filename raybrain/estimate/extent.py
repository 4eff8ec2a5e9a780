"""Extent: how much data a study has: as it was prepared, else from its recordings, else from what is known of it.

Nothing is downloaded and nothing is made to find out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.data_config import DataConfig
from raybrain.features.base import Feature
from raybrain.identity import locate
from raybrain.recording import Recording
from raybrain.storage import explaining_damage
from raybrain.store import Store
from raybrain.studies.base import Study

HEADERS = 3  # that are read of a study
COPIES = 3  # of a recording's float64 signal that are in memory while it is prepared
BRAIN = ("mag", "grad"), ("eeg",)
FEATURES = 1024  # dimensions of wav2vec 2.0 and its like, whose number only their files say


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
    """Of all studies together, when they are prepared.

    Attributes:
        store: bytes of prepared data and features on disk.
        maps: bytes of memory maps on the disk of each node.
        train: segments of the train split.
        task: bytes of memory that it takes to prepare a recording.
    """

    store: float
    maps: float
    train: float
    task: float


def folder_of(study: Study, cache: Path) -> Path | None:
    """Where a study lies; None if it is still to be downloaded or made.

    Raises:
        InputError: if it should lie somewhere and does not.
    """
    if study.hosts:
        download = study.download(cache)
        return download.folder if download.own() or download.ready() else None
    return None if study.expected.hours else study.fetch(cache)


def extent_of(study: Study, cluster: Cluster) -> Extent | None:
    """How much there is of a study, or would be; None if nobody knows.

    Raises:
        InputError: if it cannot be read.
    """
    study = locate(study, cluster.home)
    root = folder_of(study, cluster.cache)
    return known_extent(study) if root is None else read_extent(study, root)


def known_extent(study: Study) -> Extent | None:
    """What there should be of a study; None if nobody knows."""
    facts = study.expected
    if not (facts.hours and facts.channels):
        return None
    return Extent(facts.recordings, facts.subjects, facts.hours, facts.channels, facts.hertz)


def read_extent(study: Study, root: Path) -> Extent:
    """What there is of a study, from the headers of some recordings.

    Raises:
        InputError: if there are none, or they cannot be read.
    """
    recordings = study.recordings(root)
    some = [recordings[len(recordings) * number // HEADERS] for number in range(HEADERS)]
    seconds, channels, hertz = [], [], []
    for recording in dict.fromkeys(some):
        length_s, count, rate_hz = _header(study, root, recording)
        seconds.append(length_s)
        channels.append(count)
        hertz.append(rate_hz)
    hours = sum(seconds) / len(seconds) * len(recordings) / 3600
    subjects = len({(recording.study, recording.subject) for recording in recordings})
    return Extent(len(recordings), subjects, hours, max(channels), max(hertz))


def _header(study: Study, root: Path, recording: Recording) -> tuple[float, int, float]:
    """Seconds, channels of brain signal, and hertz."""
    raw = study.raw(root, recording)
    kinds = raw.get_channel_types()
    counts = [sum(kind in wanted for kind in kinds) for wanted in BRAIN]
    rate_hz = float(raw.info["sfreq"])
    return raw.n_times / rate_hz, counts[0] or counts[1], rate_hz


def prepared_extents(store: Store) -> list[Extent]:
    """How much there is of each study in a store.

    Raises:
        InputError: if nothing is prepared there.
    """
    import pyarrow.parquet as pq

    failed = store.manifest["failed"]
    path = store.root / "recordings.parquet"
    with explaining_damage(path):
        table = pq.read_table(path, page_checksum_verification=True)
    rows = [row for row in table.to_pylist() if row["recording"] not in failed]
    extents = []
    for study in sorted({row["study"] for row in rows}):
        some = [row for row in rows if row["study"] == study]
        hours = sum(row["seconds"] for row in some) / 3600
        subjects, channels = len({row["subject"] for row in some}), max(row["channels"] for row in some)
        extents.append(Extent(len(some), subjects, hours, channels, 0.0))
    return extents


def footprint(data: DataConfig, extents: Sequence[Extent]) -> Footprint:
    """What the prepared data of some studies take: float32 signal at one rate, and frames once per stimulus."""
    rate, split = data.signal.rate_hz, data.splits
    hours = sum(extent.hours for extent in extents)
    channels = [data.signal.channels(extent.channels) for extent in extents]
    frame = sum(feature.rate_hz * size_of(feature) * 4 for feature in data.features)
    frames = 3600 * frame * sum(extent.stimuli_hours for extent in extents)
    windows = 3600 * hours / data.segments.stride_s
    signal = sum(3600 * rate * 4 * extent.hours * count for extent, count in zip(extents, channels, strict=True))
    return Footprint(
        store=frames + signal,
        maps=frames + 3600 * rate * 4 * hours * max(channels),
        train=windows * (1 - split.test_ratio - split.valid_ratio - split.remove_ratio),
        task=max(extent.task_bytes for extent in extents),
    )


def size_of(feature: Feature) -> int:
    """Dimensions of a feature, or of one like it while its model is not on this machine."""
    try:
        return feature.size
    except InputError:
        return FEATURES
