"""Study: the family of datasets. To add one, add a file beside this one; it is found by being there.

The smallest complete study:

>>> from raybrain.studies.base import Facts, Study
>>> class Tone(Study, name="tone"):
...     '''One subject who hears one word in a file of your own.'''
...     facts = Facts(licence="CC0", language="en", device="EEG")
...     path: str = "tone.wav"
...     def recordings(self, root):
...         return [Recording(study="tone", subject="01")]
...     def raw(self, root, recording):
...         import mne, numpy as np
...         info = mne.create_info(["Fz", "Cz"], sfreq=100.0, ch_types="eeg", verbose=False)
...         return mne.io.RawArray(np.zeros((2, 3000)), info.set_montage("standard_1020"), verbose=False)
...     def events(self, root, recording):
...         return [Sound(start=0.0, duration=30.0, filepath=self.path), Word(start=1.0, duration=0.5, word="hello")]
>>> study = Study.parse("tone")
>>> [len(study.events(Path("."), r)) for r in study.recordings(Path("."))]
[2]
"""

import os
import shlex
from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import model_validator

from raybrain.config import Choice, InputError, hint
from raybrain.download.base import Host
from raybrain.events import Event, Sound, Word  # noqa: F401  (the doctest above)
from raybrain.plain import differences
from raybrain.recording import Recording
from raybrain.studies import dataset as datasets

if TYPE_CHECKING:
    import mne

    from raybrain.download.fetch import Download


@dataclass(frozen=True)
class Facts:
    """What is known of a study before a byte of it is read, with the default settings; 0 means: depends, or is not known.

    Attributes:
        licence: of the recordings.
        language: of the speech, as "en".
        device: what recorded.
        doi: of the paper or the dataset.
        recordings: how many ``Study.recordings`` should find.
        channels: of brain signal in each.
        hertz: samples a second.
        hours: of all recordings together.
        subjects: how many people, where all hear the same.
        excluded: recordings or subjects left out, and why.
    """

    licence: str
    language: str
    device: str
    doi: str = ""
    recordings: int = 0
    channels: int = 0
    hertz: float = 0.0
    hours: float = 0.0
    subjects: int = 0
    excluded: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LeftOut:
    """Something in the folder of a study that could be a recording but is not used.

    Attributes:
        path: below the folder, with slashes.
        reason: why, and what to do about it; continues a sentence that begins with the path.
        odd: whether somebody may miss it; not so for recordings of an empty room or of another kind.
    """

    path: str
    reason: str
    odd: bool = True


class Study(Choice):
    """Recordings of people who listen to speech, and what they heard when. Its settings are the fields of a kind."""

    facts: ClassVar[Facts]
    blocks_by: ClassVar[Literal["sentence", "sound"]] = "sentence"
    hosts: ClassVar[tuple[Host, ...]] = ()  # where the study can be downloaded from, the best place first

    @property
    def reading(self) -> "Study":
        """How recordings are read: the study without what says in which folder, which a recording's own sources tell."""
        return self

    @property
    def whole(self) -> bool:
        """Whether nothing is set, so that recordings and hours should be those of the facts."""
        return not differences(self)

    @property
    def expected(self) -> Facts:
        """The facts with these settings, as far as they can be known before a byte is read."""
        most, facts = getattr(self, "max_recordings", None), self.facts
        if not (most and facts.recordings > most):
            return facts
        return replace(facts, recordings=most, hours=facts.hours * most / facts.recordings)

    @property
    def typed(self) -> str:
        """What to type for this study after a command, its settings included."""
        return shlex.join([self.name, *(f"{key}={_word(value)}" for key, value in differences(self).items())])

    def fetch(self, cache: Path) -> Path:
        """Have the study on disk (download it, make it) and return its root folder. Cheap when it is there already.

        A study with hosts lies in ``cache / name``; a copy of one's own, put there by hand or by a link, is used as it is.

        Raises:
            InputError: if it is not there and cannot be downloaded.
        """
        return self.download(cache).fetch() if self.hosts else cache

    def download(self, cache: Path) -> "Download":
        """What the study needs from its hosts."""
        from raybrain.download.fetch import Download

        return Download(self.name, cache / self.name, self.hosts, self.wanted)

    def wanted(self, path: str) -> bool:
        """Whether the file at ``path``, relative to the study's folder, is needed; of those its hosts offer."""
        return True

    @abstractmethod
    def recordings(self, root: Path) -> list[Recording]:
        """All recordings, sorted.

        Raises:
            InputError: if there are none.
        """

    def left_out(self, root: Path) -> list[LeftOut]:
        """What looks like a recording in the study's folder but is not among :meth:`recordings`, sorted."""
        return []

    @abstractmethod
    def raw(self, root: Path, recording: Recording) -> "mne.io.BaseRaw":
        """The continuous signal, lazily where the format allows. Times start at the first sample."""

    @abstractmethod
    def events(self, root: Path, recording: Recording) -> list[Event]:
        """Sounds, words and phonemes, in seconds from the first sample. Sounds name existing files."""

    def problems(self, root: Path, recording: Recording) -> list[str]:
        """What is odd about this recording, a line each, for ``raybrain studies check``; what makes it useless is raised."""
        return []

    def sources(self, root: Path, recording: Recording) -> list[Path]:
        """The files and folders this recording is read from, but for sounds; a change of any of them makes it anew.

        Cheap, and never fails: what is missing or damaged is left out here and said by the others.
        """
        return []


