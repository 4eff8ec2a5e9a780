"""Export: a trained model for use without raybrain, or for others to find.

::

    raybrain export RUN --format safetensors --to DIR   # weights and model card; raybrain.load reads it
    raybrain export RUN --format torch --to DIR         # encoder.pt2, a program of torch.export
    raybrain export RUN --format onnx --to DIR          # encoder.onnx

Beside each lies a README.md with the header that Hugging Face reads, and a config.json. A program takes, in this order::

    signal     [batch channels time] float32: windows, cut and scaled as config.json says (raybrain.signal.window)
    positions  [channels 2] float32: x and y of each sensor on a flat head, in [0, 1]
    valid      [channels] bool: False for sensors that are missing, bad or of unknown position
    subject    [batch] int64: index into the subjects of config.json

and returns estimates [batch features time]. Where what is aimed at is encoded too, ``speech`` beside it does that: from
features [batch features time], scaled as config.json says, to what estimates are compared with.
"""

import contextlib
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import raybrain
from raybrain.batch import DRAWS, Batch
from raybrain.config import InputError, first_line, hint
from raybrain.model_folder import write_model
from raybrain.predict.export_card import LOADED, model_readme
from raybrain.storage import aside_folder

if TYPE_CHECKING:
    from raybrain.predict.model import Model

FORMATS = tuple(LOADED)
ENDINGS = {"torch": "pt2", "onnx": "onnx"}
NEEDED = ("onnx", "onnxscript")
LARGE = 1_500_000_000  # bytes of weights that do not fit into one ONNX file


class Program(nn.Module):
    """An encoder that takes tensors in place of a batch."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, signal: Tensor, positions: Tensor, valid: Tensor, subject: Tensor) -> Tensor:
        """[batch features time]."""
        nought = torch.zeros_like(subject)
        draws = torch.zeros(DRAWS, dtype=torch.float64, device=signal.device)  # which training alone uses
        estimates: Tensor = self.encoder(Batch(signal, subject, nought, positions[None], valid[None], draws, nought))
        return estimates


def export(model: "Model", format: str, to: Path) -> list[Path]:
    """Write a model whole or not at all.

    Args:
        model: a trained model.
        format: one of FORMATS.
        to: a folder that is not there yet, or empty.

    Returns:
        The files.

    Raises:
        InputError: if there is no such format, something is in the folder, a package is missing, or the encoder cannot be
            written in that format.
    """
    if format not in FORMATS:
        raise InputError(f"no format {format!r}{hint(format, FORMATS)}")
    if to.exists() and not (to.is_dir() and not any(to.iterdir())):
        raise InputError(f"{to} is there already; type --to DIR, a folder that is not there yet or empty")
    if format == "onnx" and (missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]):
        raise InputError(f"--format onnx needs {' and '.join(missing)}, not installed; type pip install 'raybrain[export]'")
    with aside_folder(to) as folder:
        if format == "safetensors":
            _weights(model, folder)
        else:
            _programs(model, format, folder)
        (folder / "config.json").write_text(json.dumps(_config(model, format), indent=1, allow_nan=False))
        (folder / "README.md").write_text(model_readme(model, format), encoding="utf-8")
    return sorted(to.iterdir())


def _weights(model: "Model", folder: Path) -> None:
    """Weights and model.json, as ``raybrain.load`` reads them."""
    inner = folder / "model"
    write_model(inner, model.card, model.network.state_dict())
    for path in inner.iterdir():
        path.rename(folder / path.name)
    inner.rmdir()


def _programs(model: "Model", format: str, folder: Path) -> None:
    shapes, device, ending = model.shapes, model.device, ENDINGS[format]
    given = {
        "signal": torch.randn(2, shapes.channels, shapes.times, device=device),
        "positions": torch.rand(shapes.channels, 2, device=device),
        "valid": torch.ones(shapes.channels, dtype=torch.bool, device=device),
        "subject": torch.zeros(2, dtype=torch.long, device=device),
    }
    _program(Program(model.network.encoder), given, ("signal", "subject"), "estimates", folder / f"encoder.{ending}")
    if model.network.aimed_side is not None:
        size = sum(len(one.weights) or len(one.mean) for one in model.features)
        heard = {"features": torch.randn(2, size, shapes.times, device=device)}
        _program(_Sided(model.network.aimed_side), heard, ("features",), "candidates", folder / f"speech.{ending}")


class _Sided(nn.Module):
    """What is done to features, under the name that its input has."""

    def __init__(self, side: nn.Module) -> None:
        super().__init__()
        self.side = side

    def forward(self, features: Tensor) -> Tensor:
        encoded: Tensor = self.side(features)
        return encoded


def _program(module: nn.Module, given: dict[str, Tensor], batched: tuple[str, ...], output: str, path: Path) -> None:
    """Trace a module for any number of windows and write the program.

    Raises:
        InputError: if that cannot be done.
    """
    batch = torch.export.Dim("batch", min=1)
    shapes = {name: {0: batch} if name in batched else None for name in given}
    kind = path.suffix.removeprefix(".")
    try:
        with _quietly(), torch.no_grad():
            traced = torch.export.export(module.eval(), tuple(given.values()), dynamic_shapes=shapes)
            if kind == "pt2":
                torch.export.save(traced, path)
                return
            program = torch.onnx.export(traced, input_names=list(given), output_names=[output], dynamo=True, verbose=False)
            assert program is not None
            size = sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
            program.save(path, external_data=size > LARGE)
    except Exception as error:  # an exporter may fail in any way on code that it does not understand
        raise InputError(
            f"the {path.stem} of this model cannot be written as {kind} ({first_line(error)[:200]}); type --format safetensors"
        ) from error


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """No advice to whoever wrote what is exported."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _config(model: "Model", format: str) -> dict[str, Any]:
    """What one must know to use the model without raybrain."""
    card, shapes = model.card, model.shapes
    return {
        "model_type": "raybrain",
        "architectures": [card.experiment["encoder"]["name"]],
        "raybrain_version": raybrain.__version__,
        "format": format,
        "signature": card.signature,
        "channels": shapes.channels,
        "times": shapes.times,
        "rate_hz": shapes.rate_hz,
        "subjects": list(shapes.subjects),
        "trained": list(model.subjects),
        "layouts": [asdict(layout) for layout in shapes.layouts],
        "window": asdict(card.window),
        "features": [asdict(feature) for feature in card.features],
        "experiment": card.experiment,
        "metrics": card.metrics,
        "calibration": asdict(card.calibration) if card.calibration else None,
    }
