"""A trained model needs its folder and nothing else: elsewhere it gives the very estimates it gave where it was trained."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

import raybrain
from raybrain.cluster import Cluster
from raybrain.config import InputError, override
from raybrain.evaluate.rank import load_learner
from raybrain.experiment import recipe
from raybrain.features.base import Feature
from raybrain.model_folder import read_card, read_weights, write_model
from raybrain.predict.model import Model
from raybrain.prepare import build as preparing
from raybrain.probabilities import calibrated
from raybrain.signal.window import Scaler
from raybrain.train import fit
from raybrain.train.fit import work
from raybrain.train.job import TrainJob, make_place
from raybrain.train.messages import Nobody
from raybrain.train.step import Learner
from tests.conftest import REPO, TINY

DEEP = ["speech_encoder=deep_mel", "speech_encoder.depth=2", "speech_encoder.hidden=6", "speech_encoder.output=4"]
KINDS = {"stored": [], "a trained speech side": DEEP, "classes": ["data.features=mel,phoneme", "loss=mixed"]}


@dataclass(frozen=True)
class Done:
    """A trained experiment."""

    job: TrainJob
    learner: Learner

    @property
    def folder(self) -> Path:
        return self.job.record.model

    def signal(self, recording: str) -> np.ndarray:
        return np.concatenate(list(self.job.store.brain(recording)))

    def windows(self, recording: str) -> tuple[torch.Tensor, torch.Tensor]:
        """The test segments of a recording, and the sample of it at which each starts."""
        tables, uids = self.learner.tables, self.job.recordings
        number, rows = sorted(uids).index(recording), tables.rows["test"]
        rows = rows[tables.recording[rows] == number]
        begins = np.cumsum([0, *(len(self.signal(uid)) for uid in sorted(uids))])
        return rows, tables.start[rows] - int(begins[number])


def trained(home: Path, *settings: str) -> Done:
    changes = dict(setting.split("=", 1) for setting in [*TINY, "train.epochs=2", *settings])
    experiment, cluster = override(recipe("quickstart"), changes), Cluster(home=home)
    job = fit.make_job(experiment, preparing.run(experiment.data, cluster), cluster)
    place = make_place(cluster, 0, 1, torch.device("cpu"))
    work(job, place, Nobody())
    return Done(job, load_learner(job, place))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """As in a worker: how many threads add up decides about the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def done(ray_cluster: None, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Done:
    return trained(tmp_path_factory.mktemp("predict"))


ELSEWHERE = """
import json, sys
import numpy as np, torch
import raybrain
torch.set_num_threads(1)
folder, data = sys.argv[1:]
model = raybrain.load(folder)
for number, recording in enumerate(model.recordings):
    signal, starts = np.load(f"{data}/{number}-signal.npy"), np.load(f"{data}/{number}-starts.npy")
    np.save(f"{data}/{number}-estimates.npy", model.estimates(signal, starts, recording=recording).numpy())
heavy = [name for name in ("ray", "mne", "mlflow", "optuna", "transformers", "pyarrow.parquet") if name in sys.modules]
print(json.dumps({"heavy": heavy, "recordings": model.recordings, "subjects": model.subjects, "metrics": model.metrics}))
"""


def test_a_fresh_process_without_the_home_gives_the_same_bits(done: Done, tmp_path: Path) -> None:
    expected = []
    for number, recording in enumerate(sorted(done.job.recordings)):
        rows, starts = done.windows(recording)
        assert len(rows) > 10
        expected.append(done.learner.estimates(rows).detach().numpy())
        np.save(tmp_path / f"{number}-signal.npy", done.signal(recording))
        np.save(tmp_path / f"{number}-starts.npy", starts.numpy())
    home, away = done.job.cluster.home, done.job.cluster.home.with_name("away")
    home.rename(away)
    try:
        path = away / done.folder.relative_to(home)
        command = [sys.executable, "-c", ELSEWHERE, str(path), str(tmp_path)]
        environment = {"PYTHONPATH": str(REPO), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    finally:
        away.rename(home)
    assert ended.returncode == 0, ended.stderr
    known = json.loads(ended.stdout.splitlines()[-1])
    assert known["heavy"] == [], "using a model takes neither Ray nor what reads recordings"
    assert known["recordings"] == sorted(done.job.recordings)
    assert known["subjects"] == ["synthetic-meg/01", "synthetic-meg/02"]
    best = min(done.job.record.history(), key=lambda row: row["valid_loss"])
    assert known["metrics"] == {name: value for name, value in best.items() if name not in ("seconds", "data_wait")}
    for number, estimates in enumerate(expected):
        assert np.array_equal(np.load(tmp_path / f"{number}-estimates.npy"), estimates)


@pytest.mark.parametrize("kind", KINDS)
def test_estimates_and_scores_are_those_of_training(kind: str, done: Done) -> None:
    here = done if kind == "stored" else trained(done.job.cluster.home, *KINDS[kind])
    model, recording = raybrain.load(here.folder), here.job.recordings[0]
    rows, starts = here.windows(recording)
    with torch.no_grad():
        expected = here.learner.estimates(rows)
        scores = here.learner.scores(expected, here.learner.aimed(rows))
    estimates = model.estimates(here.signal(recording), starts.tolist(), recording=recording)
    assert torch.equal(estimates, expected)
    assert torch.equal(model.scores(estimates, here.learner.stored(rows)), scores)
    assert model.experiment.signature == model.signature == here.job.experiment.signature
    assert [feature.name for feature in model.features] == [feature.name for feature in here.job.experiment.data.features]
    assert model.shapes == here.learner.shapes


def test_it_says_how_sure_its_best_weights_are_on_the_valid_split(done: Done) -> None:
    known, learner = raybrain.load(done.folder).card.calibration, done.learner
    (pool,) = learner.task.pools(learner.tables.words("valid_words"))
    with torch.no_grad():
        scores = learner.scores(learner.estimates(pool.rows), learner.aimed(pool.stands))
    assert known == calibrated([(scores, pool.targets)])
    assert known and known.rows == len(pool.rows)
    assert known.entropy < np.log(len(pool.stands))


def test_features_are_scaled_as_in_training(done: Done) -> None:
    """From the frames that a feature gives to what candidates are: a model's own words suffice."""
    (scale,) = raybrain.load(done.folder).features
    entry = done.job.store.manifest["features"][next(iter(done.job.features))]
    key = sorted(entry["files"])[0]
    frames = done.job.store.frames(next(iter(done.job.features))).read(key)
    (table,) = done.learner.tables.features
    assert np.isin(scale.scaled(frames), table.frames.numpy()).all()
    assert np.array_equal(scale.quiet, table.frames[0].numpy())
    assert scale.rate_hz == Feature.kind("mel")().rate_hz


def test_it_is_found_by_folder_run_and_signature(done: Done, tmp_path: Path) -> None:
    home, run = done.job.cluster.home, done.job.record.path
    found = [raybrain.load(done.folder), raybrain.load(str(run)), raybrain.load(done.job.experiment.signature, home=home)]
    assert {model.path for model in found} == {done.folder}
    assert f"Model {done.job.experiment.signature}: simple_conv, 2 subjects" in repr(found[0])
    with pytest.raises(InputError, match=rf"no trained model '{done.job.experiment.signature}' in {tmp_path}"):
        raybrain.load(done.job.experiment.signature, home=tmp_path)
    with pytest.raises(InputError, match=f"did you mean '{done.job.experiment.signature}'"):
        raybrain.load(done.job.experiment.signature[:-1], home=home)
    with pytest.raises(InputError, match=r"no trained model '\*' in"):
        raybrain.load("*", home=home)
    with pytest.raises(InputError, match=r"no model in .*; `raybrain train` writes one"):
        raybrain.load(home)
    twin = run.with_name(f"{run.name}x")
    write_model(twin / "model", read_card(done.folder), read_weights(done.folder))
    try:
        with pytest.raises(InputError, match=f"several versions of its data; type one of them: {run} or {twin}"):
            raybrain.load(done.job.experiment.signature, home=home)
    finally:
        (twin / "model").rename(tmp_path / "twin")
        twin.rmdir()


def test_another_subject_scaler_or_order_of_sensors(done: Done) -> None:
    model, (one, two) = raybrain.load(done.folder), sorted(done.job.recordings)
    signal, (_, starts) = done.signal(one), done.windows(one)
    own = model.estimates(signal, starts, recording=one)
    scaler, (layout,) = model.card.recordings[one].scaler, model.layouts
    by_hand = model.estimates(signal, starts, subject=model.subjects[0], scaler=scaler)
    assert torch.equal(by_hand, own)
    doubled = Scaler(2 * scaler.centre, 2 * scaler.scale)
    assert torch.equal(model.estimates(2 * signal, starts, recording=one, scaler=doubled), own)
    assert not torch.allclose(model.estimates(signal, starts, recording=one, subject=model.subjects[1]), own)
    assert not torch.allclose(model.estimates(signal, starts, recording=two), own)
    order = np.random.default_rng(0).permutation(len(layout.channels))
    turned = replace(layout, **{name: tuple(getattr(layout, name)[i] for i in order) for name in vars(layout)})
    moved = Scaler(scaler.centre[order], scaler.scale[order])
    again = model.estimates(signal[:, order], starts, subject=model.subjects[0], scaler=moved, layout=turned)
    torch.testing.assert_close(again, own)
    few = replace(layout, **{name: getattr(layout, name)[:10] for name in vars(layout)})
    less = Scaler(scaler.centre[:10], scaler.scale[:10])
    part = model.estimates(signal[:, :10], starts, subject=model.subjects[0], scaler=less, layout=few)
    assert part.shape == own.shape and not torch.allclose(part, own)


LOST = np.zeros((1000, 16))
LOST[10, 3], LOST[500, 7] = np.nan, np.inf
BAD: list[tuple[dict[str, Any], str]] = [
    ({}, r"say whose signal it is: recording=\.\.\. or subject=\.\.\."),
    ({"recording": "nobody"}, r"the model knows no recording 'nobody'\. Allowed: synthetic-meg_sub-01"),
    ({"subject": "synthetic-meg/1"}, r"say how to scale the signal"),
    ({"recording": "ONE", "subject": "synthetic-meg/1"}, r"no subject 'synthetic-meg/1', did you mean 'synthetic-meg/01'"),
    ({"recording": "ONE", "starts": [-1]}, r"windows of 361 samples can start at 0 to \d+ of this signal, found from -1 to -1"),
    ({"recording": "ONE", "starts": []}, r"found none"),
    ({"recording": "ONE", "starts": [0.0, 0.5]}, r"starts are numbers of samples, found 0\.0"),
    ({"recording": "ONE", "signal": np.zeros((100, 16))}, r"a window has 361 samples, and this signal 100"),
    ({"recording": "ONE", "signal": np.zeros((1000, 15))}, r"must have the 16 channels of the layout, found 1000 x 15 and 16"),
    ({"recording": "ONE", "signal": [[0.0] * 15] * 1000}, r"must have the 16 channels of the layout, found 1000 x 15 and 16"),
    ({"recording": "ONE", "signal": "sub-01.fif"}, r"signal is an array \[samples channels\] of numbers, found str"),
    ({"recording": "ONE", "signal": LOST}, r"the signal is not finite in 2 of 16 channels, the first of them number 3"),
    ({"recording": "ONE", "scaler": Scaler(np.zeros(3), np.ones(3))}, r"must have the 16 channels .* and 3"),
]


@pytest.mark.parametrize(("arguments", "line"), BAD, ids=[line[:30] for _, line in BAD])
def test_what_cannot_be_estimated_is_said_in_a_line(arguments: dict[str, Any], line: str, done: Done) -> None:
    one = sorted(done.job.recordings)[0]
    arguments = {"signal": np.zeros((1000, 16)), "starts": [0], **arguments}
    arguments |= {"recording": one} if arguments.get("recording") == "ONE" else {}
    with pytest.raises(InputError, match=line) as error:
        raybrain.load(done.folder).estimates(**arguments)
    assert "\n" not in str(error.value)


def test_what_cannot_be_loaded_is_said_in_a_line(done: Done, tmp_path: Path) -> None:
    for device in ("gpu", "meta:x"):
        with pytest.raises(InputError, match=f"no device '{device}' .*; type cpu, or cuda where there is a GPU"):
            raybrain.load(done.folder, device=device)
    for name in ("model.json", "model.safetensors"):
        copy = tmp_path / name / "model"
        shutil.copytree(done.folder, copy)
        (copy / name).unlink()
        (copy / name).mkdir()
        with pytest.raises(InputError, match=rf"{name} cannot be read \(Is a directory\)"):
            raybrain.load(copy)


# when it is written


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Impatient(Nobody):
    """Has enough after the first epoch."""

    def stops(self, epoch: int) -> bool:
        return True


def again(job: TrainJob, stop: bool = False) -> None:
    work(job, make_place(job.cluster, 0, 1, torch.device("cpu")), Impatient() if stop else Nobody())


def test_a_run_that_was_killed_before_its_model_was_there_writes_it_when_it_goes_on(done: Done) -> None:
    before, history = content(done.folder), done.job.record.history()
    shutil.rmtree(done.folder)
    done.job.record.finish(done.job.experiment.signature, done.job.digest, history)
    assert fit.recall(done.job, done.job.cluster.tracking_store()) is None, "without its model it is not done"
    again(done.job)
    assert content(done.folder) == before
    assert done.job.record.history() == history


def test_a_model_is_written_whole_or_not_at_all(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(done.folder)
    shutil.rmtree(done.folder)
    with monkeypatch.context() as patch:
        patch.setattr("raybrain.model_folder.file_digest", Mock(side_effect=OSError(28, "No space left on device")))
        with pytest.raises(InputError, match="the disk is full"):
            again(done.job)
    assert not list(done.folder.parent.glob("*model*"))
    again(done.job)
    assert content(done.folder) == before


def test_a_training_that_a_sweep_stops_has_no_model_yet(done: Done) -> None:
    settings = [*TINY, "train.epochs=2", "train.seed=5"]
    experiment = override(recipe("quickstart"), dict(setting.split("=", 1) for setting in settings))
    job = fit.make_job(experiment, preparing.run(experiment.data, done.job.cluster), done.job.cluster)
    again(job, stop=True)
    assert len(job.record.history()) == 1 and not job.record.model.exists()
    again(job)
    assert raybrain.load(job.record.model).metrics["epoch"] in (1, 2)


# elsewhere


def changed(done: Done, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a model whose settings were changed."""
    card = read_card(done.folder)
    change(card.experiment)
    write_model(folder, card, read_weights(done.folder))
    return folder


def test_a_study_that_is_not_known_here_does_not_matter(done: Done, tmp_path: Path) -> None:
    folder = changed(done, tmp_path, lambda tree: tree["data"]["studies"][0].update(name="of_somebody"))
    model = raybrain.load(folder)
    assert isinstance(model, Model)
    with pytest.raises(InputError, match="no study called 'of_somebody'"):
        _ = model.experiment


def test_networks_that_are_not_known_here_are_named(done: Done, tmp_path: Path) -> None:
    folder = changed(done, tmp_path / "a", lambda tree: tree["encoder"].update(name="of_somebody"))
    with pytest.raises(InputError, match="no encoder called 'of_somebody'"):
        raybrain.load(folder)
    folder = changed(done, tmp_path / "b", lambda tree: tree["encoder"].update(hidden=25))
    with pytest.raises(InputError, match="the weights do not fit the network that is built here") as error:
        raybrain.load(folder)
    assert "\n" not in str(error.value)


def test_another_version_of_the_encoder_is_warned_of(done: Done, tmp_path: Path) -> None:
    card = read_card(done.folder)
    write_model(tmp_path, replace(card, versions=card.versions | {"encoder": "old"}), read_weights(done.folder))
    with pytest.warns(
        UserWarning, match="encoder=simple_conv has version 1 here and was trained with old; estimates may differ"
    ):
        raybrain.load(tmp_path)


def test_loading_draws_no_random_number(done: Done) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    raybrain.load(done.folder)
    assert torch.equal(torch.rand(3), expected)
