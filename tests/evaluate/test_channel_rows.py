"""Channel rows: correlations, the upper reference and what single features add, each found again another way."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from raybrain.config import override
from raybrain.encoders.ridge import Moments, Ridge, solve
from raybrain.evaluate.baseline import baseline_of
from raybrain.evaluate.channel_rows import channel_rows
from raybrain.experiment import Experiment
from raybrain.train.closed_form import fitted
from raybrain.train.order import Contrast
from raybrain.train.step import Learner, Place
from raybrain.train.tables import Tables
from tests.tasks.test_tasks import words
from tests.workers import SMALL, random_tables

CHANGES: dict[str, Any] = {
    "task": "encode",
    "data.features": "mel,envelope",
    "encoder.attention.on": False,
    "task.prompt_s": 0.2,
}
HEARD = torch.arange(16) // 2  # each candidate in two neighbouring recordings


@pytest.fixture(scope="module")
def learner() -> Learner:
    """A network as it was drawn, two features, and stimuli that people share; one sensor is bad for everybody."""
    experiment = override(Experiment(), SMALL | CHANGES)
    tables = words(random_tables(override(experiment, {"loss": "by_feature"})))
    candidate = tables.candidate.clone()
    candidate[tables.rows["test"]] = HEARD
    places = [{"channels": list("abcdefg"), "places": [None] * 7}] * 2
    valid = torch.ones_like(tables.valid)
    valid[:, 2] = False
    tables = replace(tables, candidate=candidate, valid=valid, meta=tables.meta | {"layouts": places})
    made = Learner(experiment, tables, Contrast(16, 1, 16, 16, 0, 1), Place(dtype=torch.float64))
    made.network.eval()
    return made


@pytest.fixture(scope="module")
def rows(learner: Learner) -> pd.DataFrame:
    experiment = override(Experiment(), SMALL | CHANGES)
    pools = learner.task.pools(learner.tables.words("test"))
    return channel_rows(learner, baseline_of(experiment), pools).set_index("channel")


def whose(tables: Tables) -> torch.Tensor:
    return tables.subject[tables.recording[tables.rows["test"]]]


def joined(values: torch.Tensor) -> np.ndarray:
    """The seconds after the prompt of all segments one after another, [channels samples]."""
    flat: np.ndarray = values[..., 4:].transpose(0, 1).flatten(1).numpy()
    return flat


def mean_correlation(one: torch.Tensor, other: torch.Tensor, who: torch.Tensor) -> list[float]:
    """Of each channel, averaged over subjects."""
    values = [
        [np.corrcoef(x, y)[0, 1] for x, y in zip(joined(one[who == n]), joined(other[who == n]), strict=True)] for n in (0, 1)
    ]
    return list(np.mean(values, axis=0))


def test_correlations_are_over_all_segments_of_a_subject(learner: Learner, rows: pd.DataFrame) -> None:
    test = learner.tables.rows["test"]
    with torch.no_grad():
        estimates, aimed = learner.estimates(test), learner.stored(test)
    assert list(rows.index) == list("abdefg"), "what is bad everywhere is left out"
    assert (rows["subjects"] == 2).all() and rows["x"].notna().all()
    assert list(rows["correlation"]) == pytest.approx(mean_correlation(estimates, aimed, whose(learner.tables)))


def test_the_ceiling_is_the_mean_of_the_others_who_heard_the_same(learner: Learner, rows: pd.DataFrame) -> None:
    test, who = learner.tables.rows["test"], whose(learner.tables)
    aimed = learner.stored(test)
    others = [[m for m in range(16) if HEARD[m] == HEARD[n] and who[m] != who[n]] for n in range(16)]
    shared = [n for n in range(16) if others[n]]
    assert 0 < len(shared) < 16
    upper = torch.stack([aimed[others[n]].mean(dim=0) for n in shared])
    assert list(rows["ceiling"]) == pytest.approx(mean_correlation(upper, aimed[shared], who[shared]))


def test_nobody_who_heard_the_same_is_no_ceiling(learner: Learner) -> None:
    alone = Learner(
        override(Experiment(), SMALL | CHANGES),
        replace(learner.tables, candidate=torch.arange(len(learner.tables.candidate))),
        learner.sizes,
        learner.place,
    )
    alone.network.eval()
    made = channel_rows(
        alone, baseline_of(override(Experiment(), SMALL | CHANGES)), alone.task.pools(alone.tables.words("test"))
    )
    assert made["ceiling"].isna().all() and made["correlation"].notna().all()


def test_what_a_feature_adds_is_what_ridge_regression_loses_without_it(learner: Learner, rows: pd.DataFrame) -> None:
    """Fitted anew on the other feature alone, with its own penalty and its division."""
    tables, baseline = learner.tables, baseline_of(override(Experiment(), SMALL | CHANGES))
    config, ridge = baseline.encoder, fitted(baseline, tables, learner.place)
    assert isinstance(config, Ridge)
    lags, who = config.lags(ridge.shapes), tables.subject[tables.recording]
    kept = {"noise": [*range(5, 8), *range(8, 14)], "classes": [*range(5), *range(8, 14)]}  # the other feature, and the prompt
    sizes = {"noise": (3, 6), "classes": (5, 6)}

    for name, inside in kept.items():
        falls = []
        for subject in (0, 1):

            def moments(split: str, some: list[int], subject: int = subject) -> Moments:
                made = Moments(lags)
                mine = tables.rows[split][who[tables.rows[split]] == subject]
                made.add(ridge.given(mine).signal[:, some], ridge.stored(mine))
                return made

            values = []
            for some, parts in ((list(range(14)), (5, 3, 6)), (inside, sizes[name])):
                ways = config.ways(parts)
                weights, _ = solve(moments("train", some), moments("valid", some), config, 20.0, ways)
                values.append(moments("test", some).correlation(weights))
            falls.append((values[0] - values[1]).numpy())
        assert list(rows[f"unique_{name}"]) == pytest.approx(list(np.mean(falls, axis=0)), abs=1e-8)


def test_the_correlation_of_moments_is_that_of_the_estimate(learner: Learner) -> None:
    generator = torch.Generator().manual_seed(0)
    given, aimed = (torch.randn(6, n, 30, generator=generator, dtype=torch.float64) for n in (3, 2))
    moments, lags = Moments(range(-1, 2)), range(-1, 2)
    moments.add(given, aimed)
    weights = torch.randn(9, 2, generator=generator, dtype=torch.float64)
    padded = torch.nn.functional.pad(given, (1, 1))
    lagged = torch.cat([padded[..., lag + 1 : lag + 31] for lag in lags], dim=1)
    made = torch.einsum("bpt,pd->bdt", lagged, weights)
    expected = [np.corrcoef(x, y)[0, 1] for x, y in zip(joined_all(made), joined_all(aimed), strict=True)]
    assert moments.correlation(weights).tolist() == pytest.approx(expected)


def joined_all(values: torch.Tensor) -> np.ndarray:
    flat: np.ndarray = values.transpose(0, 1).flatten(1).numpy()
    return flat
