"""BIDS folders of people who listen to speech: ``bids:PATH``.

What was heard is read from ``*_events.tsv``. Onsets count from the first sample of the recording, as BIDS says, and so do
the times of a raw object, whatever its ``first_samp``; ``onsets=acquisition`` is for datasets whose onsets count from the
start of the acquisition instead: ``first_samp`` is then taken off. Rows that matter:

- sounds: ``trial_type`` "sound", or a sound file in a row that is neither a word nor a phoneme. The file is named by
  ``stim_file`` (``sounds.column``) and lies in ``stimuli/`` or is relative to the dataset. A sound lasts to the end of its
  file at most, and if its duration is n/a or 0.
- words: a ``word``, or ``trial_type`` "word" with the word in ``value``. ``sequence_id`` (``words.sentence_column``) names
  the sentence and ``word_index`` (``words.index_column``) the place in it, from 0 or 1. ``sequence_uid`` and ``sequence``
  (the sentence's text) are used if there.
- phonemes: ``trial_type`` "phoneme", with the phoneme in ``phoneme`` or ``value``.
- bad stretches: ``trial_type`` "BAD" or "BAD_..." with a duration, or "boundary": no window spans one, unless asked for.

``trial_type`` may hold a dict of plain values, whose keys then count as columns and whose ``kind`` as the trial_type.

Words and phonemes that the table lacks are taken from TextGrids beside the sounds. Sentences are those of the sentence
column; else of a TextGrid's sentence tier; else one ends where ``word_index`` falls; else with the sound, and at a pause of
``words.pause_s``.

A player's clock drifts against that of the recorder. Where rows give seconds of the sound (``sounds.time_column``), or come
at a beat (``sounds.tick``), offset and drift of each sound are fitted, and words that give seconds of their sound are placed
by that map. Such words may stand for sound rows where there are none.
"""

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from raybrain.config import InputError, hint
from raybrain.events import Event
from raybrain.recording import Recording
from raybrain.studies.base import Facts, FolderStudy, LeftOut
from raybrain.studies.bids.bids_events import Reading, SoundRows, WordRows, read_events
from raybrain.studies.bids.bids_signal import mark_bad, nearest, read_signal_file
from raybrain.studies.bids.bids_stimuli import textgrids
from raybrain.studies.bids.inventory import (
    BESIDE,
    DATATYPES,
    FREE,
    READ,
    Inventory,
    SignalFile,
    applies,
    suffix_of,
    take_inventory,
)
from raybrain.studies.choosing import choose
from raybrain.studies.dataset import title
from raybrain.studies.readers.signal_files import check_covers_events, check_length

if TYPE_CHECKING:
    import mne

SIDECARS = (*DATATYPES, "events", "channels", "electrodes", "coordsystem", "headshape", "markers")


