"""Alice: people listening to the first chapter of Alice's Adventures in Wonderland, in EEG.

Brennan & Hale, "Hierarchical structure guides rapid linguistic predictions during naturalistic listening", PLoS ONE 2019. The
study can be read in three forms, whichever the folder holds; the names of subfolders do not matter:

- version 1 of Deep Blue Data: ``S01.mat`` (FieldTrip), ``proc/S01.mat`` (when words were heard, bad channels), the sounds,
  and ``AliceChapterOne-EEG.csv`` (the position of each word in its sound);
- version 2: the same with ``S01.vhdr`` (BrainVision) and ``timelock-preprocessing/S01.mat``;
- the NEMAR mirror nm000180: ``sub-001/eeg/*_eeg.vhdr`` with the table ``*_events.tsv``. It has no list of bad channels, and
  lacks S04, S16, S24 and S49.

A trial starts 0.3 s before its word, as the column offset of the table says: a word is heard at (start - offset) / 500. The
reference implementation took start / 500, so its words and sounds are 0.3 s early.

Nine recordings began after the story did, and so lack the mark of the first of its twelve sounds. Their published tables
(and the mirror's events) assign each mark to the sound before the one that was played, about a minute off; ``alice.py`` detects
this from the intervals between marks and corrects it. The intervals match the durations of the second to the eleventh sound
plus 0.05 s each; as numbered in the tables, sounds would overlap by up to 5.5 s and the last one would end after the recording.
None of the nine is among the reference's subjects; four are among the paper's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from raybrain.config import InputError, hint
from raybrain.download.base import Host
from raybrain.download.deep_blue import DeepBlue
from raybrain.download.nemar import Nemar
from raybrain.events import Event, Sound
from raybrain.recording import Recording
from raybrain.studies.base import Facts, Study
from raybrain.studies.choosing import choose

if TYPE_CHECKING:
    import mne

    from raybrain.studies.brennan2019.alice import ScriptWord

SUBJECTS = [f"S{number:02d}" for number in range(1, 50)]
LATE = ["S02", "S24", "S26", "S27", "S30", "S32", "S34", "S35", "S36"]
NO_TABLE = ["S28", "S29", "S31", "S33", "S46", "S47", "S49"]
UNUSED = ["S02", "S07", "S09", "S23", "S24", "S27", "S30", "S32", "S43", *NO_TABLE]
LEFT_OUT = {"reference": [*LATE, *NO_TABLE], "paper": UNUSED, "all": NO_TABLE}
REASONS = {
    "not in the paper: too noisy, or too few questions answered right": UNUSED,
    "not in the reference: recorded from after the story began": LATE,
    "no table of when words were heard": NO_TABLE,
}
DEEP_BLUE = """
    vm40xs661 t435gf09p 0v8381376 6h440t36j qv33rx36x 7w62f925w 5425kb76p g445cf216 df65v8733 41687j32q r207tq17h pn89d748r
    41687j330 xg94hq37z fj2362955 1r66j195h j098zc06b 3n203z903 gx41mj79g mp48sd64h p2676w56p dn39x2566 pv63g1045 r207tq18s
    qr46r1659 wd375x18w td96k336b 6q182m27b ms35t936k 02870w66d cj82k821x 9k41zf376 bk128b81j q524jp737 37720d60h ks65hd14w
    b5644s476 3t945r72w bn999773b 4t64gp10r qr46r166k h415pb60j sq87bv504 ht24wk29w p2676w57z 2514nm49h 41687j348 tq57ns04w
    4t64gp111 5712m736z f1881m88g 2b88qd012 2b88qd00s bn999775w h415pb59s q524jp72z
