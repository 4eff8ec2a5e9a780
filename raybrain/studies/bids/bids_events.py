"""Sounds, words and phonemes of a BIDS recording; ``bids.py`` says which columns, rows and tiers count."""

import bisect
import contextlib
import csv
import itertools
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field, PositiveFloat

from raybrain.config import Config, InputError
from raybrain.events import Event, Phoneme, Sound, Word
from raybrain.studies.bids.bids_table import WANTED, Row, read_rows
from raybrain.studies.readers.sounds import sound_length_s
from raybrain.studies.readers.textgrids import Interval, find_textgrid, find_tier, is_spoken, read_tiers
from raybrain.studies.timing.sound_clock import fit_clock, tick_times

TICK = "(tick)"  # no trial_type is called that
AUDIO = (".wav", ".flac", ".mp3", ".ogg")
CLOSE_S = 0.1  # a word's own onset may come this much before that of its sound
WORD_S = 0.5  # how long a word counts that has no duration, when pauses are looked for


class SoundRows(Config):
    """Which rows are sounds, and which moments of a sound they mark.

    Attributes:
        column: names the sound file; without an ending it is looked for with those of audio.
        time_column: holds seconds of the sound, from which offset and drift of its clock are fitted; empty for none.
        tick: trial_type or value of rows that come regularly while the sound plays; empty for none.
        tick_s: of the sound between two ticks.
    """

    column: str = Field("stim_file", min_length=1)
    time_column: str = ""
    tick: str = ""
    tick_s: PositiveFloat = 1.0


class WordRows(Config):
    """Where words, phonemes and sentences are found; empty tiers stand for those with a common name.

    Places in a sentence count from 0, or from 1 if there is no 0.

    Attributes:
        sentence_column: names the sentence of a word.
        index_column: holds the place of a word in its sentence.
        word_tier: of the TextGrids, with words.
        phoneme_tier: of the TextGrids, with phonemes.
        sentence_tier: of the TextGrids, with sentences.
        pause_s: without a sentence column, tier or word_index, a sentence ends at such a pause and with its sound; None: with
            its sound only.
        start_s: is added to the times of words and phonemes.
    """

    sentence_column: str = "sequence_id"
    index_column: str = "word_index"
    word_tier: str = ""
    phoneme_tier: str = ""
    sentence_tier: str = ""
    pause_s: PositiveFloat | None = 0.5
    start_s: float = 0.0


@dataclass
class Reading:
    """The events of a recording, sorted by start, and what is odd about them."""

    events: list[Event]
    remarks: list[str]


@dataclass
class _Playback:
    """A sound as the table has it: the row that names it, and the marks of its moments (seconds of file, of recording)."""

    row: Row
    path: Path
    duration: float | None
    marks: list[tuple[float, float]]
    ticks: list[float] = field(default_factory=list)
    words: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class _Said:
    """A word as it was found."""

    start: float
    duration: float
    word: str
    sentence: str = ""
    index: int | None = None
    sequence: str = ""
    uid: str = ""


def read_events(root: Path, file: Path, sounds: SoundRows, words: WordRows, shift_s: float) -> Reading:
    """The events of ``file``, with ``shift_s`` added to all onsets.

    Raises:
        InputError: no sounds, no words, a value that cannot be, a sound that is not there.
    """
    rows = read_rows(file)
    kinds = [_kind(row, sounds) for row in rows]
    remarks: list[str] = []
    onsets = _onsets(rows, kinds, sounds, shift_s)
    playbacks = _playbacks(root, rows, kinds, onsets, sounds)
    heard = sorted((_sound(playback, sounds, remarks) for playback in playbacks), key=lambda sound: sound.start)
    timed = [
        (_time(row, onset, heard, sounds) + words.start_s, row, kind)
        for row, onset, kind in zip(rows, onsets, kinds, strict=True)
        if kind in ("word", "phoneme")
    ]
    said = [_said(row, start, words) for start, row, kind in timed if kind == "word" and _word(row)]
    phonemes = [
        Phoneme(start=start, duration=row.duration or 0.0, phoneme=row.text("phoneme") or row.text("value"))
        for start, row, kind in timed
        if kind == "phoneme"
    ]
    if heard and not (said and phonemes):
        more_said, more_phonemes = _from_textgrids(heard, words, needed=not said)
        said, phonemes = said or more_said, phonemes or more_phonemes
    if not (heard and said):
        missing = " and no ".join(what for what, found in (("sounds", heard), ("words", said)) if not found)
        columns = ", ".join(rows[0].values) if rows else "no rows"
        told = ", ".join(f"{count} {kind}" for kind, count in Counter(kind or "n/a" for kind in kinds).most_common(5)) or "none"
        raise InputError(f"{file} lists no {missing} (columns: {columns}; rows: {told}); {WANTED}")
    events = [*heard, *_words(said, heard, words.pause_s), *phonemes]
    return Reading(sorted(events, key=lambda event: event.start), remarks)