class Bids(FolderStudy, name="bids", shorthand="path"):
    """The EEG and MEG recordings of a BIDS folder, of one task or of some subjects if asked.

    Attributes:
        label: what the study is called in tables, after "bids-"; by default a few words of the dataset's Name.
        task: the one to take; None for all.
        subjects: some of them, as in sub-01 without the sub-; none named for all.
        onsets: from where the onsets of events.tsv count: the first sample, or the start of the acquisition (first_samp).
        start_s: is added to onsets, for a sound that came later than its trigger.
        sounds: rows of events.tsv that are sounds.
        words: rows and tiers with words, phonemes and sentences.
    """

    version: ClassVar[int] = 4
    facts: ClassVar[Facts] = Facts(licence="see the dataset", language="", device="MEG or EEG")

    label: str = Field("", pattern="^[a-z0-9-]*$")
    task: str | None = None
    subjects: tuple[str, ...] = ()
    onsets: Literal["first_sample", "acquisition"] = "first_sample"
    start_s: float = 0.0
    sounds: SoundRows = SoundRows()
    words: WordRows = WordRows()

    @field_validator("subjects")
    @classmethod
    def _labels(cls, subjects: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(subject.removeprefix("sub-") for subject in subjects)

    def fetch(self, cache: Path) -> Path:
        """The folder itself, if it is a BIDS dataset."""
        root = super().fetch(cache)
        if not (root / "dataset_description.json").is_file():
            raise InputError(
                f"{root} is not a BIDS dataset: it has no dataset_description.json; type bids:PATH with its folder"
            )
        return root

    def recordings(self, root: Path) -> list[Recording]:
        """All EEG and MEG recordings but empty-room ones, sorted."""
        inventory = self._inventory(root)
        if not inventory.files:
            more = [out for out in inventory.left_out if out.odd]
            others = f" (and {len(more) - 1} more are left out)" if more[1:] else ""
            wanted = f"looked for sub-*/[ses-*/](eeg|meg)/* with {' '.join(READ)}"
            raise InputError(
                f"no EEG or MEG recording in {root} can be used: {more[0].path} {more[0].reason}{others}"
                if more
                else f"no EEG or MEG recordings in {root}: {wanted}"
            )
        chosen = choose(list(inventory.files), self.subjects, None, root)
        tasks = {recording.task for recording in inventory.files}
        if self.task is not None and self.task not in tasks:
            raise InputError(f"no task {self.task!r} in {root}{hint(self.task, tasks)}")
        kept = [recording for recording in chosen if self.task in (None, recording.task)]
        if not kept:
            raise InputError(f"no recording of task {self.task!r} by subjects {', '.join(self.subjects)} in {root}")
        return kept

    def left_out(self, root: Path) -> list[LeftOut]:
        """What of the dataset is no recording though it could be one; of the subjects that are asked for, if any are named."""
        tops = tuple(f"sub-{subject}/" for subject in self.subjects)
        left_out = self._inventory(root).left_out
        return [out for out in left_out if not tops or f"{out.path}/".startswith(tops)]

    def raw(self, root: Path, recording: Recording) -> "mne.io.BaseRaw":
        """The signal; bad channels are those of channels.tsv, and bad stretches those of events.tsv and of the file.

        Raises:
            InputError: the file cannot be read, or holds less than its header, sidecar or events promise.
        """
        signal = self._signal(root, recording)
        sidecars = list(_applicable(root, signal))
        raw, _ = read_signal_file(signal.file, sidecars)
        check_length(raw, signal.file, [sidecar for sidecar in sidecars if sidecar.name.endswith(f"_{signal.suffix}.json")])
        events = _events_file(root, signal)
        check_covers_events(raw, signal.file, events, self._shift_s(raw))
        if events:
            mark_bad(raw, events, self._shift_s(raw) - self.start_s)
        return raw

    def events(self, root: Path, recording: Recording) -> list[Event]:
        """The sounds, words and phonemes of events.tsv and of TextGrids, sorted."""
        return self._heard(root, recording).events

    def problems(self, root: Path, recording: Recording) -> list[str]:
        """Sidecars that do not fit the signal, and marks that do not fit the clock of their sound."""
        signal = self._signal(root, recording)
        _, remarks = read_signal_file(signal.file, list(_applicable(root, signal)))
        return remarks + self._heard(root, recording).remarks

    def _heard(self, root: Path, recording: Recording) -> Reading:
        signal = self._signal(root, recording)
        file = _events_file(root, signal)
        if file is None:
            wanted = "_".join(f"{key}-{value}" for key, value in signal.entities.items() if key != "split")
            other = next((path.name for path in sorted(signal.file.parent.glob(f"{glob.escape(wanted)}_events*"))), "")
            there = f" ({other} is there: write it as a table separated by tabs, with that name)" if other else ""
            raise InputError(
                f"no {signal.file.parent / wanted}_events.tsv{there}; it should list the sounds and words of this recording"
            )
        raw = self.raw(root, recording) if self.onsets == "acquisition" else None
        return read_events(root, file, self.sounds, self.words, self._shift_s(raw))

    def _shift_s(self, raw: "mne.io.BaseRaw | None") -> float:
        """What is added to onsets: to count from the first sample, and to be heard when they say."""
        late = raw.first_samp / raw.info["sfreq"] if raw is not None and self.onsets == "acquisition" else 0.0
        return float(self.start_s - late)

    def _inventory(self, root: Path, subject: str | None = None) -> Inventory:
        return take_inventory(root, f"bids-{self.label or title(root)}", subject)

    def _signal(self, root: Path, recording: Recording) -> SignalFile:
        files = self._inventory(root, recording.subject).files
        if recording not in files:
            raise InputError(f"no recording {recording.uid} in {root}{hint(recording.uid, (other.uid for other in files))}")
        return files[recording]

    def sources(self, root: Path, recording: Recording) -> list[Path]:
        """The data and every sidecar that applies to it, those of folders above included, and the TextGrids of its sounds."""
        signal = self._signal(root, recording)
        events = _events_file(root, signal)
        return sorted({signal.file, *_applicable(root, signal), *textgrids(root, events, self.sounds.column)})


def _applicable(root: Path, signal: SignalFile) -> Iterator[Path]:
    """The files of the recording's folder and of those above it whose names do not speak of another recording."""
    folder = signal.file.parent
    while len(folder.parts) >= len(root.parts):
        for name in sorted(name for name in os.listdir(folder) if "." in name and suffix_of(name) in SIDECARS):
            file = folder / name
            free = (*FREE, "acq") if suffix_of(name) in BESIDE else FREE
            if applies(file, signal.entities, free) and file.is_file():
                yield file
        folder = folder.parent


def _events_file(root: Path, signal: SignalFile) -> Path | None:
    """The nearest events.tsv that applies: the recording's own, or one it inherits."""
    return nearest(list(_applicable(root, signal)), "events.tsv")