"""
SCRIPT = "AliceChapterOne-EEG.csv"
PROC = {"proc", "timelock-preprocessing"}
KINDS = {str(number): "eeg" for number in range(1, 62)} | {"VEOG": "eog"}
COPIES = ("AUD", "Aux5")  # channels in which the sound itself was recorded
RATE_HZ = 500.0
TRIAL_S = 0.3  # from the start of a trial to its word
VOLTS = 1e-6
SEARCH_S = 1.0  # how far from its expected place a sound is searched in the recorded copy
LATE_S = 0.02  # a larger deviation is a problem
MIN_CORRELATION = 0.1  # of a sound with the recorded copy; with less, the copy is of something else


@dataclass(frozen=True)
class Files:
    """The files in the study's folder: signals and tables by subject, all others by name."""

    signals: dict[str, Path]
    tables: dict[str, Path]
    others: dict[str, Path]


class Brennan2019(Study, name="brennan2019", shorthand="subject_set"):
    """Alice (Brennan & Hale 2019): 33 of 49 people listening to 12 minutes of English; EEG, 60 channels, 500 Hz.

    Attributes:
        subject_set: "reference" has the subjects of Défossez et al. 2023, "paper" those of Brennan & Hale, "all" everybody with
            a table of when words were heard.
        times: "heard" corrects the published tables; "paper" takes them as they are, so that in nine recordings that began late
            every word is about a minute off; "reference" does the same and is also 0.3 s early everywhere.
        subjects: only these, such as S01; all if empty.
        max_recordings: keeps the first recordings, in the order of subjects; None for all.
    """

    facts: ClassVar[Facts] = Facts(
        licence="CC BY 4.0",
        language="en",
        device="EEG: actiCHamp, easycap-M10",
        doi="10.1371/journal.pone.0207741",
        recordings=33,
        channels=60,
        hertz=RATE_HZ,
        hours=6.7,
        excluded={
            subject: "; ".join(reason for reason, subjects in REASONS.items() if subject in subjects)
            for subject in sorted({*UNUSED, *LATE})
        },
    )

    hosts: ClassVar[tuple[Host, ...]] = (DeepBlue("bg257f92t", tuple(DEEP_BLUE.split())), Nemar("nm000180"))

    subject_set: Literal["reference", "paper", "all"] = "reference"
    times: Literal["heard", "paper", "reference"] = "heard"
    subjects: tuple[str, ...] = ()
    max_recordings: int | None = Field(default=None, ge=1)

    @field_validator("subjects")
    @classmethod
    def _labels(cls, subjects: tuple[str, ...]) -> tuple[str, ...]:
        """Accept S01, 1 and sub-001 for the same subject."""
        labels = tuple(_label(subject) for subject in subjects)
        for label in labels:
            if label not in SUBJECTS:
                raise InputError(f"no subject {label!r}{hint(label, SUBJECTS)}")
        return labels

    def wanted(self, path: str) -> bool:
        """The recordings of the chosen subjects, and files that belong to no subject."""
        named = re.search(r"(?:^|/)(?:S|sub-)(\d+)[./_]", path)
        return not named or _label(named[1]) in (self.subjects or self._subject_labels())

    def recordings(self, root: Path) -> list[Recording]:
        """The recordings of the chosen subjects that have a table of when words were heard."""
        files = _files(root)
        for subject in self.subjects:
            if subject not in self._subject_labels():
                advice = "" if self.subject_set == "all" else "; type subject_set=all"
                raise InputError(f"{subject} is not in subject_set={self.subject_set}: {self.facts.excluded[subject]}{advice}")
        recordings = [
            Recording("brennan2019", subject, task="alice")
            for subject in sorted(files.signals.keys() & files.tables.keys() & set(self._subject_labels()))
        ]
        if not recordings:
            raise InputError(
                f"no recordings in {root}: looked for S01.mat or S01.vhdr with proc/S01.mat, "
                "or sub-001/eeg/*_eeg.vhdr with *_events.tsv"
            )
        return choose(recordings, self.subjects, self.max_recordings, root)

    def raw(self, root: Path, recording: Recording) -> "mne.io.BaseRaw":
        """The signal in volts with sensor positions; bad channels are taken from the table.

        Raises:
            InputError: if the file cannot be read or is truncated.
        """
        from raybrain.studies.bids.bids_table import bad_channels
        from raybrain.studies.readers.fieldtrip import read_trials

        files = _files(root)
        signal, table = _of(files.signals, recording, root), _of(files.tables, recording, root)
        raw = _read_signal(signal)
        raw.set_montage("easycap-M10", on_missing="ignore", verbose="error")
        bads = read_trials(table, RATE_HZ).bads if table.suffix == ".mat" else bad_channels(_channels(table))
        raw.info["bads"] = [name for name in raw.ch_names if name in bads]
        return raw

    def events(self, root: Path, recording: Recording) -> list[Event]:
        """The sounds and words, sorted."""
        from raybrain.studies.brennan2019.alice import place_sounds, sound_files, story_events

        files = _files(root)
        script, heard = _script(files, root), _word_times(_of(files.tables, recording, root))
        sounds = sound_files(files.others)
        lengths = _lengths(script, sounds, root)
        try:
            starts = place_sounds(heard, script, lengths, as_numbered=self.times != "heard")
        except InputError as error:
            raise InputError(f"{_of(files.tables, recording, root)}: {error}") from None
        early = TRIAL_S if self.times == "reference" else 0.0
        return story_events({number: start - early for number, start in starts.items()}, script, sounds, lengths)

    def sources(self, root: Path, recording: Recording) -> list[Path]:
        """The signal, the tables of word times and of bad channels, and the script of the story."""
        files = _files(root)
        table = files.tables.get(recording.subject)
        paths = [table, table and _channels(table), files.others.get(SCRIPT)]
        signal = files.signals.get(recording.subject)
        if signal:
            paths += signal.parent.glob(f"{signal.stem}.*")
        return sorted({path for path in paths if path and path.is_file()})

    def problems(self, root: Path, recording: Recording) -> list[str]:
        """Words missing in the table, and sounds whose recorded copy (channel AUD) has them at another time."""
        from raybrain.studies.brennan2019.alice import place_sounds, sound_files

        files = _files(root)
        script, heard = _script(files, root), _word_times(_of(files.tables, recording, root))
        problems = []
        if len(heard) < len(script):
            problems.append(f"the table has {len(heard)} of {len(script)} words")
        sounds = [event for event in self.events(root, recording) if isinstance(event, Sound)]
        lengths = _lengths(script, sound_files(files.others), root)
        numbered, right = (place_sounds(heard, script, lengths, as_numbered) for as_numbered in (True, False))
        if any(abs(right[number] - start) > LATE_S for number, start in numbered.items()):
            advice = "this is corrected" if self.times == "heard" else "times=heard corrects this"
            problems.append(
                f"began after the story, and its table assigns each mark to the sound before the one played; {advice}"
            )
        raw = self.raw(root, recording)
        copies = [name for name in COPIES if name in raw.ch_names]
        return problems + [problem for name in copies for sound in sounds if (problem := _timing_problem(raw, name, sound))]

    def _subject_labels(self) -> list[str]:
        return [subject for subject in SUBJECTS if subject not in LEFT_OUT[self.subject_set]]


