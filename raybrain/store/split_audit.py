"""SplitAudit: what stands in two splits by mistake, what does so by design, and how near test windows come to train windows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from raybrain.events import SplitConfig

HEARD = ("sentences", "audio")
HELD = {"subject": "subjects", "session": "sessions", "recording": "recordings"}


@dataclass(frozen=True)
class Gap:
    """How near the test windows come to train windows of the same recording.

    Attributes:
        windows: test windows in recordings that have train windows too.
        least_s: seconds between the end of one and the start of the other, at least; None where there are none.
        near: how many are nearer than ``window_s``.
        window_s: the length of a window.
    """

    windows: int
    least_s: float | None
    near: int
    window_s: float

    @classmethod
    def of(cls, recordings: Iterable[pa.Table], window_s: float, rate_hz: float) -> "Gap":
        """That of the segments of some recordings, which have the schema SEGMENTS."""
        gaps = np.concatenate([np.zeros(0), *(_gaps_s(segments, window_s, rate_hz) for segments in recordings)])
        least = round(float(gaps.min()), 3) if len(gaps) else None
        return cls(len(gaps), least, int((gaps < window_s).sum()), window_s)


def _gaps_s(segments: pa.Table, window_s: float, rate_hz: float) -> np.ndarray:
    """Seconds from each test window to the nearest train window, 0 where they touch or overlap; none if there are none."""
    splits, starts = np.array(segments["split"].to_pylist()), segments["start_sample"].to_numpy() / rate_hz
    train, test = np.sort(starts[splits == "train"]), starts[splits == "test"]
    if not len(train):
        return np.zeros(0)
    after = np.searchsorted(train, test)
    nearest = np.minimum(
        np.abs(test - train[np.clip(after - 1, 0, None)]), np.abs(train[np.clip(after, None, len(train) - 1)] - test)
    )
    gaps: np.ndarray = np.clip(nearest - window_s, 0.0, None)
    return gaps


@dataclass(frozen=True)
class SplitAudit:
    """The audit of a store's splits.

    Attributes:
        leaks: what should stand in one split, and stands in two, by kind; nothing is best.
        shared: what is heard in two splits by design, by kind: whoever is held out hears what others hear.
        mode: how splits are made.
        gap: between test and train windows, if that is known.
    """

    leaks: dict[str, list[str]]
    shared: dict[str, list[str]] = field(default_factory=dict)
    mode: str = "clean"
    gap: Gap | None = None

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "SplitAudit":
        """What the manifest of a store tells; "audio" only where stretches of audio were audited."""
        config = SplitConfig.model_validate(manifest.get("data", {}).get("splits", {}))
        known = {kind: manifest.get(f"{kind}_in_two_splits") for kind in HEARD}
        heard = {kind: some for kind, some in known.items() if some is not None}
        held = {HELD[config.mode]: manifest["held_out_in_two_splits"]} if config.mode in HELD else {}
        gap = Gap(**manifest["gap"]) if manifest.get("gap") else None
        if config.shares_speech:
            return cls(held, heard, config.mode, gap)
        return cls({**held, **heard}, {}, config.mode, gap)
