"""Record: what a run keeps on disk so that it can be killed anywhere and go on to the very same result."""

import io
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from raybrain.bucket.copies import WEIGHTS, fetch, folders_in, remove
from raybrain.config import InputError
from raybrain.experiment import Experiment, TrainConfig
from raybrain.integrity import check_archive, is_whole, say_damaged, stamp
from raybrain.model_folder import ModelCard, is_model, is_whole_model, read_card, read_weights, write_model
from raybrain.ownership import Owner, owned, settled, unowned
from raybrain.plain import from_tree, tree
from raybrain.storage import aside, explaining_full_disk, locked, remove_left_over, write_json
from raybrain.tracking.base import RunKey
from raybrain.tracking.folder import TrackedFolder
from raybrain.train.order import RunSizes

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, float]  # the metrics of an epoch
State = Literal["new", "begun", "finished", "failed"]


class Damaged(InputError):
    """The weights of a run cannot be read."""


@dataclass(frozen=True)
class RunResult:
    """A run that was trained to the end.

    Attributes:
        signature: of its experiment.
        digest: of its data.
        history: the metrics of each epoch.
        ended: when that was, in seconds since 1970.
    """

    signature: str
    digest: str
    history: list[Row]
    ended: float

    @property
    def best(self) -> Row:
        """The metrics of the epoch whose weights are kept."""
        return best_epoch(self.history)