def _label(subject: str) -> str:
    number = re.fullmatch(r"(?:sub-|S|s)?(\d+)", subject)
    return f"S{int(number[1]):02d}" if number else subject


def _files(root: Path) -> Files:
    files = Files({}, {}, {})
    for path in sorted(root.rglob("*")):
        trials = bool(PROC & set(path.relative_to(root).parts[:-1]))
        if match := re.fullmatch(r"S(\d+)\.(mat|vhdr)", path.name):
            (files.tables if trials else files.signals).setdefault(_label(match[1]), path)
        elif match := re.fullmatch(r"sub-(\d+)_task-[A-Za-z0-9]+_(eeg\.vhdr|events\.tsv)", path.name):
            (files.tables if match[2] == "events.tsv" else files.signals).setdefault(_label(match[1]), path)
        else:
            files.others.setdefault(path.name, path)
    return files


def _channels(events: Path) -> Path:
    """The mirror's table of channels next to its table of events; it does not exist next to a table of trials."""
    return events.with_name(events.name.replace("_events.tsv", "_channels.tsv"))


def _of(files: dict[str, Path], recording: Recording, root: Path) -> Path:
    if recording.subject not in files:
        raise InputError(f"no recording {recording.uid} with a table of word times in {root}")
    return files[recording.subject]


