"""Broderick et al. 2018/2019: 19 people listening to "The Old Man and the Sea" in English, in EEG, in 20 runs each.

The study exists in two forms; the first of these that the folder contains is read:

BIDS, OpenNeuro ds004408: 512 Hz, unfiltered, without events; the EEG starts with the sound and outlasts it.

    sub-001/eeg/sub-001_task-listening_run-01_eeg.vhdr   and ..._channels.tsv, which marks bad channels
    stimuli/audio01.wav, stimuli/audio01.TextGrid        of run 1, with the tiers words and phones

MATLAB, Dryad 10.5061/dryad.070jc (only "Natural Speech" is read): 128 Hz. It does not include the sounds, nor the words as
TextGrids or as JSON of the aligner Gentle; put these anywhere in the folder, named as in the BIDS form or as oldman_run1.*.

    Natural Speech/EEG/Subject1/Subject1_Run1.mat        eegData [samples 128] in microvolts, mastoids, fs

Neither form contains sentences. If the text of a run is in the folder (oldman_run1.txt or audio01.txt), words are matched with
it; otherwise a sentence ends at a pause of half a second or longer. Sentences are the same for everybody who heard the run.

The sentences of Défossez et al. 2023 were found by spaCy in the text. Blocks and splits differ from the published ones wherever
sentences do, in ``data.splits.mode=paper`` too, which follows all other published rules.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from raybrain.config import InputError, hint
from raybrain.download.base import Host
from raybrain.download.dryad import Dryad
from raybrain.download.s3 import OpenNeuro
from raybrain.events import Event, Phoneme, Sound, Word
from raybrain.recording import Recording
from raybrain.studies.base import Facts, Study
from raybrain.studies.bids.bids_table import bad_channels
from raybrain.studies.choosing import choose
from raybrain.studies.readers.gentle import Aligned, read_gentle
from raybrain.studies.readers.signal_files import check_length, read_brainvision, readable
from raybrain.studies.readers.sounds import sound_length_s
from raybrain.studies.readers.textgrids import is_spoken, read_tiers
from raybrain.studies.timing.grouping import WordPlace, places_by_pauses, places_by_text

if TYPE_CHECKING:
    import mne

SUBJECTS, RUNS = 19, 20
MONTAGE = "biosemi128"
LANGUAGE = "en"
MICROVOLT = 1e-6
HERTZ = {".vhdr": 512.0, ".mat": 128.0}
VHDR = re.compile(r"sub-(\w+)_task-listening_run-(\d+)_eeg\.vhdr")
MAT = re.compile(r"Subject(\d+)_Run(\d+)\.mat")
STIMULUS = re.compile(r"(?:audio|oldman_run|run)_?0*(\d+)\.(wav|txt|textgrid|json)", flags=re.IGNORECASE)
NATURAL = "Natural Speech"


class Broderick2019(Study, name="broderick2019"):
    """An audiobook, "The Old Man and the Sea", in EEG: 19 subjects with 20 runs each; OpenNeuro's BIDS or Dryad's MATLAB files.

    Whether both forms number the subjects alike is not known.

    Attributes:
        subjects: only these, such as 001; all if empty.
        max_recordings: keeps the first recordings, sorted by subject and run; None for all.
    """

    facts: ClassVar[Facts] = Facts(
        licence="CC0",
        language=LANGUAGE,
        device="EEG (BioSemi ActiveTwo)",
        doi="10.18112/openneuro.ds004408.v1.0.8",
        recordings=SUBJECTS * RUNS,
        channels=128,
        hours=20.6,
        excluded={},
    )
    hosts: ClassVar[tuple[Host, ...]] = (OpenNeuro("ds004408"), Dryad("10.5061/dryad.070jc", inner=f"{NATURAL}*.zip"))

    subjects: tuple[str, ...] = ()
    max_recordings: int | None = Field(default=None, ge=1)

    @field_validator("subjects")
    @classmethod
    def _labels(cls, subjects: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(subject.removeprefix("sub-") for subject in subjects)

    def wanted(self, path: str) -> bool:
        """The EEG of the chosen subjects and runs, stimuli and files about the dataset; of Dryad's, natural speech only."""
        parts = path.split("/")
        bids = re.match(r"sub-(\w+)/eeg/sub-\w+?_task-listening_run-(\d+)_", path)
        mat = MAT.fullmatch(parts[-1])
        named = bids or mat
        if named:
            in_order = [(f"{subject:03d}", run) for subject in range(1, SUBJECTS + 1) for run in range(1, RUNS + 1)]
            kept = [pair for pair in in_order if not self.subjects or pair[0] in self.subjects][: self.max_recordings]
            return (named[1].zfill(3), int(named[2])) in kept and (mat is None or NATURAL in parts)
        return not parts[0].startswith((".", "derivatives", "sourcedata"))

    def recordings(self, root: Path) -> list[Recording]:
        """One recording per subject and run; in both forms a run has the number of its sound."""
        recordings = [_recording(*match.groups()) for path in _headers(root) if (match := VHDR.fullmatch(path.name))]
        recordings = recordings or [_recording(*match.groups()) for path in _mats(root) if (match := MAT.fullmatch(path.name))]
        if not recordings:
            raise InputError(
                f"no EEG in {root}: looked for sub-*/eeg/sub-*_task-listening_run-*_eeg.vhdr (OpenNeuro ds004408) and "
                f"{NATURAL}/EEG/Subject*/Subject*_Run*.mat (Dryad 10.5061/dryad.070jc)"
            )
        return choose(recordings, self.subjects, self.max_recordings, root)

    def raw(self, root: Path, recording: Recording) -> "mne.io.BaseRaw":
        """128 channels in volts, with the positions of BioSemi's cap; loaded if it is a .mat file.

        Raises:
            InputError: if the file cannot be read, has another form, or is truncated.
        """
        import mne

        file = _file(root, recording)
        raw = _read_mat(file) if file.suffix == ".mat" else _read_brainvision(file)
        montage = mne.channels.make_standard_montage(MONTAGE)
        if set(raw.ch_names) != set(montage.ch_names):
            other = sorted(set(raw.ch_names) ^ set(montage.ch_names))
            raise InputError(
                f"{file} does not have exactly the {len(montage.ch_names)} channels A1 to D32; see {', '.join(other[:5])}"
            )
        raw.set_montage(montage, verbose="error")
        return raw

    def events(self, root: Path, recording: Recording) -> list[Event]:
        """The sound, starting at the first sample, and its words and phonemes."""
        stimulus = _stimulus(root, recording)
        aligned, places = _align(stimulus)
        seconds = sound_length_s(stimulus.wav)
        events: list[Event] = [Sound(start=0.0, duration=seconds, language=LANGUAGE, filepath=str(stimulus.wav.absolute()))]
        events += [
            Word(
                start=word.start,
                duration=word.stop - word.start,
                language=LANGUAGE,
                word=word.label,
                word_index=place.word_index,
                sequence=place.sentence,
            )
            for word, place in zip(aligned.words, places, strict=True)
        ]
        events += [
            Phoneme(start=phone.start, duration=phone.stop - phone.start, language=LANGUAGE, phoneme=phone.label)
            for phone in aligned.phones
        ]
        return sorted(events, key=lambda event: event.start)

    def sources(self, root: Path, recording: Recording) -> list[Path]:
        """The EEG, its sidecars, and the run's words and text; not the sound."""
        file = _file(root, recording)
        stem = file.stem.removesuffix("_eeg")
        beside = [file] if file.suffix == ".mat" else sorted(file.parent.glob(f"{stem}_*"))
        run = int(recording.run)
        return [*beside, *(path for number, kind, path in _stimulus_files(root) if number == run and kind != "wav")]

    def problems(self, root: Path, recording: Recording) -> list[str]:
        """Problems of a recording that can be read: EEG that ends before the sound, words that were not located."""
        raw = self.raw(root, recording)
        sound, *_ = (event for event in self.events(root, recording) if isinstance(event, Sound))
        hertz, usual = raw.info["sfreq"], HERTZ[_file(root, recording).suffix]
        problems = [] if hertz == usual else [f"{hertz:g} Hz, not {usual:g}"]
        lasts = raw.n_times / hertz
        if lasts < sound.duration:
            problems.append(f"the EEG lasts {lasts:.1f} s, less than its sound, {sound.duration:.1f} s")
        aligned, _ = _align(_stimulus(root, recording))
        for words, what in ((aligned.missed, "not located in the sound"), (aligned.unknown, "without known pronunciation")):
            if words:
                problems.append(f"{len(words)} words {what}, such as {words[0]!r}")
        return problems


