"""Filters block by block are those of mne on the whole recording."""

import mne
import numpy as np
import pytest

from raybrain.signal.base import Context, Step
from raybrain.signal.convolve import filtered
from tests.signal.recordings import changed, eeg

CASES = {
    "high-pass, longer than a block": (0.1, None, 100.0),
    "band-pass": (1.0, 40.0, 60.0),
    "low-pass": (None, 30.0, 60.0),
    "longer than the recording": (0.5, None, 3.0),
}


def noise(seconds: float) -> mne.io.BaseRaw:
    values = np.random.default_rng(0).standard_normal((2, int(250 * seconds)))
    return changed(eeg(["Cz", "Fz"]), values + np.array([[100.0], [-3.0]]))


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-6), (np.float32, 1e-4)])
@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_it_is_mnes(case: str, skips: bool, dtype: type, bound: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raybrain.signal.convolve.SHORTEST", 1000)
    monkeypatch.setattr("raybrain.signal.chunked.BLOCK_VALUES", 800)  # a block lies in one stretch or two
    low, high, seconds = CASES[case]
    raw = noise(seconds)
    if skips:
        onsets, durations = [0.3 * seconds, 0.5 * seconds, 0.8 * seconds], [0.1 * seconds, 0.0, 0.01]
        raw.set_annotations(mne.Annotations(onsets, durations, ["BAD_ACQ_SKIP", "EDGE boundary", "BAD_noise"]))
    expected = raw.copy().filter(low, high, verbose="error").get_data()
    taps = mne.filter.create_filter(None, 250.0, low, high, verbose="error")
    result = filtered(raw, taps, dtype=dtype).get_data()
    assert np.abs(result - expected).max() < bound * np.abs(expected - expected[:, :1]).max()


def test_highpass_is_mnes() -> None:
    raw = noise(60.0)
    result = Step.parse("highpass:0.5").apply(raw, None, Context(250.0))
    expected = raw.copy().filter(0.5, None, verbose="error")
    assert result.info["highpass"] == expected.info["highpass"]
    np.testing.assert_allclose(result.get_data(), expected.get_data(), atol=1e-5)
