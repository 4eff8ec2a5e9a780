"""Synthetic speech: random sentences from a small lexicon, spoken by a formant synthesiser.

Voiced sounds are a pulse train through three resonators (formants), noisy sounds are band-passed noise. Words differ in their
phonemes; tokens of one word differ in pitch, loudness, speed and slightly in their formants. Every onset falls on a sample.
"""

import hashlib
import json
import os
import shutil
import sys
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raybrain.config import InputError
from raybrain.integrity import is_whole, stamp
from raybrain.storage import read_json, write_json

Array = NDArray[np.float64]

RATE_HZ = 16_000
VERSION = 1  # raise it when a change to this file changes the sound
PART_S = 90.0  # the approximate duration of the wav files a story is split into
RAMP_S = 0.004  # the duration of fading each phoneme in and out, to avoid clicks
BANDWIDTHS_HZ = (80.0, 110.0, 160.0)


@dataclass(frozen=True)
class Sonority:
    """How a phoneme sounds: formants if voiced, a frequency band if noisy, a silent closure before it if it is a stop."""

    seconds: float
    loudness: float
    formants: tuple[float, float, float] | None = None
    band: tuple[float, float] | None = None
    closure_s: float = 0.0


def _vowel(first: float, second: float, third: float, seconds: float = 0.12) -> Sonority:
    return Sonority(seconds, 1.0, formants=(first, second, third))


def _voiced(first: float, second: float, third: float, loudness: float = 0.5) -> Sonority:
    return Sonority(0.07, loudness, formants=(first, second, third))


PHONEMES = {
    "AA": _vowel(730, 1090, 2440),
    "AE": _vowel(660, 1720, 2410),
    "AH": _vowel(640, 1190, 2390, 0.09),
    "AO": _vowel(570, 840, 2410),
    "EH": _vowel(530, 1840, 2480, 0.10),
    "ER": _vowel(490, 1350, 1690),
    "IH": _vowel(390, 1990, 2550, 0.09),
    "IY": _vowel(270, 2290, 3010),
    "UH": _vowel(440, 1020, 2240, 0.09),
    "UW": _vowel(300, 870, 2240),
    "EY": _vowel(440, 2150, 2700, 0.14),
    "OW": _vowel(460, 900, 2350, 0.14),
    "M": _voiced(250, 950, 2200),
    "N": _voiced(260, 1550, 2600),
    "NG": _voiced(260, 2000, 2800),
    "L": _voiced(360, 1150, 2700),
    "R": _voiced(420, 1200, 1600),
    "W": _voiced(300, 650, 2200),
    "Y": _voiced(280, 2250, 2900),
    "S": Sonority(0.11, 0.35, band=(4500, 7600)),
    "SH": Sonority(0.11, 0.40, band=(2200, 5500)),
    "F": Sonority(0.09, 0.15, band=(1200, 7000)),
    "TH": Sonority(0.08, 0.12, band=(3000, 7500)),
    "HH": Sonority(0.05, 0.15, band=(500, 2500)),
    "Z": Sonority(0.09, 0.35, (260, 1500, 2500), (4500, 7600)),
    "V": Sonority(0.07, 0.30, (260, 1100, 2300), (1200, 6000)),
    "P": Sonority(0.05, 0.30, band=(400, 1600), closure_s=0.05),
    "T": Sonority(0.05, 0.35, band=(3000, 6500), closure_s=0.05),
    "K": Sonority(0.05, 0.35, band=(1400, 3200), closure_s=0.05),
    "B": Sonority(0.05, 0.40, (300, 900, 2200), (300, 1200), 0.03),
    "D": Sonority(0.05, 0.40, (300, 1700, 2600), (2500, 5000), 0.03),
    "G": Sonority(0.05, 0.40, (300, 1900, 2300), (1200, 2800), 0.03),
}

