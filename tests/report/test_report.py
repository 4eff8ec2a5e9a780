"""A sweep's table says what was found beside what was published, and the page holds all of it; reproduce says what it takes."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution
from rich.console import Console

from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.download.base import Host
from raybrain.evaluate.rank import Evaluation
from raybrain.report.gather import KeptSweep, find_sweep
from raybrain.report.page import SweepReport, page
from raybrain.report.reproduce import bills, missing_studies, spaces_of, trainings
from raybrain.report.results import Cell, Result, cells, comparisons
from raybrain.report.terminal import results_table
from raybrain.store import SplitAudit
from raybrain.studies.base import Facts, Study
from raybrain.train.record import run_record
from raybrain.tune.space import SearchSpace, load_space
from raybrain.tune.space_record import SpaceRecord
from raybrain.tune.sweep_record import SweepRecord
from tests.conftest import TINY, Ended
from tests.made_studies import FactsOnly

ABLATION = SpaceRecord.of(load_space("ablation"))
STUDIES = {"gwilliams2022": 1428, "brennan2019": 190}


def evaluation(study: str, accuracy: float, subjects: int = 8) -> Evaluation:
    """An evaluation whose subjects spread around an accuracy."""
    candidates = STUDIES.get(study, 100)
    each = [accuracy + (n - (subjects - 1) / 2) / 100 for n in range(subjects)]
    known = {"study": study, "candidates": candidates, "chance10": 10 / candidates, "baseline10": 0.5}
    table = pd.DataFrame([{**known, "subject": f"{n:02d}", "top10": value, "top1": value / 2} for n, value in enumerate(each)])
    controls = pd.DataFrame(
        [
            {**known, "control": name, "top10": value, "band_low10": 0.0, "band_high10": 2 * 10 / candidates, "marked": False}
            for name, value in (("model", accuracy), ("random", 10 / candidates), ("noise", 10 / candidates))
        ]
    )
    studies = pd.DataFrame([{**known, "top10": accuracy, "top1": accuracy / 2}])
    return Evaluation(pd.DataFrame(), table, studies, controls, SplitAudit({"sentences": []}))


def seeds_of(found: Mapping[tuple[str, str], float], published: bool = True) -> list[Result]:
    """Three seeds of each (study, model), a point apart."""
    return [
        Result(
            number,
            {"study": study, "model": model},
            str(2036 + seed),
            evaluation(study, accuracy + (seed - 1) / 100),
            published,
            [{"epoch": 1, "valid_top10": accuracy}, {"epoch": 2, "valid_top10": accuracy}],
        )
        for number, ((study, model), accuracy) in enumerate(found.items())
        for seed in range(3)
    ]


PUBLISHED = {
    ("gwilliams2022", "full"): (66.7, 0.0),
    ("gwilliams2022", "full", "main table"): (70.7, 0.1),
    ("gwilliams2022", "mel"): (55.1, 0.7),
    ("gwilliams2022", "random"): (0.7, 0.1),
    ("brennan2019", "mel"): (8.0, 4.8),
}


def table(found: Mapping[tuple[str, str], float], published: bool = True) -> dict[tuple[str, str], Cell]:
    return {(cell.column, cell.row): cell for cell in cells(seeds_of(found, published), PUBLISHED)}


def test_mean_and_deviation_over_seeds() -> None:
    cell = table({("gwilliams2022", "full"): 0.68})["gwilliams2022", "full"]
    assert cell.percent == "68.0 ± 1.0"
    assert (cell.mean, cell.sd) == (pytest.approx(0.68), pytest.approx(0.01))
    assert (cell.candidates, cell.chance) == (1428, 10 / 1428)
    assert replace(cell, top10=(0.5,)).percent == "50.0"


@pytest.mark.parametrize(
    ("study", "model", "accuracy", "passed"),
    [
        ("gwilliams2022", "mel", 0.571, True),  # two points above
        ("gwilliams2022", "mel", 0.573, False),
        ("gwilliams2022", "mel", 0.531, True),
        ("gwilliams2022", "mel", 0.529, False),
        ("brennan2019", "mel", 0.17, True),  # two of its large deviations
        ("brennan2019", "mel", 0.18, False),
        ("gwilliams2022", "full", 0.687, True),  # between what is published for it twice
        ("gwilliams2022", "full", 0.647, True),
        ("gwilliams2022", "full", 0.645, False),
        ("gwilliams2022", "full", 0.728, False),
    ],
)
def test_what_passes(study: str, model: str, accuracy: float, passed: bool) -> None:
    assert table({(study, model): accuracy})[study, model].passed is passed


def test_chance_is_a_check_on_the_candidates() -> None:
    found = table({("gwilliams2022", "full"): 0.7})["gwilliams2022", "random"]
    assert found.passed, "10 of 1428"
    assert 100 * found.mean == pytest.approx(0.7, abs=0.01)
    few = [
        replace(one, evaluation=replace(one.evaluation, studies=one.evaluation.studies.assign(candidates=500, chance10=0.02)))
        for one in seeds_of({("gwilliams2022", "full"): 0.7})
    ]
    random = next(cell for cell in cells(few, PUBLISHED) if cell.row == "random")
    assert random.passed is False


def test_changed_settings_are_not_compared() -> None:
    found = table({("gwilliams2022", "full"): 0.7}, published=False)
    assert found["gwilliams2022", "full"].passed is None
    assert set(found) == {("gwilliams2022", "full")}


def test_settings_and_studies_without_a_dimension() -> None:
    one = Result(0, {"batch": "32", "optim.lr": 3e-4}, "", evaluation("a", 0.5), False, [])
    both = replace(
        one,
        evaluation=replace(
            one.evaluation,
            studies=pd.concat([evaluation(name, 0.5).studies for name in "ab"]),
            subjects=pd.concat([evaluation(name, 0.5).subjects for name in "ab"]),
        ),
    )
    assert [(cell.row, cell.column) for cell in cells([both], {})] == [("32, lr=0.0003", "a"), ("32, lr=0.0003", "b")]


def test_rows_are_compared_over_subjects_and_pooled() -> None:
    places = {(study, model): value for study in STUDIES for model, value in (("full", 0.6), ("no skip", 0.5))}
    found = comparisons(list(table(places).values()))
    assert [(one["row"], one["against"], one["study"], one["subjects"]) for one in found] == [
        ("no skip", "full", "gwilliams2022", 8),
        ("no skip", "full", "brennan2019", 8),
        ("no skip", "full", "all", 16),
    ]
    assert all(one["difference"] == pytest.approx(-0.1) for one in found)
    assert found[2]["p"] < found[0]["p"] < 0.01
    assert found[2]["holm"] == pytest.approx(3 * found[2]["p"]), "the smallest of three"
    assert found[0]["holm"] == pytest.approx(2 * found[0]["p"])


def test_one_subject_is_not_tested() -> None:
    tested = [Result(n, {"model": m}, "1", evaluation("s", 0.5, subjects=1), False, []) for n, m in enumerate(("full", "less"))]
    found = comparisons(cells(tested, {}))
    assert [(one["p"], one["holm"]) for one in found] == [(None, None)]
    assert "one subject" in page(SweepReport("small", tested))
    console = Console(width=200, record=True)
    console.print(results_table(cells(tested, {}), found))
    assert "one subject" in console.export_text()


def test_the_table_shows_verdicts_only_where_there_are_some() -> None:
    columns = [column.header for column in results_table(list(table({("gwilliams2022", "full"): 0.7}).values()), []).columns]
    assert "accepted" in columns
    assert columns.index("chance") == columns.index("top-10") + 1
    assert "accepted" not in [c.header for c in results_table(list(table({("x", "y"): 0.7}).values()), []).columns]


def test_the_page_holds_everything_and_needs_nothing() -> None:
    space = replace(ABLATION, published=PUBLISHED, question="Which <parts>?")
    found = seeds_of({("gwilliams2022", "full"): 0.68, ("gwilliams2022", "mel"): 0.2})
    report = SweepReport("ablation-1", found, ["trial 7 failed: the loss exploded"], space=space)
    text = page(report)
    assert "68.0 ± 1.0" in text
    assert "published 66.7 or 70.7 ± 0.1; pass: 64.7 to 72.7" in text
    assert "published 55.1 ± 0.7; fail" in text
    assert "1428 candidates, chance 0.7%" in text
    assert "Which &lt;parts&gt;?" in text
    assert "A mean passes within 2 points" in text
    assert "trial 7 failed" in text
    assert text.count('<svg xmlns="http://www.w3.org/2000/svg"') == 2
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text), "self-contained"
    assert json.loads(json.dumps(report.result()))["table"][0]["passed"] is True


def test_a_control_off_chance_is_shown() -> None:
    (one, *_) = seeds_of({("gwilliams2022", "full"): 0.68})
    controls = one.evaluation.controls
    assert "0 of 4 controls are not as they should be" in page(SweepReport("s", [one, one]))
    leaky = replace(
        one, evaluation=replace(one.evaluation, controls=controls.assign(top10=0.6, marked=controls["control"] != "model"))
    )
    text = page(SweepReport("s", [leaky, one]))
    assert "2 of 4 controls are not as they should be" in text
    assert '<table class="odd' in text


def test_the_page_of_a_search_shows_its_trials_and_figures() -> None:
    trials = [
        {
            "trial": 3,
            "metric": "valid_top5",
            "params": {"optim.lr": 2e-3},
            "score": 0.7,
            "epochs": 4,
            "state": "finished",
            "copy_of": 1,
            "schedule": ["2:lr=0.001"],
        },
        {"trial": 0, "params": {"optim.lr": 1e-5}, "score": None, "epochs": 0, "state": "failed", "reason": "<out of memory>"},
        {"trial": 1, "params": {"optim.lr": 1e-3}, "score": 0.6, "epochs": 4, "state": "finished", "recipe": True},
    ]
    text = page(SweepReport("s", seeds_of({("gwilliams2022", "full"): 0.68}), [], trials, {"pareto front": b"\x89PNG"}))
    assert "<td>0.002</td><td>4</td><td>0.700</td><td>finished</td><td>copy of trial 1, 2:lr=0.001</td>" in text
    assert "&lt;out of memory&gt;" in text and '<th scope="col">lr</th>' in text
    assert '<th scope="col">valid_top5</th>' in text
    assert "<td>0.600</td><td>finished</td><td>the recipe</td>" in text
    assert 'alt="Pareto front: the trials that no other one beats' in text
    assert "A mean passes" not in text, "nothing was published"
    assert "<h2>Search</h2>" not in page(SweepReport("s", seeds_of({("gwilliams2022", "full"): 0.68})))


def test_recordings_that_are_left_out_are_named_with_the_reason() -> None:
    one, other = seeds_of({("gwilliams2022", "full"): 0.68})[:2]
    lost = {"bids-talk_sub-01_task-story": "a.wav is <silent>", "bids-talk/sub-03": "holds no EEG or MEG recording (no files)"}
    report = SweepReport("s", [replace(one, left_out=lost), replace(other, left_out={"x": "y"})])
    assert report.result()["left_out"] == {**lost, "x": "y"}
    text = page(report)
    rows = re.findall(r'<th scope="row">([^<]*)</th>\s*<td>([^<]*)</td>\s*</tr>', text)
    assert ("bids-talk_sub-01_task-story", "a.wav is &lt;silent&gt;") in rows
    assert rows.count(("bids-talk/sub-03", "holds no EEG or MEG recording (no files)")) == 1
    assert "Recordings left out" not in page(SweepReport("s", [one]))


def test_every_text_on_the_page_is_escaped() -> None:
    evil = "<b>&amp;</b>"
    (one, *_) = seeds_of({("gwilliams2022", "full"): 0.68})
    controls = one.evaluation.controls.assign(study=evil, top10=0.6, marked=one.evaluation.controls["control"] != "model")
    other = replace(one, names={"study": evil, "model": evil}, seed=evil, evaluation=replace(one.evaluation, controls=controls))
    leaky = replace(other, evaluation=replace(other.evaluation, audit=SplitAudit({"sentences": [evil]})))
    first = replace(leaky, names={"study": evil, "model": "mel"})
    trial = {
        "trial": 0,
        "params": {f"x.{evil}": evil},
        "score": None,
        "epochs": 0,
        "state": evil,
        "reason": evil,
        "metric": evil,
    }
    space = replace(ABLATION, published={}, question=evil)
    text = page(SweepReport(evil, [first, leaky], [evil], [trial], {evil: b"PNG"}, space))
    assert evil not in text and "<b>&" not in text
    # name twice, question, study, row, missing, two in a comparison, control, stray, audit, trial, figure three times
    assert text.count("&lt;b&gt;&amp;amp;&lt;/b&gt;") > 20


# sweeps on disk


def test_a_sweep_is_found_by_its_name_or_its_space(tmp_path: Path) -> None:
    for name in ("ablation-0001", "mine-0002", "mine-0003"):
        record = SweepRecord(tmp_path / "sweeps" / name)
        record.keep_trials([], {})
        record.keep_space(ABLATION)
    assert find_sweep(tmp_path, "ablation").folder.name == "ablation-0001"
    assert find_sweep(tmp_path, "ablation").grid
    assert find_sweep(tmp_path, "mine-0003").space == ABLATION
    (tmp_path / "sweeps" / "mine-0003" / "space.json").unlink()
    with pytest.raises(InputError, match="mine-0003 has lost what it asked; type raybrain tune mine to go"):
        find_sweep(tmp_path, "mine-0003")
    with pytest.raises(InputError, match="2 sweeps of 'mine'; type one of mine-0002, mine-0003"):
        find_sweep(tmp_path, "mine")
    with pytest.raises(InputError, match=r"no run or sweep 'ablatoin'.*did you mean 'ablation-0001'"):
        find_sweep(tmp_path, "ablatoin")


def test_of_a_search_only_the_best_trial_is_tested() -> None:
    runs = [{"finished": True, "folder": "a"}, {"finished": False, "folder": "b"}]
    trials = [
        {"trial": n, "state": state, "runs": runs, "params": {"encoder.depth": depth}}
        for n, state, depth in ((4, "stopped early", 3), (2, "finished", 10), (3, "finished", 9))
    ]
    search = KeptSweep(Path("x"), trials, replace(ABLATION, planned=False))
    assert [(trial["trial"], run["folder"]) for trial, run in search.runs()] == [(2, "a")]
    grid = KeptSweep(Path("x"), trials, ABLATION)
    assert [trial["trial"] for trial, _ in grid.runs()] == [3, 2], "by what they ask: one may have been tried again"
    assert grid.missing() == ["trial 4 stopped early"]


def test_a_search_stays_one_though_its_file_says_grid_by_now(tmp_path: Path) -> None:
    """Else a report would send every trial to the test split."""
    file = tmp_path / "depth.py"
    text = (
        '"""How deep?"""\nfrom optuna.distributions import CategoricalDistribution\n'
        "from raybrain.tune.space import SearchSpace\n"
        'DEPTHS = {"encoder.depth": CategoricalDistribution([2, 4])}\n'
        'SPACE = SearchSpace("quickstart", DEPTHS, trials=2, published={("mel",): (8.0, 1.0)})\n'
    )
    file.write_text(text)
    record = SweepRecord(tmp_path / "sweeps" / "depth-0001")
    run = {"finished": True, "folder": "a"}
    record.keep_trials([{"trial": number, "state": "finished", "runs": [run]} for number in (1, 0)], {})
    record.keep_space(SpaceRecord.of(load_space(str(file))))
    file.write_text(text.replace("trials=2", 'sampler="grid"').replace("How deep?", "What?"))
    assert load_space(str(file)).points is not None
    sweep = find_sweep(tmp_path, str(file))
    assert not sweep.grid and [trial["trial"] for trial, _ in sweep.runs()] == [1]
    assert sweep.space.question == "How deep?" and sweep.space.published == {("mel",): (8.0, 1.0)}
    file.unlink()
    assert find_sweep(tmp_path, "depth").space == sweep.space


def test_figures_of_a_search_are_all_shown_those_of_a_grid_if_something_else_was_to_be_small(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ("history", "pareto_front"):
        (tmp_path / "figures" / f"{name}.png").write_bytes(b"png")
    assert list(KeptSweep(tmp_path, [], replace(ABLATION, planned=False)).figures) == ["history", "pareto front"]
    assert list(KeptSweep(tmp_path, [], ABLATION).figures) == ["pareto front"]


# reproduce


class Away(Host):
    """A host nobody is to ask."""

    @property
    def name(self) -> str:
        return "example.org"

    def files(self) -> Any:
        raise AssertionError("nothing is downloaded to say what is missing")


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies that must be downloaded, under the names of two of the paper's."""
    monkeypatch.setattr(Study, "_kinds", {name: kind for name, kind in Study.kinds().items() if name not in STUDIES})
    for study in STUDIES:

        class Far(FactsOnly, name=study):
            """Far away."""

            facts: ClassVar[Facts] = Facts(
                licence="CC0", language="en", device="MEG", recordings=10, channels=208, hertz=1000.0, hours=5.0
            )
            hosts: ClassVar[tuple[Host, ...]] = (Away(),)
            max_recordings: int | None = None


