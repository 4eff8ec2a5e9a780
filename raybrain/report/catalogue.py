"""Catalogue: what there is to choose from, each with the first line of its documentation."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from raybrain.config import Choice, InputError
from raybrain.encoders.base import Encoder, SpeechEncoder
from raybrain.experiment import recipe_names
from raybrain.features.base import Feature
from raybrain.losses.base import Loss
from raybrain.profiles import profiles
from raybrain.signal.base import Step
from raybrain.studies.base import Facts, Study
from raybrain.tasks.base import Task
from raybrain.tracking.base import Tracker
from raybrain.tune.samplers.base import Sampler
from raybrain.tune.schedulers.base import Scheduler
from raybrain.tune.space import load_space, space_files


def catalogue(kinds: Sequence[str]) -> dict[str, dict[str, str]]:
    """Names and what they are, for each of ``kinds``."""
    return {kind: KINDS[kind]() for kind in kinds}


def features() -> list[dict[str, Any]]:
    """Each kind of feature: name, what it is, unit, size, rate_hz, needs, packages, those ``missing`` and what brings them.

    Size and rate are those of the default settings; the size of a model's feature is None while the model is not there.
    """
    return [_feature(name, kind) for name, kind in Feature.kinds().items()]


def _feature(name: str, kind: type[Feature]) -> dict[str, Any]:
    feature = kind()
    try:
        size = feature.categories or feature.size
    except (InputError, ImportError):
        size = None
    missing = kind.missing_packages()
    return {
        "name": name,
        "what": _first_line(kind),
        "unit": kind.unit or (f"{feature.categories} classes" if size and feature.categories else ""),
        "size": size,
        "rate_hz": feature.rate_hz,
        "needs": list(kind.needs),
        "model": kind.model,
        "packages": list(kind.packages),
        "missing": missing,
        "install": kind.install() if missing else "",
    }


def _family(family: type[Choice]) -> dict[str, str]:
    return {name: _first_line(kind) for name, kind in family.kinds().items()}


def _studies() -> dict[str, str]:
    return {name: f"{_first_line(kind)} {_facts(kind.facts)}" for name, kind in Study.kinds().items()}


def _facts(facts: Facts) -> str:
    known = [f"{facts.recordings} recordings" if facts.recordings else "", f"{facts.hours:g} h" if facts.hours else ""]
    return f"({', '.join(part for part in [*known, facts.device, facts.language, facts.licence] if part)})"


def _recipes() -> dict[str, str]:
    return {name: _first_line(importlib.import_module(f"raybrain.recipes.{name}")) for name in recipe_names()}


def _spaces() -> dict[str, str]:
    lines = {}
    for path in space_files():
        try:
            lines[path.stem] = load_space(str(path)).question.splitlines()[0]
        except InputError as error:
            lines[path.stem] = f"cannot be used: {error}"
    return lines


def _clusters() -> dict[str, str]:
    return {name: known.line() for name, known in profiles().items()}


def _first_line(documented: Any) -> str:
    return (inspect.getdoc(documented) or "").splitlines()[0]


KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "studies": _studies,
    "steps": lambda: _family(Step),
    "features": lambda: _family(Feature),
    "encoders": lambda: _family(Encoder),
    "speech_encoders": lambda: _family(SpeechEncoder),
    "losses": lambda: _family(Loss),
    "tasks": lambda: _family(Task),
    "samplers": lambda: _family(Sampler),
    "schedulers": lambda: _family(Scheduler),
    "trackers": lambda: _family(Tracker),
    "recipes": _recipes,
    "spaces": _spaces,
    "clusters": _clusters,
}
