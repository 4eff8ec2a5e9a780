"""Signal that is computed when it is read is the same however it is read, and mne treats it like any other."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from raybrain.config import InputError
from raybrain.signal import chunked
from raybrain.signal.base import Context, Step
from raybrain.signal.chunked import Blocks, Forward, mapped
from raybrain.signal.pipeline import read_signal
from raybrain.signal.polyphase import resampled
from tests.signal.recordings import NAMES, changed, eeg


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "BLOCK_VALUES", 3000)


def long() -> Any:
    import mne

    return eeg(seconds=20.0).set_annotations(mne.Annotations(3.0, 1.0, "BAD_noise"))


def test_a_function_of_each_sample() -> None:
    raw = long()
    values = raw.get_data()
    double = mapped(raw, lambda some: 2 * some)
    np.testing.assert_array_equal(double.get_data(), 2 * values)
    assert (double.info["sfreq"], double.n_times, double.ch_names) == (250.0, 5000, NAMES)
    assert list(double.annotations.description) == ["BAD_noise"]
    two = mapped(raw, lambda some: some[:1] - some[1:], raw.copy().pick(["Cz"]).info, np.array([4, 2]))
    np.testing.assert_array_equal(two.get_data(), values[4:5] - values[2:3])
    assert two.ch_names == ["Cz"]
    np.testing.assert_array_equal(raw.get_data(), values)


def test_mne_treats_it_like_any_other(tmp_path: Any) -> None:
    import mne

    raw = mapped(long(), lambda some: some + 1)
    values = raw.get_data()
    np.testing.assert_array_equal(raw.copy().pick(["C3", "Fz"]).get_data(), values[[3, 2]])
    np.testing.assert_array_equal(raw.copy().crop(1.0, 2.0).get_data(), values[:, 250:501])
    loaded = raw.copy().load_data()
    loaded._data[:] = 0
    np.testing.assert_array_equal(raw.get_data(), values)
    referenced = mne.set_eeg_reference(raw.copy().load_data(), projection=True, verbose="error")[0].apply_proj()
    projected = raw.copy().add_proj(referenced.info["projs"]).apply_proj()
    np.testing.assert_allclose(projected.get_data(), referenced.get_data(), atol=1e-12)
    raw.save(tmp_path / "some_raw.fif", fmt="double", verbose="error")
    np.testing.assert_array_equal(mne.io.read_raw_fif(tmp_path / "some_raw.fif", verbose="error").get_data(), values)


def test_each_value_is_the_same_however_it_is_read() -> None:
    """Bit for bit, and a step before it is read once for each sample, wherever blocks end."""
    source, asked = long(), []

    def noted(values: np.ndarray) -> np.ndarray:
        asked.append(values.shape[1])
        return values

    forward = resampled(mapped(source, noted), 120.0)
    whole = forward.get_data()
    assert sum(asked) < 1.2 * source.n_times
    again = resampled(source, 120.0)
    for start in np.random.default_rng(0).permutation(np.arange(0, again.n_times, 77)):
        np.testing.assert_array_equal(again[:, start : start + 77][0], whole[:, start : start + 77])


@pytest.mark.parametrize("length", [3, 40])
def test_it_goes_on_past_its_ends_as_mne_pads(length: int) -> None:
    from mne.cuda import _smart_pad

    values = np.random.default_rng(0).standard_normal((2, length))
    raw = changed(eeg(["Cz", "Fz"]), values)
    padded = np.array([_smart_pad(channel, (25, 25)) for channel in values])
    forward = Forward(raw, dtype=np.float64)
    for start, stop in ((-25, -3), (-6, 2), (-2, length + 4), (length + 1, length + 25)):
        taken = forward.take(start, stop) + forward.offset
        np.testing.assert_allclose(taken, padded[:, start + 25 : stop + 25], atol=1e-12)


def test_a_step_in_chunks_gets_a_recording_that_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Step, "_kinds", dict(Step.kinds()))
    loaded = []

    class Sees(Step, name="sees"):
        def apply(self, raw: Any, fitted: Any, context: Context) -> Any:
            loaded.append(bool(raw.preload))
            return raw

    class SeesChunks(Sees, name="sees_chunks"):
        in_chunks = True

    raw = long()
    resample = Step.parse("resample")
    plain = read_signal(raw, (resample,), Context(120.0))
    signal = read_signal(raw, (SeesChunks(), resample, Sees(), SeesChunks()), Context(120.0))
    assert loaded == [False, True, True]
    np.testing.assert_array_equal(signal.values, plain.values)
    pieces = list(signal.pieces(700))
    assert [len(piece) for piece in pieces] == [700, 700, 700, 300]
    np.testing.assert_array_equal(np.concatenate(pieces), signal.values.astype(np.float32))


def test_a_gap_far_inside_is_met_when_it_is_read() -> None:
    raw = long()
    raw._data[3, 4000] = np.nan
    raw._data[5, 4900] = np.inf
    signal = read_signal(raw, (Step.parse("resample"),), Context(120.0))
    pieces = signal.pieces(100)
    next(pieces)
    with pytest.raises(InputError, match="not numbers in channels C3, C4; mark them bad"):
        list(pieces)
    raw.info["bads"] = ["C3", "C4"]
    assert np.isfinite(read_signal(raw, (Step.parse("resample"),), Context(120.0)).values).all()


class Noise(Blocks):
    """A recording that is nowhere whole."""

    def compute(self, start: int, stop: int) -> np.ndarray:
        return np.random.default_rng(start).standard_normal((self.channels, stop - start))


def test_memory_does_not_grow_with_the_recording() -> None:
    def peak(samples: int) -> int:
        short = eeg()
        raw = chunked.chunked(Noise(short, len(NAMES), samples, 5000), short.info)
        steps = (Step.parse("highpass:1"), Step.parse("resample"))
        tracemalloc.start()
        try:
            assert sum(map(len, read_signal(raw, steps, Context(120.0)).pieces(1200))) == round(samples * 120 / 250)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1000)  # what is loaded once
    long = 400_000
    assert peak(long) < 1.1 * peak(50_000) < long * len(NAMES) * 8 / 3
