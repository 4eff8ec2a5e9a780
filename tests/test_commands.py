"""From recordings to a table and back again, as a person would type it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import raybrain as package
from raybrain.metrics import chance_interval
from raybrain.tasks.base import BRAIN_CONTROLS, EXPLAINED
from raybrain.train.record import RunRecord, run_records
from tests.conftest import REPO, TINY, TINY_SWEEP, Ended

Raybrain = Callable[..., Ended]


def runs(uri: str) -> dict[str, Any]:
    """All MLflow runs by id."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    return {run.info.run_id: run for run in client.search_runs([e.experiment_id for e in client.search_experiments()])}


@pytest.fixture(scope="session")
def trained(ray_cluster: None, home: Path) -> dict[str, Any]:
    """The tiny experiment, trained by two workers."""
    from raybrain.cluster import Cluster
    from raybrain.config import override
    from raybrain.evaluate import rank as evaluating
    from raybrain.experiment import recipe
    from raybrain.prepare import build as preparing
    from raybrain.train import fit as training

    experiment = override(recipe("quickstart"), dict(setting.split("=", 1) for setting in TINY))
    cluster = Cluster(home=home, workers=2)
    done = training.run(experiment, preparing.run(experiment.data, cluster), cluster)
    sizes = done.job.record.sizes()
    assert sizes and sizes.contrast.workers == 2, "another test has trained it in this home, with another number of workers"
    return {"trained": done, "evaluation": evaluating.run(done)}


@pytest.mark.slow
def test_two_workers_decode_far_above_chance(trained: dict[str, Any]) -> None:
    study = trained["evaluation"].studies.iloc[0]
    assert study["top1"] > 8 * study["chance1"]  # with 27 candidates, top-10 is at chance 37 %
    assert study["top10"] > 2 * study["chance10"]
    assert set(trained["evaluation"].subjects["subject"]) == {"01", "02"}
    assert (trained["evaluation"].subjects["candidates"] == study["candidates"]).all()


@pytest.mark.slow
def test_controls_are_at_chance_beside_the_model(trained: dict[str, Any]) -> None:
    controls = trained["evaluation"].controls.set_index("control")
    assert controls["top1"]["model"] == trained["evaluation"].studies.iloc[0]["top1"], "all segments: fewer than the limit"
    rest = controls.drop("model")
    assert list(rest.index) == list(BRAIN_CONTROLS)
    replaced = rest.drop(list(EXPLAINED))
    assert (replaced["top10"] <= replaced["band_high10"]).all() and (replaced["top10"] >= replaced["band_low10"]).all()
    assert (replaced["top1"] < controls["top1"]["model"] / 2).all()
    assert trained["evaluation"].marks == [] and trained["evaluation"].absent == []


@pytest.mark.slow
def test_two_studies_with_other_sensors_train_one_network(raybrain: Raybrain, ray_cluster: None, tmp_path: Path) -> None:
    one, usual = "data.studies.synthetic.", [setting for setting in TINY if "studies" not in setting]
    own = [setting.removeprefix(one) for setting in TINY if one in setting]
    both = [f"data.studies.synthetic#{number}.{setting}" for number in (0, 1) for setting in own]
    other = ["data.studies.synthetic#1.channels=11", "train.epochs=8", "train.patience=8", "--home", str(tmp_path), "--json"]
    command = ["train", "quickstart", "data.studies=synthetic,synthetic:eeg", *both, *usual, *other]
    ended = raybrain(*command)
    assert ended.code == 0, ended.err
    rows = {row["study"]: row for row in ended.json["test"]}
    assert set(rows) == {"synthetic-meg", "synthetic-eeg"}
    for row in rows.values():
        assert row["candidates"] < 50 and row["top10"] > 1.3 * row["chance10"]
    model = package.load(Path(ended.json["run"]))
    assert {len(layout.channels) for layout in model.layouts} == {16, 11}
    assert len(model.subjects) == 4 and not torch.equal(*model.network.encoder.front.subject_layer.weights[[0, 2]])