def space(**changes: Any) -> SearchSpace:
    studies = {name: {"data.studies": name} for name in ("gwilliams2022", "brennan2019")}
    models = {"mel": {}, "mel with MSE": {"loss": "mse"}}
    known: dict[str, Any] = {"recipe": "quickstart", "variants": {"study": studies, "model": models}, "seeds": (1, 2)}
    return SearchSpace(**(known | {"sampler": "grid", "scheduler": "none", "name": "small"} | changes))


def test_a_bill_counts_a_training_once(far: None, tmp_path: Path) -> None:
    cluster, first, second = Cluster(home=tmp_path), space(), space(name="again", seeds=(2, 3))
    assert [(bill.space, bill.trainings, bill.trained) for bill in bills([first, second], cluster)] == [
        ("small", 8, 0),
        ("again", 8, 0),
    ]
    costs = [bill.cost for bill in bills([first, second], cluster)]
    assert costs[0].steps and costs[1].steps
    assert costs[1].steps == costs[0].steps / 2, "the seed they share is paid for once"
    run_record(tmp_path, trainings(first)[0], "0123").finish("signature", "0123", [])
    (bill,) = bills([first], cluster)
    assert (bill.trained, bill.cost.steps) == (1, costs[0].steps * 7 / 8)
    assert bill.line().startswith("small: 8 trainings, 1 of them done, at most ")


