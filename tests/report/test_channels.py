"""How channels of the brain are shown: a line for each study, and maps where it is known where sensors are."""

import numpy as np
import pandas as pd
import pytest

from raybrain.report.terminal import channel_lines
from raybrain.report.topography import channel_topographies, head_picture

ROWS = pd.DataFrame(
    {
        "study": ["a"] * 5 + ["b"],
        "channel": ["Fz", "Cz", "Pz", "Oz", "HEOG", "E1"],
        "x": [0.5, 0.5, 0.5, 0.5, np.nan, np.nan],
        "y": [0.9, 0.5, 0.3, 0.1, np.nan, np.nan],
        "subjects": 2,
        "correlation": [0.1, 0.3, 0.2, -0.1, 0.0, 0.4],
        "ridge": [0.2, 0.2, 0.2, 0.2, 0.2, 0.1],
        "ceiling": [0.5, 0.5, 0.5, 0.5, 0.5, np.nan],
        "unique_mel": [0.05, 0.05, 0.05, 0.05, 0.05, 0.0],
    }
)


def test_a_line_says_what_channels_reach_beside_ridge_regression_and_others() -> None:
    first, second = channel_lines(ROWS)
    assert "mean correlation 0.100, ridge regression 0.200, the mean of the other people 0.500; best Cz with 0.300" in first
    assert first.endswith("mel alone adds 0.050 (a, 5 channels)")
    assert "nobody else heard the same; best E1 with 0.400" in second
    assert channel_lines(pd.DataFrame()) == []


def test_maps_show_sensors_at_known_places() -> None:
    maps = channel_topographies(ROWS)
    assert [(one.study, len(one.strength)) for one in maps] == [("a", 4)] * 3, "nobody knows where those of b are"
    assert maps[0].strength.tolist() == pytest.approx([0.1, 0.3, 0.2, 0.0]), "less than nothing is shown as nothing"
    assert maps[0].strongest == ("Cz", "Pz", "Fz")
    np.testing.assert_allclose(maps[0].positions, [[0, 0.5], [0, 0], [0, -0.25], [0, -0.5]])
    assert maps[2].what == "what mel alone adds"
    assert head_picture(maps[0]).get_axes()
