"""Frames: a feature of all that was heard, one file per stimulus, shared by all stores."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raybrain.identity import signature
from raybrain.storage import content_digest, damage_told, write_table
from raybrain.store.schema import frames_table

if TYPE_CHECKING:
    from raybrain.features.base import Feature


@dataclass(frozen=True)
class Frames:
    """The frames of one feature: a folder with a file a stimulus. Whoever writes a stimulus anew writes the same."""

    folder: Path

    def path(self, stimulus: str) -> Path:
        """The Parquet file of a stimulus."""
        return self.folder / f"{stimulus}.parquet"

    def write(self, stimulus: str, frames: np.ndarray) -> None:
        """Write the frames of a stimulus, [frames size], in the type they have: float32 or float16."""
        write_table(self.path(stimulus), frames_table(stimulus, frames), use_dictionary=False)

    def read(self, stimulus: str) -> np.ndarray:
        """The frames of a stimulus, [frames size] float32.

        Raises:
            InputError: if the file is damaged or not there.
        """
        path = self.path(stimulus)
        with damage_told(path):
            row = pq.read_table(path, page_checksum_verification=True)
        frames: np.ndarray = row["frames"][0].values.to_numpy().reshape(-1, row["size"][0].as_py())
        return frames.astype(np.float32, copy=False)

    def length(self, stimulus: str) -> int:
        """How many frames a stimulus has, without reading them; InputError as for ``read``."""
        path = self.path(stimulus)
        with damage_told(path):
            row = pq.read_table(path, columns=["count"])
        return int(row["count"][0].as_py())

    def missing(self, stimuli: Iterable[str]) -> list[str]:
        """Which of these stimuli have no frames, in order of name. A file that cannot be opened is set aside and counts."""
        absent = []
        for stimulus in sorted(stimuli):
            path = self.path(stimulus)
            try:
                pq.read_metadata(path)
            except FileNotFoundError:
                absent.append(stimulus)
            except (OSError, pa.ArrowInvalid):
                absent.append(stimulus)
                (self.folder / "damaged").mkdir(exist_ok=True)
                with suppress(FileNotFoundError):  # another process may see the same
                    os.replace(path, self.folder / "damaged" / path.name)
        return absent

    def sizes(self, stimuli: Iterable[str]) -> dict[str, int]:
        """Bytes of each stimulus's file; 0 where it is not there."""
        paths = {stimulus: self.path(stimulus) for stimulus in sorted(stimuli)}
        return {stimulus: path.stat().st_size if path.exists() else 0 for stimulus, path in paths.items()}


def feature_name(feature: "Feature") -> str:
    """The name of a feature in a manifest: its kind and a hash of all that its frames and their scale depend on."""
    return f"{feature.name}-{signature(feature, identity=feature.identity())}"


def frames_folder(home: Path, feature: "Feature") -> Frames:
    """Where the frames of a feature lie, however they are to be scaled."""
    unscaled = feature.model_copy(update={"scale": type(feature).model_fields["scale"].default})
    return Frames(home / "features" / feature_name(unscaled))


def feature_digest(name: str, entry: dict[str, Any]) -> str:
    """Names what training reads of a feature: the stimuli, and how their frames are scaled.

    Args:
        name: of the feature in the manifest.
        entry: what the manifest says of it.
    """
    return content_digest([name, entry["mean"], entry["deviation"], entry["weights"], sorted(entry["files"])])
