"""The page of a run says all about it to somebody who was not there; `raybrain report` finds a run by any of its names."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from raybrain.config import InputError
from raybrain.experiment import recipe
from raybrain.report.again import changed, command_of
from raybrain.report.gather import check_finished, find_run
from raybrain.train.record import run_record
from tests.browser import Browser
from tests.conftest import TINY, Ended
from tests.report.test_style import check_page

Raybrain = Callable[..., Ended]


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["encoder.depth=6", "optim.lr=0.01", "train.batch_size=32"],
        ["encoder=ridge", "train.epochs=7"],
        ["data.studies=synthetic:eeg", "data.features=mel:20,word_length", "loss=mixed", "train.contrast_size=none"],
        ["data.signal.steps=highpass:1,resample", "data.studies.synthetic.subjects=2", "optim.schedule=2:lr=0.001"],
    ],
)
def test_a_command_line_asks_the_same_again(settings: list[str]) -> None:
    experiment = recipe("quickstart", dict(setting.split("=", 1) for setting in settings))
    command = command_of(experiment)
    assert command
    words = command.split()
    assert words[:3] == ["raybrain", "train", "quickstart"] and len(words) <= 3 + len(settings)
    assert recipe("quickstart", dict(word.split("=", 1) for word in words[3:])).signature == experiment.signature


def test_settings_of_another_kind_are_beside_its_own_defaults() -> None:
    usual, now = recipe("quickstart"), recipe("quickstart", {"encoder": "conv_rnn", "encoder.lstm.layers": 5})
    assert ("encoder", "simple_conv", "conv_rnn") in list(changed(usual, now))
    assert [row[0] for row in changed(usual, now)] == ["encoder", "encoder.lstm.layers"]


def test_a_run_is_found_by_any_of_its_names(tmp_path: Path) -> None:
    experiment = recipe("quickstart")
    record = run_record(tmp_path, experiment, "0123456789abcdef")
    record.begin(experiment)
    for name in (record.path.name, experiment.signature, experiment.signature[:6], str(record.path)):
        assert find_run(tmp_path, name) == record
    assert find_run(tmp_path, "quickstart") is None
    run_record(tmp_path, experiment, "fedcba9876543210").begin(experiment)
    with pytest.raises(InputError, match=f"stands for 2 runs in .*; type one of {experiment.signature}-0123"):
        find_run(tmp_path, experiment.signature[:5])
    with pytest.raises(InputError, match="is a run of another home; type --home"):
        find_run(tmp_path / "other", str(record.path))


def test_what_is_not_trained_to_the_end_is_said_with_what_to_type(tmp_path: Path) -> None:
    experiment = recipe("quickstart", {"encoder.depth": 6})
    record = run_record(tmp_path, experiment, "0123456789abcdef")
    record.begin(experiment)
    with pytest.raises(InputError, match=r"0 of 12 epochs are done; raybrain train quickstart encoder.depth=6 goes on"):
        check_finished(record)
    record.fail("the loss is nan")
    with pytest.raises(InputError, match=r"could not be trained \(the loss is nan\); raybrain train .* tries again"):
        check_finished(record)
    record.settings.write_text('{"checksum": "x"}')
    with pytest.raises(InputError, match="says no more what was trained in it; train it again"):
        check_finished(record)


@pytest.mark.slow
def test_the_page_of_a_run(ray_cluster: None, raybrain: Raybrain, home: Path, chromium: Browser) -> None:
    # by two workers, as all who share this home train it: it is trained once, and one worker would round otherwise
    trained = raybrain("train", "quickstart", *TINY, "--workers", "2", "--home", str(home), "--json")
    assert trained.code == 0, trained.err
    ended = raybrain("report", trained.json["signature"], "--home", str(home), "--json")
    assert ended.code == 0, ended.err
    page = Path(ended.json["page"])
    assert page == Path(trained.json["run"]) / "report.html" and ended.json["test"] == trained.json["test"]
    text = page.read_text()
    titles = ["Result", "Subjects", "Controls", "What stands first", "Heard and decoded", "Which words", "Training"]
    assert re.findall("<h2[^>]*>([^<]*)</h2>", text) == [*titles, "Which sensors count", "Data", "Settings", "Make it again"]
    assert trained.json["signature"] in text and f"{trained.json['test'][0]['top10']:.1%}" in text
    assert "<code>raybrain train quickstart" in text and 'class="heard"' in text and "envelope of the" in text
    assert "spatial attention makes of them" in text and "No recording is left out" in text
    assert list((home / "mlartifacts").rglob("report.html")), "MLflow has it too"
    check_page(chromium, page)
    index = raybrain("report", "--all", "--home", str(home), "--json")
    assert index.code == 0, index.err
    (one,) = [one for one in index.json["runs"] if one["run"] == trained.json["run"]]
    assert one["top10"] == trained.json["test"][0]["top10"] and one["title"] == "simple_conv, mel from synthetic-meg"
    assert f'<a href="runs/{Path(trained.json["run"]).name}/report.html">' in Path(index.json["page"]).read_text()
    check_page(chromium, Path(index.json["page"]))
