"""BIDS folders of people who listen to speech: ``bids:PATH``.

What was heard is read from ``*_events.tsv``, whose onsets count from the first sample of the recording, as BIDS says; the
times of a raw object start there too, so nothing is added for ``first_samp``. Rows that matter:

- sounds: ``trial_type`` "sound", or a ``stim_file`` in a row that is neither a word nor a phoneme. ``stim_file`` lies in
  ``stimuli/`` or is relative to the dataset. A sound lasts to the end of its file at most, and if its
  duration is n/a.
- words: a ``word``, or ``trial_type`` "word" with the word in ``value``. ``sequence_id`` names the sentence and ``word_index``
  the place in it, from 0. Without ``sequence_id`` a sentence starts where ``word_index`` falls; without both, the words
  that start in a sound file are one sentence. ``sequence_uid`` and ``sequence`` (the sentence's text) are used if there.
- phonemes: ``trial_type`` "phoneme", with the phoneme in ``phoneme`` or ``value``.
"""

import contextlib
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import field_validator

from raybrain.config import InputError, hint
from raybrain.events import Event
from raybrain.recording import Recording
from raybrain.studies.base import Facts, Study

if TYPE_CHECKING:
    import mne

DATATYPES = ("eeg", "meg")
EXTENSIONS = (".vhdr", ".edf", ".bdf", ".set", ".fif", ".ds", ".con", ".sqd")
SIDECARS = (*DATATYPES, "events", "channels", "electrodes", "coordsystem", "headshape", "markers")
NOT_SPEECH = ("crosstalk", "calibration")  # acq- entities of MEG files that hold no signal


class Bids(Study, name="bids", shorthand="path"):
    """The EEG and MEG recordings of a BIDS folder, of one task or of some subjects if asked."""

    facts: ClassVar[Facts] = Facts(licence="see the dataset", language="", device="MEG or EEG")

    path: str = ""
    task: str | None = None
    subjects: tuple[str, ...] = ()

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: str) -> str:
        return os.path.abspath(os.path.expanduser(path)) if path else path

    @field_validator("subjects")
    @classmethod
    def _labels(cls, subjects: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(subject.removeprefix("sub-") for subject in subjects)

    def fetch(self, cache: Path) -> Path:
        """The folder itself, if it is a BIDS dataset."""
        if not self.path:
            raise InputError("the study 'bids' needs the folder of a BIDS dataset; type bids:PATH")
        root = Path(self.path)
        if not root.is_dir():
            raise InputError(f"no folder {root}; type bids:PATH with the folder of a BIDS dataset")
        if not (root / "dataset_description.json").is_file():
            raise InputError(
                f"{root} is not a BIDS dataset: it has no dataset_description.json; type bids:PATH with its folder"
            )
        return root

    def recordings(self, root: Path) -> list[Recording]:
        """All EEG and MEG recordings but empty-room ones, sorted."""
        found = _recordings(root)
        if not found:
            raise InputError(
                f"no EEG or MEG recordings in {root}: looked for sub-*/[ses-*/](eeg|meg)/* with {' '.join(EXTENSIONS)}"
            )
        known = {recording.subject for recording in found}
        for subject in self.subjects:
            if subject not in known:
                raise InputError(f"no subject {subject!r} in {root}{hint(subject, known)}")
        tasks = {recording.task for recording in found}
        if self.task is not None and self.task not in tasks:
            raise InputError(f"no task {self.task!r} in {root}{hint(self.task, tasks)}")
        kept = [
            recording
            for recording in sorted(found)
            if (not self.subjects or recording.subject in self.subjects) and self.task in (None, recording.task)
        ]
        if not kept:
            raise InputError(f"no recording of task {self.task!r} by subjects {', '.join(self.subjects)} in {root}")
        return kept

    def raw(self, root: Path, recording: Recording) -> "mne.io.BaseRaw":
        """The signal, not loaded; bad channels are those of channels.tsv.

        Raises:
            InputError: the file cannot be read, or holds less than its header, sidecar or events promise.
        """
        import mne_bids

        from raybrain.studies import bids_checks

        path = _path(root, recording)
        file = Path(path.fpath)
        bids_checks.check_brainvision(file)
        try:
            with _quietly():
                raw: mne.io.BaseRaw = mne_bids.read_raw_bids(path, verbose="error")
                raw[:, raw.n_times - 1 :]  # some readers trust the header and would fail much later
        except Exception as error:  # readers of a dozen formats raise all sorts of things at a damaged file
            raise InputError(f"{file} cannot be read: {' '.join(str(error).split()) or type(error).__name__}") from error
        sidecars = self.sources(root, recording)
        bids_checks.check_length(raw, file, [path for path in sidecars if path.name.endswith(f"_{file.parent.name}.json")])
        bids_checks.check_covers_events(raw, file, _events_file(root, recording))
        return raw

    def events(self, root: Path, recording: Recording) -> list[Event]:
        """The sounds, words and phonemes of events.tsv, sorted."""
        from raybrain.studies.bids_events import read_events

        file = _events_file(root, recording)
        if file is None:
            wanted = _path(root, recording).copy().update(suffix="events", extension=".tsv", split=None).fpath
            raise InputError(f"no {wanted}; it should list the sounds and words heard in this recording")
        return read_events(root, file)

    def sources(self, root: Path, recording: Recording) -> list[Path]:
        """The data and every sidecar that applies to it, those of folders above included; not the sounds."""
        path = _path(root, recording)
        found = [file for file in _applicable(root, path) if file.is_file()]
        if Path(path.fpath).is_dir():
            found += [file for file in Path(path.fpath).rglob("*") if file.is_file()]
        return sorted(found)


def _recordings(root: Path, subject: str | None = None) -> dict[Recording, Any]:
    """The mne-bids path of each recording of the dataset, or of one subject."""
    import mne_bids

    study = "bids-" + re.sub("[^a-z0-9]+", "-", root.name.lower()).strip("-")
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
    found: dict[Recording, Any] = {}
    for path in paths:
        if path.subject == "emptyroom" or path.acquisition in NOT_SPEECH or path.split not in (None, "1", "01"):
            continue
        recording = Recording(study, path.subject, path.session or "", path.task or "", path.run or "")
        if recording in found:
            raise InputError(
                f"{found[recording].fpath.name} and {path.fpath.name} in {root} have the same subject, session, task and run, "
                "which is all raybrain tells recordings apart by; move one of them out of the dataset"
            )
        found[recording] = path
    return found


def _path(root: Path, recording: Recording) -> Any:
    found = _recordings(root, recording.subject)
    if recording not in found:
        raise InputError(f"no recording {recording.uid} in {root}{hint(recording.uid, (other.uid for other in found))}")
    return found[recording]


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
            if suffix in SIDECARS and all(own.get(k) == v or k in free for k, v in _entities(file.name).items()):
                yield file
        folder = folder.parent


def _events_file(root: Path, recording: Recording) -> Path | None:
    """The nearest events.tsv that applies: the recording's own, or one it inherits."""
    files = [file for file in _applicable(root, _path(root, recording)) if re.search(r"(^|_)events\.tsv$", file.name)]
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
