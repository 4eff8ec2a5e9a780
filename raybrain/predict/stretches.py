"""Speech: what may have been heard, as a model compares it with the brain: sounds, or sentences of a text.

A stretch of it is as long as a window. Stretches begin every few tenths of a second, or where a table says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raybrain.config import InputError, hint
from raybrain.events import Phoneme, Sound, Word
from raybrain.features.base import Feature, Stimulus
from raybrain.features.frame_table import FeatureTable
from raybrain.features.scale import FeatureScale
from raybrain.model_folder import ModelCard
from raybrain.plain import from_tree
from raybrain.signal.window import Window

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au")
LETTERS_S = 14.0  # letters spoken in a second: about 170 words in a minute
SHOWN = 3  # names in a line


@dataclass(frozen=True)
class FeatureFrames:
    """The frames of one feature, scaled: silence, then those of all speech, one after another."""

    scale: FeatureScale
    values: Tensor  # [frames size]
    begin: Tensor  # [names]
    count: Tensor  # [names]


@dataclass(frozen=True)
class Speech:
    """Sounds or sentences, with the features that a model knows.

    Attributes:
        what: "sound" or "sentence".
        names: of them.
        durations_s: of them.
        window: how long a stretch is.
        features: of all of them.
        assumed: what had to be assumed, a line each.
    """

    what: str
    names: tuple[str, ...]
    durations_s: np.ndarray
    window: Window
    features: tuple[FeatureFrames, ...]
    assumed: tuple[str, ...] = ()

    @property
    def length_s(self) -> float:
        """Seconds of a stretch."""
        return self.window.samples / self.window.rate_hz

    def windows(self, of: np.ndarray, start_s: np.ndarray) -> Tensor:
        """The features of some stretches, scaled as in training, [stretches features time].

        Args:
            of: [stretches], index into ``names``.
            start_s: [stretches], second at which each begins.
        """
        rows, number = torch.arange(len(of)), torch.from_numpy(np.asarray(of))
        times = torch.arange(self.window.times, dtype=torch.float64) / self.window.rate_hz
        parts = []
        for one in self.features:
            first = torch.from_numpy(np.asarray(start_s, dtype=float)) * one.scale.rate_hz
            bounds = one.begin[number], one.count[number]
            parts.append(FeatureTable(one.scale.name, one.scale.rate_hz, one.values, first, *bounds, one.scale.weights))
        return torch.cat([table.of(rows, times) for table in parts], dim=2).transpose(1, 2).contiguous()

    def grid(self, step_s: float) -> "Stretches":
        """A stretch every so many seconds, as far as they fit; of what is shorter than one the first alone.

        Raises:
            InputError: if nothing is as long as a stretch.
        """
        of, start = [], []
        for number, lasts in enumerate(self.durations_s):
            starts = np.arange(0.0, lasts - self.length_s + 1e-6, step_s)
            of += [np.full(len(starts), number)]
            start += [starts]
        if not sum(map(len, start)):
            longest = float(self.durations_s.max())
            raise InputError(
                f"no {self.what} is as long as a window of this model, {self.length_s:.1f} s; the longest lasts {longest:.1f} s"
            )
        return Stretches(np.concatenate(of), np.concatenate(start), self.length_s, spaced=True)


@dataclass(frozen=True)
class Stretches:
    """Stretches of speech, in order of what they are of, then of time.

    Attributes:
        of: [stretches], index into the names of the speech.
        start_s: [stretches], second of it at which each begins.
        length_s: of each.
        spaced: whether they follow each other so closely that neighbours are much the same.
    """

    of: np.ndarray
    start_s: np.ndarray
    length_s: float
    spaced: bool

    def __len__(self) -> int:
        return len(self.of)

    @cached_property
    def near(self) -> tuple[np.ndarray, np.ndarray]:
        """The first stretch that overlaps each by more than half, and the one after the last, [stretches] each.

        Of stretches that are not spaced it is each itself, and the next one.
        """
        numbers = np.arange(len(self))
        if not self.spaced:
            return numbers, numbers + 1
        apart = 10.0 * (float(self.start_s.max()) + self.length_s)  # puts each sound where no other one reaches
        places, half = self.of * apart + self.start_s, self.length_s / 2
        return np.searchsorted(places, places - half, "right"), np.searchsorted(places, places + half)

    def nearest(self, of: int, start_s: float) -> int:
        """The stretch of a sound or sentence that begins nearest to a second of it; -1 if there is none."""
        mine = np.flatnonzero(self.of == of)
        return int(mine[np.abs(self.start_s[mine] - start_s).argmin()]) if len(mine) else -1


def read_sounds(folder: Path, card: ModelCard) -> Speech:
    """The sounds of a folder, or one file. TextGrids beside them give words and phonemes, where the model's features need any.

    Raises:
        InputError: if there are none, one cannot be read, or a feature needs what they do not have.
    """
    from raybrain.studies.readers.sounds import sound_length_s

    if not folder.exists():
        raise InputError(f"no folder {folder}; type --sounds DIR, a folder of sound files")
    files = sorted(path for path in ([folder] if folder.is_file() else folder.rglob("*")) if path.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(f"no sounds in {folder}; it should hold files of these kinds: {', '.join(SUFFIXES)}")
    top = folder.parent if folder.is_file() else folder
    features = _features(card)
    labelled = any({"words", "phonemes"} & set(feature.needs) for feature in features)
    stimuli = {}
    for path in files:
        sound = Sound(start=0.0, duration=sound_length_s(path), filepath=str(path))
        words, phonemes = _labels(path) if labelled else ((), ())
        stimuli[path.relative_to(top).as_posix()] = Stimulus(sound.duration, (sound,), words, phonemes)
    return _speech("sound", stimuli, features, card, ())


def read_sentences(file: Path, card: ModelCard) -> Speech:
    """The sentences of a text file, one a line, whose words are taken to be spoken evenly.

    Raises:
        InputError: if it cannot be read or is empty, or a feature of the model needs more than words.
    """
    features = _features(card)
    if deaf := [feature.name for feature in features if set(feature.needs) - {"words"}]:
        raise InputError(
            f"this model knows speech by {', '.join(deaf)}, which a text does not have; type --sounds DIR, or use a model that"
            " was trained on features of words alone, such as word_length or text_model"
        )
    try:
        lines = [" ".join(line.split()) for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8 text; save it as UTF-8, a sentence a line") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); type --text FILE, a text with a sentence a line") from None
    window_s = card.window.samples / card.window.rate_hz
    stimuli = {line: _spoken(line, window_s) for line in lines if line}
    if not stimuli:
        raise InputError(f"{file} holds no sentence; write one a line")
    rate = f"words are taken to be spoken at {LETTERS_S:g} letters a second, since a text does not say when"
    return _speech("sentence", stimuli, features, card, (rate,))


def listed(table: Path, speech: Speech, tmin_s: float) -> Stretches:
    """The stretches around the moments that a table names in its columns sound and onset (seconds of that sound).

    Args:
        table: separated by tabs.
        speech: the sounds, or the sentences.
        tmin_s: start of a window relative to its moment.

    Raises:
        InputError: if the table cannot be read, lacks a column, or names another sound.
    """
    from raybrain.studies.bids.bids_table import read_table

    places = set()
    for row in read_table(table, ("sound", "onset")):
        number, onset = find_name(row.text("sound"), speech), row.number("onset")
        if number < 0:
            raise row.error(f"no {speech.what} {row.text('sound')!r}{hint(row.text('sound'), speech.names)}")
        if onset is not None:
            places.add((number, onset + tmin_s))
    if not places:
        raise InputError(f"{table} lists no stretch; write a row for each, with the columns sound and onset")
    of, start = zip(*sorted(places), strict=True)
    return Stretches(np.array(of), np.array(start), speech.length_s, spaced=False)


def find_name(name: str, speech: Speech) -> int:
    """The number of a sound by its path below the folder, or by its name with or without the ending; -1 if there is none."""
    wanted = Path(name)
    for of in (str, lambda known: Path(known).name, lambda known: Path(known).stem):
        names = [of(known) for known in speech.names]
        if (of(str(wanted)) in names) and name:
            return names.index(of(str(wanted)))
    return -1


def _features(card: ModelCard) -> tuple[Feature, ...]:
    """The features of a model.

    Raises:
        InputError: if one is not known here or lacks a package.
    """
    features = tuple(from_tree(Feature, one) for one in card.experiment["data"]["features"])
    for feature in features:
        feature.check()
    return features


def _labels(path: Path) -> tuple[tuple[Word, ...], tuple[Phoneme, ...]]:
    """The words and phonemes of a sound, from the TextGrid beside it."""
    from raybrain.studies.readers.textgrids import find_textgrid, find_tier, is_spoken, read_tiers

    grid = find_textgrid(path)
    if grid is None:
        raise InputError(f"this model knows speech by words or phonemes, and no {path.stem}.TextGrid lies beside {path}")
    tiers = read_tiers(grid)
    words, phonemes = (
        [one for one in find_tier(tiers, what, "", grid) if is_spoken(one.label)] for what in ("word", "phoneme")
    )
    text = " ".join(one.label for one in words)
    spoken = tuple(
        Word(start=one.start, duration=one.stop - one.start, word=one.label, word_index=number, sequence=text)
        for number, one in enumerate(words)
    )
    return spoken, tuple(Phoneme(start=one.start, duration=one.stop - one.start, phoneme=one.label) for one in phonemes)


def _spoken(line: str, least_s: float) -> Stimulus:
    """A sentence, spoken evenly by its letters; silence follows a short one."""
    words, start = [], 0.0
    for number, word in enumerate(line.split()):
        bare = word.strip('.,;:!?"()[]«»“”„')
        lasts = max(len(bare), 1) / LETTERS_S
        words.append(Word(start=start, duration=lasts, word=bare or word, word_index=number, sequence=line))
        start += lasts
    return Stimulus(max(start, least_s), words=tuple(words))


def _speech(
    what: str, stimuli: dict[str, Stimulus], features: Sequence[Feature], card: ModelCard, assumed: tuple[str, ...]
) -> Speech:
    """Extract the features of all stimuli."""
    durations = np.array([stimulus.duration for stimulus in stimuli.values()])
    length_s = card.window.samples / card.window.rate_hz
    short = [name for name, lasts in zip(stimuli, durations, strict=True) if lasts < length_s - 1e-6]
    if short and len(short) < len(stimuli):
        named = ", ".join([*short[:SHOWN], *(["..."] if len(short) > SHOWN else [])])
        assumed = (
            *assumed,
            f"{len(short)} of {len(stimuli)} {what}s are shorter than a window ({named}): left out",
        )
    made = []
    for feature, scale in zip(features, card.features, strict=True):
        scaled = [scale.scaled(values) for values in feature.extract_many(list(stimuli.values()))]
        counts = [len(values) for values in scaled]
        begin = np.cumsum([1, *counts[:-1]])
        frames = torch.from_numpy(np.concatenate([scale.quiet[None], *scaled]))
        made.append(FeatureFrames(scale, frames, torch.from_numpy(begin), torch.tensor(counts)))
    return Speech(what, tuple(stimuli), durations, card.window, tuple(made), assumed)