def _recording(subject: str, run: str) -> Recording:
    return Recording("broderick2019", subject.zfill(3), task="listening", run=run.zfill(2))


def _headers(root: Path) -> list[Path]:
    return sorted(root.glob("sub-*/eeg/*_eeg.vhdr"))


def _mats(root: Path) -> list[Path]:
    """The files of natural speech; the other experiments of the collection use the same names."""
    return sorted([*root.glob(f"**/{NATURAL}/EEG/Subject*/*.mat"), *root.glob("EEG/Subject*/*.mat")])


def _file(root: Path, recording: Recording) -> Path:
    for files, name in ((_headers(root), VHDR), (_mats(root), MAT)):
        known = {_recording(*match.groups()): path for path in files if (match := name.fullmatch(path.name))}
        if known:
            break
    if recording not in known:
        raise InputError(f"no recording {recording.uid} in {root}{hint(recording.uid, (other.uid for other in known))}")
    return known[recording]


def _read_brainvision(file: Path) -> "mne.io.BaseRaw":
    raw = read_brainvision(file)
    sidecar = file.with_suffix(".json")
    check_length(raw, file, [sidecar] if sidecar.is_file() else [])
    bads = bad_channels(file.with_name(file.name.replace("_eeg.vhdr", "_channels.tsv")))
    raw.info["bads"] = [name for name in raw.ch_names if name in bads]
    return raw


