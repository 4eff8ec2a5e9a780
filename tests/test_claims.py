"""What a living process works with is known to others, and only as long as it lives."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from raybrain.claims import claim, claims_of_others
from tests.conftest import REPO

CLAIMS = """
import sys, pathlib
from raybrain.claims import claim
home = pathlib.Path(sys.argv[1])
for name in sys.argv[2:]:
    claim(home, [home / "stores" / name])
print("claimed", flush=True)
sys.stdin.read()
"""

LOOKS = """
import sys, pathlib
from raybrain.claims import claims_of_others
print(*claims_of_others(pathlib.Path(sys.argv[1])))
"""


def claiming(home: Path, *names: str) -> "subprocess.Popen[str]":
    """A process that claims stores until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIMS, str(home), *names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    assert process.stdout and process.stdout.readline() == "claimed\n"
    return process


@pytest.mark.parametrize("killed", [True, False])
def test_a_claim_lives_as_long_as_its_process(tmp_path: Path, killed: bool) -> None:
    process = claiming(tmp_path, "a", "b")
    assert set(claims_of_others(tmp_path)) == {tmp_path / "stores" / "a", tmp_path / "stores" / "b"}
    assert f"process {process.pid} on " in claims_of_others(tmp_path)[tmp_path / "stores" / "a"]
    if killed:
        process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert claims_of_others(tmp_path) == {}
    assert [path.name for path in (tmp_path / "claims").iterdir()] == ["guard.lock"]


def test_a_process_whose_claim_is_damaged_may_work_with_anything(tmp_path: Path) -> None:
    process = claiming(tmp_path, "a")
    for name in ("stores/a", "stores/b", "features/c"):
        (tmp_path / name).mkdir(parents=True)
    (file,) = (tmp_path / "claims").glob("*.json")
    file.write_text(file.read_text()[:30])
    assert set(claims_of_others(tmp_path)) == {tmp_path / name for name in ("stores/a", "stores/b", "features/c")}
    process.communicate(timeout=30)
    assert claims_of_others(tmp_path) == {}


def test_own_claims_are_not_those_of_others(tmp_path: Path) -> None:
    claim(tmp_path, [tmp_path / "stores" / "a"])
    claim(tmp_path, [tmp_path / "stores" / "b"])
    assert claims_of_others(tmp_path) == {}
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", LOOKS, str(tmp_path)]
    seen = subprocess.run(command, env=environment, text=True, capture_output=True, check=True)
    assert seen.stdout.split() == [str(tmp_path / "stores" / name) for name in "ab"]
