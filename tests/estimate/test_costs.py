"""One estimator: doctor and both dry runs answer the same question alike, and what they expect comes true."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from raybrain.cluster import Cluster
from raybrain.config import InputError, override
from raybrain.doctor import diagnose as doctoring
from raybrain.estimate.costs import FLOPS, Estimator, duration
from raybrain.estimate.speed import Speed
from raybrain.experiment import Experiment, recipe
from raybrain.prepare import build
from raybrain.recording import Recording
from raybrain.storage import read_json, write_json
from raybrain.studies.base import Facts, Study
from raybrain.train.order import RunSizes, contrast
from raybrain.train.record import run_record
from tests.conftest import TINY, Ended
from tests.made_studies import FactsOnly

Raybrain = Callable[..., Ended]
SPACE = '''"""What does it take?"""
from raybrain.tune.space import SearchSpace
SPACE = SearchSpace(recipe="quickstart", sampler="grid", scheduler="none", variants={"model": {"the recipe": {}}})
'''


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study of the paper's that is not here."""
    monkeypatch.setattr(Study, "_kinds", {name: kind for name, kind in Study.kinds().items() if name != "gwilliams2022"})

    class Far(FactsOnly, name="gwilliams2022"):
        """Far away."""

        facts: ClassVar[Facts] = Facts("CC0", "en", "MEG", recordings=10, channels=208, hertz=1000.0, hours=5.0)
        hosts: ClassVar[Any] = (object(),)
        max_recordings: int | None = None

        def download(self, cache: Path) -> Any:
            return type("Nothing", (), {"own": lambda _: False, "ready": lambda _: False})()


def tiny() -> Experiment:
    return override(recipe("quickstart"), dict(setting.split("=") for setting in TINY))


def test_the_cost_of_a_training_of_the_papers(far: None, tmp_path: Path) -> None:
    """Five hours, of which 70 % are trained on, a window every half second: 25,200 segments, 98 batches of 256 an epoch."""
    estimator = Estimator(Cluster(home=tmp_path))
    paper = override(Experiment(), {"data.studies": "gwilliams2022"})
    cost = estimator.cost([paper])
    assert cost.steps == 200 * 98 and cost.flops is not None
    forward = cost.flops / cost.steps / 256 / 3
    assert 3e9 < forward < 7e9, "343 samples x 2 x some 7 million weights"
    assert cost.gpu_hours == cost.flops / FLOPS / 3600
    assert cost.seconds is None, "nobody took a step here"
    half = estimator.cost([override(paper, {"data.studies.gwilliams2022.max_recordings": 5})])
    assert half.steps == pytest.approx(cost.steps / 2, rel=0.02)
    both = estimator.cost([paper, override(paper, {"train.seed": 1})])
    assert (both.trainings, both.steps, both.store) == (2, 2 * cost.steps, cost.store), "the data are prepared once"
    assert not list(tmp_path.iterdir()), "it only looks"


def test_what_nobody_knows_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Study, "_kinds", Study.kinds())

    class Unknown(FactsOnly, name="unknown"):
        """Nothing is known of it, and it is not here."""

        facts: ClassVar[Facts] = Facts("CC0", "en", "MEG")

        def recordings(self, root: Path) -> list[Recording]:
            raise InputError("no recordings")

    cost = Estimator(Cluster(home=tmp_path)).cost([tiny(), override(tiny(), {"data.studies": "unknown"})])
    assert (cost.steps, cost.flops, cost.seconds, cost.store) == (None, None, None, None)
    assert cost.line == "cost: not known before the data are there"


def asked(raybrain: Raybrain, folder: Path, home: Path) -> list[dict[str, Any]]:
    """What doctor and both dry runs say of one and the same training."""
    space = folder / "search_spaces" / "mine" / "cost.py"
    space.parent.mkdir(parents=True, exist_ok=True)
    space.write_text(SPACE)
    where = ["--home", str(home), "--json"]
    doctor = raybrain("doctor", "quickstart", *TINY, *where)
    tune = raybrain("tune", str(space), *TINY, "--dry-run", *where)
    reproduce = raybrain("reproduce", "mine", *TINY, "--dry-run", *where)
    for ended in (doctor, tune, reproduce):
        assert ended.code == 0, ended.err
    time = duration(doctor.json["cost"]["seconds"])
    assert time in doctor.out and f"at most {time} of training" in tune.out and f"at most {time} of training" in reproduce.out
    return [doctor.json["cost"], tune.json["cost"], reproduce.json["grids"][0]["cost"]]