@pytest.mark.slow
def test_the_same_command_does_nothing_twice(trained: dict[str, Any], raybrain: Raybrain, home: Path) -> None:
    command = ["train", "quickstart", *TINY, "--workers", "2", "--home", str(home), "--json"]
    raybrain(*command)  # draws the picture of the subjects
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file() and "mlflow" not in path.name}
    ended = raybrain(*command)
    assert ended.code == 0, ended.err
    assert ended.json["history"] == trained["trained"].history
    assert ended.json["test"] == trained["evaluation"].studies.to_dict("records")
    assert ended.json["mlflow_run_id"] == trained["trained"].tracking.id
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert "ridge" in ended.out and "what stands first" in ended.out


@pytest.mark.slow
def test_mlflow_has_settings_curves_tables_and_versions(trained: dict[str, Any]) -> None:
    from mlflow import MlflowClient

    tracking = trained["trained"].tracking
    run = runs(tracking.address)[tracking.id]
    assert run.info.status == "FINISHED"
    assert run.data.params["encoder.depth"] == "2"
    assert run.data.tags["marks"] == "no" and run.data.metrics["test_marks"] == 0
    assert run.data.tags["signature"] == trained["trained"].job.experiment.signature
    assert {"version.torch", "version.ray", "step.candidates"} <= set(run.data.tags)
    assert {"train_loss", "valid_loss", "test_top10", "test_chance10"} <= set(run.data.metrics)
    client = MlflowClient(tracking.address)
    assert len(client.get_metric_history(tracking.id, "valid_loss")) == len(trained["trained"].history)
    artifacts = {item.path for folder in ("", "model", "tables") for item in client.list_artifacts(tracking.id, folder)}
    assert {"model/model.json", "model/model.safetensors", "experiment.json"} <= artifacts
    tables = ("subjects", "controls", "errors", "context", "breakdown", "lags", "marks")
    assert {f"tables/test_{name}.csv" for name in tables} <= artifacts
    assert {"test_control_top10/noise", "test_control_top10/other segment", "test_sentences_in_two_splits"} <= set(
        run.data.metrics
    )


@pytest.mark.slow
def test_one_worker_has_the_loss_curve_of_two(trained: dict[str, Any], raybrain: Raybrain, home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "stores", tmp_path / "stores")
    shutil.copytree(home / "studies", tmp_path / "studies", copy_function=shutil.copy2)
    ended = raybrain("train", "quickstart", *TINY, "--workers", "1", "--home", str(tmp_path), "--json")
    assert ended.code == 0, ended.err
    for one, two in zip(ended.json["history"], trained["trained"].history, strict=True):
        for loss in ("train_loss", "valid_loss"):
            assert one[loss] == pytest.approx(two[loss], abs=1e-4)


@pytest.mark.slow
def test_without_signal_it_ends_at_chance(ray_cluster: None, raybrain: Raybrain, tmp_path: Path) -> None:
    settings = [setting for setting in TINY if "signal" not in setting] + ["data.studies.synthetic.signal=0"]
    ended = raybrain("train", "quickstart", *settings, "--home", str(tmp_path), "--json")
    assert ended.code == 0, ended.err
    test = ended.json["test"][0]
    low, high = chance_interval(test["chance10"], test["segments"], level=0.999)
    assert low <= test["top10"] <= high


