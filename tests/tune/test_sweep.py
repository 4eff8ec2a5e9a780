"""Whole sweeps, and what one is after a kill."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from raybrain.cluster import Cluster
from raybrain.placement import room_for
from raybrain.train.record import RunRecord, run_records
from tests.conftest import REPO, TINY, Ended, hear_ctrl_c
from tests.sweeps import runs

Raybrain = Callable[..., Ended]


FILE = """
'''What is best?'''
from optuna.distributions import CategoricalDistribution
from raybrain.tune.space import SearchSpace
from raybrain.tune.study import STORAGE
def architecture(trial):
    if trial.suggest_categorical("encoder", ["simple_conv", "conv_rnn"]) == "simple_conv":
        return {"encoder.depth": trial.suggest_categorical("depth", [1, 2])}
    return {"encoder": "conv_rnn", "encoder.depth": 1, "encoder.lstm.layers": trial.suggest_int("layers", 1, 2)}
SPACE = SearchSpace(recipe="quickstart", metric="valid_loss", **CHANGED)
"""


def write(folder: Path, name: str, changed: str) -> str:
    path = folder / f"{name}.py"
    path.write_text(FILE.replace("**CHANGED", changed))
    return str(path)


def test_trials_of_one_worker_share_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import ray

    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 64.0, "GPU": 2.0}}])
    assert [room_for(Cluster(home=tmp_path, gpus_per_worker=share), 1) for share in (2, 1, 0.5, 0.1)] == [1, 2, 4, 20]
    with pytest.raises(ValueError, match="2 workers cannot share a GPU"):
        Cluster(home=tmp_path, gpus_per_worker=0.5, workers=2)


def test_bad_limits_get_one_line(raybrain: Raybrain, home: Path) -> None:
    for option, value in (("--time-budget", "soon"), ("--time-budget", "0m"), ("--max-concurrent", "0")):
        ended = raybrain("tune", "quickstart", option, value, "--home", str(home))
        assert ended.code == 2
        assert f"raybrain: {option} {value}: type" in ended.err


@pytest.mark.slow
def test_a_sweep_over_somebodys_own_recordings(raybrain: Raybrain, ray_cluster: None, semireal: Path, tmp_path: Path) -> None:
    """A folder of BIDS goes by what is in it, so that its trials are those of the data that were prepared wherever it lies."""
    shutil.copytree(semireal, tmp_path / "mine", copy_function=shutil.copyfile)
    ridge = {"encoder": "ridge", "data.features.mel.bands": 20}
    studies = {"all": {"data.studies": f"bids:{tmp_path / 'mine'}"}}
    space = write(
        tmp_path, "own", f"variants={{'studies': {studies}}}, fixed={ridge}, seeds=(1,), sampler='grid', scheduler='none'"
    )
    ended = raybrain("tune", space, "--home", str(tmp_path / "home"), "--json")
    assert ended.code == 0, ended.err
    (trial,) = ended.json["sweep"]["trials"]
    assert trial["state"] == "finished"
    assert ended.json["test"][0]["top10"] > 2 * ended.json["test"][0]["chance10"]


def test_nothing_is_prepared_to_go_on_with_a_sweep_that_was_never_begun(raybrain: Raybrain, tmp_path: Path) -> None:
    (tmp_path / "sweeps" / "quickstart-0123abcd").mkdir(parents=True)  # a folder alone is no sweep
    ended = raybrain("tune", "quickstart", "--resume", "--home", str(tmp_path))
    assert ended.code == 2
    assert "raybrain: there is no such sweep to go on with" in ended.err
    assert not (tmp_path / "stores").exists() and not (tmp_path / "studies").exists()


@pytest.mark.slow
def test_a_sweep_with_seeds_features_a_failure_and_what_it_leaves_behind(
    ray_cluster: None, raybrain: Raybrain, home: Path, tmp_path: Path
) -> None:
    """Two data parts, and a recipe that is no point of the space."""
    rows = "{'good': {'data.features': 'mel,word_segment', 'encoder.depth': 1}, 'bad': {'encoder.depth': 1, 'optim.lr': 1e9}}"
    file = write(tmp_path, "rows", f'variants={{"row": {rows}}}, sampler="grid", scheduler="none", seeds=(1, 2)')
    settings = [s for s in TINY if "epochs" not in s and "depth" not in s] + ["train.epochs=2"]
    where = ["--home", str(home), "--json"]
    planned = raybrain("tune", file, *settings, "--dry-run", *where)
    assert planned.code == 0, planned.err
    assert "2 trials x 2 repetitions = 4 trainings" in planned.out and "2 data parts" in planned.out
    assert planned.json["points"] == [{"row": "good"}, {"row": "bad"}]
    assert raybrain("tune", file, *settings, "--resume", *where).code == 2  # there is nothing to go on with
    ended = raybrain("tune", file, *settings, *where)
    assert ended.code == 0, ended.err
    sweep = ended.json["sweep"]
    good, bad = sweep["trials"]
    assert (good["state"], bad["state"]) == ("finished", "failed")
    assert "not finite or has exploded" in bad["reason"]
    scores = [run["score"] for run in good["runs"]]
    assert good["score"] == pytest.approx(sum(scores) / 2) and good["sd"] > 0 and scores[0] != scores[1]
    assert set(ended.json["repeats"]) == {"1", "2"}
    assert ended.json["signature"] == good["signature"]  # evaluated on its own data
    found = runs(ended.json["tracking_uri"])
    parent = found[sweep["mlflow_run_id"]]
    assert parent.data.tags["best.signature"] == good["signature"]
    children = [run for run in found.values() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {run.info.status for run in children} == {"FINISHED", "FAILED"}
    assert [run for run in children if "exploded" in run.data.tags.get("stopped", "")]
    from mlflow import MlflowClient

    client = MlflowClient(ended.json["tracking_uri"])
    kept = {item.path for folder in ("", "figures", "tables") for item in client.list_artifacts(parent.info.run_id, folder)}
    assert {"best.json", "trials.json", "figures/history.png", "figures/epochs.png", "tables/trials.csv"} <= kept
    assert "tables/best_test_studies.csv" in kept
    one, other = (RunRecord(Path(run["folder"])) for run in good["runs"])
    shutil.rmtree(one.model)
    other.settings.unlink()
    (other.path / "result.json").unlink()
    again = raybrain("tune", file, *settings, "--resume", *where)
    assert one.has_model and other.settings.exists() and other.result(), "what was lost of the best trial is made again"
    assert again.json["sweep"] == sweep
    assert again.json["test"] == ended.json["test"]
    planned = raybrain("tune", file, *settings, "--dry-run", *where)
    assert planned.json["cost"]["hours"] > 0


@pytest.mark.slow
def test_a_stopped_trial_of_two_workers_gives_its_machine_back(
    ray_cluster: None, raybrain: Raybrain, home: Path, tmp_path: Path
) -> None:
    """The third trial has room only if nothing is left of the second, which is stopped."""
    import ray

    rates = 'parameters={"optim.lr": CategoricalDistribution([3e-3, 1e-5, 1e-6])}, trials=3, scheduler="asha:1"'
    file = write(tmp_path, "two_workers", rates)
    ended = raybrain("tune", file, *TINY, "train.seed=2", "--workers", "2", "--home", str(home), "--json")
    assert ended.code == 0, ended.err
    trials = sorted(ended.json["sweep"]["trials"], key=lambda trial: trial["trial"])
    assert [(trial["state"], trial["epochs"]) for trial in trials] == [("finished", 3), *[("stopped early", 1)] * 2]
    assert "most trials that were stopped early (1, 2) were not well above chance by then" in ended.err
    assert {group["state"] for group in ray.util.placement_group_table().values()} <= {"REMOVED"}
    found = runs(ended.json["tracking_uri"])
    children = [r for r in found.values() if r.data.tags.get("mlflow.parentRunId") == ended.json["sweep"]["mlflow_run_id"]]
    assert sorted(run.info.status for run in children) == ["FINISHED", "KILLED", "KILLED"]
    assert sum("behind the others after epoch 1" in run.data.tags.get("stopped", "") for run in children) == 2


@pytest.mark.slow
def test_a_terminated_an_interrupted_and_a_killed_driver(
    home: Path, ray_cluster: None, raybrain: Raybrain, tmp_path: Path
) -> None:
    """A sweep is stopped, interrupted, begun again, killed, and ends: nothing trained twice, nothing left running.

    On a cluster that outlives the driver, so that whatever it leaves there stays in the way.
    """
    import ray

    file = write(tmp_path, "architecture", "parameters=architecture, trials=5, seeds=(1,), scheduler='asha:1'")
    settings = [s for s in TINY if "depth" not in s and "epochs" not in s] + ["train.epochs=3"]
    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-c", "from raybrain.cli import main; main()", "tune", file, *settings, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    results: dict[RunRecord, float] = {}
    for folder in ("stores", "studies", "maps"):  # prepared already, if other tests ran before
        if (home / folder).exists():
            shutil.copytree(home / folder, tmp_path / folder, copy_function=shutil.copy2)

    def begin(done: int) -> subprocess.Popen[str]:
        """Start the sweep and come back when that many trainings are done and another is under way."""
        process = subprocess.Popen(
            [*command, "--home", str(tmp_path), "--address", address],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=hear_ctrl_c,
        )
        while process.poll() is None:
            records = run_records(tmp_path)
            finished = {record: result.ended for record in records if (result := record.result())}
            if len(finished) >= done and any(record.sizes() for record in set(records) - set(finished)):
                results.update(finished)
                break
            time.sleep(0.1)
        return process

    for done, how in enumerate([signal.SIGTERM, signal.SIGINT]):  # `ray job stop` and batch systems; Ctrl-C
        driver = begin(done)
        driver.send_signal(how)
        _, err = driver.communicate(timeout=120)
        assert driver.returncode == 130, err
        assert "the same command goes on" in err
        assert not [run for run in runs(f"sqlite:///{tmp_path / 'mlflow.db'}").values() if run.info.status == "RUNNING"]
    driver = begin(done=2)
    driver.kill()
    driver.communicate()
    time.sleep(1)  # its workers end with it
    ended = raybrain(*command[3:], "--home", str(tmp_path))
    assert ended.code == 0, ended.err
    trials = ended.json["sweep"]["trials"]
    assert 0 in {trial["trial"] for trial in trials}
    assert {trial["state"] for trial in trials} <= {"finished", "stopped early"}
    assert len({trial["signature"] for trial in trials}) == len(trials) >= 4  # there are no more
    assert results
    for record, then in results.items():
        result = record.result()
        assert result and result.ended == then
    assert not [run for run in runs(ended.json["tracking_uri"]).values() if run.info.status == "RUNNING"]