@dataclass(frozen=True)
class RunRecord(TrackedFolder):
    """The folder of one training run. Nobody else knows the names of its files.

    A file is replaced only by a whole one. One that is damaged is made again, at the price of what it holds: only lost
    weights mean training again.
    """

    @property
    def state(self) -> State:
        """How far the run is."""
        if self.result() is not None:
            return "finished"
        if self._file("failure").exists():
            return "failed"
        return "begun" if self.settings.exists() else "new"

    @property
    def model(self) -> Path:
        """The folder of the trained model."""
        return self.path / "model"

    @property
    def settings(self) -> Path:
        """The file with all settings of the experiment."""
        return self._file("experiment")

    @property
    def picture(self) -> Path:
        """The picture of the test's subjects."""
        return self.path / "test_subjects.png"

    @property
    def ray(self) -> Path:
        """Where Ray Train keeps what it needs."""
        return self.path / "ray"

    # what is trained

    def begin(self, experiment: Experiment) -> None:
        """Note what is trained; a failure of an earlier time is forgotten."""
        write_json(self.settings, tree(experiment))
        remove(self._file("failure"))

    def experiment(self) -> Experiment | None:
        """What is trained; None if that is not known. InputError if it says what no experiment is asked today.

        Where it is lost, it is made again from what the trained model says of itself.
        """
        known = self._read("experiment")
        if known is None and is_whole_model(self.model):
            known = read_card(self.model).experiment
            with suppress(OSError):  # of another person
                write_json(self.settings, known)
        return None if known is None else from_tree(Experiment, known)

    def keep_sizes(self, sizes: RunSizes) -> None:
        """Note what the training is made of."""
        write_json(self._file("sizes"), sizes.flat())

    def sizes(self) -> RunSizes | None:
        """What the training is made of; None before its first step."""
        known = self._read("sizes")
        return None if known is None else RunSizes.read(known)

    # how it goes

    def keep_history(self, history: Sequence[Row]) -> None:
        """Note the finished epochs."""
        write_json(self._file("history"), list(history))

    def history(self) -> list[Row]:
        """A row of metrics for each finished epoch."""
        known = self._read("history")
        if known is None and (result := self.result()):
            known = result.history
        if known is None:
            with suppress(Damaged):
                last = self.checkpoint()
                known = last["state"]["history"] if last else None
        return list(known or [])

    def finish(self, signature: str, digest: str, history: Sequence[Row]) -> RunResult:
        """Note that the run is trained to the end."""
        result = RunResult(signature, digest, list(history), time.time())
        write_json(self._file("result"), asdict(result))
        return result

    def result(self) -> RunResult | None:
        """What came of the run; None if it is not trained to the end."""
        known = self._read("result")
        if known is None or known.keys() != RunResult.__dataclass_fields__.keys():  # an earlier version's is made again
            return None
        return RunResult(**known)

    def fail(self, reason: str) -> None:
        """Note why training cannot go on; the same command may try again, with mended data say."""
        write_json(self._file("failure"), reason)

    def failure(self) -> str | None:
        """Why training could not go on; None if it could."""
        return None if (known := self._read("failure")) is None else str(known)

    # its test

    def keep_test(self, ranks: "pd.DataFrame", rows: Mapping[str, list[dict[str, Any]]]) -> None:
        """Keep one row per test segment, and smaller tables by name: the controls, and what else was found."""
        with aside(self._ranks) as temporary:
            ranks.to_parquet(temporary)
        write_json(self._file("test_controls"), {"ranks": stamp(self._ranks), **rows})

    def test(self) -> "tuple[pd.DataFrame, dict[str, list[dict[str, Any]]]] | None":
        """One row per test segment, and smaller tables by name; None if they are not there, or damaged: they are made again."""
        import pandas as pd

        known = self._read("test_controls")
        if not isinstance(known, dict):  # an earlier version's has no stamp of the ranks
            return None
        if not is_whole(self._ranks, known["ranks"]):
            say_damaged(self._ranks)
            return None
        return pd.read_parquet(self._ranks), {name: rows for name, rows in known.items() if name != "ranks"}

    def keep_logged(self, what: Literal["evaluated", "pictured"], run: RunKey) -> None:
        """Note that a tracked run holds the tables, or the picture, of the test."""
        write_json(self._file(what), run.id)

    def logged(self, what: Literal["evaluated", "pictured"], run: RunKey) -> bool:
        """Whether a tracked run holds the tables, or the picture, of the test."""
        return bool(self._read(what) == run.id)

    # its weights

    def keep_checkpoint(self, state: dict[str, Any]) -> None:
        """Keep everything an exact resume needs.

        Raises:
            InputError: if the disk is full; what was there before stays.
        """
        self._save(self.last, state)

    def checkpoint(self, device: torch.device | str = "cpu") -> dict[str, Any] | None:
        """Everything an exact resume needs; None at the start.

        Raises:
            Damaged: if it cannot be read.
        """
        packed = self.packed_checkpoint()
        return None if packed is None else self.unpacked_checkpoint(packed, device)

    def packed_checkpoint(self) -> bytes | None:
        """The checkpoint as it travels between workers; None at the start."""
        return _content(self.last)

    def unpacked_checkpoint(self, packed: bytes, device: torch.device | str) -> dict[str, Any]:
        """The checkpoint on a device.

        Raises:
            Damaged: if it cannot be read.
        """
        return _unpacked(packed, self.last, device)

    def keep_best(self, state: dict[str, Any]) -> None:
        """Keep the weights of the epoch with the lowest valid loss, and its number.

        Raises:
            InputError: if the disk is full; what was there before stays.
        """
        self._save(self.weights, state)

    def best(self, device: torch.device | str = "cpu") -> dict[str, Any] | None:
        """The weights of the epoch with the lowest valid loss, and its number. The model of a finished run has them, too.

        Raises:
            Damaged: if neither can be read.
        """
        try:
            packed = _content(self.weights)
            if packed is not None:
                return _unpacked(packed, self.weights, device)
        except Damaged as error:
            if not self._restore_best():
                raise
            print(f"raybrain: {str(error).partition('; ')[0]}; made again from {self.model}", file=sys.stderr, flush=True)
        else:
            if not self._restore_best():
                return None
        return _unpacked(self.weights.read_bytes(), self.weights, device)

    def _restore_best(self) -> bool:
        """Write the best weights as the model has them; whether it is whole."""
        result = self.result()
        if result is None or not is_whole_model(self.model):
            return False
        self.keep_best({"model": read_weights(self.model), "epoch": result.best["epoch"]})
        return True

    @property
    def has_model(self) -> bool:
        """Whether the model of a finished run is there, and whole; it is made again from the best weights if not."""
        if whole := is_whole_model(self.model):
            return whole
        if is_model(self.model):
            print(f"raybrain: damaged model in {self.model}; it is made again", file=sys.stderr, flush=True)
        return False

    @property
    def last(self) -> Path:
        """The file of the last checkpoint."""
        return self.path / "last.pt"

    @property
    def weights(self) -> Path:
        """The file of the best weights."""
        return self.path / "best.pt"

    def keep_model(self, card: ModelCard, weights: Mapping[str, torch.Tensor]) -> None:
        """Write the folder of the trained model.

        Raises:
            InputError: if the disk is full.
        """
        with explaining_full_disk(self.model):
            write_model(self.model, card, weights)

    def inherit(self, other: "RunRecord", epochs: int) -> None:
        """Begin where another run stands, if that is at the end of its epoch ``epochs``; else this run begins at its own start.

        Args:
            other: a run that is the same up to there.
            epochs: how many it must have done.

        Raises:
            InputError: if the disk is full.
        """
        fetch(other.path)
        try:
            last, best, sizes = other.checkpoint(), other.best(), other.sizes()
        except Damaged:
            return
        if last is None or best is None or sizes is None:
            return
        history, step = last["state"]["history"], last["state"]["step"]
        if len(history) != epochs or step != epochs * sizes.contrast.updates_per_epoch:  # another epoch, or inside the next one
            return
        if best["epoch"] != best_epoch(history)["epoch"]:  # another process trains it on
            return
        with self.free() as free:  # or another process trains this one
            if free and not self.last.exists():
                self.keep_best(best)
                self.keep_checkpoint(last)

    # who works on it

    def own(self, purpose: str, busy: Callable[[str], object]) -> AbstractContextManager[None]:
        """Work on the run while nobody else does: see :func:`~raybrain.ownership.owned`."""
        return owned(self.path, purpose, busy)

    def free(self) -> AbstractContextManager[bool]:
        """Whether nobody works on the run: see :func:`~raybrain.ownership.unowned`."""
        return unowned(self.path)

    def settled(self) -> AbstractContextManager[Owner | None]:
        """Who works on the run, while nobody else begins to: see :func:`~raybrain.ownership.settled`."""
        return settled(self.path)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write weights while no other process does: one of a command that was killed may live on for a moment."""
        with locked(self.path / "writer"):
            for weights in (self.last, self.weights):  # large ones, which nobody else writes now
                remove_left_over(self.path.glob(f".{weights.name}-*"), stale_s=0)
            yield

    # files

    @property
    def _ranks(self) -> Path:
        return self.path / "test_ranks.parquet"

    def _save(self, path: Path, state: dict[str, Any]) -> None:
        """Write a checkpoint whole or not at all."""
        with aside(path) as temporary, explaining_full_disk(path):
            torch.save(state, temporary)


def run_record(home: Path, experiment: Experiment, digest: str) -> RunRecord:
    """The record of an experiment on data with this digest."""
    path = home / "runs" / f"{experiment.signature}-{digest[:8]}"
    fetch(path, WEIGHTS)
    return RunRecord(path)


def run_records(home: Path, signature: str = "*") -> list[RunRecord]:
    """The runs in a home, of all experiments or of one."""
    return [RunRecord(path) for path in folders_in(home / "runs", f"{signature}-*")]


def best_epoch(history: Sequence[Row]) -> Row:
    """The epoch whose weights are kept: the one with the lowest valid loss."""
    return min(history, key=lambda row: row["valid_loss"])


def with_kept(history: Sequence[Row]) -> Row:
    """The last epoch's metrics, and as ``kept_...`` those of the weights kept so far: what a sweep compares."""
    return history[-1] | {f"kept_{key}": value for key, value in best_epoch(history).items()}


def is_complete(history: Sequence[Row], train: TrainConfig) -> bool:
    """Whether a training ends by itself after these epochs: all are done, or the valid loss got no better for long enough."""
    if not history:
        return False
    stale = len(history) - 1 - history.index(best_epoch(history))
    return len(history) >= train.epochs or stale >= train.patience


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _unpacked(packed: bytes, path: Path, device: torch.device | str) -> dict[str, Any]:
    try:
        check_archive(packed)
        state: dict[str, Any] = torch.load(io.BytesIO(packed), map_location=device, weights_only=True)
    except Exception as error:  # torch raises whatever the damage leads to
        cure = f"type rm -r {shlex.quote(str(path.parent))} and run the same command: it trains anew"
        raise Damaged(f"damaged checkpoint ({type(error).__name__}) {path}; {cure}") from None
    return state
