"""The lag between a course of time and signal, beside chance."""

import numpy as np
import pytest

from raybrain.signal.lagged import Alignment, LaggedPairs

RATE = 100.0


def aligned(course: np.ndarray, signal: np.ndarray, piece: int = 1000) -> Alignment | None:
    pairs = LaggedPairs(course, RATE, signal.shape[1], piece)
    for first in range(0, len(signal), piece):
        pairs.pass_by(first, signal[first : first + piece])
    return pairs.alignment(np.ones(signal.shape[1], dtype=bool))


def speech(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Noise that comes and goes a few times a second."""
    smooth = np.convolve(rng.standard_normal(round(seconds * RATE)), np.hanning(12), "same")
    return np.abs(smooth)


@pytest.mark.parametrize("lag_s", [-0.3, 0.0, 0.08, 0.65])
def test_a_planted_lag_is_the_highest(lag_s: float) -> None:
    rng = np.random.default_rng(0)
    course = speech(rng, 60)
    signal = 300 + rng.standard_normal((len(course), 6))  # a constant offset, as of EEG amplifiers
    signal[:, :2] += 0.4 * np.roll(course, round(lag_s * RATE))[:, None] / course.std()
    signal[:, 5] = 7.0
    found = aligned(course, signal)
    assert found is not None
    assert found.peak_s == pytest.approx(lag_s, abs=0.011)
    assert found.peak > found.limit > found.high and found.deviations > 5
    assert found.channels[:2].min() > 3 * np.abs(found.channels[2:5]).max()
    assert np.isnan(found.channels[5]), "a flat channel follows nothing"
    assert found.lags_s[[0, -1]].tolist() == [-0.5, 1.0]


def test_noise_is_above_chance_as_rarely_as_it_should_be() -> None:
    rng = np.random.default_rng(1)
    above = 0
    for _ in range(40):
        course = speech(rng, 60)
        found = aligned(course, rng.standard_normal((len(course), 4)))
        assert found is not None
        above += found.peak > found.limit
    assert above <= 7  # of 40, with a probability of 5 to 10 % each, as 19 others are not many


def test_what_is_too_short_or_flat_is_not_judged() -> None:
    rng = np.random.default_rng(2)
    assert aligned(speech(rng, 10), rng.standard_normal((1000, 2))) is None
    assert aligned(speech(rng, 60), np.ones((6000, 2))) is None
    assert aligned(np.zeros(6000), rng.standard_normal((6000, 2))) is None
