"""The Python door: a notebook's five lines from a recipe to a table and a figure, and the one look at the test split."""

from pathlib import Path
from typing import Any

import pytest

import raybrain
from raybrain import cluster, flow
from raybrain.cluster import Cluster
from raybrain.evaluate import rank
from tests.conftest import TINY

CHANGES = dict(setting.split("=", 1) for setting in TINY)


def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing start Ray, as if none ran."""

    def started(where: Cluster) -> None:
        raise AssertionError("Ray was started, and nothing was left to do")

    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr(cluster, "_new_session", started)


@pytest.mark.slow
def test_five_lines_from_a_recipe_to_a_table_and_a_figure(
    ray_cluster: None, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    experiment = raybrain.recipe("quickstart", CHANGES | {"train.epochs": 2})
    answer = raybrain.answer(experiment, raybrain.Cluster(home=home))
    assert list(answer.table["subject"]) == ["01", "02", "all"]
    assert {"top1", "chance1", "top10", "chance10", "candidates"} <= set(answer.table.columns)
    assert answer.table["top10"].between(0, 1).all()
    assert answer.figure().axes[0].get_title(loc="left") == answer.table["study"][0]
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
    without_ray(monkeypatch)
    again = raybrain.sweep(space, raybrain.Cluster(home=home))
    assert len(tested) == 1 and again.table.equals(answer.table), "the result is kept"
    assert raybrain.answer(answer.best.experiment, raybrain.Cluster(home=home)).table.equals(answer.best.table)
    flow.report("winner", raybrain.Cluster(home=home))
    assert not answer.best.trained.job.record.ray.exists(), "of a training that is over nothing of Ray's is left"


def test_a_notebook_offers_the_doors() -> None:
    assert set(raybrain.__all__) <= set(dir(raybrain))
