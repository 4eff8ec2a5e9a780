"""What annotations take out of use: no window holds a sample of it, and the seconds are told."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from raybrain.config import InputError
from raybrain.prepare.segments import without_bad
from raybrain.signal.bad_stretches import FLAT, BadStretch, bad_seconds, bad_stretches, described
from raybrain.signal.base import Context
from raybrain.signal.pipeline import read_signal
from raybrain.signal.window import SegmentConfig
from raybrain.store import SEGMENTS

HZ = 100.0


def recording(seconds: float = 60.0, first_samp: int = 0, dated: bool = False) -> Any:
    import mne

    names = ["Fz", "Cz", "Pz", "Oz", "C3", "C4"]
    info = mne.create_info(names, HZ, "eeg", verbose="error")
    info.set_montage("standard_1020", verbose="error")
    values = np.random.default_rng(0).normal(0, 1e-5, (6, int(seconds * HZ)))
    raw = mne.io.RawArray(values, info, first_samp=first_samp, verbose="error")
    if dated:
        raw.set_meas_date(datetime(2020, 1, 1, tzinfo=UTC))
    return raw


CASES: dict[str, tuple[tuple[float, float, str], list[BadStretch]]] = {
    "noise": ((10.0, 5.0, "BAD_noise"), [BadStretch(10.0, 15.0, "BAD_noise")]),
    "in small letters": ((10.0, 5.0, "bad blink"), [BadStretch(10.0, 15.0, "bad blink")]),
    "a skip": ((10.0, 5.0, "BAD_ACQ_SKIP"), [BadStretch(10.0, 15.0, "BAD_ACQ_SKIP")]),
    "a seam of EEGLAB, with what was cut out there": ((10.0, 5.0, "boundary"), [BadStretch(10.0, 10.0, "boundary")]),
    "a seam of mne": ((10.0, 0.0, "EDGE boundary"), [BadStretch(10.0, 10.0, "EDGE boundary")]),
    "a pause of BrainVision": ((10.0, 0.01, "New Segment/"), [BadStretch(10.0, 10.0, "New Segment/")]),
    "something else": ((10.0, 5.0, "Stimulus/S 1"), []),
    "the first segment": ((0.0, 0.0, "New Segment/"), []),
}


@pytest.mark.parametrize("placed", [(0, False), (500, False), (500, True)])
@pytest.mark.parametrize("case", CASES)
def test_times_count_from_the_first_sample(case: str, placed: tuple[int, bool]) -> None:
    import mne

    (onset, duration, text), expected = CASES[case]
    raw = recording(60.0, *placed)
    raw.set_annotations(mne.Annotations(onset, duration, text))
    assert bad_stretches(raw) == expected


def test_what_overlaps_counts_once() -> None:
    stretches = [
        BadStretch(1.0, 5.0, "BAD_a"),
        BadStretch(2.0, 3.0, "BAD_b"),
        BadStretch(4.0, 7.0, "BAD_a"),
        BadStretch(9.0, 9.0, "boundary"),
    ]
    assert bad_seconds(stretches) == 6.0
    assert described(stretches) == "6.0 s are marked as BAD_a, BAD_b and 1 boundaries lie between pieces"
    stretches.append(BadStretch(20.0, 25.0, FLAT))
    assert described(stretches[2:]) == "3.0 s are marked as BAD_a, 5.0 s are flat and 1 boundaries lie between pieces"
    assert described(stretches[-1:]) == "5.0 s are flat"


@pytest.mark.parametrize("case", ["noise", "a seam of mne"])
def test_no_window_holds_any_of_it(case: str) -> None:
    import pyarrow as pa

    config = SegmentConfig(tmin_s=0.0, tmax_s=1.0)
    row = {"split": "train", "stimulus": "s", "stimulus_s": 0.0, "anchor": "grid", "sentence": "", "word_index": -1, "word": ""}
    every = pa.Table.from_pylist([row | {"start_sample": start} for start in range(800, 1700, 10)], schema=SEGMENTS)
    (stretch,) = CASES[case][1]
    kept = without_bad(every, [stretch], config, HZ)["start_sample"].to_pylist()
    before = [start for start in range(800, 1700, 10) if start + 100 < 100 * stretch.start]
    after = [start for start in range(800, 1700, 10) if start >= 100 * stretch.stop and start not in before]
    assert kept == [*before, *(after if case == "a seam of mne" else after[1:])]
    assert without_bad(every, [stretch], config.model_copy(update={"over_bad": True}), HZ) is every
    assert without_bad(every, [], config, HZ) is every


def test_a_channel_that_is_bad_may_hold_anything() -> None:
    raw = recording()
    raw._data[2, 7] = np.nan
    with pytest.raises(InputError, match=r"not numbers in channels Pz; mark them bad in channels\.tsv"):
        read_signal(raw, (), Context(HZ))
    raw.info["bads"] = ["Pz"]
    signal = read_signal(raw, (), Context(HZ))
    assert np.isfinite(signal.values).all()
    assert signal.valid.tolist() == [True, True, False, True, True, True]
    np.testing.assert_array_equal(np.delete(signal.values, 2, axis=1), np.delete(raw.get_data().T, 2, axis=1))


def test_a_flat_recording_is_refused() -> None:
    raw = recording()
    raw._data[:5] = 3.0
    read_signal(raw, (), Context(HZ))
    raw.info["bads"] = ["C4"]
    with pytest.raises(InputError, match="the signal is flat: none of 5 channels ever changes"):
        read_signal(raw, (), Context(HZ))
