"""The direction of training is one file: a task of a user's own goes through the same loop, ranking, controls and tables."""

import json
import math
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mtrf.model import TRF
from optuna.distributions import FloatDistribution

from raybrain.config import InputError, override
from raybrain.encoders.ridge import RidgeMaps
from raybrain.evaluate.baseline import baseline_of
from raybrain.evaluate.controls import Models, control_rows
from raybrain.evaluate.rank import summary
from raybrain.experiment import Experiment
from raybrain.metrics import mean_candidates, mean_chance
from raybrain.tasks.base import Task
from raybrain.tasks.candidates import WordSegments, pools
from raybrain.tasks.retrieve import averages, rank_rows, tally
from raybrain.train.closed_form import fitted
from raybrain.train.fitting import fits
from raybrain.train.loop import Training
from raybrain.train.order import contrast
from raybrain.train.record import RunRecord
from raybrain.train.step import Learner, Place
from raybrain.train.tables import Tables
from raybrain.tune.space import SearchSpace
from raybrain.tune.validate import check
from tests.conftest import REPO, TINY
from tests.train.test_loop import go
from tests.workers import SMALL, random_tables

FOLLOW = '''
"""Follow: what the brain does, from what is heard."""

from dataclasses import replace
from typing import ClassVar

import torch
from optuna.distributions import FloatDistribution

from raybrain.batch import Layout, step_draws
from raybrain.tasks.base import CONTROLS, Task
from raybrain.tasks.candidates import pools


class Follow(Task, name="follow"):
    """The features of speech go in, the brain is aimed at; each recording has its own windows for candidates."""

    measures: ClassVar[tuple[str, ...]] = ("correlation",)
    controls: ClassVar[tuple[str, ...]] = tuple(name for name in CONTROLS if name != "untrained")

    def shapes(self, data):
        names = [f"feature {number}" for number in range(data.features)]
        return replace(data, channels=data.features, features=data.channels, layouts=(Layout.unknown(names),), slices=())

    def given(self, data, rows, draws):
        brain, heard = data.brain(rows, draws), data.speech(rows)
        nowhere = torch.zeros(1, heard.shape[1], 2, device=heard.device)
        unseen = torch.zeros(nowhere.shape[:2], dtype=torch.bool, device=heard.device)
        return replace(brain, signal=heard, layout=torch.zeros_like(brain.layout), positions=nowhere, valid=unseen)

    def aimed(self, data, rows):
        return data.brain(rows, step_draws(seed=0, step=0)).signal

    def pools(self, segments):
        return pools(segments, segments.recording.tolist())

    def measure(self, estimates, aimed):
        centred = [part.flatten(1) - part.flatten(1).mean(dim=1, keepdim=True) for part in (estimates, aimed)]
        return {"correlation": torch.cosine_similarity(*centred, dim=1)}
'''
CHANGES: dict[str, Any] = {"task": "follow", "encoder.attention.on": False, "train.contrast_size": 8, "train.epochs": 2}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The task in a file of a user's own."""
    monkeypatch.setattr(Task, "_kinds", dict(Task.kinds()))
    file = tmp_path / "follow_task.py"
    file.write_text(FOLLOW)
    monkeypatch.setenv("RAYBRAIN_PLUGINS", str(file))
    monkeypatch.delitem(sys.modules, "follow_task", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    return file


def words(tables: Tables) -> Tables:
    """Every candidate with its place, and a test split."""
    known = [{"study": "a", "sentence": "", "word_index": n, "word": f"word {n % 9}"} for n in range(len(tables.start))]
    rows = {**tables.rows, "test": tables.rows["valid_words"]}
    return replace(tables, rows=rows, meta=tables.meta | {"candidates": known})


def test_decoding_shares_the_candidates_of_a_study() -> None:
    said = [
        {"study": study, "sentence": "", "word_index": place, "word": word}
        for study, place, word in (("b", 0, "The"), ("b", 1, "the"), ("a", 0, "cat"))
    ]
    segments = WordSegments(torch.tensor([5, 6, 7, 8]), torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 0, 2]), said)
    a, b = Experiment().task.pools(segments)
    assert (a.study, a.rows.tolist(), a.targets.tolist()) == ("a", [8], [0])
    assert (b.study, b.rows.tolist(), b.targets.tolist(), b.stands.tolist()) == ("b", [5, 6, 7], [0, 1, 0], [5, 6])
    assert b.words.tolist() == [0, 0], "case does not tell words apart"
    own = pools(segments, segments.recording.tolist())
    assert [pool.rows.tolist() for pool in own] == [[5, 6], [7], [8]]