class FolderStudy(Study):
    """A study in a folder of the user's, which may be moved, renamed or copied: it is known by its content.

    A kind of it needs no ``fetch``. Its shorthand should be "path", so that ``KIND:PATH`` names the folder, and
    ``KIND:DATASET`` a dataset whose folder was used before.

    Attributes:
        path: the folder.
        dataset: what is in it, as :mod:`raybrain.studies.dataset` names it; found out where it is not said.
    """

    path: str = ""
    dataset: str = ""

    @model_validator(mode="before")
    @classmethod
    def _path_or_dataset(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not value.get("path"):
            return value
        path = str(value["path"])
        if datasets.is_name(path) and not os.path.isdir(path):
            return {**value, "path": "", "dataset": path}
        return {**value, "path": os.path.abspath(os.path.expanduser(path))}

    def named(self) -> dict[str, Any]:
        """The content of the folder in place of its path."""
        dataset = self.dataset or (datasets.dataset_of(Path(self.path)) if os.path.isdir(self.path or "nowhere") else "")
        return {"path": "", "dataset": datasets.checksum_of(dataset)} if dataset else {}

    def outdated(self, changed: Collection[str]) -> dict[str, Any]:
        """Another folder holds another dataset."""
        return {"dataset": ""} if "path" in changed else {}

    def located(self, home: Path) -> Self:
        """The study with ``path`` and ``dataset`` both set. A dataset that was used before is found where it was last seen.

        Raises:
            InputError: if it is nowhere.
        """
        here = self.dataset and self.path and datasets.holds(Path(self.path), self.dataset)
        folder = self._last_seen(home) if self.dataset and not here else self.fetch(home)
        dataset = datasets.dataset_of(folder, anew=not self.dataset)
        datasets.remember(home, dataset, folder)
        return self.model_copy(update={"path": str(folder), "dataset": dataset})

    def _last_seen(self, home: Path) -> Path:
        folder = datasets.recall(home, self.dataset)
        if folder is None:
            known = datasets.known_datasets(home)
            if self.dataset in known:
                reason = f"dataset {self.dataset!r} is not in {known[self.dataset]} any more"
            else:
                reason = f"no dataset {self.dataset!r} was used in {home}{hint(self.dataset, known)}"
            raise InputError(f"{reason}; type {self.name}:PATH with its folder")
        return folder

    def fetch(self, cache: Path) -> Path:
        """The folder itself.

        Raises:
            InputError: if it is not there.
        """
        if not self.path:
            raise InputError(f"the study {self.name!r} needs a folder; type {self.name}:PATH")
        if not os.path.isdir(self.path):
            raise InputError(f"no folder {self.path}; type {self.name}:PATH with the folder of the study")
        return Path(self.path)

    @property
    def reading(self) -> "FolderStudy":
        """The study in no folder."""
        return self.model_copy(update={"path": "", "dataset": ""})


def _word(value: Any) -> str:
    """A setting as it is typed."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
