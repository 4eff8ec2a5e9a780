"""Silence: stretches of a recording in which nothing is heard, before, between or after sounds, to borrow input from."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raybrain.store import Store
from raybrain.train.tables import Tables

RESPONSE_S = 0.5  # after what was heard, the brain still responds to it
SEED = 2036
HEARD = ("sound", "word", "phoneme")
Span = tuple[float, float]  # seconds from, and to


@dataclass(frozen=True)
class Silence:
    """Segments whose input lies in silence of their own recording.

    Attributes:
        tables: in which each segment begins somewhere in such a stretch.
        covered: [segments], False for those whose recording has none that is long enough; they begin where they did.
    """

    tables: Tables
    covered: Tensor


def gaps(heard: Iterable[Span], seconds: float) -> list[Span]:
    """The spans of a recording in which nothing is heard, and the response to what was heard is over."""
    free, at = [], 0.0
    for start, stop in sorted(heard):
        if start > at:
            free.append((at, start))
        at = max(at, stop + RESPONSE_S)
    return [*free, (at, seconds)] if seconds > at else free


def starts_within(spans: Sequence[Span], rate_hz: float, samples: int) -> np.ndarray:
    """The first samples of all windows of that many ``samples`` that lie in one of some spans."""
    lows = [math.ceil(start * rate_hz - 1e-6) for start, _ in spans]
    highs = [math.floor(stop * rate_hz + 1e-6) - samples for _, stop in spans]
    return np.concatenate([np.empty(0, int), *(np.arange(low, high + 1) for low, high in zip(lows, highs, strict=True))])


def find_silence(tables: Tables, store: Store) -> Silence:
    """Give each segment a window in silence, at random, where its recording has one."""
    window, begin = tables.window, 0
    start, covered = tables.start.clone(), torch.zeros(len(tables.start), dtype=torch.bool)
    for number, uid in enumerate(tables.meta["recordings"]):
        part = store.part(uid)
        assert part is not None, f"{uid} was prepared, and is gone"
        events = store.events(uid).to_pylist()
        heard = [(row["start_s"], row["start_s"] + row["duration_s"]) for row in events if row["kind"] in HEARD]
        known = starts_within(gaps(heard, part.samples / window.rate_hz), window.rate_hz, window.samples)
        if len(known):
            mine = tables.recording == number
            drawn = np.random.default_rng([SEED, number]).choice(known, int(mine.sum()))
            start[mine] = torch.from_numpy(begin + drawn).to(start)
            covered |= mine.cpu()
        begin += part.samples
    return Silence(tables.moved(start), covered)