def test_chance_of_pools_that_differ_in_size() -> None:
    assert mean_chance(10, {100: 30}) == 0.1
    assert mean_chance(10, {100: 30, 20: 10}) == pytest.approx(0.1 * 0.75 + 0.5 * 0.25)
    assert mean_candidates(Counter([100] * 3 + [20])) == 80


def test_a_task_of_ones_own_trains_validates_and_is_controlled(plugin: Path, tmp_path: Path) -> None:
    experiment = override(Experiment(), SMALL | CHANGES)
    tables = words(random_tables(experiment, torch.float32))
    sizes = contrast(experiment.train, 1, len(tables.rows["train"]))
    training = Training(experiment, tables, sizes, Place(), RunRecord(tmp_path / "run"))
    learner = training.learner
    assert (learner.shapes.channels, learner.shapes.features) == (5, 7), "it is turned around"
    history = go(training)
    assert set(experiment.task.metrics) <= set(history[-1])
    assert -1 < history[-1]["valid_correlation"] < 1
    rows, absent = control_rows(Models(learner, learner), experiment.task.pools(tables.words("test")))
    found = rows.set_index("control")
    assert [one["control"] for one in absent] == ["place"], "no two of its segments are at the same place"
    assert list(found.index) == ["model", "random", "other segment", "noise", "shifted", "length", "envelope"]
    assert (found["candidates"] == 5).all() and (found["segments"] == 16).all(), "of each recording its own windows"
    assert len(set(found["correlation"].dropna())) == 5, "every control replaces what goes in"


def test_measures_are_averaged_over_segments_then_studies(plugin: Path) -> None:
    experiment = override(Experiment(), SMALL | CHANGES)
    tables = words(random_tables(experiment, torch.float32))
    training = Training(experiment, tables, contrast(experiment.train, 1, 96), Place(), RunRecord(plugin.parent / "run"))
    training.learner.network.eval()
    made = training.validation.pools
    ranked = [rank_rows(training.learner, pool, slice(None)) for pool in made]
    halves = [
        tally(rank_rows(training.learner, pool, slice(0, 2))) + tally(rank_rows(training.learner, pool, slice(2, None)))
        for pool in made
    ]
    found = averages(experiment.task, made, halves)
    every = torch.cat([some.measures["correlation"] for some in ranked])
    assert found["correlation"] == pytest.approx(float(every.mean()), abs=1e-6)
    assert found["top1"] == pytest.approx(sum(int((some.segment <= 1).sum()) for some in ranked) / 16)
    two = [replace(pool, study=str(number % 2)) for number, pool in enumerate(made)]
    means = [torch.cat([some.measures["correlation"] for some in ranked[start::2]]).mean() for start in (0, 1)]
    assert averages(experiment.task, two, halves)["correlation"] == pytest.approx(float(sum(means)) / 2, abs=1e-6)
    assert averages(experiment.task, [], []) == {}


