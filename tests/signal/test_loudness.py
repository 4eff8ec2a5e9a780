"""How strong channels are: the power line, flat and loud channels, whatever lies beside."""

import numpy as np
import pytest

from raybrain.signal.loudness import evenly, loudness, spectral_density
from tests.signal.recordings import changed, eeg


@pytest.mark.parametrize("line_hz", [50.0, 60.0])
def test_the_power_line_is_seen_and_told_from_the_other(line_hz: float) -> None:
    raw = eeg(seconds=30)
    quiet = loudness(raw)
    hum = 3e-6 * np.sin(2 * np.pi * line_hz * raw.times)
    loud = loudness(changed(raw, raw.get_data() + hum))
    assert loud.line_hz() == line_hz
    # 4.5e-12 V2 in two half-hertz bins of a Hann window, on noise of 1e-10 V2 over 125 Hz: 7.7 dB and the noise itself
    assert loud.line_db(line_hz) == pytest.approx(10 * np.log10(1 + 4.5e-12 / (0.5 * 1.5) / (1e-10 / 125)), abs=1.5)
    assert abs(quiet.line_db(line_hz)) < 2.5
    assert np.isnan(quiet.line_db(124.0)), "too near the end to be compared"


def test_flat_and_loud_channels_are_named_and_marked_ones_left_out() -> None:
    raw = eeg(seconds=20)
    values = raw.get_data()
    values[1], values[2], values[3] = 1e-3, 8 * values[2], np.nan
    raw = changed(raw, values)
    raw.info["bads"] = [raw.ch_names[3]]
    found = loudness(raw)
    assert found.odd_channels() == {raw.ch_names[1]: "flat", raw.ch_names[2]: "much louder than the others"}
    assert found.good.tolist() == [True, True, True, False] + [True] * 6
    assert found.spread[4:] == pytest.approx(1e-5, rel=0.05)
    assert np.median(found.quartiles("eeg")[1]) == pytest.approx(1e-5 / np.sqrt(125), rel=0.1)


def test_stretches_are_spread_evenly() -> None:
    assert evenly(3, 12).tolist() == [0, 1, 2]
    assert evenly(100, 4).tolist() == [0, 33, 66, 99]


@pytest.mark.parametrize(("samples", "length"), [(1000, 200), (1000, 333), (400, 400), (90, 90)])
def test_spectral_density_is_that_of_scipy(samples: int, length: int) -> None:
    from scipy.signal import welch

    values = 1e-13 * (np.random.default_rng(0).standard_normal((3, samples)) + 5)
    hz, power = spectral_density(values, 120.0, length)
    expected_hz, expected = welch(values, 120.0, nperseg=length)
    np.testing.assert_allclose(hz, expected_hz)
    np.testing.assert_allclose(power, expected, rtol=1e-9, atol=1e-12 * expected.max())
