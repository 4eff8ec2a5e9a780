"""Schoffelen et al. 2019, the "Mother Of Unification Studies" (MOUS): Dutch sentences and word lists, heard or read, in MEG.

102 people listened and 102 others read (https://doi.org/10.1038/s41597-019-0020-y); each was presented with 120 sentences and
120 scrambled lists of the same words. The data are in the Radboud Data Repository, for those who have accepted its terms. Words
and phonemes come from TextGrids made by MAUS, which the collection does not contain: ``derivatives/phonemes/``.

    sub-A2002/meg/sub-A2002_task-auditory_meg.ds       CTF-275; run-1 and run-2 where the acquisition crashed
    sub-A2002/meg/sub-A2002_task-auditory_events.tsv   what the stimulus computer did, on the recording's clock
    sourcedata/meg_task/*Aud*.log                      the same on the computer's own clock, used if the table lacks it
    stimuli/stimuli.txt, stimuli/audio_files/*.wav

The times of events are those of the triggers. Speech reached the ears about 60 ms later, and words the screen 36 ms later (the
paper's notes); neither delay is corrected for, as in Défossez et al. 2023.

A block is a sound, or a sentence that was read; blocks are never merged, and the number of the sentence in stimuli.txt decides
their split. ``data.splits.mode=paper`` cuts blocks as Défossez et al. 2023 did. How they spelled the number that they hashed is
not known, however, so a sentence may be in another split than theirs.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from raybrain.config import InputError, hint
from raybrain.download.base import Host
from raybrain.download.webdav import Donders
from raybrain.events import Event
from raybrain.recording import Recording
from raybrain.studies.base import Facts, Study
from raybrain.studies.bids.bids_table import bad_channels, read_table
from raybrain.studies.choosing import choose
from raybrain.studies.readers.presentation import Logged, Trigger, align, read_log
from raybrain.studies.readers.signal_files import check_length, readable
from raybrain.studies.schoffelen2019 import mous_events

if TYPE_CHECKING:
    import mne

TRIGGERS = "UPPT001"
COLLECTION = "dccn/DSC_3011020.09_236_v1"
TWO_RUNS = "the acquisition crashed and the task is in two runs"
EXCLUDED = {
    "A2011": TWO_RUNS,
    "A2036": f"{TWO_RUNS}, of different stimuli",
    "A2062": TWO_RUNS,
    "A2063": f"{TWO_RUNS}, incomplete",
    "A2076": TWO_RUNS,
    "A2084": TWO_RUNS,
    "V1006": TWO_RUNS,
    "V1014": "not in the collection, though earlier lists name it",
    "V1090": TWO_RUNS,
    "V1115": "left out by Défossez et al. 2023",
}
NO_LISTENERS = {2012, 2018, 2022, 2023, 2026, 2043, 2044, 2045, 2048, 2054, 2060, 2074, 2081, 2082, 2087, 2093, 2100, 2107}
NO_LISTENERS |= {2112, 2115, 2118, 2123}
NO_READERS = {1014, 1018, 1021, 1023, 1041, 1043, 1047, 1051, 1056, 1060, 1067, 1082, 1091, 1096, 1112}
LISTENERS = [f"A{number}" for number in range(2002, 2126) if number not in NO_LISTENERS]
READERS = [f"V{number}" for number in range(1001, 1118) if number not in NO_READERS]
TRIALS = 240
FAR_S = 0.05


class Schoffelen2019(Study, name="schoffelen2019", shorthand="selection"):
    """MOUS: Dutch sentences and word lists, heard ("audio", 96 subjects) or read ("visual", 99 subjects).

    Attributes:
        selection: "audio", "visual", or "audio_wordlists" for the word lists of "audio" only.
        sound_starts_at: when a sound starts: at the logged ``Audio onset``, as in Défossez et al. 2023, or at ``Start File``.
            The stimulus computer starts the file at ``Start File``, and logs ``Audio onset`` at its first word.
        subjects: only these, such as A2002, excluded ones included; all but the excluded ones if empty.
        max_recordings: keeps the first recordings, sorted by subject and run; None for all.
    """

    facts: ClassVar[Facts] = Facts(
        licence="RU-DI-HD-1.0 (data use agreement)",
        language=mous_events.LANGUAGE,
        device="MEG (CTF-275)",
        doi="10.34973/37n0-yc51",
        recordings=96,
        channels=273,
        hertz=1200.0,
        hours=80.9,
        excluded=EXCLUDED,
    )
    blocks_by: ClassVar[Literal["sentence", "sound"]] = "sound"
    hosts: ClassVar[tuple[Host, ...]] = (Donders(COLLECTION),)

    selection: Literal["audio", "visual", "audio_wordlists"] = "audio"
    sound_starts_at: mous_events.SoundStart = "audio_onset"
    subjects: tuple[str, ...] = ()
    max_recordings: int | None = Field(default=None, ge=1)

    @field_validator("subjects")
    @classmethod
    def _labels(cls, subjects: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(subject.removeprefix("sub-") for subject in subjects)

    @property
    def _task(self) -> str:
        return "visual" if self.selection == "visual" else "auditory"

    def wanted(self, path: str) -> bool:
        """The MEG, tables and logs of the task by chosen subjects, and texts; sounds and TextGrids for the auditory task."""
        top, _, rest = path.partition("/")
        if top.startswith("sub-"):
            chosen = self._chosen(top.removeprefix("sub-"))
            return chosen and rest.startswith("meg/") and f"_task-{self._task}" in rest
        if top == "sourcedata":
            named = re.search(r"[12]\d{3}", rest)
            return rest.startswith("meg_task/") and named is not None and self._chosen("VA"[int(named[0][0]) - 1] + named[0])
        if top in ("stimuli", "derivatives"):
            heard = rest.startswith(("audio_files/", "phonemes/"))
            return rest == "stimuli.txt" or (heard and self.selection != "visual")
        return not rest and path.endswith((".json", ".tsv", "README", "CHANGES", ".txt"))

    def _chosen(self, subject: str) -> bool:
        """Whether a subject may be among the recordings, according to the paper's list of the collection."""
        known = READERS if self.selection == "visual" else LISTENERS
        chosen = sorted(self.subjects) or [other for other in known if other not in EXCLUDED]
        return subject in chosen[: self.max_recordings]

    def recordings(self, root: Path) -> list[Recording]:
        """One recording per subject, or two for those recorded in two runs."""
        study = "schoffelen2019-visual" if self.selection == "visual" else "schoffelen2019-audio"
        name = re.compile(rf"sub-([AV]\d+)_task-{self._task}(?:_run-(\w+))?_meg\.ds")
        recordings = [
            Recording(study, match[1], task=self._task, run=match[2] or "")
            for path in root.glob(f"sub-*/meg/*task-{self._task}*.ds")
            if (match := name.fullmatch(path.name))
        ]
        if not recordings:
            raise InputError(
                f"no recordings of {self.selection} in {root}: looked for sub-*/meg/sub-*_task-{self._task}*_meg.ds, as in the "
                f"collection {COLLECTION}"
            )
        kept = [recording for recording in recordings if self.subjects or recording.subject not in EXCLUDED]
        if not kept:
            excluded = ", ".join(sorted({recording.subject for recording in recordings}))
            raise InputError(
                f"all subjects of {self.selection} in {root} are excluded by default ({excluded}); name them in subjects"
            )
        return choose(kept, self.subjects, self.max_recordings, root)

    def raw(self, root: Path, recording: Recording) -> "mne.io.BaseRaw":
        """The signal, not loaded: 273 gradiometers, and 28 reference and other channels, distinguished by their type.

        It ends where the system's clock stopped; the remainder of the file, if any, contains zeros.

        Raises:
            InputError: if it cannot be read, or is shorter than its sidecar says.
        """
        file, sidecar = _file(root, recording), _beside(root, recording, "meg.json")
        raw = _open(file)
        check_length(_open(file, system_clock="ignore"), file, [sidecar] if sidecar.is_file() else [])
        bads = {name.partition("-")[0] for name in bad_channels(_beside(root, recording, "channels.tsv"))}
        raw.info["bads"] = sorted(set(raw.info["bads"]) | (bads & set(raw.ch_names)))
        raw.set_annotations(None)  # bad segments among them: the published results are of all windows
        return raw

    def events(self, root: Path, recording: Recording) -> list[Event]:
        """Sounds, words and phonemes; for the visual task, the words that were read."""
        rows = _rows(root, recording)
        stimuli = mous_events.Stimuli.read(root)
        if self.selection == "visual":
            events: list[Event] = [*mous_events.read_words(rows, stimuli.uid)]
        else:
            lists_only = self.selection == "audio_wordlists"
            trials = [trial for trial in mous_events.find_trials(rows) if trial.word_list or not lists_only]
            events = mous_events.heard_events(trials, stimuli, self.sound_starts_at)
        if not events:
            raise InputError(f"{_beside(root, recording, 'events.tsv')} and the log contain no events of {self.selection}")
        return events

    def sources(self, root: Path, recording: Recording) -> list[Path]:
        """The data, its tables, the log, texts and TextGrids; not the sounds."""
        tables = [_beside(root, recording, name) for name in ("events.tsv", "channels.tsv", "meg.json")]
        also = [root / "stimuli" / "stimuli.txt", root / "derivatives" / "phonemes", *tables, *_logs(root, recording)]
        return sorted(path for path in (_file(root, recording), *also) if path.exists())

    def problems(self, root: Path, recording: Recording) -> list[str]:
        """Problems of a recording that can be read."""
        problems = []
        if not _table_rows(_beside(root, recording, "events.tsv")):
            problems.append("events.tsv does not contain the events of the stimulus computer; its log is used")
        rows, stimuli = _rows(root, recording), mous_events.Stimuli.read(root)
        if self.selection == "visual":
            sentences = {word.sequence: word.sequence_uid for word in mous_events.read_words(rows, stimuli.uid)}
            unknown = [text for text, uid in sentences.items() if not uid]
            trials = len(sentences)
            if unknown:
                problems.append(f"{len(unknown)} texts that are not in stimuli.txt, such as {unknown[0]!r}")
        else:
            played = mous_events.find_trials(rows)
            trials = len(played)
            problems += _late_onset_problem(played, stimuli) if self.sound_starts_at == "audio_onset" else []
        if trials != TRIALS:
            problems.append(f"{trials} of {TRIALS} trials")
        return problems


