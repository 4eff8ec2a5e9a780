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

``trial_type`` may hold a dict of plain values, whose keys then count as columns and whose ``kind`` as the trial_type.

Words and phonemes that the table lacks are taken from TextGrids beside the sounds. Sentences are those of the sentence
column; else of a TextGrid's sentence tier; else one ends where ``word_index`` falls; else with the sound, and at a pause of
``words.pause_s``.

A player's clock drifts against that of the recorder. Where rows give seconds of the sound (``sounds.time_column``), or come
at a beat (``sounds.tick``), offset and drift of each sound are fitted, and words that give seconds of their sound are placed
by that map. Such words may stand for sound rows where there are none.
"""

import contextlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from raybrain.config import InputError, hint
from raybrain.events import Event
from raybrain.recording import Recording
from raybrain.studies.base import Facts, FolderStudy
from raybrain.studies.bids.bids_events import Reading, SoundRows, WordRows, read_events, textgrids
from raybrain.studies.choosing import choose
from raybrain.studies.dataset import title

if TYPE_CHECKING:
    import mne

DATATYPES = ("eeg", "meg")
EXTENSIONS = (".vhdr", ".edf", ".EDF", ".bdf", ".set", ".fif", ".ds", ".con", ".sqd", ".pdf")
SIDECARS = (*DATATYPES, "events", "channels", "electrodes", "coordsystem", "headshape", "markers")
NOT_SPEECH = ("crosstalk", "calibration")  # acq- entities of MEG files that hold no signal


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
        paths = self._recordings(root)
        if not paths:
            raise InputError(
                f"no EEG or MEG recordings in {root}: looked for sub-*/[ses-*/](eeg|meg)/* with {' '.join(EXTENSIONS)}"
            )
        chosen = choose(list(paths), self.subjects, None, root)
        tasks = {recording.task for recording in paths}
        if self.task is not None and self.task not in tasks:
            raise InputError(f"no task {self.task!r} in {root}{hint(self.task, tasks)}")
        kept = [recording for recording in chosen if self.task in (None, recording.task)]
        if not kept:
            raise InputError(f"no recording of task {self.task!r} by subjects {', '.join(self.subjects)} in {root}")
        return kept

    def raw(self, root: Path, recording: Recording) -> "mne.io.BaseRaw":
        """The signal, not loaded; bad channels are those of channels.tsv.

        Raises:
            InputError: the file cannot be read, or holds less than its header, sidecar or events promise.
        """
        from raybrain.studies.readers.signal_files import check_covers_events, check_length

        path = self._path(root, recording)
        raw, file = _opened(path), Path(path.fpath)
        sidecars = _applicable(root, path)
        check_length(raw, file, [sidecar for sidecar in sidecars if sidecar.name.endswith(f"_{file.parent.name}.json")])
        check_covers_events(raw, file, _events_file(root, path), self._shift_s(raw))
        return raw

    def events(self, root: Path, recording: Recording) -> list[Event]:
        """The sounds, words and phonemes of events.tsv and of TextGrids, sorted."""
        return self._heard(root, recording).events

    def problems(self, root: Path, recording: Recording) -> list[str]:
        """Marks that do not fit the clock of their sound."""
        return self._heard(root, recording).remarks

    def _heard(self, root: Path, recording: Recording) -> Reading:
        path = self._path(root, recording)
        file = _events_file(root, path)
        if file is None:
            wanted = path.copy().update(suffix="events", extension=".tsv", split=None).fpath
            raise InputError(f"no {wanted}; it should list the sounds and words heard in this recording")
        raw = _opened(path) if self.onsets == "acquisition" else None
        return read_events(root, file, self.sounds, self.words, self._shift_s(raw))

    def _shift_s(self, raw: "mne.io.BaseRaw | None") -> float:
        """What is added to onsets: to count from the first sample, and to be heard when they say."""
        late = raw.first_samp / raw.info["sfreq"] if raw is not None and self.onsets == "acquisition" else 0.0
        return float(self.start_s - late)

    def _recordings(self, root: Path, subject: str | None = None) -> dict[Recording, Any]:
        """The mne-bids path of each recording of the dataset, or of one subject."""
        return _recordings(root, f"bids-{self.label or title(root)}", subject)

    def _path(self, root: Path, recording: Recording) -> Any:
        paths = self._recordings(root, recording.subject)
        if recording not in paths:
            raise InputError(f"no recording {recording.uid} in {root}{hint(recording.uid, (other.uid for other in paths))}")
        return paths[recording]

    def sources(self, root: Path, recording: Recording) -> list[Path]:
        """The data and every sidecar that applies to it, those of folders above included, and the TextGrids of its sounds."""
        path = self._path(root, recording)
        events = _events_file(root, path)
        return sorted({Path(path.fpath), *_applicable(root, path), *textgrids(root, events, self.sounds)})


def _opened(path: Any) -> "mne.io.BaseRaw":
    """The signal at an mne-bids path; InputError if it cannot be read to its end."""
    import mne_bids

    from raybrain.studies.readers.signal_files import check_brainvision, readable

    file = Path(path.fpath)
    check_brainvision(file)
    with readable(file), _quietly():
        raw: mne.io.BaseRaw = mne_bids.read_raw_bids(path, verbose="error")
        raw[:, raw.n_times - 1 :]  # some readers trust the header and would fail much later
    return raw


def _recordings(root: Path, study: str, subject: str | None) -> dict[Recording, Any]:
    import mne_bids

    with _quietly():
        paths = mne_bids.find_matching_paths(
            root,
            subjects=subject,
            suffixes=list(DATATYPES),
            extensions=list(EXTENSIONS),
            datatypes=list(DATATYPES),
            ignore_json=True,
            ignore_nosub=True,
        )
        paths = [path for path in paths if path.extension != ".pdf"] + list(_bti_folders(root, subject))
    by_recording: dict[Recording, Any] = {}
    for path in paths:
        if path.subject == "emptyroom" or path.acquisition in NOT_SPEECH or path.split not in (None, "1", "01"):
            continue
        recording = Recording(study, path.subject, path.session or "", path.task or "", path.run or "")
        if recording in by_recording:
            other = by_recording[recording].fpath.name
            raise InputError(
                f"{other} and {path.fpath.name} in {root} have the same subject, session, task and run, "
                "which is all raybrain tells recordings apart by; move one of them out of the dataset"
            )
        by_recording[recording] = path
    return by_recording


def _bti_folders(root: Path, subject: str | None) -> Iterator[Any]:
    """Recordings of BTi and 4D machines: folders that hold a ``config``, which mne-bids reads but does not find."""
    import mne_bids

    for config in sorted(root.glob(f"sub-{subject or '*'}/**/meg/*_meg*/config")):
        if config.parent.suffix in ("", ".pdf"):
            named = config.parent.with_suffix("").name
            yield mne_bids.get_bids_path_from_fname(config.parent.with_name(f"{named}.pdf"), check=False).update(root=root)


def _entities(name: str) -> dict[str, str]:
    """``sub-01_task-rest_eeg.json`` -> its keys and values, the suffix left out."""
    pairs = (part.partition("-") for part in name.split(".")[0].split("_")[:-1])
    return {key: value for key, _, value in pairs}


def _applicable(root: Path, path: Any) -> Iterator[Path]:
    """The files of the recording's folder and of those above it whose names do not speak of another recording."""
    own = _entities(Path(path.fpath).name)
    folder = Path(path.fpath).parent
    while len(folder.parts) >= len(root.parts):
        for file in sorted(folder.iterdir()):
            suffix = file.name.split(".")[0].rpartition("_")[2]
            free = ("space", "split", "acq") if suffix in ("headshape", "markers") else ("space", "split")
            if (
                suffix in SIDECARS
                and file.is_file()
                and all(own.get(k) == v or k in free for k, v in _entities(file.name).items())
            ):
                yield file
        folder = folder.parent


def _events_file(root: Path, path: Any) -> Path | None:
    """The nearest events.tsv that applies: the recording's own, or one it inherits."""
    files = [file for file in _applicable(root, path) if re.search(r"(^|_)events\.tsv$", file.name)]
    return max(files, key=lambda file: (len(file.parts), len(_entities(file.name))), default=None)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """No messages of mne-bids, and no lock files: it puts one beside each JSON file it reads, and a killed job leaves it."""
    import mne
    from mne_bids import _fileio

    locks = getattr(_fileio, "_get_lock_context", None)
    with warnings.catch_warnings(), mne.utils.use_log_level("error"):
        warnings.simplefilter("ignore")
        _fileio._get_lock_context = lambda *args, **kwargs: contextlib.nullcontext(contextlib.nullcontext())
        try:
            yield
        finally:
            if locks:
                _fileio._get_lock_context = locks
