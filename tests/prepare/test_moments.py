"""How a feature is scaled does not depend on who adds up its frames."""

from pathlib import Path

import numpy as np
import pytest

from raybrain.config import InputError
from raybrain.events import Word
from raybrain.features.base import Stimulus
from raybrain.features.mel import Mel
from raybrain.prepare import moments
from raybrain.prepare.moments import frame_statistics
from raybrain.store import Frames


@pytest.mark.slow
def test_tasks_give_the_statistics_of_one_process_to_the_last_bit(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, feature, frames = np.random.default_rng(0), Mel(rate_hz=100.0, bands=3), Frames(tmp_path)
    train = {}
    for number in range(12):
        key, length = f"{number:02d}", int(rng.integers(100, 400))
        frames.write(key, (1e3 * rng.standard_normal((length, 3)) + 7).astype(np.float32))
        train[key] = Stimulus(duration=length / 100, words=(Word(start=0.2, duration=0.5, word="a"),))
    alone = frame_statistics(feature, frames, train)
    monkeypatch.setattr(moments, "MANY_BYTES", 0)
    monkeypatch.setattr(moments, "TASK_BYTES", 10_000)
    shared = frame_statistics(feature, frames, train)
    assert [values.tolist() for values in shared] == [values.tolist() for values in alone]
    frames.path("07").unlink()
    with pytest.raises(InputError, match=r"07\.parquet is missing; run the same command again"):
        frame_statistics(feature, frames, train)
