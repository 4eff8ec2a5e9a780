"""What a run keeps on disk: its states, who works on it, and what damage costs."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from raybrain.config import override
from raybrain.experiment import Experiment, TrainConfig
from raybrain.ownership import owned
from raybrain.plain import tree
from raybrain.storage import read_json, write_json
from raybrain.tracking.base import RunKey
from raybrain.train.record import Damaged, RunRecord, is_complete, run_record, run_records
from tests.sweeps import history_of, sizes_of
from tests.test_model_folder import MODEL, VALUES

HISTORY = history_of([0.5, 0.4, 0.6])


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    return RunRecord(tmp_path / "run")


def test_states(record: RunRecord) -> None:
    assert (record.state, record.history(), record.result(), record.sizes(), record.tracking()) == ("new", [], None, None, None)
    experiment = override(Experiment(), {"encoder.depth": 6})
    record.begin(experiment)
    assert record.state == "begun" and record.experiment() == experiment
    record.fail("the loss is not finite")
    assert record.state == "failed" and record.failure() == "the loss is not finite"
    record.begin(experiment)
    assert record.state == "begun" and record.failure() is None
    record.keep_sizes(sizes_of(3))
    assert record.sizes() == sizes_of(3)
    result = record.finish("signature", "digest", HISTORY)
    assert record.state == "finished" and record.result() == result
    assert result.best["epoch"] == 2


def test_the_runs_of_a_home(tmp_path: Path) -> None:
    one, other = Experiment(), override(Experiment(), {"encoder.depth": 6})
    for experiment in (one, other):
        run_record(tmp_path, experiment, "0123456789").begin(experiment)
    assert run_records(tmp_path, one.signature) == [run_record(tmp_path, one, "0123456789")]
    assert len(run_records(tmp_path)) == 2


def test_a_training_is_complete_after_its_epochs_or_when_it_gets_no_better() -> None:
    assert not is_complete([], TrainConfig())
    assert [is_complete(HISTORY[:n], TrainConfig(epochs=2)) for n in (1, 2, 3)] == [False, True, True]
    assert [is_complete(HISTORY[:n], TrainConfig(patience=1)) for n in (1, 2, 3)] == [False, False, True]


# damage


def filled(record: RunRecord) -> None:
    record.begin(Experiment())
    record.keep_checkpoint({"model": {"w": torch.ones(2)}, "state": {"history": HISTORY, "step": 6}})
    record.keep_best({"model": {"w": torch.ones(2)}, "epoch": 2})
    record.keep_history(HISTORY)
    record.keep_sizes(sizes_of())
    record.keep_tracking(RunKey("sqlite:///none", "id"))
    record.keep_test(pd.DataFrame({"rank": [1, 2]}), {"controls": [{"control": "noise"}]})
    record.keep_logged("evaluated", RunKey("sqlite:///none", "id"))
    record.finish("signature", "digest", HISTORY)


def test_lost_settings_are_those_that_the_trained_model_holds(record: RunRecord) -> None:
    experiment = override(Experiment(), {"encoder.depth": 6})
    record.begin(experiment)
    record.keep_model(replace(MODEL, experiment=tree(experiment)), VALUES)
    for damaged in (b"{", None):
        record.settings.unlink() if damaged is None else record.settings.write_bytes(damaged)
        assert record.experiment() == experiment
        assert read_json(record.settings) == tree(experiment), "it is there again"


@pytest.mark.parametrize("damage", [b"", b'{"hist', b"\xff\xfe\x00"])
def test_what_can_be_made_again_is_only_missing_when_it_is_damaged(
    damage: bytes, record: RunRecord, capfd: pytest.CaptureFixture[str]
) -> None:
    filled(record)
    files = sorted(record.path.glob("*.json"))
    assert len(files) >= 7
    for file in files:
        file.write_bytes(damage)
    assert (record.experiment(), record.sizes(), record.tracking(), record.test()) == (None, None, None, None)
    assert record.result() is None and not record.logged("evaluated", RunKey("sqlite:///none", "id"))
    assert record.history() == HISTORY, "the checkpoint knows it, too"
    lines = [line for line in capfd.readouterr().err.splitlines() if "damaged file" in line]
    assert len(lines) == len(set(lines)) == 7 and all(line.endswith("it is made again") for line in lines)
    filled(record)
    assert record.state == "finished"


def test_damaged_ranks_are_made_again_and_damaged_weights_mean_training_again(record: RunRecord) -> None:
    filled(record)
    for file in record.path.glob("*.parquet"):
        file.write_bytes(file.read_bytes()[:20])
    assert record.test() is None
    for file, read in ((record.last, record.checkpoint), (record.weights, record.best)):
        file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(Damaged, match=r"damaged checkpoint .*; type rm -r .* trains anew"):
            read()
    assert record.history() == HISTORY
    (record.path / "history.json").unlink()
    assert record.history() == HISTORY, "the result knows it, too"
    (record.path / "result.json").unlink()
    assert record.history() == []


def test_a_result_of_an_earlier_version_is_made_again(record: RunRecord) -> None:
    filled(record)
    (record.path / "result.json").write_text('{"signature": "a", "digest": "b", "history": []}')
    assert record.result() is None and record.state == "begun"


def test_what_killed_processes_left_half_is_removed(record: RunRecord) -> None:
    """Weights at once, as nobody else writes them now; all else when nobody has written to it for long."""
    filled(record)
    whole = sorted(record.path.iterdir())
    left = [record.path / f".{name}-{'0' * 32}" for name in ("last.pt", "best.pt", "history.json", "result.json")]
    model = record.path / f".model-{'1' * 32}"
    for path in left:
        path.write_text("half")
    model.mkdir()
    for path in (left[3], model):
        os.utime(path, (1, 1))
    with record.writing():
        assert [path.exists() for path in left] == [False, False, True, True]
    with record.own("train", busy=lambda line: pytest.fail(line)):
        assert [path.exists() for path in left] == [False, False, True, False]
        assert not model.exists()
    assert set(whole) < set(record.path.iterdir())


# one owner at a time

HOLD = """
import sys, time
from pathlib import Path
from raybrain.ownership import owned
with owned(Path(sys.argv[1]), "train", print):
    print("mine", flush=True)
    sys.stdin.readline()