LEXICON = {
    word: tuple(phonemes.split())
    for word, phonemes in (
        entry.split(":")
        for entry in """
        the:TH AH, a:AH, and:AE N D, of:AH V, in:IH N, we:W IY, she:SH IY, you:Y UW, my:M AA IY, no:N OW, see:S IY, saw:S AO,
        dog:D AO G, fish:F IH SH, moon:M UW N, rain:R EY N, boat:B OW T, ship:SH IH P, book:B UH K, queen:K W IY N,
        stone:S T OW N, green:G R IY N, black:B L AE K, small:S M AO L, yellow:Y EH L OW, river:R IH V ER, winter:W IH N T ER,
        summer:S AH M ER, garden:G AA R D AH N, window:W IH N D OW, mother:M AH TH ER, sister:S IH S T ER, paper:P EY P ER,
        money:M AH N IY, happy:HH AE P IY, sleep:S L IY P, jump:SH AH M P, walking:W AO K IH NG, singing:S IH NG IH NG,
        never:N EH V ER, under:AH N D ER, over:OW V ER, music:M Y UW Z IH K, village:V IH L IH SH, potato:P AH T EY T OW,
        animal:AE N IH M AH L, elephant:EH L AH F AH N T, family:F AE M AH L IY, tomorrow:T AH M AA R OW,
        remember:R IH M EH M B ER
        """.replace("\n", " ").split(", ")
    )
    for word in [word.strip()]
}


@dataclass(frozen=True)
class SpokenWord:
    """A word in a wav file, in seconds from the start of the file."""

    start: float
    duration: float
    word: str
    word_index: int
    sequence: str


@dataclass(frozen=True)
class SpokenPhoneme:
    """A phoneme in a wav file, in seconds from the start of the file."""

    start: float
    duration: float
    phoneme: str


@dataclass
class StoryPart:
    """One wav file of the story, with its words and phonemes."""

    file: str
    duration: float = 0.0
    words: list[SpokenWord] = field(default_factory=list)
    phonemes: list[SpokenPhoneme] = field(default_factory=list)


