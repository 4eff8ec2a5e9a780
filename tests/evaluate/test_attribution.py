"""What stands first in place of the truth: each kind of error by hand, and how many candidates are of that kind."""

import numpy as np
import pandas as pd
import pytest

from raybrain.evaluate import attribution
from raybrain.evaluate.attribution import COUNTED, KINDS, Columns, attributed, kind_counts, kinds_of

#             0    1    2    3    4    5
STIMULI = [0, 0, 0, 0, 1, 1]
SECONDS = [0.0, 1.0, 4.0, 9.0, 0.0, 20.0]
SENTENCES = [0, 0, 0, 1, 2, 0]  # the last sentence is said in another sound, too
CANDIDATES: Columns = {
    name: np.array(values)
    for name, values in (("number", list(range(6))), ("stimulus", STIMULI), ("second", SECONDS), ("sentence", SENTENCES))
}
EXPECTED = ["right", "overlapping", "same sentence", "same sound", "other", "same sentence"]  # beside the first candidate


def named(numbers: np.ndarray) -> list[str]:
    return [list(KINDS)[number] for number in numbers]


def test_every_kind() -> None:
    truth = {name: values[:1] for name, values in CANDIDATES.items()}
    assert named(kinds_of(truth, CANDIDATES, length_s=3.0)) == EXPECTED
    assert named(kinds_of(CANDIDATES, truth, length_s=3.0)) == EXPECTED, "it goes both ways"
    assert named(kinds_of(CANDIDATES, CANDIDATES, length_s=3.0)) == ["right"] * 6
    assert named(kinds_of(truth, CANDIDATES, length_s=1.0))[1] == "same sentence", "windows that only touch do not overlap"


@pytest.mark.parametrize("cells", [1, 13, 2**22])
def test_candidates_of_each_kind_are_counted(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution, "CELLS", cells)
    counts = kind_counts(CANDIDATES, length_s=3.0)
    assert counts.sum(axis=1).tolist() == [6] * 6
    assert dict(zip(KINDS, counts[0].tolist(), strict=True)) == {name: EXPECTED.count(name) for name in KINDS}


def test_errors_beside_guesses_that_know_nothing() -> None:
    counts = kind_counts(CANDIDATES, length_s=3.0)[[0, 0, 0, 4]]
    ranks = pd.DataFrame({"study": "s", "kind": ["right", "overlapping", "overlapping", "other"], "candidates": 6})
    for kind in COUNTED:
        ranks[kind] = counts[:, list(KINDS).index(kind)]
    found = pd.DataFrame(attributed(ranks)).set_index("kind")
    assert found["share"].to_dict() == {"right": 0.25, "overlapping": 0.5, "same sentence": 0, "same sound": 0, "other": 0.25}
    assert found["of_errors"]["overlapping"] == pytest.approx(2 / 3) and found["of_errors"]["right"] == 0
    assert found["blind"]["right"] == pytest.approx(1 / 6)
    assert found["blind"]["overlapping"] == pytest.approx(3 / 4 * 1 / 6)
    assert found["blind"].sum() == pytest.approx(1) == found["share"].sum()
