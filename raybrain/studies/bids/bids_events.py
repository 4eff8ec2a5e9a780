"""Sounds, words and phonemes of a BIDS recording; the study's settings say which columns, rows and tiers to read."""

import bisect
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field, PositiveFloat

from raybrain.config import Config, InputError
from raybrain.events import Event, Phoneme, Sound, Word
from raybrain.studies.bids.bids_stimuli import stimulus_path
from raybrain.studies.bids.bids_table import WANTED, Row, read_rows
from raybrain.studies.readers.sounds import sound_length_s
from raybrain.studies.readers.textgrids import Interval, find_textgrid, find_tier, is_spoken, read_tiers
from raybrain.studies.timing.sound_clock import fit_clock, tick_times

TICK = "(tick)"  # cannot be a trial_type
CLOSE_S = 0.1  # a word's onset may precede that of its sound by this much
LATE_S = 0.5  # a word may start this much after the end of its sound
MILLI = 500  # what is so many times too long may be in milliseconds
WORD_S = 0.5  # the assumed duration of words without one, when looking for pauses


class SoundRows(Config):
    """Which rows of the events table are sounds, and which rows mark a moment of a sound.

    Attributes:
        column: holds the name of the sound file; if it has no extension, those of audio files are tried.
        time_column: holds the seconds of the sound file that a row corresponds to; none if empty.
        tick: the trial_type or value of rows that mark every ``tick_s`` of the sound; none if empty.
        tick_s: seconds between ticks.
        channel: of the sound files, counted from 1, that holds what was heard; 0 for the mean of all channels.
    """

    column: str = Field("stim_file", min_length=1)
    time_column: str = ""
    tick: str = ""
    tick_s: PositiveFloat = 1.0
    channel: int = Field(0, ge=0)