def test_what_is_missing_is_told_study_by_study(far: None, tmp_path: Path) -> None:
    (tmp_path / "brennan2019").mkdir()
    (tmp_path / "brennan2019" / "own.mat").write_text("")
    (found,) = missing_studies([space()], tmp_path)
    assert (found.study, found.trainings) == ("gwilliams2022", 4)
    assert found.reason.startswith("10 recordings, 5 h of 208 channels at 1000 Hz, not in ")
    assert found.reason.endswith("from example.org: type raybrain studies fetch gwilliams2022")


Raybrain = Callable[..., Ended]


def test_reproduce_on_data_that_are_not_there(
    far: None, raybrain: Raybrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "search_spaces" / "paper"
    folder.mkdir(parents=True)
    (folder / "one.py").write_text(
        '"""Which?"""\nfrom tests.report.test_report import space\n'
        'SPACE = space(published={("gwilliams2022", "mel"): (50.0, 1.0)})\n'
    )
    monkeypatch.chdir(tmp_path)
    ended = raybrain("reproduce", "paper", "--home", str(tmp_path / "home"), "--json")
    assert ended.code == 2
    lines = [line for line in ended.err.splitlines() if line.startswith("raybrain: ")]
    assert [line.split()[1] for line in lines] == ["gwilliams2022", "brennan2019"]
    assert re.search(r"one: 8 trainings, at most 37,728 steps = [\d.]+ GPU-hours", ended.out)
    assert [item["study"] for item in ended.json["missing"]] == ["gwilliams2022", "brennan2019"]
    one = raybrain("reproduce", "paper", "study=brennan2019", "--home", str(tmp_path / "home"), "--dry-run", "--json")
    assert (one.code, one.json["grids"][0]["trainings"]) == (2, 4)


def test_a_rate_that_is_not_known_is_not_said_to_be_zero(far: None, tmp_path: Path) -> None:
    depths = {"encoder.depth": CategoricalDistribution([1, 2])}
    asked = SearchSpace(recipe="quickstart", fixed={"data.studies": "broderick2019"}, parameters=depths, sampler="grid")
    [missing] = missing_studies([asked], tmp_path)
    assert "of 128 channels, not in" in missing.reason


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nim"], r"nothing called 'nim' to reproduce, did you mean 'nmi'\?"),
        (["nmi", "--only", "main_tabel"], r"no grid 'main_tabel' in nmi, did you mean 'main_table'\?"),
        (["nmi", "--only", "ablation", "model=no skp"], r"model has no variant 'no skp', did you mean 'no skip'\?"),
        (["nmi", "--only", "ablation", "studdy=brennan2019"], r"ablation: no setting 'studdy'"),
        (["nmi", "--only", "ablation", "sampler=tpe"], r"ablation: a table needs all of its points; leave out sampler=tpe"),
        (["nmi", "--only", "ablation", "data.studies=synthetic", "encoder.dpth=2"], r"ablation: no setting 'encoder.dpth'"),
    ],
)
def test_reproduce_what_is_not_there(arguments: list[str], said: str, raybrain: Raybrain, home: Path) -> None:
    ended = raybrain("reproduce", *arguments, "--home", str(home))
    assert ended.code == 2
    assert re.search(said, ended.err)


