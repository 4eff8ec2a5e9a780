"""The Python door: a notebook's five lines from a recipe to a table and a figure, and the one look at the test split."""

from pathlib import Path
from typing import Any

import pytest

import raybrain
from raybrain.evaluate import rank
from tests.conftest import TINY

CHANGES = dict(setting.split("=", 1) for setting in TINY)


@pytest.mark.slow
def test_five_lines_from_a_recipe_to_a_table_and_a_figure(
    ray_cluster: None, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    experiment = raybrain.recipe("quickstart", CHANGES | {"train.epochs": 2})
    answer = raybrain.answer(experiment, raybrain.Cluster(home=home))
    assert list(answer.table["subject"]) == ["01", "02", "all"]
    assert {"top1", "chance1", "top10", "chance10", "candidates"} <= set(answer.table.columns)
    assert answer.table["top10"].between(0, 1).all()
    assert answer.figure().axes[0].get_title() == answer.table["study"][0]
    assert "<table" in answer._repr_html_()
    assert "data ready: 2 recordings" in capfd.readouterr().err
    again = raybrain.answer(experiment, raybrain.Cluster(home=home))
    assert again.table.equals(answer.table)
    assert again.trained.history == answer.trained.history


@pytest.mark.slow
def test_only_the_winner_of_a_sweep_meets_the_test_split(
    ray_cluster: None, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.distributions import CategoricalDistribution

    from raybrain.tune.space import SearchSpace

    tested: list[str] = []
    honest = rank._rank

    def watched(job: Any) -> Any:
        tested.append(job.experiment.signature)
        return honest(job)

    monkeypatch.setattr(rank, "_rank", watched)
    space = SearchSpace(
        recipe="quickstart",
        parameters={"encoder.hidden": CategoricalDistribution([16, 20])},
        fixed=CHANGES | {"train.epochs": 1, "train.seed": 5},
        scheduler="none",
        trials=2,
        name="winner",
    )
    answer = raybrain.sweep(space, raybrain.Cluster(home=home))
    assert len(answer.table) == 2
    assert tested == [answer.best.experiment.signature] == [answer.table["signature"][0]]
    raybrain.sweep(space, raybrain.Cluster(home=home))
    assert len(tested) == 1, "the result is kept"


def test_a_notebook_offers_the_doors() -> None:
    assert set(raybrain.__all__) <= set(dir(raybrain))
