"""A study in a folder of the user's is known by what is in it, wherever it lies and whatever the folder is called."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from raybrain.config import InputError, override
from raybrain.experiment import Experiment
from raybrain.identity import locate
from raybrain.studies import dataset
from raybrain.studies.base import Facts, FolderStudy
from raybrain.studies.bids import Bids
from raybrain.studies.dataset import dataset_of, known_datasets, title
from tests.made_studies import FactsOnly


@pytest.fixture(autouse=True)
def look_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "TRUSTED", 0.0)


def folder(root: Path, name: str = "Cat stories, told twice", subjects: int = 2) -> Path:
    (root / "stimuli").mkdir(parents=True)
    (root / "dataset_description.json").write_text(json.dumps({"Name": name}))
    (root / "stimuli" / "cat.wav").write_bytes(bytes(100))
    for number in range(subjects):
        (root / f"sub-{number}" / "eeg").mkdir(parents=True)
        (root / f"sub-{number}" / "eeg" / "story_events.tsv").write_text("onset\tduration\n1\t2\n")
        (root / f"sub-{number}" / "eeg" / "story_eeg.edf").write_bytes(bytes(1000))
    return root


def asked(typed: object) -> Experiment:
    return override(Experiment(), {"data.studies": f'"bids:{typed}"'})


def test_a_copy_is_the_same_dataset(tmp_path: Path) -> None:
    here = folder(tmp_path / "here")
    name = dataset_of(here)
    assert name.startswith("cat-stories-told-twice-")
    shutil.copytree(here, tmp_path / "there", copy_function=shutil.copyfile)
    os.utime(tmp_path / "there" / "sub-0" / "eeg" / "story_events.tsv", (1, 1))
    assert dataset_of(tmp_path / "there") == name
    os.symlink(here, tmp_path / "link")
    assert dataset_of(tmp_path / "link") == name


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "sub-0" / "eeg" / "story_events.tsv").write_text("onset\tduration\n1\t3\n"),
        lambda root: (root / "sub-0" / "eeg" / "story_eeg.edf").write_bytes(bytes(1001)),
        lambda root: (root / "sub-0" / "eeg" / "story_eeg.edf").unlink(),
        lambda root: (root / "sub-1").rename(root / "sub-2"),
        lambda root: (root / "stimuli" / "dog.wav").write_bytes(b""),
    ],
    ids=["table", "size", "gone", "renamed", "added"],
)
def test_other_content_is_another_dataset(tmp_path: Path, change: object) -> None:
    root = folder(tmp_path / "data")
    before = dataset_of(root)
    assert callable(change)
    change(root)
    assert dataset_of(root) != before


def test_what_only_describes_a_dataset_does_not_count(tmp_path: Path) -> None:
    root = folder(tmp_path / "data")
    before = dataset_of(root)
    (root / "README.md").write_text("more")
    (root / "dataset_description.json").write_text(json.dumps({"Name": "Cat stories, told twice", "Authors": ["I"]}))
    for apart in ("derivatives", "code", ".git", "sub-0/.cache"):
        (root / apart).mkdir()
        (root / apart / "table.tsv").write_text("x")
    (root / ".hidden.tsv").write_text("x")
    (root / "gone.edf").symlink_to(tmp_path / "nowhere")
    (root / "sub-0" / "round").symlink_to(root)
    assert dataset_of(root) == before


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("Naturalistic speech, EEG (2024)", "naturalistic-speech-eeg"),
        ("Étude de l'écoute", "etude-de-l-ecoute"),
        ("a" * 40, "a" * 24),
        ("[Unspecified]", "some-folder"),
        ("听故事", "some-folder"),
    ],
)
def test_title(tmp_path: Path, name: str, called: str) -> None:
    root = tmp_path / "Some folder"
    assert title(folder(root, name)) == called
    (root / "dataset_description.json").write_text("not JSON")
    assert title(root) == "some-folder"


def test_a_thousand_recordings_take_about_a_second(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", subjects=0)
    for number in range(1000):
        inside = root / f"sub-{number:04}" / "eeg"
        inside.mkdir(parents=True)
        for name in ("eeg.json", "events.tsv", "channels.tsv", "coordsystem.json"):
            (inside / f"story_{name}").write_bytes(b"1234567890" * 200)
        for name in ("eeg.eeg", "eeg.vhdr", "eeg.vmrk"):
            (inside / f"story_{name}").write_bytes(b"")
    started = time.process_time()
    first = dataset_of(root)
    assert time.process_time() - started < 5.0
    started = time.process_time()
    assert dataset_of(root) == first
    assert time.process_time() - started < 2.0


# what is asked about a dataset


def test_the_place_of_a_dataset_is_no_part_of_the_question(tmp_path: Path) -> None:
    here, home = folder(tmp_path / "here"), tmp_path / "home"
    before = asked(here).signature
    moved = here.rename(tmp_path / "moved, and renamed")
    assert asked(moved).signature == before
    known = locate(asked(moved), home)
    assert known.signature == before
    assert known.data.brain_signature == asked(moved).data.brain_signature
    assert asked(folder(tmp_path / "other", subjects=3)).signature != before
    study = known.data.studies[0]
    assert isinstance(study, Bids)
    assert (study.path, study.dataset) == (str(moved), dataset_of(moved))
    assert known_datasets(home) == {study.dataset: str(moved)}


def test_a_dataset_is_found_where_it_was_last_seen(tmp_path: Path) -> None:
    here, home = folder(tmp_path / "here"), tmp_path / "home"
    known = locate(asked(here), home)
    name = dataset_of(here)
    typed = asked(name)
    assert typed.signature == known.signature
    assert locate(typed, home) == known
    there = Path(shutil.move(here, tmp_path / "there"))
    with pytest.raises(InputError, match=rf"^dataset '{name}' is not in {here} any more; type bids:PATH with its folder$"):
        locate(typed, home)
    with pytest.raises(InputError, match="any more"):
        locate(known, home)
    moved = locate(asked(there), home)
    assert locate(typed, home) == locate(known, home) == moved
    folder(here, subjects=5)
    assert locate(known, home) == moved, "here lies another dataset now"
    assert locate(override(known, {"data.studies.bids.path": str(here)}), home).signature != known.signature
    with pytest.raises(InputError, match=r"^no dataset 'cat-0123456789' was used in .*home\. Allowed: cat-.*; type"):
        locate(asked("cat-0123456789"), home)
    with pytest.raises(InputError, match=r"^no folder .*nowhere; type bids:PATH"):
        locate(asked(tmp_path / "nowhere"), home)


def test_a_look_is_trusted_only_until_it_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "TRUSTED", 1e9)
    here = folder(tmp_path / "here")
    before = asked(here).signature
    (here / "more.wav").write_bytes(b"")
    assert asked(here).signature == before, "to look at a large folder takes its time"
    assert locate(asked(here), tmp_path / "home").signature == asked(here).signature != before


def test_a_study_of_ones_own(tmp_path: Path) -> None:
    class Plays(FactsOnly, FolderStudy, name="plays_of_a_test", shorthand="path"):
        facts = Facts(licence="our own", language="en", device="EEG")

    (tmp_path / "plays").mkdir()
    (tmp_path / "plays" / "heard.csv").write_text("1,2,3")
    study = Plays.parse(f"plays_of_a_test:{tmp_path / 'plays'}")
    assert isinstance(study, Plays)
    assert study.fetch(tmp_path) == tmp_path / "plays"
    known = study.located(tmp_path / "home")
    assert known.dataset.startswith("plays-")
    renamed = (tmp_path / "plays").rename(tmp_path / "radio")
    assert Plays(path=str(renamed)).named() == known.named()
    with pytest.raises(InputError, match=r"^the study 'plays_of_a_test' needs a folder; type plays_of_a_test:PATH$"):
        Plays().fetch(tmp_path)