def _script(files: Files, root: Path) -> "dict[int, ScriptWord]":
    from raybrain.studies.brennan2019.alice import read_script

    if SCRIPT not in files.others:
        raise InputError(f"no {SCRIPT} in {root}; it gives the position of each word in the sounds")
    return read_script(files.others[SCRIPT])


def _lengths(script: "Mapping[int, ScriptWord]", sounds: Mapping[int, Path], root: Path) -> dict[int, float]:
    """The duration of each sound in seconds; all sounds that contain words must exist."""
    from raybrain.studies.readers.sounds import sound_length_s

    for number in sorted({word.sound for word in script.values()} - sounds.keys()):
        raise InputError(f"no sound file DownTheRabbitHoleFinal_SoundFile{number}.wav in {root}")
    return {number: sound_length_s(path) for number, path in sounds.items()}


def _word_times(table: Path) -> dict[int, float]:
    """When words were heard, in seconds, by their Order; from a table of trials or the mirror's events."""
    from raybrain.studies.bids.bids_table import read_rows
    from raybrain.studies.readers.fieldtrip import read_trials

    if table.suffix == ".mat":
        trials = read_trials(table, RATE_HZ)
        if trials.columns.shape[1] < 3:
            raise InputError(f"{table}: trl has no column Order (expected start, stop, offset, segment, tmin, Order)")
        return {int(order): float(time) for order, time in zip(trials.columns[:, 2], trials.onsets, strict=True)}
    heard = {}
    for row in read_rows(table):
        order, onset = (
            row.number("word_index"),
            row.number("onset"),
        )  # here word_index is the Order, not a position in a sentence
        if row.text("trial_type") == "word" and order is not None and onset is not None:
            heard[int(order)] = onset
    return heard


def _read_signal(file: Path) -> "mne.io.BaseRaw":
    from raybrain.studies.readers.fieldtrip import read_raw
    from raybrain.studies.readers.signal_files import read_brainvision

    if file.suffix == ".mat":
        return read_raw(file, KINDS, VOLTS)
    raw = read_brainvision(file)
    raw.set_channel_types({name: KINDS.get(name, "misc") for name in raw.ch_names}, on_unit_change="ignore", verbose="error")
    return raw


def _timing_problem(raw: "mne.io.BaseRaw", copy: str, sound: Sound) -> str:
    """What is wrong with the timing of a sound according to its recorded copy; empty if nothing is or the copy is silent."""
    import soundfile

    from raybrain.studies.timing.alignment import lag_s

    rate_hz = float(raw.info["sfreq"])
    first = round((sound.start - SEARCH_S) * rate_hz)
    last = round((sound.stop + SEARCH_S) * rate_hz)
    if first < 0 or last > raw.n_times:
        return ""
    recorded = raw.get_data([copy], first, last)[0]
    if not recorded.std():
        return ""
    wave, wave_rate_hz = soundfile.read(sound.filepath, always_2d=True)
    lag, correlation = lag_s(recorded, rate_hz, wave[:, 0], wave_rate_hz)
    name = Path(sound.filepath).name
    if correlation < MIN_CORRELATION:
        return f"{copy} does not resemble {name} from {sound.start:.1f} to {sound.stop:.1f} s (correlation {correlation:.2f})"
    return f"{copy} has {name} {lag:+.3f} s from where the table puts it" if abs(lag) > LATE_S else ""