"""


def test_another_process_waits_and_says_for_whom(record: RunRecord) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(record.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin and holder.stdout and holder.stdout.readline() == "mine\n"
    with record.free() as free:
        assert not free
    lines: list[str] = []

    def busy(line: str) -> None:
        lines.append(line)
        assert holder.stdin
        holder.stdin.close()  # it ends

    with record.own("train", busy), record.settled() as owner:
        pass
    holder.wait()
    assert len(lines) == 1 and lines[0].startswith(f"process {holder.pid} on ") and "(train, since 2" in lines[0]
    assert str(record.path) in lines[0]
    assert owner and owner.pid != holder.pid
    with record.free() as free:
        assert free


def test_who_takes_a_run_has_said_so_before_anybody_looks(record: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or what the one before left undone would be ended under the hands of the next."""
    with record.own("before", busy=pytest.fail):
        pass
    taking, looked, seen = threading.Event(), threading.Event(), []

    def write(path: Path, value: Any) -> None:
        taking.set()
        assert not looked.wait(0.5), "who looks waits"
        write_json(path, value)

    def look() -> None:
        taking.wait()
        with record.settled() as owner:
            seen.append(owner)
            looked.set()

    thread = threading.Thread(target=look)
    thread.start()
    monkeypatch.setattr("raybrain.ownership.write_json", write)
    with record.own("after", busy=pytest.fail):
        thread.join()
    assert [owner.purpose for owner in seen if owner] == ["after"]


def test_owning_ends_with_its_process(record: RunRecord) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(record.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout and holder.stdout.readline() == "mine\n"
    holder.kill()
    holder.wait()
    began = time.monotonic()
    with record.own("train", busy=lambda line: pytest.fail(line)):
        assert time.monotonic() - began < 5


def test_who_is_busy_may_be_refused(tmp_path: Path) -> None:
    def refuse(line: str) -> None:
        raise ValueError(line)

    one, two = (owned(tmp_path, purpose, refuse) for purpose in ("one", "two"))
    with one, pytest.raises(ValueError, match=r"process \d+ on .* \(one, since .*\) works on"), two:
        pytest.fail("it is owned")
    with owned(tmp_path, "two", refuse):
        pass
