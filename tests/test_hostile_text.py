"""What other people wrote into files and names is refused, or shown as text: it does nothing."""

import io
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from raybrain.cli.studies import _as_data
from raybrain.config import InputError
from raybrain.console import CONTROLS, PlainConsole, plain
from raybrain.experiment import recipe
from raybrain.prepare import survey
from raybrain.prepare.sources import _refuse_names
from raybrain.prepare.tasks import Source
from raybrain.recording import Recording
from raybrain.report.check_page import check_page
from raybrain.report.page import SweepReport, page
from raybrain.report.terminal import accuracy_table, check_table, trials_table
from raybrain.storage import write_json
from raybrain.store import Store
from raybrain.train.record import Damaged, RunRecord
from tests.conftest import Ended
from tests.report.test_report import evaluation, seeds_of

HOSTILE = {
    "HTML": "<script>alert(1)</script>",
    "attribute": "\"'><img src=x onerror=alert(1)>",
    "template": "{{ 7 * 191 }}{% raw %}",
    "shell": "$(touch pwned)`touch pwned`; touch pwned",
    "path": "../../pwned",
    "title of the window": "\x1b]0;pwned\x07",
    "clipboard": "\x9d52;c;cHduZWQ=\x9c",
    "clear screen": "a\r\x1b[2J\x1b[H",
    "markup": "[/b][link=file:///etc/passwd]x[/link][bold",
    "turned around": "abc\u202egnp.exe",
    "half a character": "caf\udce9",
    "formula": r"$\frac{x$ $_{$",
    "number": "%s %(x)s {0}",
}


def on_console(content: Any) -> str:
    """What a terminal is sent, without the colours that are ours."""
    file = io.StringIO()
    PlainConsole(file=file, width=400, force_terminal=True, color_system="standard").print(content)
    return re.sub(r"\x1b\[[\d;]*m", "", file.getvalue())


def line(text: str, folder: Path) -> str:
    return on_console(f"failed {text}: no such file")


def accuracies(text: str, folder: Path) -> str:
    made = evaluation("study", 0.5)
    known = dict.fromkeys(("top5", "chance1", "chance5", "baseline1", "baseline5"), 0.1)
    tables = [table.assign(study=text, segments=5, **known) for table in (made.subjects, made.studies)]
    subjects, studies = (table.assign(low10=0.1, high10=0.2, words=5, word_top10=0.5) for table in tables)
    return on_console(accuracy_table(studies, subjects.assign(subject=text)))


def trials(text: str, folder: Path) -> str:
    row = {"trial": 0, "params": {"x": text}, "epochs": 1, "score": 0.5, "state": "failed", "sd": None}
    return on_console(trials_table([row], "valid_loss", ["x"]))


def checked(text: str) -> survey.Survey:
    one = survey.RecordingSurvey(text, 7200.0, 8, 1, 500.0, 3, 40, 5, 0, [text], 7, [f"odd {text}"])
    return survey.Survey(Path("/data") / text, [one], [], None)


def check(text: str, folder: Path) -> str:
    return on_console(check_table(text, [vars(one) for one in checked(text).recordings]))


def check_html(text: str, folder: Path) -> str:
    return check_page(_as_data(recipe("quickstart").data.studies[0], checked(text)))


def report_html(text: str, folder: Path) -> str:
    tested = [replace(one, evaluation=evaluation(text, 0.5)) for one in seeds_of({(text, text): 0.5}, published=False)]
    trial = {"trial": 0, "params": {text: text}, "epochs": 1, "score": 0.5, "state": "failed", "reason": text}
    made = SweepReport(text, tested, [text], [trial])
    return page(made)


@pytest.mark.filterwarnings("ignore:Glyph")  # not every font has them
@pytest.mark.parametrize("show", [line, accuracies, trials, check, check_html, report_html])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_it_is_shown_as_text(show: Callable[[str, Path], str], text: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    if show in (accuracies, report_html) and "\udce9" in text:
        return  # a recording of such a name is refused, see below
    shown = show(text, tmp_path)
    if show.__name__.endswith("html"):
        assert "<script>alert" not in shown and "<img src=x" not in shown and "1337" not in shown
    else:
        assert not CONTROLS.search(shown)
        assert plain(text).splitlines()[0][:8] in shown
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "{}"),
        ("train", "quickstart", "{}=3"),
        ("train", "quickstart", "encoder.depth={}"),
        ("prepare", "quickstart", "data.studies=bids:{}"),
        ("train", "quickstart", "data.studies.bids.label={}"),
        ("tune", "{}"),
        ("report", "{}"),
        ("studies", "check", "{}"),
    ],
    ids=lambda words: " ".join(words),
)
def test_it_is_refused_on_the_command_line(
    arguments: tuple[str, ...], text: str, raybrain: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = raybrain(*(word.replace("{}", text) for word in arguments), "--home", str(tmp_path / "home"))
    assert ended.code == 2, ended.err
    assert "Traceback" not in ended.err and not CONTROLS.search(ended.err + ended.out)
    assert not list(tmp_path.rglob("pwned")) and not (tmp_path.parent / "pwned").exists()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_plug_in_path_is_refused(text: str, raybrain: Callable[..., Ended], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYBRAIN_PLUGINS", text)
    ended = raybrain("show", "quickstart", "--home", str(tmp_path))
    assert ended.code == 2 and "no plug-in" in ended.err
    assert not CONTROLS.search(ended.err) and not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("text", ["../x", "a/b", "a\x1b[2J", "a\nb", "a\x00b", "a\\b", "a:b", "<b>", "caf\udce9"])
@pytest.mark.parametrize("part", ["study", "subject", "session", "task", "run"])
def test_a_recording_that_cannot_name_a_file_is_refused(text: str, part: str, tmp_path: Path) -> None:
    """As a plug-in or a table of participants may call it."""
    study: Any = recipe("quickstart").data.studies[0]
    named = {"study": "some", "subject": "01", part: text}
    with pytest.raises(InputError, match="cannot name a file"):
        _refuse_names([Source(study, tmp_path, Recording(**named))])


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("save", [pickle.dump, torch.save], ids=["pickle", "torch"])
def test_a_checkpoint_runs_no_code(save: Callable[..., None], tmp_path: Path) -> None:
    record, pwned = RunRecord(tmp_path), tmp_path / "pwned"
    for path in (record.last, record.weights):
        with path.open("wb") as file:
            save({"model": Malicious(pwned)}, file)
    for read in (record.checkpoint, record.best):
        with pytest.raises(Damaged, match="damaged checkpoint"):
            read()
    assert not pwned.exists()
    with record.last.open("rb") as file:
        pickle.load(file) if save is pickle.dump else torch.load(file, weights_only=False)
    assert pwned.exists(), "it would have run"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_manifest_that_names_hostile_things_is_none(text: str, tmp_path: Path) -> None:
    """It is made again, as if it were not there."""
    data = recipe("quickstart").data
    store = Store(tmp_path / "stores" / data.brain_signature)
    write_json(store.root / "manifest.json", {text: text, "data": text.encode("ascii", "replace").decode()})
    with pytest.raises(InputError, match="no prepared data"):
        _ = store.manifest
