"""Frames: a feature of all that was heard, one file per stimulus, shared by all stores."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from raybrain.bucket.copies import mended
from raybrain.config import InputError, first_line
from raybrain.identity import signature
from raybrain.integrity import DAMAGE, is_damage, say_damaged
from raybrain.storage import content_digest, set_aside, write_table
from raybrain.store.schema import CHECKSUM, frames_checksum, frames_table

if TYPE_CHECKING:
    from raybrain.features.base import Feature

AGAIN = "run the same command again: it is made anew"


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
            InputError: if the file is damaged, which then is set aside, or not there.
        """
        with self._explaining_damage(stimulus):
            return _frames(self.path(stimulus), stimulus).astype(np.float32, copy=False)

    def check(self, stimulus: str) -> str:
        """Why the frames of a stimulus are not what was written; empty if they are. Nothing is set aside.

        Raises:
            OSError, ValueError and the like: by the reader, of a damaged file.
        """
        _frames(self.path(stimulus), stimulus)
        return ""

    def length(self, stimulus: str) -> int:
        """How many frames a stimulus has, without reading them; InputError as for ``read``."""
        with self._explaining_damage(stimulus):
            return int(
                pq.read_table(self.path(stimulus), columns=["count"], page_checksum_verification=True)["count"][0].as_py()
            )

    def missing(self, stimuli: Iterable[str]) -> list[str]:
        """Which of these stimuli have no frames, in order of name. All are read; a damaged file is set aside and counts."""
        absent = []
        for stimulus in sorted(stimuli):
            try:
                _frames(self.path(stimulus), stimulus)
            except FileNotFoundError:
                absent.append(stimulus)
            except DAMAGE as error:
                if not is_damage(error):
                    raise
                if not self._set_aside(stimulus):
                    absent.append(stimulus)
        return absent

    @contextmanager
    def _explaining_damage(self, stimulus: str) -> Iterator[None]:
        """Turn what is raised about a damaged file into one line; it is set aside, so that it is made again."""
        path = self.path(stimulus)
        try:
            yield
        except FileNotFoundError:
            raise InputError(f"{path} is missing; {AGAIN}") from None
        except DAMAGE as error:
            if not is_damage(error):
                raise
            self._set_aside(stimulus)
            raise InputError(f"damaged data in {path} ({first_line(error)}); {AGAIN}") from None

    def _set_aside(self, stimulus: str) -> bool:
        """Set a file aside; or, where only a node's copy is damaged, bring it again, and say so."""
        path = self.path(stimulus)
        if mended([path]):
            return True
        say_damaged(path)
        (self.folder / "damaged").mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # another process may see the same
            set_aside(path, self.folder / "damaged" / path.name)
        return False

    def sizes(self, stimuli: Iterable[str]) -> dict[str, int]:
        """Bytes of each stimulus's file; 0 where it is not there."""
        paths = {stimulus: self.path(stimulus) for stimulus in sorted(stimuli)}
        return {stimulus: path.stat().st_size if path.exists() else 0 for stimulus, path in paths.items()}


def _frames(path: Path, stimulus: str) -> np.ndarray:
    """The frames in a file, in the type they are stored in; one of DAMAGE if they are not what was written."""
    row = pq.read_table(path, page_checksum_verification=True)
    frames: np.ndarray = row["frames"][0].values.to_numpy().reshape(row["count"][0].as_py(), row["size"][0].as_py())
    known = (row.schema.metadata or {}).get(CHECKSUM)  # of an earlier version there is none
    if known is not None and known.decode() != frames_checksum(stimulus, frames):
        raise ValueError("the checksum is another one")
    return frames


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