def test_a_dry_run_of_two_grids_on_the_synthetic_study(raybrain: Raybrain, home: Path) -> None:
    settings = ["data.studies=synthetic", "data.features=mel", "model=mel,DeepMel,full"]
    ended = raybrain("reproduce", "nmi", "--only", "main_table,ablation", *settings, "--dry-run", "--home", str(home), "--json")
    assert ended.code == 0, ended.err
    assert {grid["space"]: grid["trainings"] for grid in ended.json["grids"]} == {"main_table": 6, "ablation": 3}


def test_a_grid_without_the_asked_study_is_left_out() -> None:
    asked = spaces_of("nmi", ["word_lists", "per_subject_schoffelen"], {"study": "schoffelen2019"})
    assert len(asked) == 2
    both = spaces_of("nmi", ["per_subject_gwilliams", "per_subject_schoffelen"], {"study": "schoffelen2019"})
    assert [space.name for space in both] == ["per_subject_schoffelen"]


@pytest.mark.slow
def test_a_reduced_main_table_and_ablation_run_to_their_reports(ray_cluster: None, raybrain: Raybrain, home: Path) -> None:
    """On the synthetic study, a few cells; what both grids ask is trained once."""
    tiny = [setting for setting in TINY if not setting.startswith("train.epochs")]
    settings = ["data.studies=synthetic", "data.features=mel", *tiny, "train.epochs=1", "model=mel,full,no GLU conv"]
    command = ["reproduce", "nmi", "--only", "main_table,ablation", *settings, "--home", str(home), "--json"]
    ended = raybrain(*command)
    assert ended.code == 0, ended.err
    ablation, main = sorted(ended.json["reports"], key=lambda report: report["sweep"])
    assert [cell["row"] for cell in main["table"]] == ["mel"]
    assert [cell["row"] for cell in ablation["table"]] == ["full", "no GLU conv"]
    assert all(len(cell["top10"]) == 3 and cell["study"] == "synthetic" for cell in main["table"] + ablation["table"])
    assert not [cell for cell in main["table"] + ablation["table"] if "passed" in cell], "it is not the paper's question"
    assert main["table"][0]["mean"] > main["table"][0]["chance10"]
    assert main["table"][0]["top10"] == ablation["table"][0]["top10"], "the same experiment"
    assert [(one["row"], one["subjects"]) for one in ablation["comparisons"]] == [("no GLU conv", 2)]
    assert "no GLU conv" in Path(ablation["page"]).read_text()
    again = raybrain(*command, "--dry-run")
    assert {grid["space"]: (grid["trainings"], grid["trained"]) for grid in again.json["grids"]} == {
        "main_table": (3, 3),
        "ablation": (6, 6),
    }
    for path in sorted(home.glob("runs/*/model/model.json"))[:2]:  # lost between training and report, and made again
        path.write_bytes(path.read_bytes()[:100])
    for path in sorted(home.glob("runs/*/result.json"))[-2:]:
        path.unlink()
    for grid, before in (("main_table", main), ("ablation", ablation)):
        assert raybrain("report", grid, "--home", str(home), "--json").json["table"] == before["table"]