class WordRows(Config):
    """Where words, phonemes and sentences are found, in columns of the events table or in tiers of TextGrids.

    Without a sentence column, sentence tier or word_index, a sentence ends at a pause and at the end of its sound.

    Attributes:
        sentence_column: identifies the sentence of a word.
        index_column: the position of a word in its sentence, counted from 0, or from 1 if no position is 0.
        word_tier: a TextGrid's tier of words; empty to look for one with a common name, as for the other tiers.
        phoneme_tier: its tier of phonemes.
        sentence_tier: its tier of sentences.
        pause_s: the shortest pause that ends a sentence; None if pauses do not.
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
    """The events of a recording, sorted by start, and remarks on what is odd about them."""

    events: list[Event]
    remarks: list[str]


@dataclass
class _Playback:
    """A presentation of a sound according to the table: the row that names it, and its marks.

    Marks and words are pairs of seconds of the file and of the recording; ticks are seconds of the recording.
    """

    row: Row
    path: Path
    duration: float | None
    marks: list[tuple[float, float]]
    ticks: list[float] = field(default_factory=list)
    words: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class _WordEntry:
    """A word as read from the table or a TextGrid, before its sentence is known."""

    start: float
    duration: float
    word: str
    sentence: str = ""
    index: int | None = None
    sequence: str = ""
    uid: str = ""


def read_events(root: Path, file: Path, sounds: SoundRows, words: WordRows, shift_s: float) -> Reading:
    """The events of a recording, sorted by start.

    Args:
        root: the folder of the dataset.
        file: the recording's events.tsv.
        sounds: which rows are sounds.
        words: where words, phonemes and sentences are found.
        shift_s: is added to all onsets.

    Raises:
        InputError: if there are no sounds or no words, a value is invalid, or a sound file does not exist.
    """
    rows, remarks = _rows(file, sounds)
    kinds = [_kind(row, sounds) for row in rows]
    onsets = _onsets(rows, kinds, sounds, shift_s)
    playbacks = _playbacks(root, rows, kinds, onsets, sounds)
    played = sorted((_sound(playback, sounds, remarks) for playback in playbacks), key=lambda sound: sound.start)
    timed = [
        (_time(row, onset, played, sounds) + words.start_s, row, kind)
        for row, onset, kind in zip(rows, onsets, kinds, strict=True)
        if kind in ("word", "phoneme")
    ]
    entries = [_word_entry(row, start, words) for start, row, kind in timed if kind == "word" and _word(row)]
    phonemes = [
        Phoneme(start=start, duration=row.duration or 0.0, phoneme=row.text("phoneme") or row.text("value"))
        for start, row, kind in timed
        if kind == "phoneme"
    ]
    remarks += _shorter(playbacks, played, [entry.start for entry in entries])
    if played and not (entries and phonemes):
        more_entries, more_phonemes = _from_textgrids(played, words, needed=not entries, remarks=remarks)
        entries, phonemes = entries or more_entries, phonemes or more_phonemes
    if not (played and entries):
        missing = " and no ".join(what for what, present in (("sounds", played), ("words", entries)) if not present)
        columns = ", ".join(rows[0].values) if rows else "no rows"
        counts = Counter(kind or "n/a" for kind in kinds).most_common(5)
        listed = ", ".join(f"{count} {kind}" for kind, count in counts) or "none"
        raise InputError(f"{file} lists no {missing} (columns: {columns}; rows: {listed}); {WANTED}")
    events = [*played, *_words(entries, played, words.pause_s), *phonemes]
    return Reading(sorted(events, key=lambda event: event.start), remarks)


def _rows(file: Path, sounds: SoundRows) -> tuple[list[Row], list[str]]:
    """The rows of a table, those that are there twice only once, and what is odd about them."""
    rows, doubled, seen = [], [], set()
    for row in read_rows(file):
        content = tuple(row.values.items())
        if content in seen and _kind(row, sounds) in ("sound", "word", "phoneme"):
            doubled.append(row)
        else:
            rows.append(row)
        seen.add(content)
    remarks = [f"{len(doubled)} rows of {file.name} are there twice (line {doubled[0].line})"] if doubled else []
    wordless = [row for row in rows if _kind(row, sounds) == "word" and not _word(row)]
    if wordless:
        remarks.append(f"{len(wordless)} rows of {file.name} are words that are n/a and are left out (line {wordless[0].line})")
    return rows, remarks


def _kind(row: Row, sounds: SoundRows) -> str:
    """What a row describes: sound, word, phoneme, tick or, if none of these, its trial_type."""
    named = row.text("trial_type").lower()
    if sounds.tick and sounds.tick in (row.text("trial_type"), row.text("value")):
        return TICK
    if named in ("sound", "word", "phoneme"):
        return named
    if row.text("word"):
        return "word"
    return "sound" if row.text(sounds.column) else named


def _second(row: Row, sounds: SoundRows) -> float | None:
    """The second of the sound file that a row gives, if it gives one."""
    return row.number(sounds.time_column) if sounds.time_column else None


def _onsets(rows: Sequence[Row], kinds: Sequence[str], sounds: SoundRows, shift_s: float) -> list[float]:
    """The onset of each row; one that gives a second of its sound, or is not read, may lack one: that of the row above."""
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
    """The presentations of sounds with their marks.

    A sound row continues the sound before it if it names the same file at a later second. In a table without sound rows, words
    that name a file and a second of it take their place.
    """
    playbacks: list[_Playback] = []
    stand_in = () if "sound" in kinds else ("word", "phoneme")
    for number in sorted(range(len(rows)), key=lambda number: (onsets[number], kinds[number] != "sound")):
        row, kind, onset = rows[number], kinds[number], onsets[number]
        if kind == TICK and playbacks:
            playbacks[-1].ticks.append(onset)
        if kind not in ("sound", "word", "phoneme") or not row.text("onset"):
            continue
        second = _second(row, sounds)
        if kind == "sound" or (kind in stand_in and second is not None and row.text(sounds.column)):
            path = stimulus_path(root, row, sounds.column)
            last = playbacks[-1].marks[-1][0] if playbacks and playbacks[-1].path == path else math.inf
            if second is not None and (second > last or (second == last and kind != "sound")):
                playbacks[-1].marks.append((second, onset))
                playbacks[-1].duration = None
            else:
                playbacks.append(_Playback(row, path, row.duration if kind == "sound" else None, [(second or 0.0, onset)]))
        elif second is not None and playbacks:
            playbacks[-1].words.append((second, onset))
    return playbacks


def _sound(playback: _Playback, settings: SoundRows, remarks: list[str]) -> Sound:
    """The part of a sound that was heard, by the clock fitted to its marks. Words are marks only if there are no others."""
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
        reason = (
            f"{len(beats)} of {len(playback.ticks)} ticks come a whole number of {settings.tick_s:g} s after the sound's row"
        )
        raise row.error(f"{path.name}: only {reason}")
    marks = playback.marks + [(first + at, onset) for at, onset in beats]
    if len(marks) == 1:
        marks = marks + playback.words
    try:
        clock = fit_clock(*zip(*marks, strict=True))
    except InputError as error:
        raise row.error(f"{path.name}: {error}") from None
    if clock.off:
        remarks.append(
            f"{clock.off} of {clock.marks} marks of {path.name} at {start:.1f} s do not fit its clock and are left out"
        )
    begins = clock.heard(first)
    left = (length - first) / clock.speed
    ends = begins + min(playback.duration or left, left)
    if ends <= 0:
        raise row.error(f"the sound {path} ends before the recording begins")
    heard = max(begins, 0.0)  # the sound may have begun before the recording
    offset = first + (heard - begins) * clock.speed
    channel = settings.channel
    return Sound(start=heard, duration=ends - heard, filepath=str(path), offset=offset, speed=clock.speed, channel=channel)


def _shorter(playbacks: Sequence[_Playback], played: Sequence[Sound], onsets: Sequence[float]) -> list[str]:
    """What is odd about sounds that are shorter than their rows say.

    Raises:
        InputError: if words are heard in what is missing of one: that would be silence.
    """
    short = []
    for number, playback in enumerate(sorted(playbacks, key=lambda playback: playback.marks[0][1])):
        sound, following = played[number], played[number + 1 : number + 2]
        end = playback.marks[0][1] + (playback.duration or 0.0)
        if end <= sound.stop + LATE_S:
            continue
        short.append((sound, playback.duration or 0.0))
        stop = min([end, *(other.start for other in following)])
        late = sum(sound.stop + LATE_S < onset < stop for onset in onsets)
        if late:
            raise playback.row.error(
                f"{playback.path} ends {end - sound.stop:.1f} s before its row says, and {late} words are heard after "
                "its end; get the whole file, or correct the duration and the words"
            )
    if not short:
        return []
    sound, duration = short[0]
    why = ": are these milliseconds?" if duration > MILLI * sound.duration else ""
    name, lasts = Path(sound.filepath).name, f"{sound.duration:.1f} s, not {duration:.1f} s"
    return [f"{len(short)} of {len(played)} sounds are shorter than their rows say (the first, {name}, lasts {lasts}{why})"]


def _time(row: Row, onset: float, played: Sequence[Sound], sounds: SoundRows) -> float:
    """When a row's event starts: by the clock of its sound if the row gives a second of the sound, else at its onset."""
    second = _second(row, sounds)
    around = {_playing(played, onset), _playing(played, onset + CLOSE_S)} - {-1}
    if second is None or not around:
        return onset
    return min((played[number].heard(second) for number in around), key=lambda time: abs(time - onset))


