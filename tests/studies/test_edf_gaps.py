"""An EDF+D file says when each of its records was recorded: signal and annotations are put there, and gaps are marked."""

from collections.abc import Sequence
from pathlib import Path

import mne
import numpy as np
import pytest

from raybrain.config import InputError
from raybrain.signal.bad_stretches import BadStretch, bad_stretches
from raybrain.studies.bids.bids_signal import read_signal_file
from raybrain.studies.readers.edf_gaps import read_records

RATE = 100


def write_edf(
    file: Path,
    starts: Sequence[float | None],
    kind: str = "EDF+D",
    labels: Sequence[str] = ("Cz", "EDF Annotations"),
    marks: Sequence[bytes] = (),
) -> Path:
    """Records of a second, whose values are the number of the record, with the time of each in the signal of annotations."""
    width = 3 if file.suffix == ".bdf" else 2
    bits = 8 * width - 1
    fields = [(8, "0"), (80, "X X X X"), (80, "Startdate X X X X"), (8, "01.01.20"), (8, "00.00.00"), (8, "768"), (44, kind)]
    fields += [(8, str(len(starts))), (8, "1"), (4, "2")]
    fields += [(16, label) for label in labels] + [(80, "")] * 2 + [(8, "uV")] * 2 + [(8, str(-(2**bits)))] * 2
    fields += [(8, str(2**bits - 1))] * 2 + [(8, str(-(2**bits)))] * 2 + [(8, str(2**bits - 1))] * 2
    fields += [(80, "")] * 2 + [(8, str(RATE)), (8, "60")] + [(32, "")] * 2
    content = "".join(text.ljust(length) for length, text in fields).encode()
    assert len(content) == 768
    for number, start in enumerate(starts):
        content += number.to_bytes(width, "little") * RATE
        time = b"" if start is None else f"+{start:g}\x14\x14\x00".encode()
        content += (time + b"".join(marks if number == 0 else ())).ljust(60 * width, b"\x00")
    file.write_bytes(content)
    return file


# starts of records, gaps, the number of the record at some seconds
CASES: dict[str, tuple[Sequence[float], list[tuple[float, float]], dict[float, float]]] = {
    "one gap": ([0, 1, 2, 10, 11], [(3, 10)], {2.5: 2, 10: 3, 11.5: 4}),
    "two gaps": ([0, 5, 6, 9.5], [(1, 5), (7, 9.5)], {0.5: 0, 5.5: 1, 9.5: 3}),
    "half a second": ([0, 1.5, 2.5], [(1, 1.5)], {1.5: 1, 3: 2}),
    "a file that starts later": ([3, 4, 5, 8], [(3, 5)], {0: 0, 2.5: 2, 5: 3}),
    "after each record": ([0, 2, 4, 6], [(1, 2), (3, 4), (5, 6)], {2: 1, 4.5: 2, 6.5: 3}),
    "less than a sample": ([0, 1.004, 2.004], [(1, 1.004)], {1.5: 1, 2.5: 2}),
    "none": ([0, 1, 2], [], {1.5: 1}),
}


@pytest.mark.parametrize("ending", ["edf", "bdf"])
@pytest.mark.parametrize("case", CASES)
def test_records_are_where_they_were_recorded(case: str, ending: str, tmp_path: Path) -> None:
    starts, gaps, values = CASES[case]
    labels = ("Cz", f"{ending.upper()} Annotations")
    raw, _ = read_signal_file(write_edf(tmp_path / f"a.{ending}", starts, f"{ending.upper()}+D", labels), [])
    assert raw.n_times == round((starts[-1] - starts[0] + 1) * RATE)
    np.testing.assert_allclose([raw[0, round(at * RATE)][0].item() * 1e6 for at in values], list(values.values()), atol=1e-6)
    assert bad_stretches(raw) == [BadStretch(*map(pytest.approx, gap), "BAD_ACQ_SKIP") for gap in gaps]


def test_annotations_are_where_they_were_made(tmp_path: Path) -> None:
    marks = (b"+13.5\x15\x32\x14BAD_noise\x14\x00", "+14\x14schön\x14auch\x14\x00".encode())
    raw, _ = read_signal_file(write_edf(tmp_path / "a.edf", [3, 4, 13, 14, 15], marks=marks), [])
    made = {(mark["onset"] - raw.first_time, mark["duration"], mark["description"]) for mark in raw.annotations}
    assert made == {(2.0, 8.0, "BAD_ACQ_SKIP"), (10.5, 2.0, "BAD_noise"), (11.0, 0.0, "schön"), (11.0, 0.0, "auch")}


def test_a_gap_is_a_straight_line(tmp_path: Path) -> None:
    raw, _ = read_signal_file(write_edf(tmp_path / "a.edf", [0, 1, 4]), [])
    steps = np.diff(raw.get_data()[0, 199:401])
    np.testing.assert_allclose(steps, 1e-6 / 201, rtol=1e-6)


REFUSED = {
    "an hour": ([0, 1, 9000], "nothing was recorded from 2.0 to 9000.0 s; split it into one file per piece"),
    "back in time": ([0, 1, 0.5], "record 3 starts at 0.5 s, before the one of 1 s ends"),
    "a record without time": ([0, None, 2], "record 2 does not say when it starts"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_placed_is_refused(case: str, tmp_path: Path) -> None:
    starts, expected = REFUSED[case]
    file = write_edf(tmp_path / "a.edf", starts)
    with pytest.raises(InputError) as refused:
        read_signal_file(file, [])
    assert expected in str(refused.value)
    assert str(file) in str(refused.value)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    assert read_records(write_edf(tmp_path / "whole.edf", [0, 1, 5], "EDF+C")) is None
    assert read_records(write_edf(tmp_path / "other.edf", [0, 1, 5], labels=("Cz", "Pz"))) is None
    assert read_records(tmp_path / "there is none.edf") is None
    assert read_records(Path("a.vhdr")) is None
    assert isinstance(read_signal_file(write_edf(tmp_path / "a.edf", [0, 1]), [])[0], mne.io.BaseRaw)
