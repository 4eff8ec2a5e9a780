"""MEG-MASC: people who hear four short stories in the MEG, each in two sessions.

Gwilliams et al., "Introducing MEG-MASC: a high-quality magneto-encephalography dataset for evaluating natural speech
processing", Scientific Data 2023. As BIDS: ``sub-XX/ses-Y/meg/sub-XX_ses-Y_task-Z_meg.con`` and its ``_events.tsv``, the
sounds in ``stimuli/audio``. The task is the story, whatever the sidecars of the NEMAR mirror say. An event's onset is that
of its sound and its place in it, exactly, so there is no drift to correct.

A sentence is what has one ``sequence_id``, and its ``word_index`` is that of the table. The aligner missed words, the first
of a sentence among them, so that not every sentence has a word_index 0 to start a block of its own; blocks are the published
ones in this.
"""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from raybrain.config import InputError, hint
from raybrain.download.base import Host
from raybrain.download.nemar import Nemar
from raybrain.download.osf import OSF
from raybrain.events import Event
from raybrain.recording import Recording
from raybrain.studies.base import Facts, Study
from raybrain.studies.choosing import choose

if TYPE_CHECKING:
    import mne

STORIES = {"0": "lw1", "1": "cable_spool_fort", "2": "easy_money", "3": "the_black_willow"}


class Gwilliams2022(Study, name="gwilliams2022"):
    """MEG-MASC (Gwilliams et al. 2023): 27 people, four English stories; KIT MEG, 208 axial gradiometers, 1000 Hz.

    Attributes:
        subjects: some of them, as 01; none named for all.
        tasks: numbers or stories (0 lw1, 1 cable_spool_fort, 2 easy_money, 3 the_black_willow); none named for all.
        max_recordings: the first so many, in the order of subject, session and task; None for all.
    """

    facts: ClassVar[Facts] = Facts(
        licence="CC0",
        language="en",
        device="MEG: KIT, axial gradiometers",
        doi="10.1038/s41597-023-02752-5",
        recordings=196,
        channels=208,
        hertz=1000.0,
        hours=56.2,
    )

    # OSF answers a stranger a hundred times an hour, and has more folders than that
    hosts: ClassVar[tuple[Host, ...]] = (Nemar("nm000229"), OSF("ag3kj", "h2tzn", "u5327", "dr4wy"))

    subjects: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    max_recordings: int | None = Field(default=None, ge=1)

    @field_validator("subjects")
    @classmethod
    def _labels(cls, subjects: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(subject.removeprefix("sub-") for subject in subjects)

    @field_validator("tasks")
    @classmethod
    def _numbers(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        numbers = {story: number for number, story in STORIES.items()} | {number: number for number in STORIES}
        for task in tasks:
            if task.lower() not in numbers:
                raise InputError(f"no task {task!r}{hint(task, numbers)}")
        return tuple(numbers[task.lower()] for task in tasks)

    def wanted(self, path: str) -> bool:
        """The recordings of the subjects and tasks asked for, and what lies beside them; no anatomy."""
        folders = path.split("/")
        entities = _entities(folders[-1])
        return not {"anat", "derivatives"} & set(folders) and all(
            not chosen or entities.get(key) in (None, *chosen) for key, chosen in (("sub", self.subjects), ("task", self.tasks))
        )

    def recordings(self, root: Path) -> list[Recording]:
        """The recordings asked for, by subject, session and task."""
        recordings = []
        for file in root.glob("sub-*/ses-*/meg/sub-*_ses-*_task-*_meg.con"):
            entities = _entities(file.name)
            recordings.append(Recording("gwilliams2022", entities["sub"], entities["ses"], entities["task"]))
        if not recordings:
            raise InputError(f"no recordings in {root}: looked for sub-*/ses-*/meg/*_meg.con")
        asked = [recording for recording in recordings if not self.tasks or recording.task in self.tasks]
        if not asked:
            raise InputError(f"no recording of task {', '.join(self.tasks)} in {root}")
        return choose(asked, self.subjects, self.max_recordings, root)

    def raw(self, root: Path, recording: Recording) -> "mne.io.BaseRaw":
        """The signal, not loaded; bad channels are those of channels.tsv.

        Sensors are where they sit in the helmet. Markers and head shapes would only say how the head lay in it, and some
        recordings have none.

        Raises:
            InputError: the file cannot be read, or is shorter than its header or its sidecar says.
        """
        from raybrain.studies.bids.bids_table import bad_channels
        from raybrain.studies.readers import kit
        from raybrain.studies.readers.signal_files import check_length

        file = _file(root, recording, "meg.con")
        raw = kit.read_raw(file)
        check_length(raw, file, [sidecar for sidecar in [_file(root, recording, "meg.json")] if sidecar.is_file()])
        bads = bad_channels(_file(root, recording, "channels.tsv"))
        raw.info["bads"] = [name for name in raw.ch_names if name in bads]
        return raw

    def events(self, root: Path, recording: Recording) -> list[Event]:
        """The sounds, words and phonemes of events.tsv, sorted."""
        from raybrain.studies.gwilliams2022.masc_events import read_events

        return read_events(root, _file(root, recording, "events.tsv"), self.facts.language)

    def sources(self, root: Path, recording: Recording) -> list[Path]:
        """The signal, its events and its channels."""
        files = [_file(root, recording, suffix) for suffix in ("meg.con", "meg.json", "events.tsv", "channels.tsv")]
        return [file for file in files if file.is_file()]


def _entities(name: str) -> dict[str, str]:
    """``sub-01_ses-0_task-0_meg.con`` -> its keys and values."""
    return dict(part.split("-", 1) for part in name.split("_") if "-" in part)


def _file(root: Path, recording: Recording, suffix: str) -> Path:
    subject, session = f"sub-{recording.subject}", f"ses-{recording.session}"
    return root / subject / session / "meg" / f"{subject}_{session}_task-{recording.task}_{suffix}"