def keyed_rng(*key: object) -> np.random.Generator:
    """A random generator that depends on ``key`` alone, on any machine and in any process."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:16], "big"))


def story_folder(cache: Path, minutes: float, seed: int) -> Path:
    """The folder of a story, which is written if it does not exist or is damaged; it appears whole or not at all."""
    text = json.dumps({"version": VERSION, "minutes": minutes, "seed": seed}, sort_keys=True)
    root = cache / f"synthetic-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if _is_whole(root):
        return root
    aside = cache / f".{root.name}-{uuid.uuid4().hex}"
    aside.mkdir(parents=True)
    try:
        _write_story(aside, minutes, seed)
        os.rename(aside, root)
    except OSError:
        if not (root / "story.json").exists():  # otherwise another process was first, with the same content
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return root


def _is_whole(root: Path) -> bool:
    """Whether the story in a folder is as it was written. A damaged one is removed, with a line for people."""
    if not root.exists():
        return False
    try:
        story = read_json(root / "story.json")
    except InputError:
        story = None
    if story is None:
        damaged = [root / "story.json"]
    else:
        files = story["files"] if isinstance(story, dict) else {}  # an earlier version's has none
        damaged = [root / name for name, known in files.items() if not is_whole(root / name, known)]
    if damaged:
        print(f"raybrain: damaged file {damaged[0]}; the story is made again", file=sys.stderr, flush=True)
        gone = root.with_name(f".{root.name}-{uuid.uuid4().hex}")
        with suppress(FileNotFoundError):  # another process may see the same
            os.rename(root, gone)
        shutil.rmtree(gone, ignore_errors=True)
    return not damaged


def read_story(root: Path) -> list[StoryPart]:
    """The parts of the story in the folder ``root``."""
    story = read_json(root / "story.json")
    parts: list[dict[str, Any]] = story["parts"] if isinstance(story, dict) else story
    return [
        StoryPart(
            file=part["file"],
            duration=part["duration"],
            words=[SpokenWord(**word) for word in part["words"]],
            phonemes=[SpokenPhoneme(**phoneme) for phoneme in part["phonemes"]],
        )
        for part in parts
    ]


def _write_story(folder: Path, minutes: float, seed: int) -> None:
    import soundfile

    rng = keyed_rng("story", seed)
    count = max(1, round(minutes * 60 / PART_S))
    used: set[str] = set()
    parts = []
    for index in range(count):
        part = StoryPart(file=f"part-{index + 1:02d}.wav")
        wave = _speak_part(part, minutes * 60 / count, used, rng)
        soundfile.write(folder / part.file, wave, RATE_HZ, subtype="PCM_16")
        parts.append(asdict(part))
    files = {path.name: stamp(path) for path in sorted(folder.iterdir())}
    write_json(folder / "story.json", {"parts": parts, "files": files})


def _speak_part(part: StoryPart, seconds: float, used: set[str], rng: np.random.Generator) -> Array:
    """The wave of a part: sentences with pauses until ``seconds`` are filled; adds their words and phonemes to ``part``."""
    pieces = [np.zeros(int(0.3 * RATE_HZ))]
    length = len(pieces[0])
    while length < seconds * RATE_HZ:
        wave = _speak(_sentence(used, rng), part, length, rng)
        pause = np.zeros(int(rng.uniform(0.35, 0.8) * RATE_HZ))
        pieces += [wave, pause]
        length += len(wave) + len(pause)
    part.duration = length / RATE_HZ
    return np.concatenate(pieces)


def _sentence(used: set[str], rng: np.random.Generator) -> list[str]:
    """Four to nine words, none twice in a row; never a used sentence again, since sentences decide the split."""
    lexicon = list(LEXICON)
    while True:
        words: list[str] = []
        for _ in range(rng.integers(4, 10)):
            words.append(str(rng.choice([word for word in lexicon if word not in words[-1:]])))
        if " ".join(words) not in used:
            used.add(" ".join(words))
            return words


def _speak(words: list[str], part: StoryPart, begin: int, rng: np.random.Generator) -> Array:
    """The wave of one sentence that starts at sample ``begin`` of its part."""
    rate, loudness, base_hz = rng.uniform(0.85, 1.2), rng.uniform(0.8, 1.2), rng.uniform(100, 150)
    pieces: list[Array] = []
    place = begin
    for index, word in enumerate(words):
        first = place
        pitch_hz = base_hz * (1.1 - 0.25 * index / len(words)) * rng.uniform(0.9, 1.15)
        level = 0.08 * loudness * rng.uniform(0.7, 1.3)
        stretch = rate * rng.uniform(0.85, 1.2)
        for number, name in enumerate(LEXICON[word]):
            wave = _sound(PHONEMES[name], pitch_hz, stretch * rng.uniform(0.9, 1.1), number == 0, rng) * level
            part.phonemes.append(SpokenPhoneme(place / RATE_HZ, len(wave) / RATE_HZ, name))
            pieces.append(wave)
            place += len(wave)
        part.words.append(SpokenWord(first / RATE_HZ, (place - first) / RATE_HZ, word, index, " ".join(words)))
        gap = np.zeros(int(rng.uniform(0.01, 0.06) * RATE_HZ))
        pieces.append(gap)
        place += len(gap)
    return np.concatenate(pieces)


def _sound(kind: Sonority, pitch_hz: float, stretch: float, first: bool, rng: np.random.Generator) -> Array:
    """The wave of one phoneme. A stop at the start of a word has no closure, so that the word is audible from its onset on."""
    from scipy import signal

    size = int(kind.seconds * stretch * RATE_HZ)
    wave = np.zeros(size)
    if kind.formants:
        time = np.arange(size) / RATE_HZ
        phase = pitch_hz * (time + 0.1 * np.sin(np.pi * time * RATE_HZ / size) * time[-1]) + 1.0
        pulses = np.diff(np.floor(phase), prepend=0.0)
        wave += _unit(signal.sosfilt(_resonators(kind.formants, rng), pulses + 0.01 * rng.standard_normal(size)))
    if kind.band:
        sos = signal.butter(2, kind.band, btype="bandpass", fs=RATE_HZ, output="sos")
        wave += _unit(signal.sosfilt(sos, rng.standard_normal(size)))
    ramp = np.clip(np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1)) / (RAMP_S * RATE_HZ), 0, 1)
    wave = _unit(wave) * ramp * kind.loudness
    closure = 0 if first else int(kind.closure_s * stretch * RATE_HZ)
    return np.concatenate([np.zeros(closure), wave])


def _resonators(formants: tuple[float, float, float], rng: np.random.Generator) -> Array:
    """Second-order sections, one per formant; the formants vary slightly between tokens."""
    sections = []
    for centre, width in zip(formants, BANDWIDTHS_HZ, strict=True):
        radius = np.exp(-np.pi * width / RATE_HZ)
        angle = 2 * np.pi * centre * rng.uniform(0.97, 1.03) / RATE_HZ
        gain = 1 - 2 * radius * np.cos(angle) + radius**2
        sections.append([gain, 0.0, 0.0, 1.0, -2 * radius * np.cos(angle), radius**2])
    return np.array(sections)


def _unit(wave: Array) -> Array:
    scaled: Array = wave / max(float(np.sqrt(np.mean(wave**2))), 1e-12)
    return scaled
