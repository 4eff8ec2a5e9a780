"""Model card: what a trained model says of itself, from what was asked and from the data it was trained on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

import raybrain
from raybrain.config import Choice, InputError
from raybrain.features.scale import FeatureScale
from raybrain.identity import contents, version
from raybrain.model_folder import KnownRecording, ModelCard
from raybrain.plain import tree
from raybrain.probabilities import Calibration, calibrated
from raybrain.signal.window import Scaler
from raybrain.store import Store
from raybrain.tasks.candidates import Pool
from raybrain.tasks.retrieve import scored
from raybrain.train.record import Row, best_epoch, is_complete
from raybrain.train.step import Learner

if TYPE_CHECKING:
    from raybrain.train.job import TrainJob

ROWS_AT_ONCE = 64
CALIBRATED_ROWS = 2000  # of a pool of the valid split, evenly spread
TIMING = ("seconds", "data_wait")  # in a row of the history, of the machine and not of the model


def keep_model(job: "TrainJob", learner: Learner, history: Sequence[Row]) -> None:
    """Write the model of a training that is done, with the best weights, unless it is there already.

    Raises:
        InputError: if the prepared data have vanished, or the model cannot be written.
    """
    record = job.record
    if not is_complete(history, job.experiment.train) or record.has_model:
        return
    best = record.best()
    assert best is not None and best["epoch"] == best_epoch(history)["epoch"], "the best weights are of another epoch"
    learner.restore({"model": best["model"]})
    record.keep_model(model_card(job, learner, history), best["model"])


def model_card(job: "TrainJob", learner: Learner, history: Sequence[Row]) -> ModelCard:
    """All that one must know to use the best weights of a training.

    Args:
        job: what was trained on what.
        learner: the network with its best weights, and its data.
        history: the metrics of each epoch.

    Raises:
        InputError: if the prepared data have vanished.
    """
    experiment = job.experiment
    features = tuple(FeatureScale.of(job.store.manifest["features"][name]) for name in job.features)
    kinds: dict[str, Choice] = {
        "task": experiment.task,
        "encoder": experiment.encoder,
        "speech_encoder": experiment.speech_encoder,
        "loss": experiment.loss,
    }
    versions = {name: version(type(kind)) for name, kind in kinds.items()}
    return ModelCard(
        signature=experiment.signature,
        data=job.digest,
        experiment=tree(contents(experiment)),
        versions={"raybrain": raybrain.__version__, "torch": torch.__version__, **versions},
        shapes=learner.shapes,
        window=experiment.task.window(learner.tables.window),
        recordings=_recordings(job.store, learner, _speech_scaler(features)),
        features=features,
        metrics={name: value for name, value in best_epoch(history).items() if name not in TIMING},
        calibration=_calibration(learner),
        trained=tuple(learner.shapes.subjects[number] for number in learner.trained),
    )


def _calibration(learner: Learner) -> Calibration | None:
    """How scores become probabilities, from the word onsets of the valid split; None where there are none."""
    learner.network.eval()
    lots = []
    with torch.no_grad():
        for pool in learner.task.pools(learner.tables.words("valid_words")):
            every = -(-len(pool.rows) // CALIBRATED_ROWS)
            thinned = Pool(pool.study, pool.rows[::every], pool.targets[::every], pool.stands, pool.words)
            lots += [(scores.cpu(), targets) for _, targets, _, scores in scored(learner, thinned, slice(None))]
    return calibrated(lots)


def _recordings(store: Store, learner: Learner, speech: Scaler) -> dict[str, KnownRecording]:
    """Every recording that has a segment, with what a batch says of it."""
    tables = learner.tables
    present, row_of = torch.unique(tables.recording.cpu(), return_inverse=True)
    first = torch.full((len(present),), len(row_of)).scatter_reduce(0, row_of, torch.arange(len(row_of)), "amin")
    known = {}
    for some, rows in zip(torch.split(present, ROWS_AT_ONCE), torch.split(first, ROWS_AT_ONCE), strict=True):
        batch = learner.given(rows)
        for number, subject, layout in zip(some.tolist(), batch.subject.tolist(), batch.layout.tolist(), strict=True):
            uid = tables.meta["recordings"][number]
            scaler = learner.task.scaler(_brain_scaler(store, uid), speech)
            known[uid] = KnownRecording(
                learner.shapes.subjects[subject], layout, tuple(scaler.centre.tolist()), tuple(scaler.scale.tolist())
            )
    return known


def _brain_scaler(store: Store, uid: str) -> Scaler:
    part = store.part(uid)
    if part is None:
        raise InputError(f"the data of {uid} in {store.root} vanished while they were used; run the same command again")
    return part.scaler


def _speech_scaler(features: Sequence[FeatureScale]) -> Scaler:
    """Mean and deviation of every dimension that training sees; classes are not scaled."""
    means = [np.zeros(len(one.weights)) if one.weights else np.array(one.mean) for one in features]
    deviations = [np.ones(len(one.weights)) if one.weights else np.array(one.deviation) for one in features]
    return Scaler(np.concatenate(means), np.concatenate(deviations))
