"""A command does not wait for a Ray that has died."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import REPO

WAITS = """
import sys, time
from pathlib import Path
import ray
from raybrain.cli import main
from raybrain.cli.common import app
from raybrain.cluster import Cluster, ray_session

@app.command()
def wait(home: str) -> None:
    with ray_session(Cluster(home=Path(home))):
        @ray.remote(resources={"nobody has": 1})
        class Pending:
            def answer(self): ...
        print("waits", flush=True)
        while True:  # as Tune does with trials
            try:
                ray.get(Pending.remote().answer.remote())
            except ray.exceptions.RayError:
                time.sleep(1)

sys.argv = ["raybrain", "wait", sys.argv[1]]
main()
"""


@pytest.mark.slow
def test_what_waits_for_a_ray_that_was_killed_ends_in_one_line(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", WAITS, str(tmp_path)]
    with subprocess.Popen(command, text=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
        assert waiting.stdout is not None
        assert "waits" in waiting.stdout.readline()
        time.sleep(1)
        (raylet,) = [one for one in psutil.Process(waiting.pid).children() if one.name() == "raylet"]
        raylet.kill()
        try:
            _, said = waiting.communicate(timeout=180)
        finally:
            waiting.kill()
    assert waiting.returncode == 2, said
    assert said.splitlines()[-1].startswith("raybrain: Ray has died on this machine")
    assert said.splitlines()[-1].endswith("the same command goes on where it was")