def _kind(row: Row, sounds: SoundRows) -> str:
    """What the row is about: sound, word, phoneme, tick or, if nothing of these, its trial_type."""
    named = row.text("trial_type").lower()
    if sounds.tick and sounds.tick in (row.text("trial_type"), row.text("value")):
        return TICK
    if named in ("sound", "word", "phoneme"):
        return named
    if row.text("word"):
        return "word"
    return "sound" if row.text(sounds.column) else named


def _second(row: Row, sounds: SoundRows) -> float | None:
    """The second of the sound that a row gives, if it gives one."""
    return row.number(sounds.time_column) if sounds.time_column else None


def _onsets(rows: Sequence[Row], kinds: Sequence[str], sounds: SoundRows, shift_s: float) -> list[float]:
    """The onset of each row; one that gives the second of its sound, or does not matter, may have that of the row above."""
    onsets: list[float] = []
    for row, kind in zip(rows, kinds, strict=True):
        onset = row.number("onset")
        if onset is None and (kind == "sound" or (kind in ("word", "phoneme") and _second(row, sounds) is None)):
            raise row.error("onset is n/a; sounds, words and phonemes need one, in seconds")
        onsets.append(onset + shift_s if onset is not None else onsets[-1] if onsets else 0.0)
    return onsets


def _playbacks(
    root: Path, rows: Sequence[Row], kinds: Sequence[str], onsets: Sequence[float], sounds: SoundRows
) -> list[_Playback]:
    """The sounds with their marks.

    A sound row goes on with the sound before it if it names the same file at a later second. In a table without sound rows,
    words that name a file and a second of it stand for them.
    """
    found: list[_Playback] = []
    stand_in = () if "sound" in kinds else ("word", "phoneme")
    for number in sorted(range(len(rows)), key=lambda number: (onsets[number], kinds[number] != "sound")):
        row, kind, onset = rows[number], kinds[number], onsets[number]
        if kind == TICK and found:
            found[-1].ticks.append(onset)
        if kind not in ("sound", "word", "phoneme") or not row.text("onset"):
            continue
        second = _second(row, sounds)
        if kind == "sound" or (kind in stand_in and second is not None and row.text(sounds.column)):
            path = _stimulus(root, row, sounds.column)
            last = found[-1].marks[-1][0] if found and found[-1].path == path else math.inf
            if second is not None and (second > last or (second == last and kind != "sound")):
                found[-1].marks.append((second, onset))
                found[-1].duration = None
            else:
                found.append(_Playback(row, path, row.duration if kind == "sound" else None, [(second or 0.0, onset)]))
        elif second is not None and found:
            found[-1].words.append((second, onset))
    return found


def _sound(playback: _Playback, settings: SoundRows, remarks: list[str]) -> Sound:
    """The stretch that was heard, by the clock that fits its marks. Words mark moments where nothing else does."""
    row, path = playback.row, playback.path
    first, start = playback.marks[0]
    try:
        length = sound_length_s(path)
    except InputError as error:
        raise row.error(str(error)) from None
    if not 0 <= first < length:
        raise row.error(f"{settings.time_column} is {first:g} s, but {path} lasts {length:.3f} s")
    beats = tick_times(start, playback.ticks, settings.tick_s)
    if len(beats) < len(playback.ticks) / 2:
        told = f"{len(beats)} of {len(playback.ticks)} ticks come a whole number of {settings.tick_s:g} s after the sound's row"
        raise row.error(f"{path.name}: only {told}")
    marks = playback.marks + [(first + at, onset) for at, onset in beats]
    if len(marks) == 1:
        marks = marks + playback.words
    try:
        clock = fit_clock(*zip(*marks, strict=True))
    except InputError as error:
        raise row.error(f"{path.name}: {error}") from None
    if clock.off:
        remarks.append(f"{clock.off} of {clock.marks} marks of {path.name} at {start:.1f} s are off and were left out")
    begins = clock.heard(first)
    left = (length - first) / clock.speed
    ends = begins + min(playback.duration or left, left)
    if ends <= 0:
        raise row.error(f"the sound {path} ends before the recording begins")
    heard = max(begins, 0.0)  # it may have begun before the recording did
    offset = first + (heard - begins) * clock.speed
    return Sound(start=heard, duration=ends - heard, filepath=str(path), offset=offset, speed=clock.speed)


def _time(row: Row, onset: float, heard: Sequence[Sound], sounds: SoundRows) -> float:
    """When a row's event starts: by the clock of its sound if it gives the second of the sound, else at its onset."""
    second = _second(row, sounds)
    around = {_playing(heard, onset), _playing(heard, onset + CLOSE_S)} - {-1}
    if second is None or not around:
        return onset
    return min((heard[number].heard(second) for number in around), key=lambda time: abs(time - onset))


def _playing(heard: Sequence[Sound], time: float) -> int:
    """The number of the last sound that started by ``time``, -1 before the first."""
    return bisect.bisect_right(heard, time + 1e-9, key=lambda sound: sound.start) - 1


