"""Models of Hugging Face: found by name or folder, told apart by revision, loaded once a process. Not a feature itself.

A model of the hub is looked for in the cache of this machine, where ``hf download`` puts it; nothing is asked of the network,
so that no process stands still over gigabytes, or over a network that is not there.
"""

import contextlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from raybrain.config import InputError
from raybrain.features.base import Feature
from raybrain.model_files import Stamps, folder_digest, folder_stamps, name_or_folder

SEED = 2036  # of the weights of untrained models
UNUSED = ("pooler", "masked_spec_embed", "decoder")  # weights that hidden states of an encoder do not depend on


class Pretrained(Feature):
    """What a model of Hugging Face makes of a stimulus.

    Attributes:
        checkpoint: its name on the hub, or a folder written by ``save_pretrained``.
        revision: a branch, a tag or a commit of the hub.
        random: draw the weights anew, always the same ones: the control that shows what training the model has brought.
    """

    model: ClassVar[bool] = True
    checkpoint: str = Field("", min_length=1)
    revision: str = Field("main", min_length=1)
    random: bool = False

    @field_validator("checkpoint")
    @classmethod
    def _from_anywhere(cls, checkpoint: str) -> str:
        return name_or_folder(checkpoint)

    def named(self) -> dict[str, str]:
        """A folder's content in place of its path."""
        return {"checkpoint": folder_digest(self.checkpoint)} if _stamps(self.checkpoint) else {}

    def identity(self) -> dict[str, str]:
        """The commit of the hub, or a digest of the folder's files."""
        return {"model": version(self.checkpoint, self.revision)}

    def check(self) -> None:
        """See to it that the settings of the model are there."""
        super().check()
        self.settings()

    def settings(self) -> Any:
        """The config of the model: its sizes, known without its weights."""
        return settings(self.checkpoint, self.revision)

    def tool(self, kind: Literal["AutoFeatureExtractor", "AutoTokenizer"]) -> Any:
        """What brings sound or text into the form that the model takes."""
        return _tool(kind, self.checkpoint, version(self.checkpoint, self.revision))

    def network(self, device: str) -> Any:
        """The model on ``device``, its encoder where it has a decoder too; the last one asked for stays loaded."""
        return _network(self.checkpoint, version(self.checkpoint, self.revision), self.random, device)


def settings(checkpoint: str, revision: str) -> Any:
    """The config of a model.

    Raises:
        InputError: if it is not there.
    """
    return _settings(checkpoint, revision, _stamps(checkpoint))


def version(checkpoint: str, revision: str) -> str:
    """What names a model's content: the commit, or a digest of all files of a folder.

    Raises:
        InputError: if the model is not there.
    """
    from huggingface_hub import try_to_load_from_cache

    settings(checkpoint, revision)
    if _stamps(checkpoint):
        return folder_digest(checkpoint)
    settings_file = try_to_load_from_cache(checkpoint, "config.json", revision=revision)
    assert isinstance(settings_file, str), "transformers has just read it"
    return Path(settings_file).parent.name  # snapshots/COMMIT/config.json


def hidden_states(config: Any, layers: tuple[int, ...], checkpoint: str) -> None:
    """Refuse layers that a model does not have.

    Raises:
        InputError: with the number it has.
    """
    count = getattr(config, "encoder_layers", None) or config.num_hidden_layers
    if max(layers) > count:
        shown = ",".join(map(str, layers))
        raise InputError(f"{checkpoint} has hidden states 0 to {count}, found layers={shown}; type layers={count // 2},{count}")


def _stamps(checkpoint: str) -> Stamps:
    """Those of a model's folder; nothing for a model of the hub, or where there is none."""
    return folder_stamps(checkpoint) if (Path(checkpoint) / "config.json").is_file() else ()


@lru_cache(maxsize=8)
def _settings(checkpoint: str, revision: str, stamps: Stamps) -> Any:
    from transformers import AutoConfig

    with _explaining(checkpoint):
        # the version of a folder is its digest, passed on as its revision: transformers looks at those of the hub only
        return AutoConfig.from_pretrained(checkpoint, revision=revision, local_files_only=True)


@lru_cache(maxsize=2)
def _tool(kind: str, checkpoint: str, commit: str) -> Any:
    import transformers

    with _explaining(checkpoint):
        return getattr(transformers, kind).from_pretrained(checkpoint, revision=commit, local_files_only=True)


@lru_cache(maxsize=1)
def _network(checkpoint: str, commit: str, random: bool, device: str) -> Any:
    import torch
    from transformers import AutoModel

    with _explaining(checkpoint):
        if random:
            config = settings(checkpoint, commit)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(SEED)
                model = AutoModel.from_config(config, dtype=torch.float32)
        else:
            given = {"revision": commit, "local_files_only": True, "dtype": torch.float32}
            model, report = AutoModel.from_pretrained(checkpoint, **given, output_loading_info=True)
            lost = sorted(name for name in report["missing_keys"] if not any(part in name for part in UNUSED))
            if lost:  # transformers would draw them at random and go on
                raise InputError(f"the model {checkpoint} has no weights for {lost[0]} and {len(lost) - 1} more")
    part = model.get_encoder() if model.config.is_encoder_decoder else model
    return part.eval().requires_grad_(False).to(device)


@contextlib.contextmanager
def _explaining(checkpoint: str) -> Iterator[None]:
    """Say in one line what is wrong with a model, and nothing where all is well."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError) as error:
        if Path(checkpoint).is_absolute():
            reason = " ".join(str(error).split())[:200] if Path(checkpoint).is_dir() else "it is not there"
            raise InputError(f"the folder {checkpoint} holds no model that transformers can load: {reason}") from None
        raise InputError(
            f"no model {checkpoint!r} on this machine; type hf download {checkpoint}, or give the folder of one as checkpoint"
        ) from None
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
