"""How a stretch of signal becomes what an encoder sees, against numbers by hand."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from raybrain.data_config import DataConfig
from raybrain.signal.window import Scaler, SegmentConfig, Window, WindowConfig

RNG = np.random.default_rng(0)


def test_the_paper_sees_343_of_361_samples() -> None:
    window = DataConfig().window.read_with(WindowConfig())
    assert window == Window(120.0, -0.5, samples=361, baseline_samples=61, offset_samples=18, clamp=20.0)
    assert window.times == 343
    assert Window(**asdict(window)) == window, "plain values say it all"
    assert Window.of(SegmentConfig(tmin_s=0.2, tmax_s=1, baseline=False), 100.0) == Window(100.0, 0.2, 81, 0)


def test_cut_by_hand() -> None:
    """Two windows of three samples of 0, 1, 4, 9, ... and of its negative."""
    squares = torch.arange(8.0)[:, None] ** 2 * torch.tensor([1.0, -1.0])
    centre = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    starts = torch.tensor([1, 4])
    window = Window(1.0, -1.0, samples=3, baseline_samples=2)
    assert window.cut(squares, starts, centre).tolist() == [
        [[-1.5, 1.5, 6.5], [1.5, -1.5, -6.5]],  # 1, 4, 9 less 2.5
        [[-5.5, 3.5, 14.5], [4.5, -4.5, -15.5]],  # 16, 25, 36 less 20.5, and less the centre
    ]
    late = replace(window, offset_samples=1, clamp=5.0)
    assert late.times == 2
    assert late.cut(squares, starts, centre).tolist() == [[[1.5, 5.0], [-1.5, -5.0]], [[3.5, 5.0], [-4.5, -5.0]]]
    plain = replace(window, baseline_samples=0)
    assert plain.cut(squares, starts[:1], centre[:1]).tolist() == [[[1.0, 4.0, 9.0], [-1.0, -4.0, -9.0]]]


def test_a_window_hangs_on_nothing_but_its_own_samples() -> None:
    """Bit for bit, whichever windows are cut with it: a model sees alone what it was trained on in a batch."""
    signal = torch.from_numpy(RNG.standard_normal((3000, 7)).astype(np.float32))
    window = Window.of(SegmentConfig(), 120.0).read_with(WindowConfig())
    starts, centre = torch.arange(0, 2500, 61), torch.from_numpy(RNG.standard_normal((41, 7)).astype(np.float32))
    together = window.cut(signal, starts, centre)
    assert together.shape == (41, 7, 343)
    for row in (0, 17, 40):
        start = int(starts[row])
        alone = window.cut(signal[start : start + 361].clone(), torch.tensor([0]), centre[row : row + 1])
        assert torch.equal(alone[0], together[row])


def test_scaler_by_hand() -> None:
    windows = np.stack([np.arange(5.0), np.full(5, 7.0)], axis=1)[None]
    scaler = Scaler.of(windows, 0)
    assert (scaler.centre.tolist(), scaler.scale.tolist()) == ([2.0, 7.0], [2.0, 1.0])
    scaler = Scaler.of(windows + np.array([100.0, 0.0]), 2)  # the mean of the first two samples is taken off
    assert (scaler.centre.tolist(), scaler.scale.tolist()) == ([1.5, 0.0], [2.0, 1.0])
    assert scaler.divided(np.array([[4.0, 4.0]])).tolist() == [[2.0, 4.0]]
    assert scaler.divided_centre.tolist() == [0.75, 0.0]
    assert scaler.divided(np.ones((1, 2))).dtype == scaler.divided_centre.dtype == np.float32


@pytest.mark.parametrize("seed", [1, 2])
def test_scaler_is_fitted_on_some_train_windows(seed: int) -> None:
    values = RNG.standard_normal((1000, 3))
    values[500:] += 100.0
    window = Window(100.0, 0.0, samples=11, baseline_samples=0)
    assert Scaler.fitted(values, np.arange(0, 450), window, seed).centre.max() < 1.0, "the rest of the signal plays no part"
    few = np.array([3, 40, 7])
    windows = np.stack([values[start : start + 11] for start in few])
    assert Scaler.fitted(values, few, window, seed).scale == pytest.approx(Scaler.of(windows, 0).scale)
    drawn = Scaler.fitted(values, np.arange(900), window, seed)
    assert drawn.scale.tolist() == Scaler.fitted(values, np.arange(900), window, seed).scale.tolist()
    assert drawn.scale.tolist() != Scaler.fitted(values, np.arange(900), window, seed + 2).scale.tolist()


def test_a_recording_without_train_windows_is_scaled_by_all_of_it() -> None:
    values = RNG.standard_normal((1000, 3)) * [1.0, 2.0, 3.0] + [0.0, 5.0, -5.0]
    window = Window(100.0, 0.0, samples=10, baseline_samples=0)
    scaler = Scaler.fitted(values, np.array([], dtype=int), window, seed=0)
    whole = np.percentile(values[:990], [25, 50, 75], axis=0)
    assert scaler.centre == pytest.approx(whole[1])
    assert scaler.scale == pytest.approx(whole[2] - whole[0])
    short = Scaler.fitted(values[:10], np.array([], dtype=int), window, seed=0)
    assert short.centre == pytest.approx(np.median(values[:10], axis=0))


def test_each_window_by_itself() -> None:
    """Centred and divided by its own deviation, after baseline and offset, before the limit; what is flat stays zero."""
    signal = torch.from_numpy(RNG.standard_normal((300, 4)).astype(np.float32)) * torch.tensor([1.0, 50.0, 0.0, 0.2])
    window = Window.of(SegmentConfig(), 20.0).read_with(WindowConfig(instance=True, clamp=2.0))
    cut = window.cut(signal, torch.tensor([0, 100]), torch.full((2, 4), 7.1))
    plain = replace(window, instance=False, clamp=None).cut(signal, torch.tensor([0, 100]), torch.zeros(2, 4))
    expected = ((plain - plain.mean(2, keepdim=True)) / plain.std(2, keepdim=True, correction=0)).clamp(-2.0, 2.0)
    assert torch.allclose(cut[:, [0, 1, 3]], expected[:, [0, 1, 3]], atol=1e-4) and not cut[:, 2].any()
    assert cut.shape[2] == window.times and float(cut.max()) == 2.0


def test_standard_scaling_is_mean_and_deviation_less_the_baseline() -> None:
    windows = (RNG.standard_normal((50, 30, 3)) * [1.0, 5.0, 0.0] + [0.0, 3.0, 9.0]).astype(np.float32)
    for baseline in (0, 6):
        less = windows - windows[:, :baseline].mean(axis=1, keepdims=True) if baseline else windows
        scaler = Scaler.of(windows, baseline, "standard")
        assert scaler.centre == pytest.approx(less.reshape(-1, 3).mean(axis=0), abs=1e-5)
        assert scaler.scale == pytest.approx([*less.reshape(-1, 3).std(axis=0)[:2], 1.0], rel=1e-5)
