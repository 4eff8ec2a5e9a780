"""Search spaces: what the command line changes, and repetitions."""

import pytest

from raybrain.config import InputError
from raybrain.plain import flat
from raybrain.tune.walk import extremes
from tests.sweeps import space


def test_a_dimension_is_narrowed_by_its_name_and_a_setting_is_where_the_search_starts() -> None:
    variants = {"model": {"small": {"encoder.hidden": 16}, "big": {"encoder.hidden": 32}, "huge": {"encoder.hidden": 96}}}
    narrowed = space(variants=variants).ask({"model": "small,huge", "encoder.depth": "2", "train.epochs": "7"})
    assert narrowed.searched == {"model": ["small", "huge"]}
    assert {narrowed.experiment(point.settings).train.epochs for point in extremes(narrowed)} == {7}
    assert {narrowed.experiment(point.settings).encoder.depth for point in extremes(narrowed)} == {2, 4}
    with pytest.raises(InputError, match=r"model has no variant 'bg', did you mean 'big'\?"):
        space(variants=variants).ask({"model": "bg"})


def test_repetitions_are_seeds_times_what_is_repeated_over() -> None:
    variants = {"offset": {"early": {"window.offset_s": 0.1}, "late": {"window.offset_s": 0.2}}}
    repeats = space(variants=variants, over=("offset",), seeds=(1, 2)).repeats()
    assert list(repeats) == [("early", "1"), ("early", "2"), ("late", "1"), ("late", "2")]
    assert repeats["late", "1"] == {"window.offset_s": 0.2, "train.seed": 1}
    assert space().repeats() == {(): {}}


def test_of_a_part_that_the_command_line_replaces_nothing_is_fixed() -> None:
    fixed = {"data.studies.synthetic.signal": 0.8, "data.studies.synthetic.minutes": 9, "train.epochs": 7}
    (study,) = space(fixed=fixed).ask({"data.studies.synthetic.minutes": "5"}).experiment().data.studies
    assert (flat(study)["signal"], flat(study)["minutes"]) == (0.8, 5)
    mine = space(fixed=fixed).ask({"data.studies": "bids:/mine"}).experiment()
    assert [study.name for study in mine.data.studies] == ["bids"] and mine.train.epochs == 7
