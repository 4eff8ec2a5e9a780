"""The index of a home shows what has no result with the reason, and what to type."""

from collections.abc import Callable
from pathlib import Path

import pytest

from raybrain.experiment import recipe
from raybrain.report.index_page import index_of
from raybrain.storage import write_json
from raybrain.train.record import RunRecord, run_record
from raybrain.tune.sweep_record import SweepRecord
from tests.browser import Browser
from tests.conftest import Ended
from tests.report.test_style import check_page

Raybrain = Callable[..., Ended]


def fill(home: Path) -> dict[str, RunRecord]:
    """A run that is begun, one that failed, one that cannot be read, one of another version."""
    begun, failed = recipe("quickstart", {"encoder.depth": 6}), recipe("quickstart", {"optim.lr": 0.5})
    made = {name: run_record(home, asked, name * 2) for name, asked in (("begun", begun), ("failed", failed))}
    made["begun"].begin(begun)
    made["begun"].keep_history([{"epoch": 1, "train_loss": 1.0, "valid_loss": 1.0}])
    made["failed"].begin(failed)
    made["failed"].fail("the loss is <nan>")
    made["odd"] = RunRecord(home / "runs" / "000000000000-01234567")
    write_json(made["odd"].settings, {"loss": {"name": "abs"}})
    made["old"] = RunRecord(home / "runs" / "111111111111-01234567")
    made["old"].begin(begun)
    made["old"].finish("111111111111", "0123456789", [{"epoch": 1, "train_loss": 1.0, "valid_loss": 1.0}])
    return made


def test_what_has_no_result_stands_there_with_the_reason(tmp_path: Path) -> None:
    made = fill(tmp_path)
    SweepRecord(tmp_path / "sweeps" / "mine-0001").path.mkdir(parents=True)
    index = index_of(tmp_path)
    reasons = {one.folder: one.reason for one in index.unfinished}
    assert not index.runs and not index.sweeps
    assert reasons[made["begun"].path] == "1 of 12 epochs; raybrain train quickstart encoder.depth=6"
    assert reasons[made["failed"].path] == "failed: the loss is <nan>; raybrain train quickstart optim.lr=0.5"
    assert "no loss called 'abs'" in reasons[made["odd"].path]
    assert "of an earlier version of raybrain" in reasons[made["old"].path]
    assert reasons[tmp_path / "sweeps" / "mine-0001"] == "not run to the end; type raybrain tune mine"


def test_the_index_of_a_home_without_results(raybrain: Raybrain, tmp_path: Path, chromium: Browser) -> None:
    fill(tmp_path)
    ended = raybrain("report", "--all", "--home", str(tmp_path), "--json")
    assert ended.code == 0, ended.err
    assert len(ended.json["unfinished"]) == 4 and "0 tested runs, 0 sweeps" in ended.out
    text = (tmp_path / "index.html").read_text()
    assert "the loss is &lt;nan&gt;" in text and "raybrain train quickstart</code> makes one" in text
    check_page(chromium, tmp_path / "index.html")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "type a run or a sweep, or --all for an index of all"),
        (["quickstart", "--all"], "type quickstart or --all, not both"),
        (["quikstart"], "no run or sweep 'quikstart' in"),
        (["./nowhere"], "no run in nowhere; type the signature of a run, or its folder"),
        (["failed"], "no run or sweep 'failed' in"),
    ],
)
def test_what_cannot_be_reported(arguments: list[str], said: str, raybrain: Raybrain, tmp_path: Path) -> None:
    fill(tmp_path)
    ended = raybrain("report", *arguments, "--home", str(tmp_path))
    assert ended.code == 2
    assert said in ended.err and len([line for line in ended.err.splitlines() if line.startswith("raybrain: ")]) == 1


def test_a_run_that_is_not_done_says_what_to_type(raybrain: Raybrain, tmp_path: Path) -> None:
    expected = {
        "begun": "1 of 12 epochs are done; raybrain train quickstart encoder.depth=6 goes on",
        "failed": "could not be trained (the loss is <nan>); raybrain train quickstart optim.lr=0.5 tries again",
        "odd": "no loss called 'abs'",
    }
    made = fill(tmp_path)
    for name, said in expected.items():
        ended = raybrain("report", made[name].path.name, "--home", str(tmp_path))
        assert ended.code == 2 and said in ended.err, ended.err
