"""Every setting is explained: what it means, its unit, what is allowed."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Gt, Lt

from raybrain.config import override
from raybrain.encoders.base import Encoder
from raybrain.experiment import Experiment, recipe
from raybrain.plain import flat
from raybrain.report.explain import Setting, allowed, explain, meanings, unit
from tests.conftest import Ended
from tests.test_layout import settings


def chosen(experiment: Experiment) -> dict[str, Setting]:
    """The settings that an experiment has, not those that other kinds of its parts would bring."""
    first: dict[str, Setting] = {}
    for setting in (setting for group in explain(experiment) for setting in group.settings):
        first.setdefault(setting.name, setting)
    own = set(flat(experiment)) | {name.removesuffix(".name") for name in flat(experiment)} | {"data.studies", "data.features"}
    return {name: setting for name, setting in first.items() if name in own}


def test_every_setting_has_a_meaning() -> None:
    lacking = [
        f"{kind.__module__}.{kind.__name__}.{field}"
        for kind in settings()
        for field in kind.model_fields
        if not meanings(kind).get(field)
    ]
    assert not lacking, f"write what it means in the docstring's Attributes: {', '.join(lacking)}"


def test_what_is_explained_is_there() -> None:
    """A field that was renamed leaves no line behind."""
    stale = [
        f"{kind.__name__}.{name}"
        for kind in settings()
        for name in meanings(kind)
        if name not in kind.model_fields and not hasattr(kind, name)
    ]
    assert not stale


def test_every_setting_of_an_experiment_is_there_with_its_value() -> None:
    experiment = override(recipe("quickstart"), {"data.features": "mel,word_length", "data.segments.baseline": "no"})
    shown = chosen(experiment)
    parts = {"data.studies", "data.features"}
    assert {name for name in flat(experiment) if not name.endswith(".name")} <= set(shown)
    assert shown["data.features"].value == "mel,word_length"
    assert shown["data.segments.baseline"].value == "no"
    assert shown["train.batch_size_per_worker"].value == "none"
    assert parts <= set(shown)


def test_what_is_shown_can_be_typed() -> None:
    """A value is spelled as the command line takes it."""
    experiment = Experiment()
    for name, setting in chosen(experiment).items():
        if name != "version":
            assert override(experiment, {name: setting.value}) == experiment, setting


def test_other_kinds_are_explained_with_their_fields() -> None:
    groups = {group.name: group for group in explain(recipe("quickstart"))}
    assert {f"encoder={kind}" for kind in Encoder.kinds()} <= set(groups)
    lstm = {setting.name: setting for setting in groups["encoder.lstm of encoder=conv_rnn"].settings}
    assert lstm["encoder.lstm.layers"].allowed == "whole number at least 0"
    buckets = groups["data.features=word_hash"].settings[-1]
    assert (buckets.name, buckets.value, buckets.meaning) == ("data.features.word_hash.buckets", "64", "the number of buckets")


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (bool, "yes or no"),
        (Annotated[float, Gt(0), Lt(1)], "number above 0 and below 1"),
        (Annotated[int, Gt(0)] | None, "whole number above 0, or none"),
        (Literal["a", "b"], "a | b"),
        (tuple[str, ...], "text; several with commas"),
        (Encoder, " | ".join(Encoder.kinds())),
    ],
)
def test_what_is_allowed(annotation: Any, text: str) -> None:
    assert allowed(annotation) == text


def test_units() -> None:
    assert (unit("tick_s"), unit("rate_hz"), unit("minutes"), unit("bands")) == ("seconds", "hertz", "minutes", "")


def test_show_explain(raybrain: Callable[..., Ended], tmp_path: Any) -> None:
    ended = raybrain("show", "quickstart", "encoder=conv_rnn", "--explain", "--home", str(tmp_path / "none"), "--json")
    assert ended.code == 0, ended.err
    names = [group["name"] for group in ended.json["groups"]]
    assert names.index("encoder=conv_rnn") < names.index("encoder=simple_conv") < names.index("--cluster KEY=VALUE")
    assert "seconds between checkpoints inside an epoch" in " ".join(ended.out.split())
    assert not (tmp_path / "none").exists(), "looking makes no folder"