def _stimulus(root: Path, row: Row, column: str) -> Path:
    """The sound file of a row: in stimuli/, else relative to the dataset; never outside of it."""
    named = row.text(column)
    if not named:
        raise row.error(f"a sound without a {column}")
    top = os.path.abspath(root)
    paths = [os.path.normpath(os.path.join(top, *folder, named)) for folder in (["stimuli"], [])]
    if not all(path.startswith(top + os.sep) for path in paths):
        raise row.error(f"{column} {named!r} lies outside of the dataset; put the file into {Path(top) / 'stimuli'}")
    for path, ending in itertools.product(paths, ("", *AUDIO)):
        if os.path.isfile(path + ending):
            return Path(path + ending)
    raise row.error(f"no sound file {named!r} in {Path(top) / 'stimuli'} or {top}")


def textgrids(root: Path, file: Path | None, sounds: SoundRows) -> set[Path]:
    """The TextGrids beside the sounds that an events table names, as far as there are any; no more of it is read."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines() if file else []
    except (OSError, UnicodeDecodeError):
        lines = []
    table = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    header = next(table, [])
    at = header.index(sounds.column) if sounds.column in header else len(header)
    found = set()
    for name in {values[at] for values in table if len(values) > at}:
        with contextlib.suppress(InputError):
            found.add(find_textgrid(_stimulus(root, Row(file or root, 0, {sounds.column: name}), sounds.column)))
    return {path for path in found if path}


def _word(row: Row) -> str:
    return row.text("word") or (row.text("value") if row.text("trial_type").lower() == "word" else "")


def _said(row: Row, start: float, words: WordRows) -> _Said:
    index = row.number(words.index_column) if words.index_column else None
    if index is not None and (index < 0 or index != int(index)):
        raise row.error(f"{words.index_column} is {index:g}, not a whole number from 0")
    return _Said(
        start=start,
        duration=row.duration or 0.0,
        word=_word(row),
        sentence=row.text(words.sentence_column) if words.sentence_column else "",
        index=None if index is None else int(index),
        sequence=row.text("sequence"),
        uid=row.text("sequence_uid"),
    )


def _from_textgrids(heard: Sequence[Sound], words: WordRows, needed: bool) -> tuple[list[_Said], list[Phoneme]]:
    """What the TextGrids beside the sounds say was heard; a sound that has none must not ``need`` it."""
    said: list[_Said] = []
    phonemes: list[Phoneme] = []
    for number, sound in enumerate(heard):
        path = find_textgrid(Path(sound.filepath))
        if path is None:
            if needed and said:
                raise InputError(f"no TextGrid beside {sound.filepath}, as there is beside other sounds")
            continue
        tiers = read_tiers(path)
        sentences = find_tier(tiers, "sentence", words.sentence_tier, path)
        for start, duration, label in _inside(sound, find_tier(tiers, "word", words.word_tier, path, needed), words.start_s):
            middle = sound.offset + (start + duration / 2 - words.start_s - sound.start) * sound.speed
            place = next((at for at, s in enumerate(sentences) if s.label and s.start <= middle < s.stop), None)
            said.append(_Said(start, duration, label, "" if place is None else f"{number}:{place}"))
        found = _inside(sound, find_tier(tiers, "phoneme", words.phoneme_tier, path), words.start_s)
        phonemes += [Phoneme(start=start, duration=duration, phoneme=label) for start, duration, label in found]
    return said, phonemes


def _inside(sound: Sound, tier: Iterable[Interval], shift_s: float) -> Iterator[tuple[float, float, str]]:
    """What is said in the stretch of a file that was heard: start and duration in the recording, and the label."""
    for interval in tier:
        if is_spoken(interval.label) and sound.offset <= interval.start < sound.offset_stop:
            yield sound.heard(interval.start) + shift_s, (interval.stop - interval.start) / sound.speed, interval.label


def _words(said: Sequence[_Said], heard: Sequence[Sound], pause_s: float | None) -> list[Word]:
    """The words with their sentences.

    A sentence ends where the next one is named or word_index falls; where there is neither name nor index, with its sound
    and at a pause.
    """
    base = 1 if min((one.index for one in said if one.index is not None), default=0) == 1 else 0
    sentences: list[list[tuple[_Said, int]]] = []
    before: tuple[object, int, float] | None = None
    for one in sorted(said, key=lambda one: one.start):
        bare = not one.sentence and one.index is None
        key: object = _playing(heard, one.start) if bare else one.sentence
        paused = bare and pause_s is not None and before is not None and one.start - before[2] >= pause_s
        if before is None or paused or key != before[0] or (one.index is not None and one.index - base <= before[1]):
            sentences.append([])
        index = len(sentences[-1]) if one.index is None else one.index - base
        sentences[-1].append((one, index))
        before = key, index, one.start + (one.duration or WORD_S)
    return [
        Word(
            start=one.start,
            duration=one.duration,
            word=one.word,
            word_index=index,
            sequence=one.sequence or " ".join(other.word for other, _ in sentence),
            sequence_uid=one.uid,
        )
        for sentence in sentences
        for one, index in sentence
    ]
