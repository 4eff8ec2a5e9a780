"""A step in one file of the user's own: prepared, trained and tested by processes of their own; edited, all is made anew."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raybrain.store import Part, Store
from tests.conftest import REPO, TINY

STEP = '''
"""A step of mine."""
import numpy as np
from raybrain.signal.base import Step
from raybrain.signal.window import stretches

class Level(Step, name="level", shorthand="share"):
    """Take off some of the mean of the train windows."""
    share: float = 1.0

    def fit(self, raw, context):
        return stretches(raw.get_data().T, context.starts(raw), context.window(raw).samples).mean(axis=(0, 1))

    def apply(self, raw, fitted, context):
        for channel, mean in enumerate(fitted):
            raw.apply_function(lambda values: values - self.share * mean, picks=[channel])
        return raw
'''


def run(folder: Path, environment: dict[str, str], command: str, *words: str) -> dict[str, Any]:
    """What a raybrain command prints in a process of its own, which knows the plug-in."""
    import ray

    path = os.pathsep.join([str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])])
    address = ray.get_runtime_context().gcs_address
    words = (command, "quickstart", *TINY, *words, "--home", str(folder / "home"), "--address", address, "--json")
    done = subprocess.run(
        [sys.executable, "-c", "from raybrain.cli import main; main()", *words],
        env={**os.environ, "PYTHONPATH": path} | environment,
        cwd=folder,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def signals(result: dict[str, Any]) -> dict[str, tuple[Part, np.ndarray]]:
    """Each recording's part and signal [samples channels], at double precision."""
    store = Store(Path(result["store"]))
    parts = {uid: store.part(uid) for uid in result["recordings"]}
    return {uid: (part, np.concatenate(list(store.brain(uid))).astype(float)) for uid, part in parts.items() if part}


@pytest.mark.slow
def test_a_step_in_one_file(ray_cluster: None, tmp_path: Path) -> None:
    plugin, steps = tmp_path / "my_steps.py", "data.signal.steps=resample,level:0.5"
    plugin.write_text(STEP)
    mine = partial(run, tmp_path, {"RAYBRAIN_PLUGINS": str(plugin)})
    trained = mine("train", steps, "train.epochs=1")
    assert len(trained["history"]) == 1
    assert trained["test"][0]["study"] == "synthetic-meg"
    plain = signals(mine("prepare"))
    assert len(plain) == 2
    assert_levelled(trained, plain, 0.5)

    plugin.write_text(STEP.replace("self.share * mean", "self.share * 2 * mean"))
    edited = mine("prepare", steps)
    assert edited["store"] != trained["store"]
    assert_levelled(edited, plain, 1.0)
    plugin.write_text("# mine\n" + STEP)
    assert mine("prepare", steps)["store"] == trained["store"]


def assert_levelled(result: dict[str, Any], plain: dict[str, tuple[Part, np.ndarray]], share: float) -> None:
    """The signals are those of the plain recordings less a share of the mean of their train windows."""
    levelled, store = signals(result), Store(Path(result["store"]))
    assert levelled.keys() == plain.keys()
    for uid, (part, before) in plain.items():
        rows = store.segments(uid).to_pylist()
        windows = [before[row["start_sample"] :][:361] for row in rows if row["split"] == "train"]
        mean = np.mean(windows, axis=(0, 1))
        assert np.median(np.abs(mean / part.scale)) > 1e-3, "there is something to take off"
        np.testing.assert_allclose(levelled[uid][1] / part.scale, (before - share * mean) / part.scale, atol=1e-4)