def _playing(played: Sequence[Sound], time: float) -> int:
    """The index of the last sound that started by ``time``; -1 if there is none."""
    return bisect.bisect_right(played, time + 1e-9, key=lambda sound: sound.start) - 1


def _word(row: Row) -> str:
    if row.text("trial_type").lower() == "word":
        return row.spoken("word") or row.spoken("value")
    return row.text("word")


def _word_entry(row: Row, start: float, words: WordRows) -> _WordEntry:
    index = row.number(words.index_column) if words.index_column else None
    if index is not None and (index < 0 or index != int(index)):
        raise row.error(f"{words.index_column} is {index:g}, not a whole number from 0")
    return _WordEntry(
        start=start,
        duration=row.duration or 0.0,
        word=_word(row),
        sentence=row.text(words.sentence_column) if words.sentence_column else "",
        index=None if index is None else int(index),
        sequence=row.text("sequence"),
        uid=row.text("sequence_uid"),
    )


def _from_textgrids(
    played: Sequence[Sound], words: WordRows, needed: bool, remarks: list[str]
) -> tuple[list[_WordEntry], list[Phoneme]]:
    """The words and phonemes in the TextGrids of the sounds. If they are ``needed``, all sounds must have one or none."""
    entries: list[_WordEntry] = []
    phonemes: list[Phoneme] = []
    for number, sound in enumerate(played):
        path = find_textgrid(Path(sound.filepath))
        if path is None:
            if needed and entries:
                raise InputError(f"no TextGrid next to {sound.filepath}, although other sounds have one")
            continue
        tiers = read_tiers(path)
        sentences = find_tier(tiers, "sentence", words.sentence_tier, path)
        spoken = find_tier(tiers, "word", words.word_tier, path, needed)
        length = sound_length_s(Path(sound.filepath))
        late = sum(is_spoken(interval.label) and interval.start >= length for interval in spoken)
        if late:
            remarks.append(f"{late} words of {path.name} begin after the {length:.1f} s of its sound and are left out")
        for start, duration, label in _inside(sound, spoken, words.start_s):
            middle = sound.offset + (start + duration / 2 - words.start_s - sound.start) * sound.speed
            sentence = next((index for index, s in enumerate(sentences) if s.label and s.start <= middle < s.stop), None)
            entries.append(_WordEntry(start, duration, label, "" if sentence is None else f"{number}:{sentence}"))
        intervals = _inside(sound, find_tier(tiers, "phoneme", words.phoneme_tier, path), words.start_s)
        phonemes += [Phoneme(start=start, duration=duration, phoneme=label) for start, duration, label in intervals]
    return entries, phonemes


