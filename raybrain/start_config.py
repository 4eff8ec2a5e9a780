"""Start config: what the weights of a network begin as, where that is a trained model rather than drawn."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import field_validator

from raybrain.config import Config, InputError
from raybrain.model_folder import is_model, model_digest


class StartConfig(Config):
    """What the weights begin as: those of a trained model, as far as they fit, to go on from there or to fine-tune it.

    Weights are matched by name, those of single subjects by the subjects' names. What belongs to sensors or features that are
    not the model's is drawn as ever. A line of ridge regression (``encoder.ridge``) is fitted again, around that of the model.

    Attributes:
        model: the folder of a trained model, or of its run; empty to draw all weights.
        content: names what is in it; found out where it is not said.
        subjects: the weights of a subject whom the model does not know begin as the mean over those it knows, or are drawn as
            ever ("anew"). What such a subject has beside a matrix that all share is drawn in any case, so that it begins with
            that alone.
    """

    model: str = ""
    content: str = ""
    subjects: Literal["mean", "anew"] = "mean"

    @field_validator("model")
    @classmethod
    def _from_anywhere(cls, model: str) -> str:
        return str(Path(model).expanduser().absolute()) if model else ""

    @property
    def on(self) -> bool:
        """Whether there is a model to start from."""
        return bool(self.model or self.content)

    def named(self) -> dict[str, Any]:
        """The content of the model in place of its folder; nothing is read of ``subjects`` where there is none."""
        if not self.on:
            return {"subjects": "mean"}
        folder = _folder(self.model)
        content = self.content or (model_digest(folder) if folder else "")
        return {"model": "", "content": content} if content else {}

    def outdated(self, changed: Collection[str]) -> dict[str, Any]:
        """Another folder holds another model."""
        return {"content": ""} if "model" in changed else {}

    def located(self, home: Path) -> Self:
        """The same start with ``model`` and ``content`` both set.

        Raises:
            InputError: if there is no such model, or it is not the one it was.
        """
        if not self.on:
            return self
        folder = _folder(self.model)
        if folder is None:
            where = f"no model in {self.model}" if self.model else f"the model {self.content} is in no folder"
            raise InputError(f"{where}; type start.model=FOLDER with a run that was trained, or with the model of one")
        content = model_digest(folder)
        if self.content not in ("", content):
            raise InputError(
                f"the model in {folder} is {content}, and {self.content} was asked for;"
                f" type start.model={folder} to start from this one"
            )
        return self.model_copy(update={"model": str(folder), "content": content})


def _folder(model: str) -> Path | None:
    """Where the model of a folder lies: there, or in the run's; None if there is none."""
    folders = (Path(model), Path(model) / "model") if model else ()
    return next((folder for folder in folders if is_model(folder)), None)
