"""Flat stretches that nobody marked: found in whatever order a recording is read, and nothing else with them."""

from typing import Any

import numpy as np
import pytest

from raybrain.signal import chunked
from raybrain.signal.bad_stretches import FLAT, BadStretch, beyond
from raybrain.signal.base import Context, Step
from raybrain.signal.flat_stretches import FlatStretches
from raybrain.signal.pipeline import read_signal
from tests.signal.recordings import changed, eeg

HZ = 100.0


def slow(values: np.ndarray) -> list[tuple[int, int]]:
    """Runs of 100 samples or more in which nine tenths of ten channels keep the value they begin with."""
    runs, at = list[tuple[int, int]](), 0
    while at < values.shape[1]:
        same = (values == values[:, at : at + 1]).mean(axis=0) >= 0.9
        stop = at + int(np.argmin(np.append(same[at:], False)))
        if stop - at >= 100:
            runs.append((at, stop))
        at = max(stop, at + 1)
    return runs


@pytest.mark.parametrize("length", [37, 100, 256, 1000, 5000])
def test_all_that_is_flat_is_found_in_blocks_of_any_length_and_order(length: int) -> None:
    rng = np.random.default_rng(length)
    values = rng.standard_normal((10, 5000))
    planted = [(0, 130), (500, 599), (1000, 1100), (1777, 2100), (3050, 3050 + 512), (4850, 5000)]
    for start, stop in planted:
        values[1:, start:stop] = rng.standard_normal((9, 1))  # one channel goes on
    values[0:2, 2500:2900] = 0.0  # two of ten alone are not the recording
    assert slow(values) == [planted[0], *planted[2:]]
    flat = FlatStretches(HZ, np.ones(10, dtype=bool))
    for start in rng.permutation(np.arange(0, 5000, length)):
        flat.pass_by(int(start), values[:, start : start + length])
    expected = [BadStretch(start / HZ, stop / HZ, FLAT) for start, stop in slow(values)]
    assert flat.stretches() == expected


def test_what_is_coarse_or_not_a_number_is_not_flat() -> None:
    """Values that are rounded stay the same from one sample to the next, but not for a second."""
    drift = np.round(np.linspace(0, 100, 3000))[None] + np.arange(10)[:, None]
    flat = FlatStretches(HZ, np.ones(10, dtype=bool))
    flat.pass_by(0, drift)
    assert flat.stretches() == []
    flat.pass_by(0, np.full((10, 3000), np.nan))
    assert flat.stretches() == []


@pytest.mark.parametrize("step", ["resample", "highpass,resample", "bad_channels:none,resample", "reference,resample"])
def test_a_pipeline_notes_it_whatever_its_steps(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "BLOCK_VALUES", 3000)
    raw = eeg(seconds=20)
    values = raw.get_data()
    values[:, 1000:2250] = 7e-6
    values[3] = np.linspace(0, 1e-5, values.shape[1])  # marked bad: it does not count
    raw = changed(raw, values)
    raw.info["bads"] = [raw.ch_names[3]]
    signal = read_signal(raw, [Step.parse(one) for one in step.split(",")], Context(120.0))
    assert read(signal) == [BadStretch(4.0, 9.0, FLAT)]


def read(signal: Any) -> list[BadStretch]:
    for _ in signal.pieces(1200):
        pass
    stretches: list[BadStretch] = signal.flat.stretches()
    return stretches


def test_what_is_marked_already_is_not_said_twice() -> None:
    flat = [BadStretch(1.0, 3.0, FLAT), BadStretch(5.0, 7.0, FLAT)]
    assert beyond(flat, [BadStretch(1.0, 3.5, "BAD_ACQ_SKIP"), BadStretch(6.0, 9.0, "BAD_x")]) == flat[1:]
