"""Model folder: a trained model as it is kept: weights, and all that one must know to use them.

::

    model/
      model.safetensors   weights of the encoder, of what is done to what is aimed at, and of the loss
      model.json          what it was asked, what the data said, how its windows are cut and scaled, how good it is on valid

It needs no other file, and holds nothing but numbers and text: loading one runs no code.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from raybrain.batch import Shapes
from raybrain.config import InputError
from raybrain.features.scale import FeatureScale
from raybrain.integrity import file_digest
from raybrain.probabilities import Calibration
from raybrain.signal.window import Scaler, Window
from raybrain.storage import aside_folder, read_json

FORMAT = 1  # raise it when model.json changes so that it must be read in another way
CARD, WEIGHTS = "model.json", "model.safetensors"


@dataclass(frozen=True)
class KnownRecording:
    """A recording that a model was trained or tested on.

    Attributes:
        subject: as "study/subject".
        layout: number of its sensors in ``Shapes.layouts``.
        centre: robust centre of each channel, in the unit of the signal.
        scale: robust scale of each channel.
    """

    subject: str
    layout: int
    centre: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def scaler(self) -> Scaler:
        """How its signal is scaled."""
        return Scaler(np.array(self.centre), np.array(self.scale))


@dataclass(frozen=True)
class ModelCard:
    """What a trained model says of itself.

    Attributes:
        signature: of its experiment.
        data: a digest of the data it was trained on.
        experiment: all settings, as :func:`raybrain.plain.tree` gives them.
        versions: of raybrain, torch and the kinds it is built from.
        shapes: what its network is built for.
        window: how what goes in is cut.
        recordings: those it knows, by name.
        features: the features of speech, in order.
        metrics: of the valid split, at the epoch whose weights are kept.
        calibration: how its scores become probabilities, fitted on the valid split; None of a model that does not know.
        trained: the subjects it was trained with, or calibrated to: some of those of ``shapes`` may have been left out.
            Empty: all of them.
    """

    signature: str
    data: str
    experiment: dict[str, Any]
    versions: dict[str, int | str]
    shapes: Shapes
    window: Window
    recordings: dict[str, KnownRecording]
    features: tuple[FeatureScale, ...]
    metrics: dict[str, float]
    calibration: Calibration | None = None
    trained: tuple[str, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whom the model knows, as "study/subject"."""
        return self.trained or self.shapes.subjects


def is_model(folder: Path) -> bool:
    """Whether there is a model in a folder, whole or damaged."""
    return (folder / CARD).exists()


def is_whole_model(folder: Path) -> bool:
    """Whether there is a model in a folder, and what it says and its weights have their checksums."""
    try:
        content = read_json(folder / CARD) or {}
        sums = content.pop("sha256", {})
        return bool(sums[CARD] == _digest(content) and sums[WEIGHTS] == file_digest(folder / WEIGHTS))
    except (InputError, FileNotFoundError, AttributeError, KeyError, TypeError):
        return False


def write_model(folder: Path, card: ModelCard, weights: Mapping[str, Tensor]) -> None:
    """Write a model whole or not at all; one that was there is replaced.

    Raises:
        OSError: if it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with aside_folder(folder) as temporary:
        try:
            save_file({name: value.contiguous() for name, value in weights.items()}, temporary / WEIGHTS, {"format": "pt"})
        except SafetensorError as error:
            raise OSError(str(error)) from None
        content = {"format": FORMAT, **asdict(card)}
        sums = {WEIGHTS: file_digest(temporary / WEIGHTS), CARD: _digest(content)}
        (temporary / CARD).write_text(json.dumps(content | {"sha256": sums}, indent=1, allow_nan=False))


def read_card(folder: Path) -> ModelCard:
    """What a model says of itself.

    Raises:
        InputError: if there is no model, or it is damaged or of another kind.
    """
    path = folder / CARD
    try:
        content = read_json(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); get the folder again") from None
    if content is None:
        raise InputError(f"no model in {folder}; `raybrain train` writes one into the folder of the run")
    if not isinstance(content, dict) or "format" not in content:
        raise InputError(f"{path} is no model of raybrain's")
    if content["format"] != FORMAT:
        raise InputError(f"{path} has the format {content['format']!r}, and this version of raybrain reads {FORMAT}")
    sums = content.pop("sha256", None)
    if not isinstance(sums, dict) or sums.get(CARD) != _digest(content):
        raise InputError(f"{path} is damaged or was changed: its checksum is not its own; get the folder again")
    try:
        return TypeAdapter(ModelCard).validate_python({key: value for key, value in content.items() if key != "format"})
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise InputError(f"{path} is no model of raybrain's: {where}: {problem['msg']}") from None


def model_digest(folder: Path) -> str:
    """Names what a model says of itself and its weights, by the checksums it was written with: 16 hexadecimal digits.

    Raises:
        InputError: if there is no model, or what it says is damaged.
    """
    stat = (folder / CARD).stat()
    return _named(folder, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=8)
def _named(folder: Path, size: int, mtime_ns: int) -> str:
    read_card(folder)
    sums = (read_json(folder / CARD) or {})["sha256"]
    return _digest(sums)[:16]


def read_weights(folder: Path, device: str = "cpu") -> dict[str, Tensor]:
    """The weights of a model.

    Raises:
        InputError: if they are not there, or not those that its ``model.json`` goes with.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path, expected = folder / WEIGHTS, (read_json(folder / CARD) or {}).get("sha256", {}).get(WEIGHTS)
    try:
        if file_digest(path) != expected:
            raise InputError(f"{path} is damaged or another model's: its checksum is not the one in {CARD}")
        return load_file(path, device)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; get the folder again") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); get the folder again") from None
    except SafetensorError as error:
        raise InputError(f"{path} holds no weights ({error}); get the folder again") from None


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
