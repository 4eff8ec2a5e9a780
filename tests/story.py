"""A made-up study and features that write down what they do. They are no kinds, so that no other test finds them by chance."""

import os
import signal
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from raybrain.config import InputError
from raybrain.events import Event, Sound, Word
from raybrain.features.audio import read
from raybrain.features.base import Feature, Stimulus
from raybrain.recording import Recording
from raybrain.studies.base import Facts, Study

if TYPE_CHECKING:
    import mne

SENTENCE_S, BLOCKS = 4.0, 20


class Story(Study):
    """Everybody hears one sound: 40 sentences of four words, which form 20 blocks of 8 s."""

    name: ClassVar[str] = "story"
    facts = Facts(licence="CC0", language="en", device="EEG")
    wav: str = ""
    subjects: int = 1

    def recordings(self, root: Path) -> list[Recording]:
        return [Recording(study="story", subject=f"{number:02d}") for number in range(self.subjects)]

    def raw(self, root: Path, recording: Recording) -> "mne.io.BaseRaw":
        import mne

        info = mne.create_info(["Fz", "Cz"], sfreq=50.0, ch_types="eeg", verbose=False)
        noise = np.random.default_rng(int(recording.subject)).standard_normal((2, round(50 * BLOCKS * 2 * SENTENCE_S)))
        return mne.io.RawArray(noise, info.set_montage("standard_1020"), verbose=False)

    def events(self, root: Path, recording: Recording) -> list[Event]:
        events: list[Event] = [Sound(start=0.0, duration=BLOCKS * 2 * SENTENCE_S, filepath=self.wav)]
        for sentence in range(2 * BLOCKS):
            words = [f"{word}{sentence}" for word in ("the", "cat", "saw", "me")]
            for index, word in enumerate(words):
                start = sentence * SENTENCE_S + index
                events.append(Word(start=start, duration=0.5, word=word, word_index=index, sequence=" ".join(words)))
        return events


class Counted(Feature):
    """Writes down each stimulus it is asked for; fails, or dies, at the word that it finds written in ``log``.fail or .kill."""

    name: ClassVar[str] = "counted"
    rate_hz: float = 10.0
    log: str = ""

    def identity(self) -> dict[str, str]:
        revision = Path(f"{self.log}.revision")
        return {"revision": revision.read_text()} if revision.exists() else {}

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        words = [word.word for word in stimulus.words]
        note(self.log, words[0])
        if word_in(f"{self.log}.fail") in words:
            raise InputError("it does not like it")
        if word_in(f"{self.log}.kill") in words:
            os.kill(os.getpid(), signal.SIGKILL)
        if word_in(f"{self.log}.once") in words:
            Path(f"{self.log}.once").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.full_like(self.frames(stimulus), len(words))


class Modelled(Counted):
    """The same with a model, which each process loads once."""

    name: ClassVar[str] = "modelled"
    model: ClassVar[bool] = True

    def extract_many(self, stimuli: Sequence[Stimulus], device: str = "cpu") -> Iterator[np.ndarray]:
        load(self.log)
        assert device == "cpu"
        return (self.extract(stimulus) for stimulus in stimuli)


class Heard(Feature):
    """The whole of a sound, its mean and the most of it: what a model with context might tell of."""

    name: ClassVar[str] = "heard"
    needs: ClassVar[tuple[str, ...]] = ("sounds",)
    rate_hz: float = 10.0

    @property
    def size(self) -> int:
        return 3

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        wave = np.concatenate([read(sound, 16_000).numpy() for sound in stimulus.sounds])
        return self.frames(stimulus) + np.array([len(wave), wave.mean(), abs(wave).max()], np.float32)


def note(log: str, line: str) -> None:
    with open(log, "a") as file:
        file.write(line + "\n")


def word_in(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


@lru_cache
def load(log: str) -> None:
    note(f"{log}.loads", str(os.getpid()))
