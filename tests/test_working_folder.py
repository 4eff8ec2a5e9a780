"""What goes along with a job: sources, and no data, homes, environments or caches."""

from pathlib import Path

import pytest

from raybrain import working_folder as module
from raybrain.config import InputError
from raybrain.working_folder import working_folder

GOES = ["space.py", "plug ins/mine.py", "search_spaces/a.py", "README.md", "stores/notes.txt"]
STAYS = [
    *(".git/config", ".env", ".venv/bin/x.py", "env/pyvenv.cfg", "env/lib/x.py", "__pycache__/x.pyc"),
    *("bids/dataset_description.json", "bids/sub-01/x.txt", "home/mlflow.db", "home/x.json", "other/stores/x", "other/runs/x"),
    *("a.fif", "b [1].npy", "weights.pt"),
]


def write(folder: Path) -> None:
    for name in [*GOES, *STAYS]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def test_sources_go_along_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path)
    assert set(working_folder(tmp_path).files) == set(GOES)


def test_ray_uploads_the_same(tmp_path: Path) -> None:
    from ray._private.runtime_env.packaging import create_package

    write(tmp_path)
    folder = working_folder(tmp_path)
    target = tmp_path.parent / "package.zip"
    create_package(str(tmp_path), target, include_gitignore=True, excludes=folder.patterns)
    from zipfile import ZipFile

    assert {name for name in ZipFile(target).namelist() if not name.endswith("/")} == set(GOES)


def test_too_much_is_refused_before_it_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    (tmp_path / "large.txt").write_bytes(bytes(2_000_000))
    monkeypatch.setattr(module, "MOST_BYTES", 1e6)
    with pytest.raises(InputError, match=r"has 2 MB of files .*: large.txt \(2 MB\)"):
        working_folder(tmp_path)
