"""Sounds, words and phonemes of a BIDS ``*_events.tsv``; ``bids.py`` says which columns and rows count."""

import csv
import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from raybrain.config import InputError
from raybrain.events import Event, Phoneme, Sound, Word

MISSING = ("", "n/a", "N/A", "nan", "NaN")
WANTED = "wanted: rows with trial_type 'sound' and a stim_file, rows with a word, best with word_index and sequence_id"


@dataclass(frozen=True)
class Row:
    """A line of the table; what is n/a is the empty string."""

    file: Path
    line: int
    values: dict[str, str]

    def text(self, column: str) -> str:
        """The value of a column, or the empty string."""
        return self.values.get(column, "")

    @property
    def kind(self) -> str:
        """What the row is about: sound, word, phoneme or, if nothing of these, its trial_type."""
        named = self.text("trial_type").lower()
        if named in ("sound", "word", "phoneme"):
            return named
        if self.text("word"):
            return "word"
        return "sound" if self.text("stim_file") else named

    def number(self, column: str) -> float | None:
        """A finite number, None if n/a.

        Raises:
            InputError: it is something else.
        """
        text = self.text(column)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(f"{column} is {text!r}, not a number")
        return value

    @property
    def start(self) -> float:
        """The onset in seconds."""
        value = self.number("onset")
        if value is None:
            raise self.error("onset is n/a; sounds, words and phonemes need one, in seconds")
        return value

    @property
    def duration(self) -> float | None:
        """The duration in seconds, None if n/a."""
        value = self.number("duration")
        if value is not None and value < 0:
            raise self.error(f"duration is {value:g} s, below zero")
        return value

    def error(self, problem: str) -> InputError:
        """An error that names this row."""
        return InputError(f"{self.file}, line {self.line}: {problem}")


def read_events(root: Path, file: Path) -> list[Event]:
    """The events of ``file``, sorted by start.

    Raises:
        InputError: no sounds, no words, a value that cannot be, a sound that is not there.
    """
    rows = _rows(file)
    kinds = Counter(row.kind or "n/a" for row in rows)
    sounds = _sounds(root, [row for row in rows if row.kind == "sound"])
    words = _words([row for row in rows if row.kind == "word"], sounds)
    if not (sounds and words):
        missing = " and no ".join(what for what, found in (("sounds", sounds), ("words", words)) if not found)
        columns = ", ".join(rows[0].values) if rows else "no rows"
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)) or "none"
        raise InputError(f"{file} lists no {missing} (columns: {columns}; rows: {told}); {WANTED}")
    phonemes = [
        Phoneme(start=row.start, duration=row.duration or 0.0, phoneme=row.text("phoneme") or row.text("value"))
        for row in rows
        if row.kind == "phoneme"
    ]
    return sorted([*sounds, *words, *phonemes], key=lambda event: event.start)


def last_onset(file: Path) -> float:
    """When the last row of ``file`` starts; 0 if there is none that can be read."""
    starts = [0.0]
    for row in _rows(file):
        try:
            starts.append(row.number("onset") or 0.0)
        except InputError:  # reading the events says so
            continue
    return max(starts)


def _rows(file: Path) -> list[Row]:
    """The lines of the table. Quotes count only around a whole field: a word may hold one."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as a UTF-8 table: {error}") from None
    table = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not table or "onset" not in table[0]:
        found = ", ".join(table[0]) if table else "nothing"
        raise InputError(f"{file} has no column 'onset' (found {found}); BIDS tables are separated by tabs; {WANTED}")
    columns = [_field(name) for name in table[0]]
    rows = []
    for number, values in enumerate(table[1:], start=2):
        if not any(values):
            continue
        if len(values) != len(columns):
            raise InputError(f"{file}, line {number}: {len(values)} values for {len(columns)} columns")
        rows.append(Row(file, number, dict(zip(columns, map(_field, values), strict=True))))
    return rows


def _field(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('""', '"')
    return "" if text in MISSING else text


def _sounds(root: Path, rows: list[Row]) -> list[Sound]:
    lengths: dict[Path, float] = {}
    sounds = []
    for row in rows:
        path = _stimulus(root, row)
        if path not in lengths:
            lengths[path] = _length(path, row)
        given = row.duration
        duration = lengths[path] if given is None else min(given, lengths[path])
        sounds.append(Sound(start=row.start, duration=duration, filepath=str(path)))
    return sorted(sounds, key=lambda sound: sound.start)


def _stimulus(root: Path, row: Row) -> Path:
    """The sound file of a row: in stimuli/, else relative to the dataset; never outside of it."""
    named = row.text("stim_file")
    if not named:
        raise row.error("a sound without a stim_file")
    top = os.path.abspath(root)
    paths = [os.path.normpath(os.path.join(top, *folder, named)) for folder in (["stimuli"], [])]
    if not all(path.startswith(top + os.sep) for path in paths):
        raise row.error(f"stim_file {named!r} lies outside of the dataset; put the file into {Path(top) / 'stimuli'}")
    for path in paths:
        if os.path.isfile(path):
            return Path(path)
    raise row.error(f"no sound file {named!r} in {Path(top) / 'stimuli'} or {top}")


def _length(path: Path, row: Row) -> float:
    import soundfile

    try:
        info = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError) as error:
        raise row.error(f"the sound file {path} cannot be read: {' '.join(str(error).split())}") from None
    if not info.frames:
        raise row.error(f"the sound file {path} is empty")
    return float(info.frames / info.samplerate)


def _words(rows: list[Row], sounds: list[Sound]) -> list[Word]:
    """The words with their sentences. A sentence ends where the next one is named, or its word_index falls."""
    sentences: list[list[tuple[Row, int]]] = []
    before: tuple[object, int] | None = None
    for row in sorted(rows, key=lambda row: row.start):
        if not _word(row):
            continue
        index = _word_index(row)
        key: object = row.text("sequence_id")
        if not key and index is None:
            key = sum(sound.start <= row.start for sound in sounds)
        if before is None or key != before[0] or (index is not None and index <= before[1]):
            sentences.append([])
        index = len(sentences[-1]) if index is None else index
        sentences[-1].append((row, index))
        before = key, index
    return [
        Word(
            start=row.start,
            duration=row.duration or 0.0,
            word=_word(row),
            word_index=index,
            sequence=row.text("sequence") or " ".join(_word(other) for other, _ in sentence),
            sequence_uid=row.text("sequence_uid"),
        )
        for sentence in sentences
        for row, index in sentence
    ]


def _word(row: Row) -> str:
    return row.text("word") or (row.text("value") if row.text("trial_type").lower() == "word" else "")


def _word_index(row: Row) -> int | None:
    value = row.number("word_index")
    if value is not None and (value < 0 or value != int(value)):
        raise row.error(f"word_index is {value:g}, not a whole number from 0")
    return None if value is None else int(value)
