"""Shared by the tests of studies: a small BIDS dataset that a test may bend."""

import shutil
from pathlib import Path

import pytest

from tests.studies.bent import write_dataset


@pytest.fixture(scope="session")
def whole_talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("whole") / "talk")


@pytest.fixture
def talk(whole_talk: Path, tmp_path: Path) -> Path:
    """Two subjects, of which a case may bend the first."""
    return Path(shutil.copytree(whole_talk, tmp_path / "talk"))