def processes(text: str, below: int) -> list[int]:
    """Ids of processes of one session whose command line holds ``text``."""
    import psutil

    found = []
    for child in psutil.Process(below).children(recursive=True):
        try:
            if text in " ".join(child.cmdline()):
                found.append(child.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_killed_workers_and_a_killed_driver_change_no_bit(trained: dict[str, Any], home: Path, tmp_path: Path) -> None:
    for folder in ("stores", "studies", "maps"):
        shutil.copytree(home / folder, tmp_path / folder, copy_function=shutil.copy2)
    command = [sys.executable, "-c", "from raybrain.cli import main; main()", "train", "quickstart", *TINY]
    command += ["--workers", "2", "--home", str(tmp_path), "--cluster", "checkpoint_s=0", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def wait_for_steps(process: subprocess.Popen[str], steps: int) -> None:
        while process.poll() is None:
            last = [run.checkpoint() for run in run_records(tmp_path)]  # one after each step
            if last and last[0] and last[0]["state"]["step"] >= steps:
                return
            time.sleep(0.1)

    driver = start()
    wait_for_steps(driver, 2)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    driver = start()
    wait_for_steps(driver, 8)
    for pid in processes("RayTrainWorker", driver.pid)[:1]:
        os.kill(pid, signal.SIGKILL)
    out, err = driver.communicate(timeout=240)
    assert driver.returncode == 0, err
    ended = json.loads(out.strip().splitlines()[-1])
    interrupted, whole = RunRecord(Path(ended["run"])), trained["trained"].job.record
    for one, other in ((interrupted.checkpoint(), whole.checkpoint()), (interrupted.best(), whole.best())):
        assert one and other
        assert all(torch.equal(one["model"][key], other["model"][key]) for key in other["model"])


# wrong input: one line, exit code 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "quickstart", "encoder.dpeth=3"], r"no setting 'encoder.dpeth', did you mean 'depth'\?"),
        (["train", "quikstart"], r"no recipe called 'quikstart', did you mean 'quickstart'\?"),
        (["train", "quickstart", "encoder.depth"], r"'encoder.depth' is no setting; type KEY=VALUE"),
        (["train", "quickstart", "data.studies=bids:/no/such/folder"], r"/no/such/folder"),
        (["train", "quickstart", "--cluster", "precison=float32"], r"no setting 'precison', did you mean 'precision'\?"),
        (["tune", "no_such_space"], r"no search space 'no_such_space'"),
        (["list", "encoder"], r"nothing called 'encoder' to list, did you mean 'encoders'\?"),
    ],
)
def test_wrong_input_gets_one_line(arguments: list[str], said: str, raybrain: Raybrain, home: Path) -> None:
    assert_one_line(arguments, said, raybrain, home)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "quickstart", *TINY, "train.batch_size=10", "train.contrast_size=4"], r"contrast_size=4 does not divide"),
        (["train", "quickstart", *TINY, "train.batch_size=1600"], r"there are \d+ train segments"),
        (["evaluate", "quickstart", *TINY, "train.seed=9"], r"not trained yet; run `raybrain train quickstart"),
        (
            ["train", "quickstart", *TINY, "data.segments.tmax_s=60"],
            r"a window of 60.5 s must lie inside one block, and the longest block is",
        ),
        (["train", "quickstart", "data.studies=synthetic,synthetic"], r"names recording .* twice"),
    ],
)
def test_input_that_does_not_fit_the_data_gets_one_line(
    arguments: list[str], said: str, raybrain: Raybrain, trained: Any, home: Path
) -> None:
    assert_one_line(arguments, said, raybrain, home)


def assert_one_line(arguments: list[str], said: str, raybrain: Raybrain, home: Path) -> None:
    """Exit code 2 and one line that says ``said``."""
    ended = raybrain(*arguments, *(["--home", str(home)] if arguments[0] != "list" else []))
    assert ended.code == 2
    lines = [line for line in ended.err.splitlines() if line.startswith("raybrain: ")]
    assert len(lines) == 1
    assert re.search(said, lines[0])
    assert "Traceback" not in ended.err


def test_a_home_that_cannot_be_written_is_named(raybrain: Raybrain) -> None:
    ended = raybrain("train", "quickstart", "--home", "/proc/nowhere")
    assert ended.code == 2
    assert "cannot write to /proc/nowhere" in ended.err


@pytest.mark.parametrize("command", [["home"], ["home", "clean"], ["report", "quickstart"], ["ui"]])
def test_a_mistyped_home_is_refused_and_not_made(command: list[str], raybrain: Raybrain, tmp_path: Path) -> None:
    ended = raybrain(*command, "--home", str(tmp_path / "hoem"))
    assert ended.code == 2
    assert f"no home folder {tmp_path / 'hoem'}; type --home DIR" in ended.err
    assert not list(tmp_path.iterdir())


def test_what_only_looks_makes_no_home(raybrain: Raybrain, tmp_path: Path) -> None:
    assert raybrain("tune", "quickstart", "--dry-run", "--home", str(tmp_path / "hoem")).code == 0
    assert not list(tmp_path.iterdir())


