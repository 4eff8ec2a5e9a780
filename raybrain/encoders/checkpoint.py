"""Checkpoint: a network that others trained: its settings, its weights, and the code that makes it.

A checkpoint is a folder with ``config.json`` and ``model.safetensors`` (or several ``model-*.safetensors``), as
``save_pretrained`` writes it, or the name of one on the hub of Hugging Face, which must be in the cache of this machine and
pinned to a commit. Nothing is asked of the network, weights are numbers only, and no code comes with them: it is that of
transformers, or a function that is named by where Python imports it from.
"""

import hashlib
import importlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from raybrain.batch import Shapes
from raybrain.config import Config, InputError, first_line
from raybrain.identity import closure, code_digest
from raybrain.model_files import folder_digest, name_or_folder

SETTINGS, WEIGHTS = "config.json", "model*.safetensors"
DRAWN = (
    '{"model_type": "bert", "hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "num_hidden_layers": 4,'
    ' "vocab_size": 1}'
)
Make = Callable[[dict[str, Any], Shapes], nn.Module]


class CheckpointConfig(Config):
    """A trained network, or one like it with weights that are drawn.

    Attributes:
        path: a folder with config.json and model.safetensors, or a name on the hub; empty to draw the weights.
        revision: of a model of the hub: a commit.
        code: MODULE:FUNCTION that makes the network of its settings; empty for one of transformers.
        settings: what is in config.json, as JSON; of a checkpoint this is found out.
        content: names its files and its code; found out where it is not said.
    """

    path: str = ""
    revision: str = ""
    code: str = Field("", pattern=r"^([\w.]+:\w+)?$")
    settings: str = DRAWN
    content: str = ""

    @field_validator("path")
    @classmethod
    def _from_anywhere(cls, path: str) -> str:
        return name_or_folder(path) if path else ""

    @field_validator("settings")
    @classmethod
    def _in_one_spelling(cls, settings: str) -> str:
        try:
            known = json.loads(settings)
        except ValueError as error:
            raise InputError(f"settings is JSON, as in a config.json: {first_line(error)}") from None
        if not isinstance(known, dict):
            raise InputError("settings is a JSON object, as in a config.json; type {} for none")
        return json.dumps(known, sort_keys=True)

    def named(self) -> dict[str, Any]:
        """The content of files and code in place of where they are."""
        if self.content and not self.path:
            return {}
        try:
            return self._known() | {"path": "", "revision": ""}
        except InputError:  # it is not there: that is said when it is needed
            return {"path": "", "revision": ""} if self.content else {}

    def outdated(self, changed: Any) -> dict[str, Any]:
        """Another checkpoint has other settings and another content."""
        return {"content": "", "settings": DRAWN} if {"path", "revision", "code"} & set(changed) else {}

    def located(self, home: Path) -> Self:
        """The same checkpoint with settings and content as they are.

        Raises:
            InputError: if it is not there, or not the one it was.
        """
        known = self._known()
        if self.content not in ("", known["content"]):
            here = f"{self.path or self.code} is {known['content']}" if known["content"] else "it is in no folder that is named"
            raise InputError(f"the checkpoint {self.content} was asked for, and {here}; type encoder.checkpoint.path=FOLDER")
        return self.model_copy(update=known)

    def _known(self) -> dict[str, Any]:
        code = code_of(self.code) if self.code else ""
        if not self.path:
            return {"settings": self.settings, "content": code}
        folder = self.folder()
        try:
            settings = self._in_one_spelling((folder / SETTINGS).read_text())
        except OSError as error:
            raise InputError(f"{folder / SETTINGS} cannot be read ({error.strerror})") from None
        files = folder_digest(str(folder), SETTINGS) + folder_digest(str(folder), WEIGHTS)
        return {"settings": settings, "content": hashlib.sha256(f"{files} {code}".encode()).hexdigest()[:16]}

    def folder(self) -> Path:
        """Where its files are.

        Raises:
            InputError: if they are nowhere on this machine.
        """
        folder = Path(self.path) if Path(self.path).is_absolute() else self._cached()
        if not (folder / SETTINGS).is_file() or not list(folder.glob(WEIGHTS)):
            raise InputError(
                f"no checkpoint in {folder}: it needs {SETTINGS} and model.safetensors; type encoder.checkpoint.path=FOLDER"
            )
        return folder

    def _cached(self) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        try:
            folder = Path(snapshot_download(self.path, revision=self.revision or None, local_files_only=True))
        except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError):
            raise InputError(
                f"no model {self.path!r}{f' at {self.revision}' if self.revision else ''} on this machine; type hf download"
                f" {self.path}, or encoder.checkpoint.path=FOLDER"
            ) from None
        if self.revision != folder.name:
            raise InputError(
                f"a model of the hub may change: say which; type encoder.checkpoint.revision={folder.name} for the one on this"
                " machine"
            )
        return folder

    def weights(self) -> dict[str, Tensor]:
        """All weights of its files, by name.

        Raises:
            InputError: if they cannot be read.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        weights: dict[str, Tensor] = {}
        for path in sorted(self.folder().glob(WEIGHTS)):
            try:
                weights |= load_file(path)
            except (OSError, SafetensorError) as error:
                raise InputError(f"{path} holds no weights ({first_line(error)}); get it again") from None
        return weights

    def build(self, shapes: Shapes) -> nn.Module:
        """The network with drawn weights, from its settings alone.

        Raises:
            InputError: if there is no such code, or it does not take these settings.
        """
        settings: dict[str, Any] = json.loads("{}" if self.code and self.settings == DRAWN else self.settings)
        make = _imported(self.code) if self.code else _of_transformers
        try:
            return make(settings, shapes)
        except InputError:
            raise
        except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, AssertionError) as error:
            what = self.code or f"transformers' {settings.get('model_type')!r}"
            raise InputError(
                f"{what} makes no network of these settings: {type(error).__name__}: {first_line(error)}"
            ) from None


def matched(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], where: str, unused: Sequence[str] = ()
) -> dict[str, Tensor]:
    """The weights of a network as a checkpoint names them; on either side a name may have one more in front ("bert.").

    Args:
        wanted: the network's.
        given: the checkpoint's.
        where: it is, for a message.
        unused: parts of the names of weights that may be missing.

    Raises:
        InputError: if one is missing, or has another size.
    """
    ends = {name.partition(".")[2]: value for name, value in given.items()}
    taken = {name: given.get(name, ends.get(name, given.get(name.partition(".")[2]))) for name in wanted}
    if missing := [name for name, value in taken.items() if value is None and not any(part in name for part in unused)]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"the checkpoint {where} has no weights for {missing[0]}{more}; is it of this network?")
    known = {name: value for name, value in taken.items() if value is not None}
    for name, value in known.items():
        if value.shape != wanted[name].shape:
            sizes = " and ".join(" x ".join(map(str, one.shape)) for one in (value, wanted[name]))
            raise InputError(f"the checkpoint {where} has other sizes than its settings say: {name} has {sizes}")
    return known


def code_of(code: str) -> str:
    """Names the source of a function and of what lies beside it.

    Raises:
        InputError: if there is no such module.
    """
    module = code.partition(":")[0]
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        raise InputError(f"no module {module} that Python can import; type encoder.checkpoint.code=MODULE:FUNCTION")
    files = closure(module, Path(spec.origin), lambda imported: imported.partition(".")[0] != "raybrain")
    known = [(name, code_digest(path.read_text())) for name, path in sorted(files.items())]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def _imported(code: str) -> Make:
    module, _, name = code.partition(":")
    code_of(code)
    try:
        function: Make = getattr(importlib.import_module(module), name)
    except AttributeError:
        raise InputError(f"no function {name} in {module}; type encoder.checkpoint.code={module}:FUNCTION") from None
    except Exception as error:  # whatever a person's file does wrong
        raise InputError(f"{module} cannot be imported: {type(error).__name__}: {first_line(error)}") from None
    return function


def _of_transformers(settings: dict[str, Any], shapes: Shapes) -> nn.Module:
    from transformers import AutoConfig, AutoModel

    kind = settings.get("model_type")
    if not kind:
        raise InputError(
            "config.json names no model_type of transformers; type encoder.checkpoint.code=MODULE:FUNCTION with what makes it"
        )
    # a model of time series gets one channel after another: nobody has as many as it was trained with
    alone = {"num_input_channels": 1} if "num_input_channels" in settings else {}
    config = AutoConfig.for_model(**settings | alone)
    model = AutoModel.from_config(config, dtype=torch.float32)
    part: nn.Module = model.get_encoder() if config.is_encoder_decoder else model
    return part
