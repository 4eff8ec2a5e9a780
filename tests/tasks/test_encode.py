"""Encode: which channels are aimed at, what goes in, and how an estimate is judged."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from raybrain.batch import step_draws
from raybrain.config import InputError, override
from raybrain.experiment import Experiment
from raybrain.tasks.encode import lowpassed
from raybrain.train.order import Contrast
from raybrain.train.step import Learner, Place
from raybrain.train.tables import Tables
from tests.workers import SMALL, random_tables

ENCODE: dict[str, Any] = {"task": "encode", "encoder.attention.on": False}
ROWS = torch.arange(6)


def asked(**changes: Any) -> Experiment:
    return override(Experiment(), SMALL | ENCODE | {name.replace("__", "."): value for name, value in changes.items()})


def tables_of(experiment: Experiment, first: list[str], second: list[str]) -> Tables:
    """Recordings 0 and 2 have the channels ``first``, recording 1 has ``second``; all at known places."""
    tables = random_tables(experiment)
    valid = torch.zeros_like(tables.valid)
    for number, names in enumerate((first, second)):
        valid[number, : len(names)] = True
    layouts = [{"channels": names, "places": [None] * len(names)} for names in (first, second)]
    return replace(tables, valid=valid, meta=tables.meta | {"layouts": layouts})


def learner_of(experiment: Experiment, tables: Tables) -> Learner:
    return Learner(experiment, tables, Contrast(16, 1, 16, 16, 0, 1), Place(dtype=torch.float64))


def test_channels_are_matched_by_name() -> None:
    experiment = asked()
    tables = tables_of(experiment, list("abcdefg"), list("gfbax"))
    learner = learner_of(experiment, tables)
    assert (learner.shapes.channels, learner.shapes.features) == (5, 4), "a, b, f and g"
    brain = tables.brain(ROWS, step_draws(0, 0)).signal
    aimed = learner.stored(ROWS)
    places = {0: [0, 1, 5, 6], 1: [3, 2, 1, 0]}
    for row in ROWS.tolist():
        layout = int(tables.layout[tables.recording[row]])
        assert torch.equal(aimed[row], brain[row, places[layout]])
    assert torch.equal(learner.given(ROWS).signal, tables.speech(ROWS))
    assert not learner.given(ROWS).valid.any()


def test_a_bad_channel_is_silent_where_it_is_bad_and_not_judged() -> None:
    experiment = asked()
    tables = tables_of(experiment, list("abcdefg"), list("gfbax"))
    tables.valid[1, 2] = False  # channel b
    learner = learner_of(experiment, tables)
    aimed = learner.stored(ROWS)
    bad = tables.layout[tables.recording[ROWS]] == 1
    assert not aimed[bad, 1].any() and aimed[~bad, 1].all()
    wrong = aimed.clone()
    wrong[bad, 1] = torch.randn_like(wrong[bad, 1])
    torch.testing.assert_close(learner.task.measure(wrong, aimed)["correlation"], torch.ones(6, dtype=torch.float64))


def test_the_correlation_is_the_mean_over_channels() -> None:
    learner = learner_of(asked(), random_tables(asked()))
    aimed = learner.stored(ROWS)
    estimates = torch.randn(aimed.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pairs = zip(estimates.numpy(), aimed.numpy(), strict=True)
    expected = [np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(*pair, strict=True)]) for pair in pairs]
    assert learner.task.measure(estimates, aimed)["correlation"].tolist() == pytest.approx(expected)


def test_the_prompt_goes_in_and_is_aimed_at_no_more() -> None:
    plain, prompted = asked(), asked(task__prompt_s=0.3)
    without, learner = (learner_of(one, random_tables(one)) for one in (plain, prompted))
    assert learner.shapes.channels == 5 + 5, "as many channels as features"
    given, brain = learner.given(ROWS).signal, without.stored(ROWS)
    assert torch.equal(given[:, :5], without.given(ROWS).signal)
    assert torch.equal(given[:, 5:, :6], brain[..., :6]) and not given[:, 5:, 6:].any(), "0.3 s at 20 Hz"
    aimed = learner.stored(ROWS)
    assert not aimed[..., :6].any() and torch.equal(aimed[..., 6:], brain[..., 6:])
    copied = torch.where(torch.arange(brain.shape[2]) < 6, brain, 0)
    assert not learner.task.measure(copied, aimed)["correlation"].any(), "copying the prompt earns nothing"


def test_a_low_pass_keeps_what_is_slow() -> None:
    times = torch.arange(400, dtype=torch.float64) / 100
    slow, fast = (torch.sin(2 * torch.pi * hz * times)[None] for hz in (2, 30))
    passed = lowpassed(slow + fast, 8.0, 100.0)
    torch.testing.assert_close(passed[:, 50:-50], slow[:, 50:-50], atol=1e-3, rtol=0)
    edge = lowpassed(torch.sin(2 * torch.pi * 8 * times)[None], 8.0, 100.0)
    assert float(edge[:, 100:-100].abs().max()) == pytest.approx(0.5, abs=0.02), "half at the edge, after both ways"
    experiment = asked(task__lowpass_hz=4)
    tables = random_tables(experiment)
    torch.testing.assert_close(
        learner_of(experiment, tables).stored(ROWS), lowpassed(learner_of(asked(), tables).stored(ROWS), 4, 20.0)
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoder__attention__on": True}, r"no sensors, which encoder=simple_conv asks for; type encoder\.attention\.on=no"),
        ({"encoder__augment__mixup": 0.1}, r"no sensors, which encoder=simple_conv asks for; type encoder\.augment\.mixup=0"),
        ({"encoder__augment__sensors__radius": 0.1}, r"type encoder\.augment\.sensors\.radius=0"),
        ({"speech_encoder": "deep_mel"}, r"speech_encoder=deep_mel is for speech; type speech_encoder=stored"),
    ],
)
def test_what_does_not_go_with_the_brain_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        asked(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task__prompt_s": 3}, r"task\.prompt_s=3 leaves nothing of a window of 1\.9 s"),
        ({"task__lowpass_hz": 10}, r"not below half of the sampling rate, 10 Hz; type less, or task\.lowpass_hz=none"),
    ],
)
def test_settings_that_do_not_fit_the_window_are_refused(changes: dict[str, Any], said: str) -> None:
    experiment = asked(**changes)
    with pytest.raises(InputError, match=said):
        learner_of(experiment, random_tables(experiment))


def test_caps_without_a_common_channel_are_refused() -> None:
    with pytest.raises(InputError, match=r"none is in all 2 layouts; type data\.studies"):
        learner_of(asked(), tables_of(asked(), list("abc"), list("xyz")))
