"""raybrain: which model, features and training decode speech best from MEG and EEG.

``recipe``, ``override``, ``Cluster``, ``answer``, ``sweep``, ``compare`` and ``quality`` are the Python door
(:mod:`raybrain.flow`); ``load`` gives a trained model back, which predicts (:mod:`raybrain.predict.model`).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raybrain.cluster import Cluster
    from raybrain.config import override
    from raybrain.experiment import recipe
    from raybrain.flow import answer, compare, quality, sweep
    from raybrain.predict.model import load

__version__ = "0.1.0"
__all__ = ["Cluster", "answer", "compare", "load", "override", "quality", "recipe", "sweep"]

DOORS = {
    "Cluster": "cluster",
    "answer": "flow",
    "compare": "flow",
    "load": "predict.model",
    "override": "config",
    "quality": "flow",
    "recipe": "experiment",
    "sweep": "flow",
}


def __getattr__(name: str) -> Any:
    """The doors load when they are used, so that importing raybrain costs nothing."""
    if name not in DOORS:
        raise AttributeError(f"module 'raybrain' has no attribute {name!r}")
    return getattr(importlib.import_module(f"raybrain.{DOORS[name]}"), name)


def __dir__() -> list[str]:
    """What a notebook offers after ``raybrain.`` and Tab."""
    return sorted({*globals(), *DOORS})