def _read_mat(file: Path) -> "mne.io.BaseRaw":
    import mne
    import numpy as np
    import scipy.io

    with readable(file):
        content = scipy.io.loadmat(file, variable_names=["eegData", "fs"])
    names = mne.channels.make_standard_montage(MONTAGE).ch_names
    values, rate = content.get("eegData"), content.get("fs")
    if values is None or rate is None or np.ndim(values) != 2 or np.shape(values)[1] != len(names) or np.size(rate) != 1:
        shapes = {key: np.shape(value) for key, value in content.items() if not key.startswith("__")}
        raise InputError(f"{file}: expected eegData [samples {len(names)}] and fs, found {shapes or 'neither'}")
    info = mne.create_info(names, float(np.squeeze(rate)), "eeg", verbose="error")
    return mne.io.RawArray(np.asarray(values, dtype=float).T * MICROVOLT, info, verbose="error")


@dataclass(frozen=True)
class Presented:
    """The files of one run's stimulus: its sound, its words as TextGrid or Gentle's JSON, and its text if there is one."""

    wav: Path
    aligned: Path
    text: Path | None


def _stimulus(root: Path, recording: Recording) -> Presented:
    number = int(recording.run)
    files = {kind: path for run, kind, path in _stimulus_files(root) if run == number}
    name = f"audio{number:02d}"
    if "wav" not in files:
        raise InputError(f"no sound of run {number} in {root}; expected stimuli/{name}.wav")
    aligned = files.get("textgrid") or files.get("json")
    if aligned is None:
        raise InputError(
            f"no words of run {number} in {root}; expected stimuli/{name}.TextGrid, or Gentle's oldman_run{number}.json"
        )
    return Presented(files["wav"], aligned, files.get("txt"))


def _stimulus_files(root: Path) -> Iterator[tuple[int, str, Path]]:
    """Run, extension and path of all files that are named like stimuli, outside the recordings' folders."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("sub-")):
        for path in sorted(folder.rglob("*")):
            match = STIMULUS.fullmatch(path.name)
            if match and path.is_file():
                yield int(match[1]), match[2].lower(), path


def _align(stimulus: Presented) -> tuple[Aligned, list[WordPlace]]:
    """The words and phonemes of the sound, and the position of each word in its sentence."""
    if stimulus.aligned.suffix == ".json":
        aligned = read_gentle(stimulus.aligned)
    else:
        tiers = {name.lower(): tier for name, tier in read_tiers(stimulus.aligned).items()}
        for tier in ("words", "phones"):
            if tier not in tiers:
                raise InputError(f"{stimulus.aligned} has no tier {tier!r} (found {', '.join(tiers) or 'none'})")
        words, phones = ([part for part in tiers[t] if is_spoken(part.label)] for t in ("words", "phones"))
        if not any(word.label != word.label.upper() for word in words):  # an aligner that writes capitals only
            words = [replace(word, label=word.label.lower()) for word in words]
        aligned = Aligned(words, phones, [], [])
    if not aligned.words:
        raise InputError(f"{stimulus.aligned} holds no words")
    if stimulus.text is None:
        return aligned, places_by_pauses(aligned.words)
    try:
        text = stimulus.text.read_bytes().decode("utf-8-sig", errors="replace")
        return aligned, places_by_text([word.label for word in aligned.words], text)
    except InputError as error:
        raise InputError(f"{stimulus.text} is not the text of {stimulus.aligned.name}: {error}") from None