def test_ridge_goes_forward_where_a_task_does(plugin: Path) -> None:
    """From what is heard to the brain: mTRFpy's forward model of the same windows, subject by subject."""
    lags = {"encoder.tmin_s": -0.2, "encoder.tmax_s": 0, "encoder.step_s": 0, "encoder.penalties": (0.1,)}
    experiment = override(Experiment(), {"task": "follow", "encoder": "ridge", "window.offset_s": 0.1, **lags})
    learner = fitted(experiment, random_tables(experiment), Place(dtype=torch.float64))
    one, *_ = fits(learner.tables, per_subject=True)
    with torch.no_grad():
        parts = learner.given(one.train).signal, learner.aimed(one.train), learner.estimates(one.train)
    heard, brain, made = (part.transpose(1, 2).numpy() for part in parts)
    model = TRF(direction=1)
    model.train(list(heard), list(brain), learner.shapes.rate_hz, 0, 0.2, 0.1)
    np.testing.assert_allclose(made, np.stack(model.predict(stimulus=list(heard))), rtol=0, atol=1e-5)


@pytest.mark.parametrize("task", ["decode", "encode"])
def test_ridge_looks_where_its_task_says_as_encoder_as_baseline_and_as_line(task: str) -> None:
    """The brain answers 0 to 400 ms after the sound and is read 150 ms later: it is after what is decoded from it."""
    expected = {"decode": range(-3, 6), "encode": range(-5, 4)}[task]
    few = {"task": task, "train.batch_size": 16, "train.contrast_size": 16}
    plain = override(Experiment(), few | {"encoder": "ridge"})
    lined = override(Experiment(), few | {"encoder.attention.on": False, "encoder.ridge.on": True})
    for experiment in (plain, baseline_of(plain), lined):
        tables = random_tables(experiment)
        learner = Learner(experiment, tables, contrast(plain.train, 1, len(tables.rows["train"])), Place())
        (maps,) = [part for part in learner.network.modules() if isinstance(part, RidgeMaps)]
        assert maps.lags == expected
    assert baseline_of(plain).encoder == plain.encoder


@pytest.mark.slow
def test_a_task_in_one_file_runs_from_recordings_to_the_table(plugin: Path, tmp_path: Path) -> None:
    """As a person would type it, in processes that know of the file by $RAYBRAIN_PLUGINS only."""
    code = "from raybrain.cli import main; main()"
    settings = [*TINY, "data.studies.synthetic.signal=10", "task=follow", "encoder.attention.on=no", "loss=mse"]
    command = [sys.executable, "-c", code, "train", "quickstart", *settings, "--json", "--home", str(tmp_path / "home")]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "RAYBRAIN_PLUGINS": str(plugin)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert "correlation" in done.stdout
    (study,) = result["test"]
    assert study["correlation"] > 0.2 and study["top10"] > study["chance10"] + 0.1
    controls = {row["control"]: row for row in result["controls"]}
    assert "untrained" not in controls
    assert controls["noise"]["correlation"] < study["correlation"] / 2
    assert all(not math.isnan(row["valid_correlation"]) for row in result["history"])


def test_the_mean_over_segments_of_each_subject() -> None:
    import pandas as pd

    ranks = pd.DataFrame(
        {"study": "s", "subject": list("aab"), "rank": [1, 2, 3], "word_rank": 1, "candidates": [10, 10, 40], "words": 5}
    ).assign(correlation=[0.1, 0.3, 0.5])
    by_subject = summary(ranks, ["study", "subject"], ["correlation"]).set_index("subject")
    assert by_subject["correlation"].to_dict() == pytest.approx({"a": 0.2, "b": 0.5})
    assert by_subject["candidates"].to_dict() == {"a": 10, "b": 40}
    (study,) = summary(ranks, ["study"]).to_dict("records")
    assert study["candidates"] == 20
    assert study["chance1"] == pytest.approx((0.1 + 0.1 + 0.025) / 3)


def test_a_search_may_go_by_what_the_task_measures(plugin: Path) -> None:
    space = SearchSpace("quickstart", {"optim.lr": FloatDistribution(1e-4, 1e-2)}, trials=2, metric="valid_correlation")
    with pytest.raises(InputError, match=r"no metric 'valid_correlation' of the valid split.*valid_loss, valid_top1"):
        check(space)
    check(replace(space, fixed={"task": "follow"}))
    assert space.mode == "max"
