"""Where things run: the folders of Ray's sessions belong to living processes, whichever container they are in."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raybrain.cluster import Cluster, ray_session, sessions
from raybrain.config import InputError
from tests.conftest import REPO

HOLD = """
import sys
from raybrain.cluster import session_folder
with session_folder() as folder:
    (folder / "sockets").mkdir()
    print(folder, flush=True)
    sys.stdin.readline()
"""
Held = tuple["subprocess.Popen[str]", Path]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder that several processes share, and no Ray of their own."""
    import ray

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr("signal.signal", lambda *arguments: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path


@pytest.fixture
def two(shared: Path) -> Iterator[list[Held]]:
    """Two processes that hold a session each; in a namespace of their own if that is allowed here, where both are number 2."""
    own = ["unshare", "--pid", "--fork", "--kill-child"]
    try:
        allowed = subprocess.run([*own, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    command = [*(own if allowed else []), sys.executable, "-c", HOLD]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "TMPDIR": str(shared)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=environment, **pipes) for _ in range(2)]
    yield [(process, Path(process.stdout.readline().strip())) for process in processes if process.stdout]
    for process in processes:
        process.kill()
        process.communicate()


def test_a_session_is_removed_when_its_process_is_gone_and_not_before(
    two: list[Held], shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    (one, first), (_, second) = two
    (shared / "rb-unknown").mkdir()
    assert sessions() == {first: True, second: True, shared / "rb-unknown": True}
    one.kill()
    assert one.stdout and not one.stdout.read()  # until what it started is gone too, which must not end well for want of input
    assert sessions()[first] is False and sessions()[second] is True
    given: list[Path] = []
    monkeypatch.setattr(ray, "init", lambda address, **options: given.append(Path(options["_temp_dir"])))
    with ray_session(Cluster(home=shared / "home")):
        assert set(sessions()) == {second, shared / "rb-unknown", *given} and sessions()[given[0]]
        assert (second / "sockets").is_dir()
    assert set(sessions()) == {second, shared / "rb-unknown"}


def test_a_session_that_cannot_begin_leaves_nothing(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def refuse(address: str, **options: Any) -> None:
        raise Exception("no memory\nthe last lines of a log")  # what Ray raises where one of its processes ends

    monkeypatch.setattr(ray, "init", refuse)
    refusal = r"Ray did not start on this machine \(no memory\); run the same command again, with less beside it"
    with pytest.raises(InputError, match=refusal), ray_session(Cluster(home=shared / "home")):
        pass
    assert not list(shared.glob("*rb-*"))
