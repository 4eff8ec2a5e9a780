"""A training that dies is begun again as often as ``failures`` says, whatever kind of trial it is."""

import json
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.sweeps import runs
from tests.test_plugins import ended

MORTAL = '''
import os
import signal
from pathlib import Path

import torch.distributed as dist
from raybrain.losses.base import Loss, RegressionLoss
from torch.nn import functional as F


class Module(RegressionLoss):
    """Kills its process in the first step of the first few tries."""

    def __init__(self, settings):
        super().__init__(F.mse_loss)
        self.settings = settings

    def forward(self, estimates, candidates, targets, group=None):
        first = not dist.is_initialized() or dist.get_rank() == 0
        for number in range(self.settings.kills * (self.training and first)):
            try:
                (Path(self.settings.folder) / f"{self.settings.kills}-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(estimates, candidates, targets)


class Mortal(Loss, name="mortal"):
    """One that a process dies of."""
    folder: str = ""
    kills: int = 0

    def build(self, shapes):
        return Module(self)
'''
SPACE = """
from optuna.distributions import CategoricalDistribution
from raybrain.tune.space import SearchSpace

SPACE = SearchSpace(
    "quickstart", {"loss.kills": CategoricalDistribution([1, 2])}, fixed={"loss": "mortal"}, sampler="grid", scheduler="none"
)
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_crashes_count_the_same_for_trials_of_one_worker_and_of_several(
    workers: int, ray_cluster: None, tmp_path: Path
) -> None:
    for name, text in (("mortal", MORTAL), ("space", SPACE)):
        (tmp_path / f"{name}.py").write_text(text)
    words = ["tune", "space.py", *TINY, "train.epochs=1", f"loss.folder={tmp_path}", "--workers", str(workers)]
    limits = ["--max-concurrent", "1", "--cluster", "failures=1", "--json"]
    done = ended(tmp_path, *words, *limits, RAYBRAIN_PLUGINS="mortal.py")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert {trial["params"]["loss.kills"]: trial["state"] for trial in result["sweep"]["trials"]} == {
        1: "finished",
        2: "failed",
    }
    assert sorted(path.name for path in tmp_path.glob("?-?")) == ["1-0", "2-0", "2-1"]
    children = [run for run in runs(result["tracking_uri"]).values() if "mlflow.parentRunId" in run.data.tags]
    assert {run.data.params["loss.kills"]: run.info.status for run in children} == {"1": "FINISHED", "2": "FAILED"}
