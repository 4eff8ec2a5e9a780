"""Several workers go on from the checkpoint that the first one reads, whatever the others see of the disk."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from raybrain.config import override
from raybrain.experiment import Experiment
from raybrain.train.loop import Training
from raybrain.train.order import contrast
from raybrain.train.record import Damaged, RunRecord
from raybrain.train.step import Loaded, Place
from tests.train.test_loop import SETTINGS, Killed, go
from tests.workers import in_workers, random_tables


def training(place: Place, folder: Path) -> Training:
    experiment = override(Experiment(), SETTINGS)
    tables = random_tables(experiment, torch.float32)
    sizes = contrast(experiment.train, place.world, len(tables.rows["train"]))
    return Training(experiment, tables, sizes, place, RunRecord(folder))


def kill(run: Training, after: int | None) -> None:
    """Kill training in the step after so many."""
    update, steps = run.learner.update, itertools.count()

    def updated(loaded: Loaded) -> Tensor:
        if next(steps) == after:
            raise Killed
        return update(loaded)

    run.learner.update = updated  # type: ignore[method-assign]


def worker(rank: int, folder: Path, shared: bool, kills: tuple[int, ...]) -> None:
    """Train to the end, killed after these numbers of steps; an unshared disk shows the second worker nothing."""
    home = folder / ("run" if shared or rank == 0 else "elsewhere")
    for after in (*kills, None):
        try:
            run = training(Place(rank, 2), home)
            kill(run, after)
            go(run, checkpoint_s=0)
        except Killed:
            run.feed.close()
    torch.save(run.learner.state()["model"], folder / f"worker{rank}.pt")


def weights(folder: Path, shared: bool, kills: tuple[int, ...]) -> list[dict[str, Any]]:
    folder.mkdir()
    in_workers(worker, 2, folder, shared, kills)
    return [torch.load(folder / f"worker{rank}.pt") for rank in (0, 1)]


@pytest.mark.slow
def test_workers_that_do_not_see_the_checkpoint_go_on_all_the_same(tmp_path: Path) -> None:
    whole = weights(tmp_path / "whole", shared=True, kills=())
    cut = weights(tmp_path / "cut", shared=False, kills=(2, 5))
    for one, other in zip(whole, cut, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def refuses(rank: int, folder: Path) -> None:
    with pytest.raises(Damaged):
        training(Place(rank, 2), folder / ("run" if rank == 0 else "elsewhere"))
    assert Place(rank, 2).first(None if rank == 0 else b"mine") is None
    assert Place(rank, 2).first(b"" if rank == 0 else b"mine") == b""


@pytest.mark.slow
def test_a_damaged_checkpoint_is_refused_by_all(tmp_path: Path) -> None:
    record = RunRecord(tmp_path / "run")
    record.keep_checkpoint({"model": {}})
    record.last.write_bytes(record.last.read_bytes()[:50])
    in_workers(refuses, 2, tmp_path)
