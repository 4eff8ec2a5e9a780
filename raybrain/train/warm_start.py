"""Warm start: first weights that are those of a trained model, matched by name, and by name of subject."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from raybrain.batch import Shapes
from raybrain.bucket.copies import fetch
from raybrain.config import InputError, override
from raybrain.experiment import Experiment
from raybrain.identity import contents, locate
from raybrain.model_folder import ModelCard, read_card, read_weights
from raybrain.network import Parts
from raybrain.plain import flat, tree, typed
from raybrain.start_config import StartConfig
from raybrain.train.layer_rates import main_network
from raybrain.train.rows import as_made, belonging, sizes_of
from raybrain.train.step import Learner

LINE = "encoder.line.weights"  # of a RidgeStart


class CannotStart(InputError):
    """The model to start from is not there any more, or does not fit: training again would only meet it again."""


@dataclass(frozen=True)
class Beginning:
    """Where first weights are from.

    Attributes:
        summary: for people; empty where they are as they were drawn.
        lined: the numbers of the subjects whose line of ridge regression is that of the model, or the mean of its lines.
    """

    summary: str = ""
    lined: tuple[int, ...] = ()


Begun = tuple[dict[str, Tensor], Beginning]  # all first weights


def begin(learner: Learner, experiment: Experiment) -> Beginning:
    """Give a network the weights it starts from: of a trained model, or of a checkpoint that its encoder names.

    The first worker reads them for all.

    Raises:
        CannotStart: if the model cannot be read, or another network was trained.
    """
    if not experiment.start.on and not experiment.encoder.origin:
        return Beginning()
    place = learner.place
    packed = place.first(_packed(learner, experiment) if place.rank == 0 else None)
    assert packed is not None
    known: dict[str, Any] = torch.load(io.BytesIO(packed), map_location=place.device, weights_only=True)
    if reason := known.get("reason"):
        raise CannotStart(reason)
    learner.restore({"model": known["model"]})
    return Beginning(known["summary"], tuple(known["lined"]))


def check(experiment: Experiment) -> None:
    """Refuse a model that cannot be started from, before data are prepared.

    Raises:
        InputError: if it cannot be read, does something else, or has another network.
    """
    locate(experiment.encoder, Path())
    if experiment.start.on:
        folder = _folder(experiment.start)
        _refuse_other(experiment, read_card(folder), folder)


def _folder(start: StartConfig) -> Path:
    return Path(start.located(Path()).model)


def _packed(learner: Learner, experiment: Experiment) -> bytes:
    """The first weights of a network and the line that says where they are from, or the reason why there are none."""
    try:
        weights, beginning = (_of_model if experiment.start.on else _of_checkpoint)(learner, experiment)
        content: dict[str, Any] = {"model": weights, **vars(beginning)}
    except InputError as error:
        content = {"reason": str(error)}
    packed = io.BytesIO()
    torch.save(content, packed)
    return packed.getvalue()


def _of_model(learner: Learner, experiment: Experiment) -> Begun:
    folder = _folder(experiment.start)
    fetch(folder)  # another node may have trained it
    card = read_card(folder)
    _refuse_other(experiment, card, folder)
    mine = Side(Parts.of(experiment), learner.shapes, experiment, learner.network.state_dict())
    theirs = Side(Parts.read(card.experiment), card.shapes, card.experiment, read_weights(folder))
    made = WarmStart(mine, theirs, card.subjects, experiment.start.subjects == "mean")
    return made.weights, Beginning(f"starts from {_title(folder, card)}: {made.describe()}", made.taken_rows(LINE))


def _of_checkpoint(learner: Learner, experiment: Experiment) -> Begun:
    drawn, (prefix, module) = learner.network.state_dict(), main_network(learner.network)
    given = {f"{prefix}.{name}": value for name, value in experiment.encoder.pretrained(module).items()}
    weights = {name: given.get(name, value).to(value) for name, value in drawn.items()}
    taken, total = (sum(value.numel() for value in some.values()) for some in (given, drawn))
    return weights, Beginning(f"starts from {experiment.encoder.origin}: {taken:,} of {total:,} weights")


def _title(folder: Path, card: ModelCard) -> str:
    return f"{card.experiment['encoder']['name']} {card.signature} in {folder}"


def _refuse_other(experiment: Experiment, card: ModelCard, folder: Path) -> None:
    """Refuse a model of another task, or with another network."""
    for part, here in (("task", experiment.task.name), ("encoder", experiment.encoder.name)):
        if (there := card.experiment[part]["name"]) != here:
            raise InputError(f"start.model={folder} was trained with {part}={there}, not {here}; type {part}={there}")
    mine, theirs = Parts.of(experiment), Parts.read(card.experiment)
    sizes, others = (sizes_of(parts, card.shapes) for parts in (mine, theirs))
    rows = belonging(mine, card.shapes).keys() | belonging(theirs, card.shapes).keys()
    own = {name.rpartition(".")[0] for name in rows}  # what such a part has beside its rows comes and goes with them
    named = [name for name in sizes.keys() | others.keys() if name.startswith("encoder.")]
    differ = [name for name in named if sizes.get(name) != others.get(name)]
    if other := sorted(name for name in differ if name.rpartition(".")[0] not in own):
        count = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise InputError(f"start.model={folder} has another network ({other[0]}{count} differ); {_cure(mine, theirs, card)}")


def _cure(mine: Parts, theirs: Parts, card: ModelCard) -> str:
    """The settings to type for the network of a model."""
    here, there = flat(mine.encoder), flat(theirs.encoder)
    sizes, needed = sizes_of(mine, card.shapes), []
    for key in sorted(key for key in here.keys() & there.keys() if here[key] != there[key] and key != "name"):
        try:
            changed = replace(mine, encoder=override(mine.encoder, {key: there[key]}))
        except InputError:  # it goes with another one only
            needed.append(key)
            continue
        needed += [key] if sizes_of(changed, card.shapes) != sizes else []
    return "type " + " ".join(f"encoder.{key}={typed(there[key])}" for key in needed) if needed else "it cannot be started from"


@dataclass(frozen=True)
class Side:
    """A network's weights, and what it was built for; ``asked`` is its experiment, as settings or as a model keeps it."""

    parts: Parts
    shapes: Shapes
    asked: Any
    weights: Mapping[str, Tensor]

    def what(self) -> dict[str, Any]:
        """By what sensors and features are the same ones as others: two networks with as many may have others."""
        asked = tree(contents(self.asked)) if isinstance(self.asked, Experiment) else self.asked
        data, layouts = asked["data"], {layout.channels for layout in self.shapes.layouts}
        if asked["task"]["name"] != "decode":  # its sensors are numbered features, and its features sensors without a name
            return {"sensors": [layouts, data["features"]], "features": [data["studies"], data["signal"]]}
        return {"sensors": layouts, "features": [(part.name, part.stop - part.start) for part in self.shapes.slices]}


