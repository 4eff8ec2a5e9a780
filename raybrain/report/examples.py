"""Examples: sentences of the test as they were heard and decoded: of each study the best, a usual and the worst one."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from raybrain.config import InputError
from raybrain.events import Sound
from raybrain.features.base import Feature, Stimulus
from raybrain.report.style import LIGHT, Picture, canvas, picture, styled
from raybrain.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST, MOST = 3, 20  # words of a sentence that is an example; further ones are not shown
LONGEST_S = 15.0  # of sound that is drawn


@dataclass(frozen=True)
class Example:
    """A sentence that one person heard.

    Attributes:
        which: best, median or worst of its study.
        study: in which it was heard.
        subject: who heard it.
        words: one row per tested word: ``heard``, ``decoded``, ``rank`` of the true stretch, ``right``.
        right: how many words came first, of the whole sentence.
        tested: words of the sentence.
        envelope: of its sound; None where the sound is not there any more.
    """

    which: str
    study: str
    subject: str
    words: list[dict[str, object]]
    right: int
    tested: int
    envelope: Picture | None


def examples(ranks: pd.DataFrame, store: Store | None) -> Iterator[Example]:
    """The sentences with the most, a middling and the smallest share of words whose stretch comes first.

    Args:
        ranks: one row per test segment.
        store: the prepared data, which say when each word was heard in which sound; None if they are there no more.
    """
    for study, table in ranks.groupby("study", sort=True):
        sentences = [group for _, group in table.groupby(["recording", "sentence"], sort=True)]
        long = [group for group in sentences if len(group) >= LEAST] or sentences
        long.sort(key=lambda group: (float((group["rank"] == 1).mean()), float((1 / group["rank"]).mean())))
        chosen = {len(long) - 1: "best", len(long) // 2: "median", 0: "worst"}  # of few sentences fewer are chosen
        for number, which in chosen.items():
            yield _example(which, str(study), long[number].sort_values("word_index", kind="stable"), store)


def _example(which: str, study: str, group: pd.DataFrame, store: Store | None) -> Example:
    shown = group.drop_duplicates("word_index").head(MOST)
    words: list[dict[str, object]] = [
        {"heard": row["word"], "decoded": row["predicted"], "rank": int(row["rank"]), "right": row["kind"] == "right"}
        for row in shown.to_dict("records")
    ]
    envelope = None
    with suppress(InputError, FileNotFoundError):
        envelope = _envelope(shown, store) if store else None
    first = group.iloc[0]
    right = int((group["kind"] == "right").sum())
    return Example(which, study, str(first["subject"]), words, right, len(group), envelope)


def _envelope(words: pd.DataFrame, store: Store) -> Picture | None:
    """The envelope of the sound from the first to the last of some words of a sentence; None if none was heard then."""
    first = words.iloc[0]
    events = store.events(str(first["recording"])).to_pandas()
    spoken = events[(events["kind"] == "word") & (events["sentence"] == first["sentence"])]
    spoken = spoken[spoken["word_index"].isin(words["word_index"])].drop_duplicates("word_index")
    if spoken.empty:
        return None
    start = float(spoken["start_s"].min())
    stop = min(float((spoken["start_s"] + spoken["duration_s"]).max()), start + LONGEST_S)
    begun = events[(events["kind"] == "sound") & (events["start_s"] <= start)].tail(1)
    if begun.empty:
        return None
    sound = begun.iloc[0]
    last = min(stop, float(sound["start_s"] + sound["duration_s"]))
    if last <= start:
        return None
    speed = float(sound["speed"])
    offset = float(sound["offset_s"]) + (start - float(sound["start_s"])) * speed
    heard = Sound(start=0.0, duration=last - start, filepath=str(sound["text"]), offset=offset, speed=speed)
    feature = Feature.kind("envelope")()
    loudness = feature.extract(Stimulus(duration=last - start, sounds=(heard,)))[:, 0]
    times = np.arange(len(loudness)) / feature.rate_hz
    figure = envelope_picture(times, loudness, (spoken["start_s"] - start).to_numpy())
    return picture(figure, f"envelope of the {last - start:.1f} s of sound; lines: where words begin")


@styled()
def envelope_picture(times: np.ndarray, loudness: np.ndarray, words: np.ndarray) -> "Figure":
    """The loudness of a sound over time, with the begin of each word."""
    figure, (axes,) = canvas(height=90)
    axes.vlines(words, 0, 1.1, color=LIGHT["rule"], linewidth=1)
    axes.fill_between(times, loudness / max(float(loudness.max()), 1e-12), color=LIGHT["quiet"], alpha=0.75, linewidth=0)
    axes.set(xlim=(0, times[-1] if len(times) > 1 else 1), ylim=(0, 1.1), xlabel="seconds")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    return figure
