"""The database of a sweep."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from raybrain.tune.study import STORAGE
from tests.conftest import Ended

Raybrain = Callable[..., Ended]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "postgresql+psycopg://someone:secret@127.0.0.1:9/optuna",
            r"(Connection refused|needs a driver .*pip install 'psycopg\[binary\]')",
        ),
        ("nonsense", r"cannot open the database that \$RAYBRAIN_OPTUNA_STORAGE names \(Could not parse"),
        ("sqlite:////nowhere/at/all.db", r"unable to open database file.*; type an address like"),
        ("mysql+mysqldb://someone@127.0.0.1/optuna", r"needs a driver that is not installed \(No module named 'MySQLdb'\)"),
    ],
)
def test_a_database_that_cannot_be_opened(
    address: str, said: str, raybrain: Raybrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STORAGE, address)
    ended = raybrain("tune", "quickstart", "--home", str(tmp_path))
    assert ended.code == 2
    lines = [line for line in ended.err.splitlines() if line.startswith("raybrain: ")]
    assert len(lines) == 1 and re.search(said, lines[0])
    assert "secret" not in ended.err and not (tmp_path / "stores").exists()
