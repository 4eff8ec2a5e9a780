"""The benchmarks run, small."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPO


@pytest.mark.slow
def test_bench_train_ends_in_a_table() -> None:
    command = [sys.executable, str(REPO / "scripts" / "bench_train"), "--quick", "--steps", "1", "--turns", "1"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "waiting for data" in done.stdout
    assert "plain" in done.stdout


@pytest.mark.parametrize(
    "name",
    ["bench_train", "bench_tune", "bench_sweep", "bench_evaluate", "bench_prepare", "bench_cleaning", "chaos", "chaos_nodes"],
)
def test_help(name: str) -> None:
    done = subprocess.run([sys.executable, str(REPO / "scripts" / name), "--help"], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


def test_bench_evaluate_ranks_as_a_plain_loop_does() -> None:
    command = [sys.executable, str(REPO / "scripts" / "bench_evaluate"), "--quick"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "600 estimates x 50 candidates of 16 x 40" in done.stdout and "share of peak" in done.stdout


def test_bench_sweep_ends_in_a_table() -> None:
    command = [sys.executable, str(REPO / "scripts" / "bench_sweep"), "--quick"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "driver of a sweep in sqlite: tpe, asha, 3 epochs, 4 at once" in done.stdout
    assert "the last 10 trials took" in done.stdout


@pytest.mark.slow
def test_bench_prepare_ends_in_a_table() -> None:
    command = [sys.executable, str(REPO / "scripts" / "bench_prepare"), "--quick"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 x 1 min, 8 channels, 250 Hz" in done.stdout
    assert "times as fast as torch" in done.stdout and "read back at" in done.stdout


@pytest.mark.parametrize(
    ("name", "argument", "said"),
    [
        ("bench_tune", "quickstat", "'quickstat' is no setting; type"),
        ("bench_evaluate", "--estimates=9", "type --estimates 1300 or more"),
        ("bench_sweep", "--at-once=0", "at least 1 trial of 1 epoch, 1 at once"),
        ("bench_sweep", "--sampler=tpee", "no sampler called 'tpee', did you mean 'tpe'"),
        ("bench_prepare", "--minutes=0", "at least 1 recording of 1 minute"),
        ("bench_prepare", "--folder=nowhere", "no folder nowhere; make it first"),
        ("chaos_nodes", "--faults=kil", "no fault called 'kil', did you mean 'kill'"),
        ("chaos_nodes", "--commands=,", "--commands '': at least one"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(name: str, argument: str, said: str) -> None:
    command = [sys.executable, str(REPO / "scripts" / name), argument]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{name}: ") and said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kinds", "kil"], "no kind of fault called 'kil', did you mean 'kill'"),
        (["--faults", "0"], "at least one of each"),
        (["--kinds", ","], "at least one of each"),
        (["--folder", str(REPO)], "is not empty; name another folder"),
    ],
)
def test_chaos_refuses_in_one_line(arguments: list[str], said: str) -> None:
    command = [sys.executable, str(REPO / "scripts" / "chaos"), *arguments]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("chaos: ") and said in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_chaos_injects_faults_and_finds_the_same_tables(tmp_path: Path) -> None:
    command = [sys.executable, str(REPO / "scripts" / "chaos"), "--faults", "1", "--kinds", "kill"]
    command += ["--commands", "prepare,train"]  # sweeps and reports take minutes more
    done = subprocess.run([*command, "--folder", str(tmp_path / "x")], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 faults, 0 times something was lost" in done.stdout and "nothing was lost" in done.stdout
