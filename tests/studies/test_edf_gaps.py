"""An EDF+D file says when each of its records was recorded; time that is left out is told, and not read as if it were not."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from raybrain.config import InputError
from raybrain.studies.readers.edf_gaps import record_starts, refuse_gaps


def write_edf(
    file: Path, starts: Sequence[float], kind: str = "EDF+D", labels: Sequence[str] = ("Cz", "EDF Annotations")
) -> Path:
    """Records of a second at 100 Hz, and the time of each in the signal of annotations."""
    width = 3 if file.suffix == ".bdf" else 2
    fields = [(8, "0"), (80, "X X X X"), (80, "Startdate X X X X"), (8, "01.01.20"), (8, "00.00.00"), (8, "768"), (44, kind)]
    fields += [(8, str(len(starts))), (8, "1"), (4, "2")]
    fields += [(16, label) for label in labels] + [(80, "")] * 2 + [(8, "uV")] * 2 + [(8, "-100")] * 2 + [(8, "100")] * 2
    fields += [(8, "-32768")] * 2 + [(8, "32767")] * 2 + [(80, "")] * 2 + [(8, "100"), (8, "30")] + [(32, "")] * 2
    content = "".join(text.ljust(length) for length, text in fields).encode()
    assert len(content) == 768
    for start in starts:
        signal = np.arange(100 * width, dtype=np.uint8).tobytes()
        content += signal + f"+{start:g}\x14\x14\x00".encode().ljust(30 * width, b"\x00")
    file.write_bytes(content)
    return file


GAPS = {
    "one gap": ([0, 1, 2, 10, 11], "1 gaps of 7.0 s in all, the first of 7.0 s at 3.0 s"),
    "two gaps": ([0, 5, 6, 9.5], "2 gaps of 6.5 s in all, the first of 4.0 s at 1.0 s"),
    "a gap of half a second": ([0, 1.5, 2.5], "1 gaps of 0.5 s in all, the first of 0.5 s at 1.0 s"),
    "a file that starts later": ([3, 4, 5, 8], "1 gaps of 2.0 s in all, the first of 2.0 s at 3.0 s"),
    "a gap behind each record": ([0, 2, 4, 6], "3 gaps of 3.0 s in all"),
}


@pytest.mark.parametrize("ending", ["edf", "bdf"])
@pytest.mark.parametrize("case", GAPS)
def test_gaps_are_told(case: str, ending: str, tmp_path: Path) -> None:
    starts, expected = GAPS[case]
    file = write_edf(tmp_path / f"a.{ending}", starts, "BDF+D" if ending == "bdf" else "EDF+D")
    assert record_starts(file) == (starts, 1.0)
    with pytest.raises(InputError) as refused:
        refuse_gaps(file)
    assert expected in str(refused.value)
    assert str(file) in str(refused.value)


def test_what_has_no_gap_is_read(tmp_path: Path) -> None:
    refuse_gaps(write_edf(tmp_path / "none.edf", [0, 1, 2, 3]))
    refuse_gaps(write_edf(tmp_path / "whole.edf", [0, 1, 5], "EDF+C"))
    refuse_gaps(write_edf(tmp_path / "other.edf", [0, 1, 5], labels=("Cz", "Pz")))
    refuse_gaps(tmp_path / "there is none.edf")
    refuse_gaps(Path("a.vhdr"))
