"""What each step does."""

import numpy as np
import pytest

from raybrain.config import InputError
from raybrain.signal.base import Context, SignalConfig, Step
from raybrain.signal.pipeline import read_signal
from raybrain.signal.repair import Autoreject
from raybrain.signal.window import SegmentConfig
from tests.signal.recordings import NAMES, changed, eeg

CONTEXT = Context(120.0)


def drawn(names: list[str], count: int) -> list[str]:
    raw = eeg(names)
    return list(Step.parse(f"sensors:{count}").apply(raw, None, CONTEXT).ch_names)


def test_the_same_sensors_are_drawn_whatever_else_is_recorded() -> None:
    """Another recording without one of them keeps the others."""
    four = drawn(NAMES, 4)
    assert len(four) == 4
    assert four == [name for name in NAMES if name in four]
    fewer = [name for name in NAMES if name != four[0]]
    assert len(set(drawn(fewer, 4)) & set(four)) == 3
    with pytest.raises(InputError, match="step sensors is to draw 11, but there are 10; type sensors:10 or less"):
        drawn(NAMES, 11)


def test_highpass_takes_off_what_is_slow_and_no_more() -> None:
    times = np.arange(250 * 60) / 250
    slow, quick = np.sin(2 * np.pi * 1 * times), np.sin(2 * np.pi * 10 * times)
    raw = changed(eeg(["Cz"]), (slow + quick)[None])
    result = Step.parse("highpass:4").apply(raw, None, CONTEXT).get_data()[0]
    inside = slice(250 * 10, -250 * 10)
    np.testing.assert_allclose(result[inside], quick[inside], atol=0.01)


def test_resample_keeps_what_the_rate_can_hold() -> None:
    times = np.arange(250 * 20) / 250
    raw = changed(eeg(["Cz"]), (np.sin(2 * np.pi * 10 * times) + np.sin(2 * np.pi * 90 * times))[None])
    result = Step.parse("resample").apply(raw.copy(), None, CONTEXT)
    assert (result.info["sfreq"], result.n_times) == (120.0, 2400)
    inside, later = slice(360, -360), np.arange(2400) / 120
    np.testing.assert_allclose(result.get_data()[0, inside], np.sin(2 * np.pi * 10 * later)[inside], atol=0.02)
    assert Step.parse("resample").apply(raw, None, Context(250.0)) is raw


def test_autoreject_interpolates_a_bad_stretch_and_little_else() -> None:
    raw = eeg(seconds=40.0).resample(120, verbose="error")
    length, bad = 120, slice(360, 480)
    noise = np.random.default_rng(1).standard_normal((1, raw.n_times))
    clean = noise * 1e-5 + 0.1 * raw.get_data()  # sensors agree
    values = clean.copy()
    values[3, bad] += np.where(np.arange(length) % 2, 1e-3, -1e-3)
    raw = changed(raw, values)
    raw.info["bads"] = ["Fp1"]
    segments = SegmentConfig(tmin_s=0, tmax_s=119 / 120)
    context = Context(120.0, 12, segments, lambda rate_hz, samples: np.arange(0, 4000, 60))
    assert context.window(raw).samples == length
    step = Autoreject()
    fitted = step.fit(raw, context)
    np.testing.assert_array_equal(raw.get_data(), values)
    result = step.apply(raw.copy(), fitted, context).get_data()
    assert np.abs(result[3, bad] - clean[3, bad]).max() < 5e-5 < np.abs(values[3, bad] - clean[3, bad]).max()
    assert (result == values).mean() > 0.8
    assert (result[0] == values[0]).all(), "a channel marked bad is left alone"
    few = Context(120.0, 12, segments, lambda rate_hz, samples: np.arange(5))
    with pytest.raises(InputError, match="needs 10 train windows and 4 channels of known position, found 5 and 9; type"):
        step.fit(raw, few)


@pytest.mark.parametrize("typed", ["resample,autoreject", "autoreject,resample"])
def test_autoreject_works_at_the_rate_it_finds(typed: str) -> None:
    """Before resampling it takes the same seconds of more samples."""
    raw, noise = eeg(seconds=40.0), np.random.default_rng(1).standard_normal((1, 10_000))
    values = noise * 1e-5 + 0.1 * raw.get_data()
    bad, peak = slice(1000, 1250), 1e-3 * np.sin(2 * np.pi * 20 * np.arange(250) / 250)
    asked: list[tuple[float, int]] = []

    def train_starts(rate_hz: float, samples: int) -> np.ndarray:
        asked.append((rate_hz, samples))
        return np.arange(0, samples - round(rate_hz), round(rate_hz / 2))

    context = Context(125.0, 12, SegmentConfig(tmin_s=0, tmax_s=0.992), train_starts)
    config = SignalConfig(rate_hz=125.0, steps=tuple(map(Step.parse, typed.split(","))))
    raw = changed(raw, values)
    clean = read_signal(raw, (Step.parse("resample"),), context).values
    raw[3, bad] = raw[3, bad][0] + peak
    result = read_signal(raw, config.steps, context).values
    assert asked == [(250.0, 10_000) if typed.startswith("autoreject") else (125.0, 5000)]
    assert np.abs(result[510:615, 3] - clean[510:615, 3]).max() < 1e-4
