"""Tables: everything training reads, once on a node, as memory maps that all workers and trials share.

Batches are formed by index: a step names rows, and the windows are cut, centred and clamped where the tables lie.
Dimension letters: B segments, C channels, T samples, D feature dimensions, L layouts, R recordings.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raybrain.batch import Batch, FeatureSlice, Layout, Shapes
from raybrain.excerpts import Excerpts
from raybrain.experiment import TrainConfig
from raybrain.features.frame_table import FeatureTable
from raybrain.recording import means_subject
from raybrain.signal.window import Window, WindowConfig
from raybrain.store import Store
from raybrain.tasks.candidates import WordSegments
from raybrain.train.maps import SPLITS, brain_map, feature_map, read_meta

DEVICE_SHARE = 0.6  # of the memory of a GPU, or of a process's share of it, that tables may take


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
    window: Window
    where: str = field(default="memory map")

    @cached_property
    def shapes(self) -> Shapes:
        """The sizes an encoder is built for."""
        return Shapes(
            channels=self.signal.shape[1],
            subjects=tuple(f"{study}/{subject}" for study, subject in self.meta["subjects"]),
            features=sum(table.size for table in self.features),
            times=self.window.times,
            rate_hz=self.window.rate_hz,
            tmin_s=self.window.tmin_s,
            layouts=self.layouts,
            slices=tuple(
                FeatureSlice(table.name, stop - table.size, stop, table.weights)
                for table, stop in zip(self.features, itertools.accumulate(t.size for t in self.features), strict=True)
            ),
        )

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The sensors behind ``positions`` and ``valid``, without padding."""
        layouts = []
        for known, positions, valid in zip(self.meta["layouts"], self.positions.tolist(), self.valid.tolist(), strict=True):
            count = len(known["channels"])
            xy = tuple((x, y) for x, y in positions[:count])
            xyz = tuple(place and (place[0], place[1], place[2]) for place in known["places"])
            layouts.append(Layout(tuple(known["channels"]), xy, xyz, tuple(valid[:count])))
        return tuple(layouts)

    @property
    def device(self) -> torch.device:
        """Where the tables lie."""
        return self.signal.device

    def brain(self, rows: Tensor, draws: Tensor) -> Batch:
        """The brain during some segments: cut, baselined, centred and clamped; [B C T]."""
        recording = self.recording[rows]
        return Batch(
            signal=self.window.cut(self.signal, self.start[rows], self.centre[recording]),
            subject=self.subject[recording],
            layout=self.layout[recording],
            positions=self.positions,
            valid=self.valid,
            draws=draws,
            segment=rows,
        )

    def speech(self, rows: Tensor) -> Tensor:
        """The features of what was heard in some segments: nearest frames at the brain's rate, [B D T]."""
        times = torch.arange(self.window.times, device=self.device, dtype=torch.float64) / self.window.rate_hz
        parts = [table.of(rows, times) for table in self.features]
        return torch.cat(parts, dim=2).transpose(1, 2).contiguous()

    def words(self, split: str, subjects: int | None = None) -> WordSegments:
        """The segments of a split that are anchored at words.

        With ``subjects`` only those of that many subjects of each study, the first in order of their names.
        """
        rows, recording = self.rows[split].cpu(), self.recording.cpu()
        if subjects is not None:
            among_first = self._first(subjects, range(len(self.meta["subjects"])))
            rows = rows[among_first[self.subject.cpu()[recording[rows]]]]
        return WordSegments(rows, recording[rows], self.candidate.cpu()[rows], self.meta["candidates"])

    def _first(self, count: int, among: Iterable[int]) -> Tensor:
        """Which subjects are the first ``count`` of their study, in order of their names, ``among`` some."""
        taken: dict[str, int] = {}
        first = torch.zeros(len(self.meta["subjects"]), dtype=torch.bool)
        for number in sorted(among):  # they are in order of study and subject
            study = self.meta["subjects"][number][0]
            taken[study] = taken.get(study, 0) + 1
            first[number] = taken[study] <= count
        return first

    def limited(self, train: TrainConfig, only_left_out: bool = False) -> "Tables":
        """These tables with the train segments that settings ask for: of some subjects, and of each recording the first share.

        Who is not trained with is not validated with either, unless that is how splits are made. The train segments of those
        whom ``train.leave_out`` names become the split "calibration". With ``only_left_out`` nobody else is tested.
        """
        if train.subjects is None and not train.leave_out and train.share == 1:
            return self
        who = self.subject[self.recording]
        named = self.named(train.leave_out)
        trained = torch.unique(who[self.rows["train"]]).tolist()
        kept = self._first(len(trained) if train.subjects is None else train.subjects, set(trained) - set(named.tolist()))
        left_out = torch.zeros(len(kept), dtype=torch.bool)
        left_out[trained] = True
        left_out &= ~kept
        rows = {name: some[~left_out[who[some]]] if name != "test" else some for name, some in self.rows.items()}
        if train.leave_out:
            every = self.rows["train"]
            rows["calibration"] = every[torch.isin(who[every], named)]
        if only_left_out:
            rows["test"] = rows["test"][torch.isin(who[rows["test"]], named)]
        return replace(self, rows={**rows, "train": self._earliest(rows["train"], train.share)})

    def named(self, names: Sequence[str]) -> Tensor:
        """The numbers of the subjects who are meant by some names."""
        known = enumerate(self.meta["subjects"])
        numbers = [number for number, subject in known if any(means_subject(name, *subject) for name in names)]
        return torch.tensor(numbers, dtype=torch.long)

    def _earliest(self, rows: Tensor, share: float) -> Tensor:
        """The first ``share`` of the segments of each recording, in time; they keep their order."""
        kept = torch.zeros(len(rows), dtype=torch.bool)
        for recording in torch.unique(self.recording[rows]).tolist():
            mine = torch.nonzero(self.recording[rows] == recording)[:, 0]
            count = math.ceil(share * len(mine))
            kept[mine[torch.argsort(self.start[rows[mine]], stable=True)[:count]]] = True
        return rows[kept]

    def heard(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of some segments, a number for the stimulus that each is a stretch of, and the seconds at which it begins there."""
        table, rows = self.features[0], rows.to(self.device)
        return table.begin[rows].cpu(), (table.first[rows] / table.rate_hz).cpu()

    def excerpts(self, rows: Tensor) -> Excerpts:
        """Where some segments lie in what was heard."""
        table, rows = self.features[0], rows.to(self.device)
        return Excerpts(
            stimulus=table.begin[rows],
            start_s=table.first[rows] / table.rate_hz,
            subject=self.subject[self.recording[rows]],
            length_s=self.window.times / self.window.rate_hz,
            rate_hz=self.window.rate_hz,
        )

    def heard_s(self, rows: Tensor) -> Tensor:
        """The seconds of some segments in which their stimulus is heard; the rest lies before or after it."""
        table, rows = self.features[0], rows.to(self.device)
        first, count = table.first[rows], table.count[rows]
        last = first + self.window.times / self.window.rate_hz * table.rate_hz
        return ((torch.minimum(last, count) - first.clamp(min=0)).clamp(min=0) / table.rate_hz).cpu()

    def shifted(self, seconds: float) -> "Tables":
        """These tables with every segment so much later in its recording, or earlier where the recording ends before.

        A recording reaches from its first segment to its last; in one too short for either, the segment moves by half of it.
        """
        count = len(self.subject)
        shift = round(seconds * self.window.rate_hz)
        first = self.start.new_full((count,), int(self.start.max())).scatter_reduce(0, self.recording, self.start, "amin")
        last = self.start.new_zeros(count).scatter_reduce(0, self.recording, self.start, "amax")
        first, last = first[self.recording], last[self.recording]
        later, earlier = self.start + shift, self.start - shift
        half = first + (self.start - first + (last - first) // 2) % (last - first + 1)
        return self.moved(torch.where(later <= last, later, torch.where(earlier >= first, earlier, half)))

    def moved(self, start: Tensor) -> "Tables":
        """These tables with segments that begin at other rows of ``signal``, and what is heard there."""
        later = (start - self.start) / self.window.rate_hz
        features = [replace(table, first=table.first + later * table.rate_hz) for table in self.features]
        return replace(self, start=start, features=features)

    def picked(self, rows: Tensor, start: Tensor) -> "Tables":
        """Some segments alone, in this order, each beginning at another row of ``signal``."""
        later = (start - self.start[rows]) / self.window.rate_hz
        features = [
            replace(table, first=table.first[rows] + later * table.rate_hz, begin=table.begin[rows], count=table.count[rows])
            for table in self.features
        ]
        candidate, recording = self.candidate[rows], self.recording[rows]
        return replace(self, start=start, candidate=candidate, recording=recording, features=features, rows={})

    def place(self, device: torch.device, share: float = 1.0) -> "Tables":
        """These tables on ``device``, or as they are if they would take too much of its memory.

        Args:
            device: what is computed on.
            share: of the device that is this process's; others may be about to take theirs.
        """
        if device.type == "cpu":
            return self
        torch.cuda.empty_cache()  # what an earlier trial of this process has left
        large = [self.signal, *(table.frames for table in self.features)]
        needed = sum(tensor.numel() * tensor.element_size() for tensor in large)
        free, total = torch.cuda.mem_get_info(device)
        if needed > DEVICE_SHARE * min(free, share * total):
            return self
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        features = [table.to(device) for table in self.features]
        rows = {split: tensor.to(device) for split, tensor in self.rows.items()}
        return Tables(**moved, features=features, rows=rows, meta=self.meta, window=self.window, where="GPU memory")

    def names(self, rows: Iterable[int]) -> list[str]:
        """The recordings of some segments, each once, for messages."""
        uids = self.meta["recordings"]
        return sorted({uids[int(self.recording[row])] for row in rows})


def open_tables(
    store: Store, uids: Iterable[str], brain: str, features: Mapping[str, str], folder: Path, window: WindowConfig
) -> Tables:
    """The tables of a store on this node; the first process to ask makes them, the others wait.

    Args:
        store: prepared data.
        uids: the recordings to use.
        brain: names the content of their signals and segments (Prepared.brain).
        features: names of the features, in order, each with a digest of its content (Prepared.features).
        folder: where memory maps lie; best on a disk of this node.
        window: how much later the brain is read, and how far values may go.
    """
    maps = [feature_map(store, name, digest, folder) for name, digest in features.items()]
    return load_tables(brain_map(store, list(uids), brain, folder), maps, window)


def load_tables(brain: Path, features: Iterable[Path], window: WindowConfig) -> Tables:
    """The tables in these folders, as memory maps."""
    meta = read_meta(brain)

    def tensor(name: str) -> Tensor:
        return torch.from_numpy(np.load(brain / f"{name}.npy"))

    small = ("centre", "layout", "positions", "valid", "subject", "recording", "start", "candidate")
    cut = Window(**{name: meta[name] for name in ("rate_hz", "tmin_s", "samples", "baseline_samples")})
    tensors: dict[str, Any] = {name: tensor(name) for name in small}
    stimulus, stimulus_s, split = (tensor(name) for name in ("stimulus", "stimulus_s", "split"))
    return Tables(
        _mapped(brain / "signal.npy"),
        **tensors,
        features=[_feature_table(path, meta["stimuli"], stimulus, stimulus_s) for path in features],
        rows={name: torch.nonzero(split == code)[:, 0] for code, name in enumerate(SPLITS)},
        meta=meta,
        window=cut.read_with(window),
    )


def _feature_table(path: Path, stimuli: list[str], stimulus: Tensor, stimulus_s: Tensor) -> FeatureTable:
    """A feature, with its place in each segment; segments say which of ``stimuli`` they are cut from, and when."""
    meta = read_meta(path)
    missing = set(stimuli) - set(meta["stimuli"])
    assert not missing, f"{len(missing)} stimuli have no {meta['name']}"
    begin, count = torch.tensor([meta["stimuli"][key] for key in stimuli]).reshape(-1, 2).T
    return FeatureTable(
        name=meta["name"],
        rate_hz=meta["rate_hz"],
        frames=_mapped(path / "frames.npy"),
        first=stimulus_s * meta["rate_hz"],
        begin=begin[stimulus],
        count=count[stimulus],
        weights=tuple(meta["weights"]),
    )


def _mapped(path: Path) -> Tensor:
    array = np.load(path, mmap_mode="c")  # copy on write: torch wants a writable array
    return torch.from_numpy(array)
