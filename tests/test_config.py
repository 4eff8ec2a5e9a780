"""One grammar for settings, errors of one line, and a signature that names the question.

``python -m tests.test_config`` writes defaults.json anew, after ``Experiment.version`` was raised.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raybrain.cluster import Cluster
from raybrain.config import Choice, InputError, override
from raybrain.data_config import DataConfig
from raybrain.encoders.base import Encoder, SpeechEncoder
from raybrain.experiment import Experiment, recipe, recipe_names
from raybrain.features.base import Feature
from raybrain.identity import signature
from raybrain.losses.base import Loss
from raybrain.plain import differences, flat, tree
from raybrain.signal.base import Step
from raybrain.signal.window import SegmentConfig
from raybrain.studies.base import Study

DEFAULTS = Path(__file__).with_name("defaults.json")
FAMILIES: tuple[type[Choice], ...] = (Encoder, SpeechEncoder, Feature, Loss, Step, Study)
COMPLICATED = {
    "data.studies": "synthetic:eeg,bids:/x,synthetic",
    "data.studies.bids.subjects": "01,02",
    "data.features": "mel:40,word_length,phoneme_pulse",
    "data.features.word_length.scale": "none",
    "encoder": "conv_rnn",
    "encoder.lstm.layers": "1",
    "speech_encoder": "deep_mel",
    "loss": "mse",
    "window.clamp": "none",
    "optim.lr": "1e-3",
}


def changed(**changes: Any) -> dict[str, Any]:
    """What differs from the defaults after some changes, written with __ for the dot."""
    return differences(override(Experiment(), {key.replace("__", "."): value for key, value in changes.items()}))


# override


@pytest.mark.parametrize(
    ("key", "typed", "value"),
    [
        ("encoder.depth", "6", 6),
        ("optim.lr", "1e-3", 1e-3),
        ("encoder.final", "false", False),
        ("encoder.attention.channels", " 12 ", 12),
        ("train.contrast_size", "none", None),
        ("data.signal.rate_hz", "100", 100.0),
        ("data.splits.mode", "paper", "paper"),
        ("data.studies.synthetic.subjects", "2", 2),
    ],
)
def test_text_and_values_mean_the_same(key: str, typed: str, value: Any) -> None:
    experiment = override(Experiment(), {key: typed})
    assert experiment == override(Experiment(), {key: value}) != Experiment()
    assert flat(experiment)[key] == value


def test_parts_by_name() -> None:
    assert changed(data__features="mel,word_length") == {"data.features": [{"name": "mel"}, {"name": "word_length"}]}
    assert changed(data__features="[ mel:20 , word_length ]") == changed(
        data__features=["mel", "word_length"], data__features__mel__bands=20
    )
    twice = override(Experiment(), {"data.studies": "synthetic,synthetic:eeg", "data.studies.synthetic#1.seed": "3"})
    assert [flat(study)["seed"] for study in twice.data.studies] == [0, 3]
    assert changed(data__features__mel__bands="20") == {"data.features": [{"name": "mel", "bands": 20}]}
    assert changed(data__studies="bids:/x (1)") == {"data.studies": [{"name": "bids", "path": "/x (1)"}]}
    assert changed(data__studies="bids:/x", data__studies__bids__subjects="1,2")["data.studies"][0]["subjects"] == ["1", "2"]


def test_another_kind_starts_from_its_own_defaults() -> None:
    start = override(Experiment(), {"encoder.depth": 3, "encoder.hidden": 7})
    assert override(start, {"encoder": "conv_rnn"}).encoder == Encoder.kind("conv_rnn")()
    for order in (("encoder", "encoder.depth"), ("encoder.depth", "encoder")):
        both = {"encoder": "conv_rnn", "encoder.depth": "5"}
        assert differences(override(start, {key: both[key] for key in order})) == {
            "encoder.name": "conv_rnn",
            "encoder.depth": 5,
        }


def test_changes_are_judged_together() -> None:
    changes = {"data.segments.tmin_s": "3", "data.segments.tmax_s": "5", "data.segments.baseline": "no"}
    assert override(Experiment(), changes).data.segments == SegmentConfig(tmin_s=3, tmax_s=5, baseline=False)


WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "typo": ({"encoder.dpeth": "3"}, ("'encoder.dpeth'", "did you mean 'depth'?", "hidden")),
    "deep typo": ({"data.featurs": "mel"}, ("'data.featurs'", "did you mean 'features'?")),
    "typo at the top": ({"encodr.depth": 3}, ("'encodr'", "did you mean 'encoder'?")),
    "typo in a part": ({"data.features.mle.bands": "3"}, ("'data.features.mle'", "did you mean 'mel'?")),
    "range": ({"encoder.depth": "-3"}, ("encoder.depth=-3", "greater than 0")),
    "range of a value": ({"encoder.depth": -3}, ("encoder.depth=-3", "greater than 0")),
    "type": ({"encoder.depth": "abc"}, ("encoder.depth=abc", "integer")),
    "bool": ({"loss.pool": "maybe"}, ("loss.pool=maybe", "boolean")),
    "not finite": ({"data.segments.tmax_s": "nan"}, ("data.segments.tmax_s", "finite")),
    "choice of words": ({"data.splits.mode": "dirty"}, ("data.splits.mode=dirty", "'clean', 'paper', 'subject'")),
    "lines": ({"encoder.depth": "3\n4"}, ("encoder.depth", "integer")),
    "kind": ({"encoder": "simpleconv"}, ("encoder=simpleconv", "did you mean 'simple_conv'?")),
    "kind in a list": ({"data.features": "mel,word_lenght"}, ("data.features", "did you mean 'word_length'?")),
    "shorthand": ({"data.features": "mel:x"}, ("data.features", "bands=x", "integer")),
    "no shorthand": ({"data.features": "word_length:3"}, ("data.features", "takes no value", "type 'word_length'")),
    "twice": ({"data.features": "mel,mel"}, ("data.features=mel,mel", "each feature once")),
    "none": ({"data.features": ""}, ("data.features", "at least 1")),
    "not a group": ({"encoder.depth.x": "1"}, ("'encoder.depth'", "no field 'x'", "type encoder.depth=VALUE")),
    "not a value": ({"data.features.mel": "1"}, ("'data.features.mel'", "type data.features.mel.FIELD=VALUE")),
    "group": ({"optim": "adam"}, ("optim is a group", "type optim.FIELD=VALUE", "lr")),
    "ambiguous": (
        {"data.studies": "synthetic,synthetic:eeg", "data.studies.synthetic.seed": 1},
        ("2 parts", "synthetic#0, synthetic#1"),
    ),
    "order": ({"data.segments.tmin_s": "3"}, ("data.segments.tmin_s=3", "below tmax_s=2.5")),
    "together": ({"encoder.conv.groups": "7"}, ("encoder.conv.groups=7", "must divide")),
    "field of another kind": ({"loss": "l1", "loss.pool": "true"}, ("'loss.pool'",)),
    "version": ({"version": "3"}, ("version=3",)),
    "no name": ({"": "2"}, ("no setting ''",)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_settings(wrong: str) -> None:
    changes, told = WRONG[wrong]
    with pytest.raises(InputError) as error:
        override(Experiment(), changes)
    message = str(error.value)
    assert "\n" not in message
    for part in told:
        assert part in message, message


def test_unknown_recipe() -> None:
    with pytest.raises(InputError, match=r"^no recipe called 'quickstrat', did you mean 'quickstart'\? Allowed: .*$"):
        recipe("quickstrat")


# signature


def signed(**changes: Any) -> str:
    return override(Experiment(), {key.replace("__", "."): value for key, value in changes.items()}).signature


def test_same_question_same_signature() -> None:
    assert signed(encoder__depth="6") == signed(encoder__depth=6) == signed(encoder__depth=6.0)
    assert signed() == Experiment().signature == signed(encoder__depth=10, encoder="simple_conv", data__features="mel")
    assert signed(encoder="conv_rnn") == signed(encoder="conv_rnn", encoder__depth=Encoder.kind("conv_rnn")().depth)


def test_other_question_other_signature() -> None:
    asked: list[dict[str, Any]] = [
        {},
        {"encoder__depth": 6},
        {"encoder__depth": 7},
        {"encoder__hidden": 6},
        {"encoder": "conv_rnn"},
        {"encoder": "conv_rnn", "encoder__depth": 6},
        {"encoder__initial_linear": None},
        {"loss": "l1"},
        {"loss": "mse"},
        {"data__features": "word_length"},
        {"data__features": "word_position"},
        {"data__features": "mel,word_length"},
        {"data__features": "word_length,mel"},
        {"data__studies": "synthetic,synthetic"},
        {"data__studies": "bids:/x"},
        {"data__studies": "bids:/y"},
        {"train__seed": 1},
    ]
    assert len({signed(**changes) for changes in asked}) == len(asked)
    assert signature(Loss.kind("l1")()) != signature(Loss.kind("mse")())
    assert signature(Experiment(), version=1) != signature(Experiment(), version=2)
    assert signature(Experiment(), a=1, b=2) == signature(Experiment(), b=2, a=1)


def test_only_the_data_part_names_prepared_data() -> None:
    def brain(**changes: Any) -> str:
        return override(Experiment(), {key.replace("__", "."): value for key, value in changes.items()}).data.brain_signature

    assert brain() == brain(optim__lr=1, encoder="conv_rnn", data__features="word_length")
    assert brain() != brain(data__studies__synthetic__subjects=2) != brain(data__segments__tmin_s=0)


def test_signature_is_the_same_in_every_process() -> None:
    code = (
        "from tests.test_config import COMPLICATED; from raybrain.config import override\n"
        "from raybrain.experiment import Experiment; print(override(Experiment(), COMPLICATED).signature)"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            text=True,
            cwd=DEFAULTS.parents[1],
            env=os.environ | {"PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    assert {process.communicate()[0].strip() for process in running} == {override(Experiment(), COMPLICATED).signature}


# tree


@pytest.mark.parametrize("name", [*recipe_names(), "complicated"])
def test_tree_reads_back(name: str) -> None:
    experiment = override(Experiment(), COMPLICATED) if name == "complicated" else recipe(name)
    plain = tree(experiment)
    again = Experiment.model_validate(json.loads(json.dumps(plain)))
    assert again == experiment
    assert again.signature == experiment.signature
    assert tree(again) == plain


def test_flat_names_can_be_typed() -> None:
    """Every name that a person is shown is one that they may type, but for kinds and whole lists."""
    experiment = override(Experiment(), {"encoder": "conv_rnn", "data.features": "mel,word_length"})
    shown = {key: value for key, value in flat(experiment).items() if not key.endswith(".name")}
    assert override(experiment, {key: str(value) for key, value in shown.items() if value != []}) == experiment


def test_a_schedule_has_one_spelling_and_holds_from_the_end_of_an_epoch_on() -> None:
    asked = override(Experiment(), {"optim.schedule": "10:lr=1e-4, 3:weight_decay=.1,3:lr=0.001"})
    assert asked.optim.schedule == ("3:lr=0.001", "3:weight_decay=0.1", "10:lr=0.0001")
    assert asked == override(Experiment(), {"optim.schedule": list(asked.optim.schedule)})
    assert [asked.optim.after(epochs).lr for epochs in (0, 2, 3, 9, 10, 99)] == [3e-4, 3e-4, 1e-3, 1e-3, 1e-4, 1e-4]
    assert asked.optim.after(3).weight_decay == 0.1 and asked.optim.after(3).schedule == ()
    assert asked.signature != Experiment().signature
    idle = override(Experiment(), {"optim.schedule": "10:lr=1e-4,3:weight_decay=.1,3:lr=0.001,4:lr=0.001,2:lr=3e-4"})
    assert idle == asked, "what changes nothing is no other question"


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("3:lrr=1", r"no setting 'lrr' that can change, did you mean 'lr'\?"),
        ("lr=1", r"'lr=1' is no change of a setting; type EPOCHS:SETTING=VALUE"),
        ("3:lr=fast", r"'fast' is no number"),
        ("3:lr=-1", r"optim.schedule=3:lr=-1: lr=-1.0: input should be greater than 0"),
        ("0:lr=1", r"it is so from the start; type optim.lr=1"),
        ("3:lr=1,3:lr=2", r"after 3 epochs lr changes twice"),
        ("200:lr=1", r"has '200:lr=1.0', but training ends with train.epochs=200"),
    ],
)
def test_what_a_schedule_cannot_be(schedule: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        override(Experiment(), {"optim.schedule": schedule})


def test_settings_made_in_python_are_refused_in_one_line(tmp_path: Path) -> None:
    for settings, line in (
        ({"workers": 0}, "Cluster: workers: input should be greater than 0 (found 0)"),
        ({"workerz": 2}, "Cluster has no setting 'workerz', did you mean 'workers'? Allowed: "),
        ({"min_workers": 3}, "Cluster: at least 3 of 1 workers cannot be; type min_workers=1 or less, or more workers"),
    ):
        with pytest.raises(InputError) as error:
            Cluster(home=tmp_path, **settings)
        assert str(error.value).startswith(line) and "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"^SegmentConfig: tmax_s: input should be a valid number"):
        SegmentConfig(tmax_s="long")  # type: ignore[arg-type]


def test_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        DataConfig().signal.rate_hz = 3.0  # type: ignore[misc]


# defaults


def defaults() -> dict[str, Any]:
    """The defaults of an experiment and of every kind of its parts; not of the kinds that doctests make."""
    kinds = {
        f"{family.__name__} {name}": flat(kind())
        for family in FAMILIES
        for name, kind in family.kinds().items()
        if kind.__module__.startswith("raybrain.")
    }
    return {"Experiment": flat(Experiment()), **kinds}


def lost(known: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Defaults that are others, though the version is the same."""
    if known["Experiment"]["version"] != now["Experiment"]["version"]:
        return []
    return [
        f"{part}: {key} was {value!r}, is {now.get(part, {}).get(key, 'gone')!r}"
        for part, settings in known.items()
        for key, value in settings.items()
        if now.get(part, {}).get(key, "gone") != value
    ]


BUMP = "these defaults changed, so old signatures would stand for other questions; raise Experiment.version:"


def test_defaults_change_only_with_the_version() -> None:
    known, now = json.loads(DEFAULTS.read_text()), json.loads(json.dumps(defaults()))
    assert not lost(known, now), "\n".join([BUMP, *lost(known, now)])
    assert known == now, "settings came or went; write tests/defaults.json anew with `python -m tests.test_config`"


if __name__ == "__main__":
    found = json.loads(json.dumps(defaults()))
    if DEFAULTS.exists() and (told := lost(json.loads(DEFAULTS.read_text()), found)):
        sys.exit("\n".join([BUMP, *told]))
    DEFAULTS.write_text(json.dumps(found, indent=1) + "\n")
