"""From a study on disk to two training steps: what every loader is put through."""

from pathlib import Path
from typing import Any

import torch

from raybrain.cluster import Cluster
from raybrain.config import override
from raybrain.experiment import recipe
from raybrain.prepare import build as preparing
from raybrain.store import Prepared
from raybrain.studies.base import Study
from raybrain.train import fit as training
from raybrain.train.order import Order, contrast
from raybrain.train.step import Learner, Place
from raybrain.train.tables import Tables
from tests.conftest import TINY


def own_copy(study: Study, home: Path) -> Path:
    """The folder in which ``home`` has a copy of ``study`` that was put there by hand."""
    cache = Cluster(home=home).cache
    root = cache / study.name if study.hosts else cache
    root.mkdir(parents=True)
    return root


def two_steps(home: Path, study: str, **changes: Any) -> tuple[Prepared, Tables, list[float]]:
    """Prepare ``study``, which lies in the cache of ``home``, and train a tiny encoder on it for two steps.

    Returns:
        What was prepared, what was trained on, and the losses.
    """
    settings = dict(setting.split("=", 1) for setting in TINY if "synthetic" not in setting)
    experiment = override(recipe("quickstart"), {"data.studies": study} | settings | changes)
    cluster = Cluster(home=home)
    prepared = preparing.run(experiment.data, cluster)
    job = training.make_job(experiment, prepared, cluster)
    tables = job.tables(torch.device("cpu"))
    sizes = contrast(experiment.train, 1, len(tables.rows["train"]))
    learner = Learner(experiment, tables, sizes, Place())
    order = Order(tables.rows["train"], sizes, experiment.train.seed)
    losses = [float(learner.update(learner.load(order.batch(step), order.extra(step), step))) for step in range(2)]
    return prepared, tables, losses
