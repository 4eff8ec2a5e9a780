"""What the README shows runs as it is shown."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray

from raybrain.config import InputError
from raybrain.events import Sound, Word
from raybrain.studies.base import Study
from raybrain.studies.synthetic import Synthetic
from tests.conftest import REPO, TINY

README = (REPO / "README.md").read_text()


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## )", README, flags=re.MULTILINE | re.DOTALL)
    assert found, f"no section {title!r}"
    return found[1]


def plays(root: Path) -> None:
    """Two subjects' recordings in the form that the README speaks of."""
    study = Synthetic(device="eeg", subjects=2, minutes=1.5, channels=8, rate_hz=125.0)
    story = study.fetch(root / "made")
    for recording in study.recordings(story):
        folder = root / "plays" / recording.subject
        folder.mkdir(parents=True)
        study.raw(story, recording).save(folder / "eeg_raw.fif", verbose="error")
        with open(folder / "heard.csv", "w") as file:
            table = csv.writer(file)
            table.writerow(["start", "duration", "sound", "word", "word_index", "sentence"])
            for event in study.events(story, recording):
                if isinstance(event, Sound):
                    (root / "plays" / "play.wav").write_bytes(Path(event.filepath).read_bytes())
                    table.writerow([event.start, "", "play.wav", "", "", ""])
                elif isinstance(event, Word):
                    table.writerow([event.start, event.duration, "", event.word, event.word_index, event.sequence])


@pytest.mark.slow
def test_a_study_in_one_file(ray_cluster: None, tmp_path: Path) -> None:
    """The file and the commands of the README, by a process of its own, whose workers must find the file too."""
    text = section("Add your own")
    code = re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)
    export = re.search(r"^    export RAYBRAIN_PLUGINS=(\S+)", text, flags=re.MULTILINE)
    commands = re.findall(r"^    (raybrain .*?)(?:  #.*)?$", text, flags=re.MULTILINE)
    assert code
    assert export
    assert [command.split()[1] for command in commands] == ["studies", "train"]
    plays(tmp_path)
    (tmp_path / export[1]).write_text(code[1])
    path = os.pathsep.join([str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "RAYBRAIN_PLUGINS": export[1], "PYTHONPATH": path}
    address = ray.get_runtime_context().gcs_address
    small = [setting for setting in TINY if "synthetic" not in setting and "epochs" not in setting]
    settings = {"studies": [], "train": [*small, "train.epochs=1", "train.updates_per_epoch=2"]}
    told = []
    for command in commands:
        words = shlex.split(command.replace("/data/plays", str(tmp_path / "plays")))[1:]
        words += [*settings[words[0]], "--home", str(tmp_path / "home"), "--address", address, "--json"]
        started = [sys.executable, "-c", "from raybrain.cli import main; main()", *words]
        done = subprocess.run(started, env=environment, cwd=tmp_path, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        told.append(json.loads(done.stdout.splitlines()[-1]))
    assert [row["recording"] for row in told[0]["recordings"]] == ["radio-plays_sub-01", "radio-plays_sub-02"]
    assert told[1]["recordings"] == [row["recording"] for row in told[0]["recordings"]]
    assert told[1]["test"][0]["study"] == "radio-plays"
    assert len(told[1]["history"]) == 1
    assert told[1]["audio_in_two_splits"] == told[1]["sentences_in_two_splits"] == []


@pytest.mark.parametrize(
    ("name", "told"), [("nowhere.py", "no plug-in .*nowhere.py"), ("json.py", "json.py has the name of another module")]
)
def test_a_file_that_is_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str) -> None:
    (tmp_path / "json.py").write_text("")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("RAYBRAIN_PLUGINS", str(tmp_path / name))
    with pytest.raises(InputError, match=told):
        Study.kinds()


@pytest.mark.slow
def test_five_lines_of_python(
    ray_cluster: None, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The lines for a notebook run as they are shown, on a smaller experiment."""
    code = re.search(r"```python\n(.*?)```", section("In Python"), flags=re.DOTALL)
    assert code
    small = dict(setting.split("=", 1) for setting in TINY) | {"train.epochs": "1"}
    lines = code[1].replace('{"encoder.depth": 6}', repr(small))
    assert lines != code[1]
    monkeypatch.setenv("RAYBRAIN_HOME", str(home))
    names: dict[str, Any] = {}
    exec(lines, names)
    assert list(names["answer"].table["subject"]) == ["01", "02", "all"]
    assert "data ready" in capfd.readouterr().err


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    assert README.count("\n") <= 250
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert not [link for link in links if not (REPO / link).exists()]
