"""What trainings cost on a cluster, by rates that were given."""

from pathlib import Path
from typing import Any

import pytest

from raybrain.cluster import Cluster
from raybrain.config import InputError, override
from raybrain.estimate.expense import Load, expense

LOAD = Load(trainings=10, segments=36_000_000, seconds=36_000.0, gradients=1e9, store=2e9, maps=1e9)


def cluster(home: Path, **changed: Any) -> Cluster:
    return override(Cluster(home=home), {key.replace("rates_", "rates."): value for key, value in changed.items()})


def test_without_rates_nothing_is_said(tmp_path: Path) -> None:
    assert expense(LOAD, cluster(tmp_path)) is None


def test_a_sweep_on_one_node_and_on_eight(tmp_path: Path) -> None:
    one = expense(LOAD, cluster(tmp_path, rates_segments_s=1000, rates_worker_hour=2, rates_gb_month=0.5))
    assert one and (one.hours, one.worker_hours, one.money, one.month, one.network) == (10, 10, 20, 1, 0)
    many = expense(LOAD, cluster(tmp_path, rates_segments_s=1000, rates_workers=64, rates_worker_hour=2, rates_gb=0.25))
    assert many and many.hours == 1, "ten trainings side by side; none is split"
    assert many.worker_hours == 64, "those that have nothing to do are paid, too"
    assert many.network == 8e9 and many.money == 64 * 2 + 8 * 0.25, "eight nodes read the data once"
    three = expense(LOAD, cluster(tmp_path, rates_segments_s=1000, rates_workers=3))
    assert three and three.hours == 4, "three at a time, and one alone at the end"


def test_a_training_over_several_nodes_exchanges_gradients(tmp_path: Path) -> None:
    spent = expense(LOAD, cluster(tmp_path, workers=16, rates_segments_s=1000))
    assert spent and spent.hours == 10 / 16
    assert spent.network == 2 * 1e9 + 2 * 4 * 1e9


def test_without_a_rate_this_machine_is_gone_by(tmp_path: Path) -> None:
    spent = expense(LOAD, cluster(tmp_path, workers=2, rates_worker_hour=1))
    assert spent and (spent.hours, spent.money, spent.source) == (10, 20, "at the pace of this machine")
    nobody = Load(trainings=10, segments=None, seconds=None, gradients=None, store=None, maps=None)
    assert expense(nobody, cluster(tmp_path, rates_segments_s=1000)) is None


def test_bad_rates_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rates.worker_hour=-1"):
        cluster(tmp_path, rates_worker_hour=-1)
    with pytest.raises(InputError, match=r"worker_hors.*did you mean"):
        cluster(tmp_path, rates_worker_hors=1)
