"""What a subject of schoffelen2019 heard or read, according to the stimulus computer. Not a study itself.

A trial of the auditory task logs ``14 Start File 123.wav``, then ``1 Audio onset``; a trial of the visual task logs
``1 Het 300`` for each word (trigger value, word, intended milliseconds) with ``ISI`` between words. ``FIX`` precedes each
trial; ``ZINNEN`` (sentences) or ``WOORDEN`` (scrambled words) each block of five. See Schoffelen et al. 2019, tables 3, 4 and
7.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from raybrain.config import InputError
from raybrain.events import Event, Phoneme, Sound, Word
from raybrain.studies.readers.presentation import Logged, Trigger
from raybrain.studies.readers.sounds import sound_length_s
from raybrain.studies.readers.textgrids import Interval, is_spoken, read_tiers

LANGUAGE = "nl"
KEY_CHARACTERS = 45
LISTS = "WOORDEN"
CONTEXTS = ("ZINNEN", LISTS)
LIST_VALUES = (3, 4, 7, 8)  # triggers of words in word lists
FIXATION, CONTEXT = 20, 10
AFTER_S = 0.01  # how much later an event may be logged than its own trigger
WORDS, PHONES = "ORT-MAU", "MAU"
START_FILE = re.compile(r"Start File (\d{1,4})\.wav$")
AUDIO_ONSET = re.compile(r"^(?:(\d+) )?Audio onset$")
SHOWN_WORD = re.compile(r"^([1-8])\s+(\S.*?)\s+(\d+)$")

SoundStart = Literal["audio_onset", "start_file"]


@dataclass(frozen=True)
class Trial:
    """A presented sound: its number, when its file was started, when ``Audio onset`` was logged, and its condition."""

    number: int
    started: float
    onset: float
    word_list: bool


def anchors(rows: Sequence[Logged]) -> list[Trigger]:
    """The fixations and block titles, as triggers by which log and recording are matched."""
    triggers = []
    for row in rows:
        if row.kind == "Picture" and row.code.startswith("FIX"):
            triggers.append(Trigger(row.start, FIXATION))
        elif row.kind == "Picture" and row.code in CONTEXTS:
            triggers.append(Trigger(row.start, CONTEXT))
    return triggers


def find_trials(rows: Sequence[Logged]) -> list[Trial]:
    """The sounds of an auditory session, in order.

    A sound is left out if its file was started before the recording, or it was cut off before its onset.

    Raises:
        InputError: if an ``Audio onset`` belongs to no file.
    """
    trials: list[Trial] = []
    context, pending = "", None
    for row in sorted(rows, key=lambda row: row.start):
        started, onset = START_FILE.search(row.code), AUDIO_ONSET.match(row.code)
        if row.kind == "Picture" and row.code in CONTEXTS:
            context = row.code
        elif row.kind == "Sound" and started:
            pending = (int(started[1]), row.start)
        elif row.kind == "Nothing" and onset and pending:
            word_list = context == LISTS if context else int(onset[1] or 0) in LIST_VALUES
            trials.append(Trial(*pending, row.start, word_list))
            pending = None
        elif row.kind == "Nothing" and onset and trials:
            raise InputError(f"'{row.code}' at {row.start:.3f} s, but no sound file was started since the last one")
    return trials


@dataclass(frozen=True)
class Stimuli:
    """The stimuli folder: texts by number (``stimuli.txt``), sounds, and their TextGrids."""

    root: Path
    texts: dict[int, str]
    numbers: dict[str, int]

    @classmethod
    def read(cls, root: Path) -> "Stimuli":
        """Read ``stimuli.txt``, whose lines are "number text".

        Raises:
            InputError: if it does not exist, or has no lines of that form.
        """
        path = root / "stimuli" / "stimuli.txt"
        try:
            lines = path.read_bytes().decode("utf-8-sig", errors="replace").splitlines()
        except OSError:
            raise InputError(f"no {path}, which identifies sentences; get it with the dataset's folder stimuli/") from None
        split = (line.strip().partition(" ") for line in lines)
        texts = {int(number): text.strip() for number, _, text in split if number.isdecimal() and text.strip()}
        if not texts:
            raise InputError(f"{path} holds no lines of the form 'number text'")
        numbers: dict[str, int] = {}
        for number in sorted(texts):
            numbers.setdefault(_key(texts[number]), number)
        return cls(root, texts, numbers)

    def uid(self, text: str) -> str:
        """Identifies a text, however it was presented, by its first 45 characters in lower case; empty if it is unknown."""
        number = self.numbers.get(_key(text))
        return "" if number is None else f"mous-{number:03d}"

    def sound(self, number: int) -> Path:
        """The path of a sound, whether the file exists or not."""
        return self.root / "stimuli" / "audio_files" / f"EQ_Ramp_Int2_Int1LPF{number:03d}.wav"

    def spoken(self, number: int) -> tuple[list[Interval], list[Interval]]:
        """The words and phonemes in a sound, without pauses.

        Raises:
            InputError: if it has no TextGrid, or the TextGrid lacks a tier.
        """
        folder = self.root / "derivatives" / "phonemes"
        path = folder / f"EQ_Ramp_Int2_Int1LPF{number:03d}.TextGrid"
        if not any(folder.glob("*.TextGrid")):
            raise InputError(
                f"no TextGrids in {folder}, from which words and phonemes are read, as the dataset does not include them; "
                f"put them there as {path.name} and so on, with the tiers {WORDS} and {PHONES}, as WebMAUS makes them from "
                "the sounds and stimuli.txt"
            )
        tiers = read_tiers(path)
        for tier in (WORDS, PHONES):
            if tier not in tiers:
                raise InputError(f"{path} has no tier {tier!r} (found {', '.join(tiers) or 'none'})")
        words, phones = ([part for part in tiers[tier] if is_spoken(part.label)] for tier in (WORDS, PHONES))
        if not words:
            raise InputError(f"{path} holds no words")
        return words, phones


def _key(text: str) -> str:
    return text.lower().strip(" .")[:KEY_CHARACTERS]


def heard_events(trials: Sequence[Trial], stimuli: Stimuli, starts_at: SoundStart) -> list[Event]:
    """The sounds, words and phonemes of an auditory session, sorted, on the clock of ``trials``."""
    events: list[Event] = []
    for trial in trials:
        start = trial.onset if starts_at == "audio_onset" else trial.started
        path = stimuli.sound(trial.number)
        words, phones = stimuli.spoken(trial.number)
        text = stimuli.texts.get(trial.number, "") or " ".join(word.label for word in words)
        uid = stimuli.uid(text) or f"mous-{trial.number:03d}"
        events.append(Sound(start=start, duration=sound_length_s(path), language=LANGUAGE, filepath=str(path.absolute())))
        events += [
            Word(
                start=start + word.start,
                duration=word.stop - word.start,
                language=LANGUAGE,
                word=word.label,
                word_index=index,
                sequence=text,
                sequence_uid=uid,
            )
            for index, word in enumerate(words)
        ]
        events += [
            Phoneme(start=start + phone.start, duration=phone.stop - phone.start, language=LANGUAGE, phoneme=phone.label)
            for phone in phones
        ]
    return sorted(events, key=lambda event: event.start)


def read_words(rows: Sequence[Logged], uid: Callable[[str], str]) -> list[Word]:
    """The words of a visual session, presented one at a time; a word lasts until the next picture.

    A sentence consists of the words between two pictures that are neither words nor the blank between words. ``uid`` identifies
    its text.
    """
    pictures = sorted((row for row in rows if row.kind == "Picture"), key=lambda row: row.start)
    sentences: list[list[tuple[str, float, float]]] = [[]]
    for picture, following in itertools.pairwise([*pictures, None]):
        assert picture is not None, "only the last item is None"
        shown = SHOWN_WORD.match(picture.code)
        if shown:
            stop = picture.start + int(shown[3]) / 1000 if following is None else following.start
            sentences[-1].append((shown[2].rstrip("."), picture.start, stop))
        elif picture.code != "ISI":
            sentences.append([])
    words: list[Word] = []
    for sentence in sentences:
        text = " ".join(word for word, _, _ in sentence)
        words += [
            Word(
                start=start,
                duration=stop - start,
                modality="visual",
                language=LANGUAGE,
                word=word,
                word_index=index,
                sequence=text,
                sequence_uid=uid(text),
            )
            for index, (word, start, stop) in enumerate(sentence)
        ]
    return words