@pytest.mark.slow
def test_the_same_question_has_the_same_answer(
    raybrain: Raybrain, ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is there, and once the data are prepared."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctoring, "measure", lambda *_: Speed("1 CPU", 0.5, 16, 1e9, 0.0, 1000))
    home = tmp_path / "home"
    before = asked(raybrain, tmp_path, home)
    assert before[0] == before[1] == before[2]
    assert before[0]["seconds"] == 0.5 * before[0]["steps"]
    assert before[0]["source"] == "by steps taken on this machine"
    prepared = build.run(tiny().data, Cluster(home=home))
    after = asked(raybrain, tmp_path, home)
    assert after[0] == after[1] == after[2]
    updates = prepared.store.manifest["counts"]["train"] // 16
    assert (after[0]["steps"], after[0]["store"]) == (3 * updates, 0.0)
    assert before[0]["steps"] == pytest.approx(after[0]["steps"], rel=0.7)
    assert before[0]["maps"] == pytest.approx(after[0]["maps"], rel=0.1)


def finished(home: Path, experiment: Experiment, step_s: float) -> None:
    """A run of three epochs with five steps each."""
    run = run_record(home, experiment, "0" * 8)
    run.begin(experiment)
    sizes = contrast(experiment.train, 1, 5 * experiment.train.batch_size)
    run.keep_sizes(RunSizes(sizes, 100, "memory map"))
    history = [{"epoch": epoch, "valid_loss": 1.0, "seconds": 5.0 * epoch * step_s} for epoch in (1, 2, 3)]
    run.finish(experiment.signature, "0" * 8, history)


def test_the_best_that_is_known_of_the_pace(tmp_path: Path) -> None:
    """Steps taken here go before runs of the same, and these before what other trainings took."""
    cluster = Cluster(home=tmp_path)
    other = override(tiny(), {"encoder.hidden": "48"})

    def pace(experiment: Experiment) -> tuple[float, str] | None:
        best = Estimator(cluster).paces.of(experiment)
        return best and (round(best.seconds, 6), best.source)

    assert pace(tiny()) is None
    finished(tmp_path, override(tiny(), {"train.seed": "7", "optim.lr": "0.1"}), 0.25)
    assert pace(tiny()) == (0.25, "as in earlier runs")
    reckoned = pace(other)
    assert reckoned and reckoned[1] == "going by other trainings" and reckoned[0] > 0.25, "it has more weights"
    Estimator(cluster).paces.remember(tiny(), Speed("1 CPU", 0.5, 16, 1e9, 0.0, 1000))
    assert pace(tiny()) == (0.5, "by steps taken on this machine")
    Estimator(cluster).paces.remember(tiny(), Speed("1 CPU", 0.75, 16, 1e9, 0.0, 1000))
    assert pace(tiny()) == (0.75, "by steps taken on this machine")
    two = Estimator(cluster.model_copy(update={"workers": 2})).paces.of(tiny())
    assert two and two.source == "going by other trainings"


def test_a_measurement_of_another_machine_or_a_damaged_one_does_not_count(tmp_path: Path) -> None:
    cluster = Cluster(home=tmp_path)
    Estimator(cluster).paces.remember(tiny(), Speed("1 CPU", 0.5, 16, 1e9, 0.0, 1000))
    (file,) = (tmp_path / "speeds").iterdir()
    kept = file.read_text()
    write_json(file, read_json(file) | {"host": "elsewhere"})
    assert Estimator(cluster).paces.of(tiny()) is None
    file.write_text(kept[:20])
    assert Estimator(cluster).paces.of(tiny()) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.4, "3 s"), (119, "119 s"), (120, "2.0 min"), (9000, "2.5 h"), (200_000, "2.3 days")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