def _late_onset_problem(trials: list[mous_events.Trial], stimuli: mous_events.Stimuli) -> list[str]:
    """Whether ``Audio onset`` is logged at the first word of the TextGrids rather than at the start of the file."""
    import numpy as np

    waits = np.array([trial.onset - trial.started for trial in trials])
    silences = np.array([stimuli.spoken(trial.number)[0][0].start for trial in trials])
    if not len(trials) or np.median(silences) < FAR_S or np.median(np.abs(waits - silences)) > FAR_S:
        return []
    return [
        f"'Audio onset' is logged {np.median(waits):.3f} s after 'Start File', when the first word is spoken in the file "
        f"({np.median(silences):.3f} s), so sounds start too late; type data.studies.schoffelen2019.sound_starts_at=start_file"
    ]


def _file(root: Path, recording: Recording) -> Path:
    return _beside(root, recording, "meg.ds")


def _beside(root: Path, recording: Recording, ending: str) -> Path:
    run = f"_run-{recording.run}" if recording.run else ""
    name = f"sub-{recording.subject}_task-{recording.task}{run}_{ending}"
    return root / f"sub-{recording.subject}" / "meg" / name


def _open(file: Path, system_clock: Literal["truncate", "ignore"] = "truncate") -> "mne.io.BaseRaw":
    import mne

    if not file.is_dir():
        known = (path.name for path in file.parent.glob("*.ds"))
        raise InputError(f"no {file}{hint(file.name, known)}")
    with readable(file):
        raw: mne.io.BaseRaw = mne.io.read_raw_ctf(file, system_clock, clean_names=True, verbose="error")
        raw[:, raw.n_times - 1 :]  # otherwise a truncated file would fail much later
    return raw


