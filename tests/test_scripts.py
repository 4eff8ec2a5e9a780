"""The benchmarks run, small."""

import subprocess
import sys

import pytest

from tests.conftest import REPO


@pytest.mark.slow
def test_bench_train_ends_in_a_table() -> None:
    command = [sys.executable, str(REPO / "scripts" / "bench_train"), "--quick", "--steps", "1", "--turns", "1"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "waiting for data" in done.stdout
    assert "plain" in done.stdout


@pytest.mark.parametrize("name", ["bench_train", "bench_tune", "bench_ridge"])
def test_help(name: str) -> None:
    done = subprocess.run([sys.executable, str(REPO / "scripts" / name), "--help"], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


@pytest.mark.parametrize(
    ("name", "said"), [("bench_tune", "'quickstat' is no setting; type"), ("bench_ridge", "'quickstat', did you mean")]
)
def test_bad_input_is_one_line_and_exit_code_2(name: str, said: str) -> None:
    command = [sys.executable, str(REPO / "scripts" / name), "quickstat"]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{name}: ") and said in done.stderr
    assert done.stderr.count("\n") == 1
