"""Schoffelen et al. 2019, the "Mother Of Unification Studies" (MOUS): Dutch sentences and word lists, heard or read, in MEG.

102 people listened and 102 others read (https://doi.org/10.1038/s41597-019-0020-y); each was given 120 sentences and 120
lists of the same words scrambled. The data are at the Radboud Data Repository, for those who have agreed to its terms; words
and phonemes come from TextGrids, which the collection does not hold: ``derivatives/phonemes/``, made by MAUS.

    sub-A2002/meg/sub-A2002_task-auditory_meg.ds       CTF-275; run-1 and run-2 where the acquisition crashed
    sub-A2002/meg/sub-A2002_task-auditory_events.tsv   what the stimulus computer did, on the recording's clock
    sourcedata/meg_task/*Aud*.log                      the same on the computer's own clock, used where the table has none of it
    stimuli/stimuli.txt, stimuli/audio_files/*.wav

Events are on time as triggers are. Speech reached the ears some 60 ms later, words the screen 36 ms later (the paper's
notes); neither is corrected for, as in Défossez et al. 2023.
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
from raybrain.studies.schoffelen2019 import mous_events as told

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
    """MOUS: Dutch sentences and word lists, heard ("audio", 96 subjects), read ("visual", 99), or heard lists only.

    Attributes:
        selection: which part.
        sound_starts_at: a sound starts where ``Audio onset`` is logged, as in Défossez et al. 2023; the stimulus computer's
            program starts the file at ``Start File`` and logs ``Audio onset`` with its first word: "start_file" goes by that.
        subjects: some of them, as A2002, also excluded ones; none named for all.
        max_recordings: the first so many, sorted by subject and run; None for all.
    """

    facts: ClassVar[Facts] = Facts(
        licence="RU-DI-HD-1.0 (data use agreement)",
        language=told.LANGUAGE,
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
    sound_starts_at: told.SoundStart = "audio_onset"
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
        """The MEG of the task by chosen subjects, its tables and log; texts, and sounds and TextGrids if they were heard."""
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
        """Whether a subject may be among the recordings, as the collection is listed in the paper."""
        known = READERS if self.selection == "visual" else LISTENERS
        chosen = sorted(self.subjects) or [other for other in known if other not in EXCLUDED]
        return subject in chosen[: self.max_recordings]

    def recordings(self, root: Path) -> list[Recording]:
        """One a subject, but for those recorded in two runs."""
        study = "schoffelen2019-visual" if self.selection == "visual" else "schoffelen2019-audio"
        name = re.compile(rf"sub-([AV]\d+)_task-{self._task}(?:_run-(\w+))?_meg\.ds")
        found = [
            Recording(study, match[1], task=self._task, run=match[2] or "")
            for path in root.glob(f"sub-*/meg/*task-{self._task}*.ds")
            if (match := name.fullmatch(path.name))
        ]
        if not found:
            raise InputError(
                f"no recordings of {self.selection} in {root}: looked for sub-*/meg/sub-*_task-{self._task}*_meg.ds, as in the "
                f"collection {COLLECTION}"
            )
        kept = [recording for recording in found if self.subjects or recording.subject not in EXCLUDED]
        if not kept:
            excluded = ", ".join(sorted({recording.subject for recording in found}))
            raise InputError(
                f"all subjects of {self.selection} in {root} are excluded ones ({excluded}); name them in subjects"
            )
        return choose(kept, self.subjects, self.max_recordings, root)

    def raw(self, root: Path, recording: Recording) -> "mne.io.BaseRaw":
        """The signal, not loaded: 273 gradiometers, and 28 reference and other channels, told apart by their type.

        It ends where the system's clock stopped; the rest of the file, if there is any, holds zeros.

        Raises:
            InputError: it cannot be read, or the file lasts less than its sidecar says.
        """
        file, sidecar = _file(root, recording), _beside(root, recording, "meg.json")
        raw = _open(file)
        check_length(_open(file, system_clock="ignore"), file, [sidecar] if sidecar.is_file() else [])
        bads = {name.partition("-")[0] for name in bad_channels(_beside(root, recording, "channels.tsv"))}
        raw.info["bads"] = sorted(set(raw.info["bads"]) | (bads & set(raw.ch_names)))
        return raw

    def events(self, root: Path, recording: Recording) -> list[Event]:
        """Sounds, words and phonemes; or words that were read."""
        rows = _rows(root, recording)
        stimuli = told.Stimuli.read(root)
        if self.selection == "visual":
            events: list[Event] = [*told.read(rows, stimuli.uid)]
        else:
            lists_only = self.selection == "audio_wordlists"
            trials = [trial for trial in told.find_trials(rows) if trial.word_list or not lists_only]
            events = told.heard(trials, stimuli, self.sound_starts_at)
        if not events:
            raise InputError(f"{_beside(root, recording, 'events.tsv')} and the log tell of nothing of {self.selection}")
        return events

    def sources(self, root: Path, recording: Recording) -> list[Path]:
        """The data, the tables beside it, the log, texts, and the TextGrids; not the sounds."""
        tables = [_beside(root, recording, name) for name in ("events.tsv", "channels.tsv", "meg.json")]
        also = [root / "stimuli" / "stimuli.txt", root / "derivatives" / "phonemes", *tables, *_logs(root, recording)]
        return sorted(path for path in (_file(root, recording), *also) if path.exists())

    def problems(self, root: Path, recording: Recording) -> list[str]:
        """What is odd about a recording that can be read."""
        found = []
        if not _table_rows(_beside(root, recording, "events.tsv")):
            found.append("events.tsv tells nothing of what the stimulus computer did; its log is used")
        rows, stimuli = _rows(root, recording), told.Stimuli.read(root)
        if self.selection == "visual":
            sentences = {word.sequence: word.sequence_uid for word in told.read(rows, stimuli.uid)}
            unknown = [text for text, uid in sentences.items() if not uid]
            trials = len(sentences)
            if unknown:
                found.append(f"{len(unknown)} texts that are not in stimuli.txt, as {unknown[0]!r}")
        else:
            played = told.find_trials(rows)
            trials = len(played)
            found += _late(played, stimuli) if self.sound_starts_at == "audio_onset" else []
        if trials != TRIALS:
            found.append(f"{trials} of {TRIALS} trials")
        return found


def _late(trials: list[told.Trial], stimuli: told.Stimuli) -> list[str]:
    """Whether ``Audio onset`` is logged with the first word rather than with the start of the file, as TextGrids have it."""
    import numpy as np

    waits = np.array([trial.onset - trial.started for trial in trials])
    silences = np.array([stimuli.spoken(trial.number)[0][0].start for trial in trials])
    if not len(trials) or np.median(silences) < FAR_S or np.median(np.abs(waits - silences)) > FAR_S:
        return []
    return [
        f"'Audio onset' is logged {np.median(waits):.3f} s after 'Start File', when the first word is said in the file "
        f"({np.median(silences):.3f} s): sounds start too late; type data.studies.schoffelen2019.sound_starts_at=start_file"
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
        raw[:, raw.n_times - 1 :]  # else a cut-off file would fail much later
    return raw


def _rows(root: Path, recording: Recording) -> list[Logged]:
    """What the stimulus computer did, in seconds of the recording: from events.tsv, or from the log if that tells nothing."""
    table = _beside(root, recording, "events.tsv")
    rows = _table_rows(table)
    if rows:
        return rows
    logs = _logs(root, recording)
    if not logs:
        where = root / "sourcedata" / "meg_task"
        raise InputError(f"{table} tells nothing of what was presented, and there is no log of {recording.subject} in {where}")
    triggers = _triggers(_open(_file(root, recording)), _file(root, recording))
    problems = []
    for log in logs:  # A2036 has two, of which one fits each run
        try:
            return _aligned(read_log(log), triggers)
        except InputError as error:
            problems.append(f"{log.name}: {error}")
    raise InputError(f"no log fits {_file(root, recording)}: {'; '.join(problems)}")


def _table_rows(table: Path) -> list[Logged]:
    """The rows of events.tsv that come from the log; none if there is no such table."""
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
    """The logs of this subject's task in the MEG: named like A2002-2-MEG-MOUS-Aud.log or MEG-MOUS-Aud2002.log."""
    number, task = recording.subject[1:], recording.task[:3]
    name = re.compile(rf"(?=.*{task})(?:.*\D)?{number}(?:\D.*)?\.log", flags=re.IGNORECASE)
    folder = root / "sourcedata" / "meg_task"
    return sorted(path for path in folder.glob("*.log") if name.fullmatch(path.name))


def _triggers(raw: "mne.io.BaseRaw", file: Path) -> list[Trigger]:
    import mne

    if TRIGGERS not in raw.ch_names:
        raise InputError(f"{file} has no trigger channel {TRIGGERS}")
    found = mne.find_events(raw, TRIGGERS, consecutive=True, shortest_event=1, verbose="error")
    return [Trigger((sample - raw.first_samp) / raw.info["sfreq"], int(value)) for sample, _, value in found]


def _aligned(log: list[Logged], triggers: list[Trigger]) -> list[Logged]:
    """The log on the recording's clock; what was done before its start or after its last trigger is dropped."""
    clock = align(told.anchors(log), [trigger for trigger in triggers if trigger.value in (told.FIXATION, told.CONTEXT)])
    rows = [Logged(clock(row.start), row.kind, row.code) for row in log]
    return [row for row in rows if 0 <= row.start <= triggers[-1].start + told.AFTER_S]
