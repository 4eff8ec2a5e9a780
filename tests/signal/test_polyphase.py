"""Resampling: when things happen, what passes and what does not, by any ratio of rates."""

from datetime import UTC, datetime

import numpy as np
import pytest

from raybrain.signal.polyphase import resampled

RATES = (1000.0, 1000.3, 512.0, 500.0, 250.0, 2034.5)


def recording(values: np.ndarray, rate_hz: float):  # type: ignore[no-untyped-def]
    import mne

    return mne.io.RawArray(values, mne.create_info(len(values), rate_hz, "eeg", verbose="error"), verbose="error")


@pytest.mark.parametrize("rate_hz", RATES)
def test_nothing_drifts_within_an_hour(rate_hz: float) -> None:
    """A pulse of one sample every 7 s or so lies where it was to 1/500 of a sample of the result."""
    values = np.zeros((1, round(3600 * rate_hz)))
    planted = np.arange(round(rate_hz), values.shape[1] - round(rate_hz), round(7.013 * rate_hz))
    values[0, planted] = 1.0
    result = resampled(recording(values, rate_hz), 120.0).get_data()[0]
    assert len(result) == 3600 * 120
    places = planted / rate_hz * 120.0
    for place in places[:: 50 if rate_hz > 1500 else 10]:
        around = np.arange(int(place) - 60, int(place) + 60)
        assert abs(around[result[around].argmax()] - place) <= 0.5 + 1e-6
        fine = np.linspace(-0.6, 0.6, 1201) + place
        curve = np.sinc(fine[:, None] - around) @ result[around]
        assert abs(fine[curve.argmax()] - place) < 2e-3


@pytest.mark.parametrize("rate_hz", [*RATES, 100.0, 119.0])
def test_what_passes_is_flat_and_what_cannot_be_held_is_gone(rate_hz: float) -> None:
    half = min(rate_hz, 120.0) / 2
    passed = np.linspace(0.02, 0.9, 12) * half
    stopped = np.concatenate([np.linspace(1.003, 1.5, 12), [2.7, 4.3, 8.0]]) * half
    stopped = stopped[stopped < 0.98 * rate_hz / 2]
    times, later = np.arange(round(30 * rate_hz)) / rate_hz, np.arange(3600)[500:-500] / 120.0
    values = np.sin(2 * np.pi * np.concatenate([passed, stopped])[:, None] * times)
    result = resampled(recording(values, rate_hz), 120.0).get_data()[:, 500:-500]
    exact = np.sin(2 * np.pi * passed[:, None] * later)
    np.testing.assert_allclose(result[: len(passed)], exact, atol=2e-3)  # 0.017 dB
    assert 20 * np.log10(np.sqrt(2) * result[len(passed) :].std(axis=1)).max(initial=-100) < -60


def test_it_is_mnes_where_that_keeps_everything() -> None:
    """Without padding: to a power of two, as it does by itself, mne stretches time by up to half a sample."""
    noise = np.random.default_rng(0).standard_normal((3, 60_000))
    raw = recording(noise, 1000.0).filter(None, 45.0, h_trans_bandwidth=5.0, verbose="error")
    result, expected = resampled(raw, 120.0).get_data(), raw.copy().resample(120.0, npad=0, verbose="error").get_data()
    assert np.abs(result - expected)[:, 300:-300].max() < 1e-3 * np.abs(expected).max()


def test_a_constant_stays_what_it_is_and_costs_no_precision() -> None:
    times = np.arange(20_000) / 1000.3
    small = 1e-6 * np.sin(2 * np.pi * 7 * times)
    result = resampled(recording(np.array([small, small + 5.0, small * 0 - 3.0]), 1000.3), 120.0).get_data()
    np.testing.assert_allclose(result[1] - 5.0, result[0], atol=1e-6 * 1e-6)
    assert (result[2] == -3.0).all()


@pytest.mark.parametrize("samples", [1, 2, 7, 100])
def test_recordings_shorter_than_the_filter(samples: int) -> None:
    result = resampled(recording(np.linspace(1, 2, samples)[None], 1000.0), 120.0)
    assert result.n_times == max(1, round(samples * 0.12))
    assert np.isfinite(result.get_data()).all()


@pytest.mark.parametrize("dated", [False, True])
def test_time_counts_from_the_same_moment(dated: bool) -> None:
    import mne

    raw = recording(np.random.default_rng(0).standard_normal((1, 10_000)), 1000.0)
    late = mne.io.RawArray(raw.get_data(), raw.info, first_samp=2500, verbose="error")
    if dated:
        late.set_meas_date(datetime(2020, 1, 1, tzinfo=UTC))
    late.set_annotations(mne.Annotations(3.0, 0.5, "BAD"))
    result = resampled(late, 120.0)
    assert (result.first_samp, result.info["lowpass"]) == (300, 60.0)
    assert result.annotations.onset == pytest.approx(late.annotations.onset)
    np.testing.assert_array_equal(result.get_data(), resampled(raw, 120.0).get_data())
