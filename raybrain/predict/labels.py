"""Labels: what is known of what was heard when in a new recording, from a table of events as BIDS has them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raybrain.config import InputError
from raybrain.predict.new_recording import NewRecording
from raybrain.predict.new_subject import Labelled
from raybrain.predict.stretches import Speech, find_name

COLUMNS = ("stim_file", "sound")  # one of them names the sound


@dataclass(frozen=True, order=True)
class Label:
    """A sound that starts at ``onset`` seconds of a recording, and is heard for ``duration`` seconds; None for all of it."""

    onset: float
    sound: str
    duration: float | None


def read_labels(table: Path) -> list[Label]:
    """The rows of a table that name a sound and not a word, by time.

    Raises:
        InputError: if it cannot be read, lacks a column, or names no sound.
    """
    from raybrain.studies.bids.bids_table import column_values, read_table

    column = next((name for name in COLUMNS if column_values(table, name)), COLUMNS[0])
    wanted = "; a row for each sound that was heard: onset in seconds of the recording, stim_file, best with duration"
    rows = [row for row in read_table(table, ("onset", column), wanted) if row.text(column) and not row.spoken("word")]
    labelled = [(onset, row.text(column), row.duration) for row in rows if (onset := row.number("onset")) is not None]
    if not labelled:
        raise InputError(f"{table} names no sound in its column {column!r}{wanted}")
    return sorted(Label(*one) for one in labelled)


@dataclass(frozen=True)
class Labels:
    """Windows of which it is known what was heard.

    Attributes:
        first: those within the first so many minutes of what is labelled: to calibrate on.
        later: those after them: to see how good that is.
        assumed: what had to be assumed, a line each.
    """

    first: Labelled
    later: Labelled
    assumed: list[str]


def labelled(table: Path, new: NewRecording, speech: Speech, stride_s: float, minutes: float | None) -> Labels:
    """The windows of a recording of which a table says what was heard.

    Args:
        table: of what was heard when.
        new: the recording.
        speech: the sounds.
        stride_s: between two windows.
        minutes: how many of what is labelled are to calibrate on; None for all.

    Raises:
        InputError: if it names none of the sounds, or sounds outside of the recording alone.
    """
    labels = read_labels(table)
    unknown = sorted({label.sound for label in labels if find_name(label.sound, speech) < 0})
    limit, heard = np.inf if minutes is None else 60 * minutes, 0.0
    parts: list[np.ndarray] = []
    for label in labels:
        number = find_name(label.sound, speech)
        if number < 0:
            continue
        lasts = min(float(speech.durations_s[number]), label.duration or np.inf)
        seconds = np.arange(0.0, lasts - speech.length_s + 1e-6, stride_s)
        starts = np.round((label.onset + seconds) * new.window.rate_hz).astype(int)
        kept = np.isin(starts, new.fit(starts))
        columns = (starts, np.full(len(starts), number), starts / new.window.rate_hz - label.onset, heard + seconds)
        parts.append(np.stack(columns)[:, kept])
        heard += lasts
    if not parts or not sum(part.shape[1] for part in parts):
        why = (
            f"names none of the {len(speech.names)} sounds ({', '.join(unknown[:3])})"
            if not parts
            else "labels no whole window"
        )
        raise InputError(f"{table} {why} of {new.path}; check its columns onset (seconds of the recording) and stim_file")
    starts, of, start_s, at = np.concatenate(parts, axis=1)
    every = Labelled(starts.astype(int), of.astype(int), start_s)
    lines = [f"{len(unknown)} labelled sounds are not among those given ({', '.join(unknown[:3])})"] if unknown else []
    return Labels(every.some(at + speech.length_s <= limit), every.some(at >= limit), lines)