def _rows(root: Path, recording: Recording) -> list[Logged]:
    """What the stimulus computer did, in seconds of the recording: from events.tsv, or from the log if the table lacks it."""
    table = _beside(root, recording, "events.tsv")
    rows = _table_rows(table)
    if rows:
        return rows
    logs = _logs(root, recording)
    if not logs:
        where = root / "sourcedata" / "meg_task"
        raise InputError(
            f"{table} has no events of the stimulus computer, and there is no log of {recording.subject} in {where}"
        )
    triggers = _triggers(_open(_file(root, recording)), _file(root, recording))
    problems = []
    for log in logs:  # A2036 has two, one for each run
        try:
            return _aligned(read_log(log), triggers)
        except InputError as error:
            problems.append(f"{log.name}: {error}")
    raise InputError(f"no log fits {_file(root, recording)}: {'; '.join(problems)}")


def _table_rows(table: Path) -> list[Logged]:
    """The rows of events.tsv that stem from the log; none if there is no such table."""
    if not table.is_file():
        return []
    rows = []
    for row in read_table(table, ("onset", "value")):
        kind = row.text("type") or row.text("trial_type")
        if kind in ("Picture", "Sound", "Nothing"):
            onset = row.number("onset")
            if onset is None:
                raise row.error("onset is n/a; an event needs one")
            rows.append(Logged(onset, kind, row.text("value")))
    return sorted((row for row in rows if row.start >= 0), key=lambda row: row.start)


def _logs(root: Path, recording: Recording) -> list[Path]:
    """The logs of this subject's task in the MEG, named like A2002-2-MEG-MOUS-Aud.log or MEG-MOUS-Aud2002.log."""
    number, task = recording.subject[1:], recording.task[:3]
    name = re.compile(rf"(?=.*{task})(?:.*\D)?{number}(?:\D.*)?\.log", flags=re.IGNORECASE)
    folder = root / "sourcedata" / "meg_task"
    return sorted(path for path in folder.glob("*.log") if name.fullmatch(path.name))


def _triggers(raw: "mne.io.BaseRaw", file: Path) -> list[Trigger]:
    import mne

    if TRIGGERS not in raw.ch_names:
        raise InputError(f"{file} has no trigger channel {TRIGGERS}")
    events = mne.find_events(raw, TRIGGERS, consecutive=True, shortest_event=1, verbose="error")
    return [Trigger((sample - raw.first_samp) / raw.info["sfreq"], int(value)) for sample, _, value in events]


def _aligned(log: list[Logged], triggers: list[Trigger]) -> list[Logged]:
    """The log on the recording's clock, without what happened before its start or after its last trigger."""
    clock = align(
        mous_events.anchors(log),
        [trigger for trigger in triggers if trigger.value in (mous_events.FIXATION, mous_events.CONTEXT)],
    )
    rows = [Logged(clock(row.start), row.kind, row.code) for row in log]
    return [row for row in rows if 0 <= row.start <= triggers[-1].start + mous_events.AFTER_S]
