"""Whoever edits code that gives numbers says whether they change: tests/digests.json is what was said last."""

import importlib.machinery
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from raybrain.config import InputError
from tests.conftest import REPO

SNAPSHOT = REPO / "tests" / "digests.json"


def script() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("digests", str(REPO / "scripts" / "digests"))
    spec = importlib.util.spec_from_loader("digests", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


DIGESTS = script()
KNOWN = {
    "core/train": {"version": 1, "digest": "a"},
    "feature/mel": {"version": 2, "digest": "b"},
    "feature/wave": {"version": 1, "digest": "c"},
}
EDITED = {**KNOWN, "feature/mel": {"version": 2, "digest": "B"}}
RAISED = {**KNOWN, "feature/mel": {"version": 3, "digest": "B"}}


def test_somebody_said_whether_numbers_change() -> None:
    problems = DIGESTS.problems(json.loads(SNAPSHOT.read_text()), DIGESTS.present())
    assert not problems, "\n".join(problems)


def test_everything_is_there() -> None:
    now = DIGESTS.present()
    assert {"core/prepare", "core/train", "study/bids", "step/resample", "feature/mel", "loss/contrastive"} <= set(now)
    assert {"encoder/simple_conv", "speech_encoder/stored", "task/decode"} <= set(now)


def test_what_is_asked_of_whoever_edits() -> None:
    assert DIGESTS.problems(KNOWN, KNOWN) == []
    assert DIGESTS.problems(KNOWN, EDITED) == [
        "the code of feature/mel was edited; if its numbers are the same type scripts/digests same feature/mel; "
        "else raise its version and type scripts/digests changed feature/mel"
    ]
    assert DIGESTS.problems(KNOWN, RAISED) == ["feature/mel has version 3, had 2; type scripts/digests changed feature/mel"]
    fewer = {name: item for name, item in KNOWN.items() if name != "feature/wave"}
    assert DIGESTS.problems(fewer, KNOWN) == ["feature/wave is new; type scripts/digests same feature/wave"]
    assert DIGESTS.problems(KNOWN, fewer) == ["feature/wave is not there any more; type scripts/digests same feature/wave"]
    assert DIGESTS.updated(fewer, KNOWN, "same", ["feature/*"]) == KNOWN
    assert DIGESTS.updated(KNOWN, fewer, "same", ["feature/wave"]) == fewer


def test_only_a_raised_version_says_that_numbers_change() -> None:
    assert DIGESTS.updated(KNOWN, EDITED, "same", ["feature/*"]) == EDITED
    assert DIGESTS.updated(KNOWN, RAISED, "changed", ["feature/mel"]) == RAISED
    with pytest.raises(InputError, match="feature/mel still has version 2; raise it first"):
        DIGESTS.updated(KNOWN, EDITED, "changed", ["feature/mel"])
    with pytest.raises(InputError, match="feature/mel has version 3 and had 2, so its numbers change; type changed"):
        DIGESTS.updated(KNOWN, RAISED, "same", ["feature/mel"])
    with pytest.raises(InputError, match="nothing called 'feature/mle', did you mean 'feature/mel'"):
        DIGESTS.updated(KNOWN, EDITED, "same", ["feature/mle"])


@pytest.mark.slow
def test_an_edit_is_seen_and_a_comment_is_not(tmp_path: Path) -> None:
    """In a copy of the project."""
    for folder in ("raybrain", "scripts", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "golden")
        shutil.copytree(REPO / folder, tmp_path / folder, ignore=ignored)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-B", str(tmp_path / "scripts" / "digests"), *words]
        return subprocess.run(command, text=True, capture_output=True, env={"PYTHONPATH": str(tmp_path)})

    assert run("init").returncode == 0
    mel = tmp_path / "raybrain" / "features" / "mel.py"
    mel.write_text(mel.read_text() + "\n# the end\n")
    assert run().stdout == "nothing was edited\n"
    mel.write_text(mel.read_text() + "\nEND = 1\n")
    edited = run()
    assert (edited.returncode, edited.stdout.count("\n")) == (1, 1), edited
    assert "type scripts/digests same feature/mel;" in edited.stdout
    assert run("changed", "feature/mel").returncode == 2
    assert (run("same", "feature/mel").returncode, run().returncode) == (0, 0)
    sounds = tmp_path / "raybrain" / "features" / "audio.py"
    sounds.write_text(sounds.read_text() + "\nEND = 1\n")
    assert {"feature/mel", "feature/wave"} <= {line.split()[3] for line in run().stdout.splitlines()}
