"""A kind of one's own is one file outside the package: all kinds at once, from a command to the table of a sweep."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raybrain.config import InputError
from raybrain.losses.base import Loss
from tests.conftest import REPO, TINY

FILES = {
    "my_study": '''
from raybrain.studies.base import Facts
from raybrain.studies.synthetic import Synthetic

class Mine(Synthetic, name="my_study"):
    """A study whose brain is turned upside down."""
    facts = Facts(licence="mine", language="en", device="MEG")

    def raw(self, root, recording):
        return super().raw(root, recording).load_data().apply_function(lambda channel: -channel)
''',
    "my_step": '''
from raybrain.signal.base import Step

class Gain(Step, name="my_step", shorthand="factor"):
    """Every value times a number."""
    factor: float = 2.0

    def apply(self, raw, fitted, context):
        return raw.apply_function(lambda channel: self.factor * channel)
''',
    "my_feature": '''
from raybrain.features.base import Feature

class Place(Feature, name="my_feature"):
    """How many words of the sentence were said before."""
    def extract(self, stimulus):
        frames = self.frames(stimulus)
        for word in stimulus.words:
            frames[self.span(word, len(frames))] = word.word_index
        return frames
''',
    "my_encoder": '''
import torch
from raybrain.encoders.base import Encoder

class Linear(Encoder, name="my_encoder"):
    """One matrix for everybody, over some samples."""
    samples: int = 9

    def build(self, shapes):
        return Net(self, shapes)

class Net(torch.nn.Module):
    def __init__(self, config, shapes):
        super().__init__()
        self.map = torch.nn.Conv1d(shapes.channels, shapes.features, config.samples, padding=config.samples // 2)

    def forward(self, batch):
        return self.map(batch.signal)
''',
    "my_loss": '''
from raybrain.losses.base import Loss, LossModule

class Cosine(Loss, name="my_loss"):
    """One less the cosine between estimate and truth."""
    def build(self, shapes):
        return Module()

class Module(LossModule):
    def forward(self, estimates, candidates, targets, group=None):
        rows, truth = estimates.flatten(1), candidates[targets].flatten(1)
        return 1 - (rows * truth).sum(dim=1) / (1e-8 + rows.norm(dim=1) * truth.norm(dim=1))
''',
    "my_task": '''
from raybrain.tasks.decode import Decode

class Backwards(Decode, name="my_task"):
    """Speech that is played backwards."""
    def aimed(self, data, rows):
        return super().aimed(data, rows).flip(-1)
''',
    "my_scheduler": '''
from raybrain.tune.schedulers.base import Scheduler

class Second(Scheduler, name="my_scheduler"):
    """Stops every trial but the recipe after its first epoch."""
    def pruner(self, epochs):
        from optuna.pruners import ThresholdPruner
        return ThresholdPruner(upper=-1.0)
''',
    "my_sampler": '''
from raybrain.tune.samplers.base import Sampler

class Mine(Sampler, name="my_sampler"):
    """Random, with a seed of its own."""
    def sampler(self, space, trials):
        from optuna.samplers import RandomSampler
        return RandomSampler(seed=7 + trials)
''',
}
SPACE = '''"""Do kinds of one's own work together?"""
from optuna.distributions import CategoricalDistribution
from raybrain.tune.space import SearchSpace

SPACE = SearchSpace(
    recipe="quickstart",
    parameters={"encoder.samples": CategoricalDistribution([9, 3, 5])},
    fixed={
        "data.studies": "my_study",
        "data.studies.my_study.subjects": 2,
        "data.studies.my_study.minutes": 2,
        "data.studies.my_study.channels": 16,
        "data.studies.my_study.rate_hz": 125,
        "data.signal.steps": "my_step:3,resample",
        "data.features": "mel:20,my_feature",
        "encoder": "my_encoder",
        "loss": "my_loss",
        "task": "my_task",
        "train.batch_size": 16,
        "train.contrast_size": 16,
        "train.epochs": 2,
    },
    metric="valid_loss",
    trials=2,
    sampler="my_sampler",
    scheduler="my_scheduler",
)
'''


def ended(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, in ``folder``."""
    import ray

    path = os.pathsep.join([str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", "from raybrain.cli import main; main()", *words, "--home", str(folder / "home")]
    if ray.is_initialized():
        command += ["--address", ray.get_runtime_context().gcs_address]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path} | environment, cwd=folder, text=True, capture_output=True, check=False
    )


def write(folder: Path) -> str:
    """Write all plug-ins; what names them."""
    for name, source in FILES.items():
        (folder / f"{name}.py").write_text(f'"""{name}."""\n{source}')
    return os.pathsep.join(f"{name}.py" for name in FILES)


@pytest.mark.slow
def test_every_family_has_kinds_outside_the_package(ray_cluster: None, tmp_path: Path) -> None:
    plugins = write(tmp_path)
    (tmp_path / "space.py").write_text(SPACE)
    done = ended(tmp_path, "tune", "space.py", "--json", RAYBRAIN_PLUGINS=plugins)
    assert done.returncode == 0, done.stderr + done.stdout
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert len(result["sweep"]["trials"]) == 2
    states = {trial["trial"]: trial["state"] for trial in result["sweep"]["trials"]}
    assert states == {0: "finished", 1: "stopped early"}
    assert result["test"][0]["candidates"] > 1
    assert len(result["history"]) == 2
    assert all(recording.startswith("synthetic") for recording in result["recordings"])


def test_a_second_kind_of_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(FILES["my_encoder"].replace('"my_encoder"', '"simple_conv"'))
    words = ("show", "quickstart", "encoder=simple_conv", *TINY)
    command = [sys.executable, "-c", "from raybrain.cli import main; main()", *words, "--home", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "RAYBRAIN_PLUGINS": str(tmp_path / "other.py")}
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("raybrain: ")]
    assert len(lines) == 1
    assert "other.py" in lines[0] and "simple_conv.py" in lines[0]


def test_a_kind_that_lacks_what_its_family_needs_is_refused_where_it_is_written() -> None:
    with pytest.raises(InputError, match=r"the loss 'half_written' in .*test_plugins.py lacks build; write def build"):

        class HalfWritten(Loss, name="half_written"):
            """Nothing to train with."""

    assert "half_written" not in Loss.kinds()


@pytest.mark.parametrize(
    ("name", "source", "line"),
    [
        ("half.py", "class Half(:\n", r"the plug-in .*half\.py: SyntaxError: invalid syntax \(half\.py, line 1\)"),
        (
            "needs.py",
            "import not_installed_anywhere\n",
            r"needs\.py: ModuleNotFoundError: No module named",
        ),
        ("ends.py", "raise SystemExit(7)\n", r"ends\.py: SystemExit: 7"),
        ("notes.txt", "", r"no plug-in .*notes\.txt; \$RAYBRAIN_PLUGINS names Python files"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named(
    name: str, source: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text(source)
    monkeypatch.setenv("RAYBRAIN_PLUGINS", str(tmp_path / name))
    monkeypatch.setattr(sys, "path", [*sys.path])
    for _ in range(2):  # it is said again when a kind is looked up again
        with pytest.raises(InputError, match=line):
            Loss.kinds()
