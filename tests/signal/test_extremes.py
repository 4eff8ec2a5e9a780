"""Windows that go too far are found as the signal passes by, in pieces of any length."""

import numpy as np
import pytest

from raybrain.signal.extremes import Extremes
from raybrain.signal.window import Scaler, baselined, stretches


@pytest.mark.parametrize("piece", [1, 7, 50, 1000])
@pytest.mark.parametrize("baseline", [0, 5])
def test_as_if_all_windows_were_cut(piece: int, baseline: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((400, 3)).astype(np.float32) * [1, 10, 100] + [0, 50, 1000]
    values[123, 1] += 200.0
    values[220:240, 0] -= 30.0  # a step is none where it lies in the baseline
    values[300, 2] += 1e6  # marked bad
    starts, scaler = np.arange(0, 380, 9), Scaler(np.array([0.0, 1.0, 2.0]), np.array([1.0, 10.0, 100.0]))
    extremes = Extremes(starts, 20, baseline, 3)
    for first in range(0, 400, piece):
        extremes.pass_by(first, values[first : first + piece].astype(np.float32))
    windows = baselined(stretches(values.astype(np.float32).astype(float), starts, 20), baseline)
    farthest = (np.abs(windows - scaler.centre) / scaler.scale)[..., :2].max(axis=(1, 2))
    for limit in (3.0, 8.0, 25.0):
        found = extremes.beyond(limit, scaler, np.array([True, True, False]))
        assert found.tolist() == (farthest > limit).tolist()
    assert 0 < found.sum() < len(starts)
