"""Scale: how the frames of a feature are scaled before a network sees them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class FeatureScale:
    """A feature as it is stored, and its z-score on the train split.

    Attributes:
        name: of the feature.
        rate_hz: of its frames.
        mean: of each dimension.
        deviation: of each dimension.
        silence: the value of every dimension where nothing is heard.
        weights: of each class, of a feature of classes; its frames are the numbers of classes and are not scaled.
    """

    name: str
    rate_hz: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    silence: float
    weights: tuple[float, ...] = ()

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "FeatureScale":
        """That of a feature in a store's manifest."""
        mean, deviation, weights = (tuple(entry[name]) for name in ("mean", "deviation", "weights"))
        return cls(entry["feature"]["name"], entry["rate_hz"], mean, deviation, entry["silence"], weights)

    def scaled(self, frames: np.ndarray) -> np.ndarray:
        """Frames [frames size] in deviations from the mean, float32."""
        scaled: np.ndarray = ((frames - np.array(self.mean)) / np.array(self.deviation)).astype(np.float32)
        return scaled

    @property
    def quiet(self) -> np.ndarray:
        """The frame of silence, scaled, [size]."""
        return self.scaled(np.full(len(self.mean), self.silence))
