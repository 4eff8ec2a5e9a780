"""The event tables of MEG-MASC, in both forms they are found in. Not a study itself; ``gwilliams2022.py`` uses it.

The original tables (OSF) hold all there is to say of an event as the text of a Python dict in ``trial_type``; those of the
NEMAR mirror have a column for each key instead, but for some subjects hold the dicts still.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from raybrain.events import Event, Phoneme, Sound, Word
from raybrain.studies.bids.bids_table import Row, read_rows
from raybrain.studies.readers.sounds import sound_length_s

KINDS = ("phoneme", "sound", "word")


def read_events(root: Path, file: Path, language: str) -> list[Event]:
    """The sounds, words and phonemes of a recording, sorted by start.

    Raises:
        InputError: a trial_type that is no plain dict, an unknown kind, a value that cannot be, a sound that is not there.
    """
    rows: dict[str, list[Row]] = {kind: [] for kind in KINDS}
    for row in read_rows(file):
        if row.text("trial_type") not in KINDS:
            raise row.error(f"an event of kind {row.text('trial_type')!r}. Allowed: {', '.join(KINDS)}")
        rows[row.text("trial_type")].append(row)
    lengths: dict[Path, float] = {}
    events: list[Event] = []
    for row in rows["sound"]:
        path = _sound_file(root, row)
        if path not in lengths:
            lengths[path] = sound_length_s(path)
        events.append(Sound(start=_needed(row, "onset"), duration=lengths[path], language=language, filepath=str(path)))
    for sentence in _sentences(rows["word"]):
        text = " ".join(row.text("word") for row in sentence)
        events += [
            Word(
                start=_needed(row, "onset"),
                duration=row.duration or 0.0,
                language=language,
                word=row.text("word"),
                word_index=int(_needed(row, "word_index")),
                sequence=text,
                pseudo=row.text("condition") == "pseudo_words",
            )
            for row in sentence
        ]
    events += [
        Phoneme(
            start=_needed(row, "onset"),
            duration=row.duration or 0.0,
            language=language,
            phoneme=re.sub("_[BIES]$", "", row.text("phoneme")),  # the place in the word: begin, inside, end, single
        )
        for row in rows["phoneme"]
    ]
    return sorted(events, key=lambda event: event.start)


def _sentences(words: list[Row]) -> Iterator[list[Row]]:
    """A sentence ends where another sequence_id is given; or word_index falls, as some ids hold two sentences."""
    words = sorted(words, key=lambda row: _needed(row, "onset"))
    starts = [0] + [
        number
        for number, (before, row) in enumerate(itertools.pairwise(words), start=1)
        if _needed(row, "sequence_id") != _needed(before, "sequence_id")
        or _needed(row, "word_index") <= _needed(before, "word_index")
    ]
    for start, stop in itertools.pairwise([*starts, len(words)]):
        yield words[start:stop]


def _sound_file(root: Path, row: Row) -> Path:
    """The table says Easy_0.0.wav of the sound in easy_0.wav, whatever folder it names."""
    name = Path(row.text("sound")).name.lower()
    path = root / "stimuli" / "audio" / re.sub(r"\.0\.wav$", ".wav", name)
    if not path.is_file():
        raise row.error(f"no sound file {path}")
    return path


def _needed(row: Row, column: str) -> float:
    value = row.number(column)
    if value is None:
        raise row.error(f"{column} is n/a; an event needs one")
    return value