class WarmStart:
    """First weights of a network from those of another.

    Args:
        mine: as it was drawn.
        theirs: as it was trained.
        known: the subjects it was trained with: others may have been left out.
        mean: begin with the mean over subjects for those whom ``theirs`` does not know, where somebody new has that.

    Attributes:
        weights: all of them, by name.
    """

    def __init__(self, mine: Side, theirs: Side, known: Sequence[str], mean: bool) -> None:
        self.mine, self.theirs, self.mean = mine, theirs, mean
        self.belongs, self.as_made = belonging(mine.parts, mine.shapes), as_made(mine.parts, mine.shapes)
        here, there = mine.what(), theirs.what()
        self.other = [what for what in ("sensors", "features") if here[what] != there[what]]
        self.known = known
        self.strangers = [name for name in mine.shapes.subjects if name not in self.known]
        self.anew: dict[str, str] = {}  # why, by name of the weight
        self.taken = 0
        self.weights = {name: self._begun(name, value) for name, value in mine.weights.items()}

    def _begun(self, name: str, drawn: Tensor) -> Tensor:
        value, belongs = self.theirs.weights.get(name), self.belongs.get(name, {})
        reason = next((f"other {what}" for what in self.other if what in belongs), "" if value is not None else "not in it")
        if reason:
            self.anew[name] = reason
            return drawn
        assert value is not None
        value = value.to(drawn)
        if "subjects" in belongs:
            value = self._by_subject(drawn, value, belongs["subjects"], self.mean and name not in self.as_made)
        if value.shape != drawn.shape:
            self.anew[name] = "another size"
            return drawn
        self.taken += drawn.numel()
        return value

    def _by_subject(self, drawn: Tensor, value: Tensor, along: int, averaged: bool) -> Tensor:
        """The rows of those whom both know; of the others the mean, or what was drawn."""
        numbers = {subject: number for number, subject in enumerate(self.theirs.shapes.subjects) if subject in self.known}
        mean = value.index_select(along, torch.tensor(list(numbers.values()))).mean(dim=along) if averaged else None
        rows = []
        for number, subject in enumerate(self.mine.shapes.subjects):
            stranger = drawn.select(along, number) if mean is None else mean
            rows.append(value.select(along, numbers[subject]) if subject in numbers else stranger)
        return torch.stack(rows, dim=along)

    def taken_rows(self, name: str) -> tuple[int, ...]:
        """The numbers of the subjects who have their own row of a weight from the model, or the mean of its rows."""
        if name in self.anew or name not in self.weights:
            return ()
        numbers = range(len(self.mine.shapes.subjects))
        return tuple(number for number in numbers if self.mean or self.mine.shapes.subjects[number] in self.known)

    def describe(self) -> str:
        """One line for people."""
        total = sum(value.numel() for value in self.weights.values())
        parts = [f"{self.taken:,} of {total:,} weights"]
        if (here := self.mine.shapes.rate_hz) != (there := self.theirs.shapes.rate_hz):
            parts.append(f"trained at {there:g} Hz and used at {here:g} Hz")
        rows = {name for name, belongs in self.belongs.items() if "subjects" in belongs}
        if self.strangers and rows:
            how = "the mean over its subjects" if self.mean and rows - self.as_made else "drawn"
            parts.append(f"those of {_some(self.strangers)} {how}")
        if self.anew:
            parts.append("anew " + _some([f"{name} ({reason})" for name, reason in self.anew.items()]))
        return "; ".join(parts)


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