def _inside(sound: Sound, tier: Iterable[Interval], shift_s: float) -> Iterator[tuple[float, float, str]]:
    """The intervals in the part of a file that was heard: start and duration in the recording, and label."""
    for interval in tier:
        if is_spoken(interval.label) and sound.offset <= interval.start < sound.offset_stop:
            yield sound.heard(interval.start) + shift_s, (interval.stop - interval.start) / sound.speed, interval.label


def _words(entries: Sequence[_WordEntry], played: Sequence[Sound], pause_s: float | None) -> list[Word]:
    """The words with their sentences.

    A sentence ends where the next one is named or word_index decreases; if words have neither, at a pause and with their sound.
    """
    base = 1 if min((entry.index for entry in entries if entry.index is not None), default=0) == 1 else 0
    sentences: list[list[tuple[_WordEntry, int]]] = []
    before: tuple[object, int, float] | None = None
    for entry in sorted(entries, key=lambda entry: entry.start):
        bare = not entry.sentence and entry.index is None
        key: object = _playing(played, entry.start) if bare else entry.sentence
        paused = bare and pause_s is not None and before is not None and entry.start - before[2] >= pause_s
        if before is None or paused or key != before[0] or (entry.index is not None and entry.index - base <= before[1]):
            sentences.append([])
        index = len(sentences[-1]) if entry.index is None else entry.index - base
        sentences[-1].append((entry, index))
        before = key, index, entry.start + (entry.duration or WORD_S)
    return [
        Word(
            start=entry.start,
            duration=entry.duration,
            word=entry.word,
            word_index=index,
            sequence=entry.sequence or " ".join(other.word for other, _ in sentence),
            sequence_uid=entry.uid,
        )
        for sentence in sentences
        for entry, index in sentence
    ]