def test_a_question_can_be_looked_at_where_nothing_can_be_written(raybrain: Raybrain, tmp_path: Path) -> None:
    ended = raybrain("show", "quickstart", "--home", "/proc/nowhere", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["runs"] == []
    raybrain("show", "quickstart", "--home", str(tmp_path / "typed wrong"))
    assert not (tmp_path / "typed wrong").exists()


@pytest.mark.slow
def test_real_background_and_real_speech(ray_cluster: None, raybrain: Raybrain, semireal: Path, tmp_path: Path) -> None:
    settings = [f"data.studies=bids:{semireal}", "train.epochs=5"]
    ended = raybrain("train", "quickstart", *settings, "--workers", "2", "--home", str(tmp_path), "--json")
    assert ended.code == 0, ended.err
    test = ended.json["test"][0]
    assert test["top10"] >= 5 * test["chance10"]
    assert test["candidates"] == 84


@pytest.mark.slow
def test_of_two_at_once_one_waits_for_the_other_and_both_show_the_result(trained: Any, home: Path, tmp_path: Path) -> None:
    for folder in ("stores", "studies", "maps"):
        shutil.copytree(home / folder, tmp_path / folder, copy_function=shutil.copy2)
    command = [sys.executable, "-c", "from raybrain.cli import main; main()", "train", "quickstart", *TINY, "--json"]
    command += ["--home", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, env=environment, **pipes) for _ in range(2)]
    ended = [(process.communicate(timeout=400), process) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    waited = [line for (_, err), _ in ended for line in err.splitlines() if "waiting for it" in line]
    assert len(waited) == 1, "who comes second says it, once"
    first = next(process.pid for (_, err), process in ended if "waiting for it" not in err)
    assert re.match(rf"process {first} on \S+ \(train, since 2.*\) works on {tmp_path}", waited[0])
    one, other = (json.loads(out.strip().splitlines()[-1]) for (out, _), _ in ended)
    assert one == other
    assert [run.info.status for run in runs(one["tracking_uri"]).values()] == ["FINISHED"]


@pytest.mark.slow
def test_training_goes_on_when_nobody_can_hear_of_it(
    trained: Any, raybrain: Raybrain, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from raybrain.train.messages import Exchange
    from raybrain.train.progress import TrainingBar

    opened: list[Exchange] = []
    real, show = Exchange.open, TrainingBar.show

    @contextmanager
    def seen() -> Iterator[Exchange]:
        with real() as exchange:
            opened.append(exchange)
            yield exchange

    monkeypatch.setattr(Exchange, "open", seen)

    def shown(self: TrainingBar, message: Any) -> None:
        show(self, message)
        ray.kill(opened[-1].actor)

    monkeypatch.setattr(TrainingBar, "show", shown)
    ended = raybrain("train", "quickstart", *TINY, "train.seed=77", "--home", str(home), "--json")
    assert ended.code == 0, ended.err
    assert len(ended.json["history"]) == 3
    assert "epoch 3/3" not in ended.err


@pytest.mark.parametrize(("left", "budget", "code"), [(0, [], 0), (1, [], 1), (1, ["--time-budget", "5m"], 0)])
def test_a_sweep_that_is_not_whole_does_not_end_well_unless_time_was_up(
    left: int, budget: list[str], code: int, raybrain: Raybrain, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial may be cut off by what happens to a process of Ray's; a script must know that the command is to be run again."""
    from raybrain import flow
    from raybrain.cli import sweeps

    class Ended:
        swept = type("Swept", (), {"left": left})
        prepared = ()

        def result(self) -> dict[str, Any]:
            return {}

    monkeypatch.setattr(flow, "sweep", lambda *asked, **limits: Ended())
    monkeypatch.setattr(sweeps, "_show", lambda answer, metric: None)
    assert raybrain("tune", "quickstart", *TINY_SWEEP, *budget, "--home", str(home)).code == code


def test_when_ray_loses_the_actor_that_leads_a_training_there_is_one_line(
    raybrain: Raybrain, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.exceptions import ActorUnavailableError
    from ray.train.v2.api.exceptions import ControllerError

    from raybrain import flow

    def lost(*asked: Any, **limits: Any) -> None:
        raise ControllerError(ActorUnavailableError("the socket was closed", b"0" * 16))

    monkeypatch.setattr(flow, "sweep", lost)
    ended = raybrain("tune", "quickstart", *TINY_SWEEP, "--home", str(home))
    assert ended.code == 2 and "The same command goes on where it was" in ended.err and "Traceback" not in ended.err
