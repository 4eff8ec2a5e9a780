"""Which channels are brain signal, and where their sensors lie."""

import numpy as np
import pytest

from raybrain.config import InputError
from raybrain.signal.channels import brain_channels, sensor_places, sensor_positions, usable_channels
from tests.signal.recordings import NAMES, eeg


@pytest.mark.parametrize("nowhere", [[], ["other"], ["other", "another"]])
def test_sensor_positions(nowhere: list[str]) -> None:
    positions, known = sensor_positions(eeg([*NAMES, *nowhere]).info)
    assert known.tolist() == [True] * 10 + [False] * len(nowhere)
    assert positions.shape == (10 + len(nowhere), 2)
    assert positions[known].min(axis=0).tolist() == [0.0, 0.0]
    assert positions[known].max(axis=0).tolist() == [1.0, 1.0]
    assert len({tuple(place) for place in positions[known]}) == 10
    np.testing.assert_allclose(positions[known], sensor_positions(eeg().info)[0])
    x, y = (dict(zip(NAMES, column, strict=False)) for column in positions.T)
    assert x["C3"] < x["Cz"] < x["C4"]
    assert y["Oz"] < y["Pz"] < y["Cz"] < y["Fz"] < y["Fp1"]


def test_usable_channels() -> None:
    raw = eeg([*NAMES, "other"])
    raw.info["bads"] = ["Cz"]
    assert usable_channels(raw.info).tolist() == [name not in ("Cz", "other") for name in raw.ch_names]


def test_places_of_eeg_are_metres_in_head_coordinates() -> None:
    places = dict(zip([*NAMES, "other"], sensor_places(eeg([*NAMES, "other"]).info), strict=True))
    assert np.isnan(places.pop("other")).all()
    assert all(0.05 < np.linalg.norm(place) < 0.2 for place in places.values())
    assert places["C3"][0] < 0 < places["C4"][0], "x to the right"
    assert places["Oz"][1] < 0 < places["Fz"][1], "y to the front"
    assert places["Cz"][2] == max(place[2] for place in places.values())


def test_places_of_meg_go_with_the_head() -> None:
    """A head 2 cm lower in the helmet has the sensors 2 cm higher above it; one that nobody measured has them nowhere."""
    import mne

    info = mne.create_info(["M1", "M2"], 100.0, "mag")
    for number, channel in enumerate(info["chs"]):
        channel["loc"][:3] = [0.1 * number, 0.02, 0.05]
    low = np.eye(4)
    low[2, 3] = 0.02
    with info._unlock():
        info["dev_head_t"] = mne.transforms.Transform("meg", "head", low)
    np.testing.assert_allclose(sensor_places(info), [[0.0, 0.02, 0.07], [0.1, 0.02, 0.07]], atol=1e-6)
    with info._unlock():
        info["dev_head_t"] = None
    assert np.isnan(sensor_places(info)).all()


def test_meg_goes_before_eeg_and_one_must_be_there() -> None:
    raw = eeg()
    assert brain_channels(raw).tolist() == list(range(10))
    mixed = raw.copy().set_channel_types({"Cz": "mag", "Oz": "grad"}, on_unit_change="ignore", verbose="error")
    assert brain_channels(mixed).tolist() == [4, 9]
    with pytest.raises(InputError, match="no MEG or EEG channels among misc"):
        brain_channels(raw.set_channel_types(dict.fromkeys(NAMES, "misc"), on_unit_change="ignore", verbose="error"))
