"""What a network calls eyes is taken off EEG, where the package with the network is there."""

import sys

import numpy as np
import pytest

from raybrain.config import InputError, override
from raybrain.signal.base import SignalConfig
from tests.signal.test_cleaning import brain, clean, electrodes, error, helmet, info, pulses, recording


@pytest.mark.slow
def test_blinks_are_taken_off() -> None:
    pytest.importorskip("mne_icalabel")
    places = info(dict.fromkeys(electrodes(), "eeg")).get_montage().get_positions()["ch_pos"]
    forward = np.array([places[name][1] for name in electrodes()])
    eyes = np.exp((forward - forward.max()) / 0.03)[:, None]
    truth = brain(21)
    dirty = recording(truth + 2e-4 * eyes * pulses(4.1, 0.1))
    result, average = clean(dirty, "icalabel"), truth - truth.mean(axis=0)
    assert error(result, average) < 0.05 < 0.5 < error(clean(dirty, "reference"), average)
    assert result.remarks[0].startswith("icalabel: of ") and "(eye 0." in result.remarks[0]


def test_what_it_needs_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="icalabel finds no 'eyes', did you mean 'eye'"):
        override(SignalConfig(), {"steps": "icalabel:eyes"})
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "mne_icalabel", None)
        with pytest.raises(InputError, match=r"icalabel needs a package: pip install 'raybrain\[icalabel\]'; or type ica"):
            clean(recording(brain(21)), "icalabel")


def test_it_is_for_eeg() -> None:
    pytest.importorskip("mne_icalabel")
    import mne

    made, _ = helmet(["mag"], [3022])
    raw = mne.io.RawArray(1e-13 * np.random.default_rng(0).standard_normal((102, 500)), made, verbose="error")
    with pytest.raises(InputError, match="icalabel is for EEG, and this recording is MEG; type ica"):
        clean(raw, "icalabel")
