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

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from raybrain.config import Choice, differences
from raybrain.download.base import Host
from raybrain.events import Event, Sound, Word  # noqa: F401  (the doctest above)
from raybrain.recording import Recording

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
    excluded: Mapping[str, str] = field(default_factory=dict)


class Study(Choice):
    """Recordings of people who listen to speech, and what they heard when. Its settings are the fields of a kind."""

    facts: ClassVar[Facts]
    blocks_by: ClassVar[Literal["sentence", "sound"]] = "sentence"
    hosts: ClassVar[tuple[Host, ...]] = ()  # where the study can be downloaded from, the best place first

    @property
    def whole(self) -> bool:
        """Whether nothing is set, so that recordings and hours should be those of the facts."""
        return not differences(self)

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

    def recordings(self, root: Path) -> list[Recording]:
        """All recordings, sorted.

        Raises:
            InputError: if there are none.
        """
        raise NotImplementedError

    def raw(self, root: Path, recording: Recording) -> "mne.io.BaseRaw":
        """The continuous signal, lazily where the format allows. Times start at the first sample."""
        raise NotImplementedError

    def events(self, root: Path, recording: Recording) -> list[Event]:
        """Sounds, words and phonemes, in seconds from the first sample. Sounds name existing files."""
        raise NotImplementedError

    def problems(self, root: Path, recording: Recording) -> list[str]:
        """What is odd about this recording, a line each, for ``raybrain studies check``; what makes it useless is raised."""
        return []

    def sources(self, root: Path, recording: Recording) -> list[Path]:
        """The files and folders this recording is read from, but for sounds; a change of any of them makes it anew.

        Cheap, and never fails: what is missing or damaged is left out here and said by the others.
        """
        return []


def _word(value: Any) -> str:
    """A setting as it is typed."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
