"""Every result stands beside ridge regression, which is computed once for the same data; what is below it is marked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import raybrain
from raybrain.cluster import Cluster
from raybrain.config import override
from raybrain.evaluate import baseline, rank, segment_rows
from raybrain.evaluate.baseline import baseline_of, baseline_path, baseline_ranks, beside, make_baseline
from raybrain.evaluate.breakdown import breakdown
from raybrain.evaluate.rank import summary
from raybrain.evaluate.word_class import CONTENT, FUNCTION, word_class
from raybrain.experiment import Experiment
from raybrain.identity import versions
from raybrain.report.terminal import accuracy_table, baseline_line
from raybrain.store import Store
from raybrain.tasks import retrieve
from raybrain.train.job import TrainJob
from raybrain.train.record import RunRecord
from raybrain.train.step import Place
from tests.conftest import TINY
from tests.evaluate.test_rank import known


def job(home: Path, **changes: Any) -> TrainJob:
    experiment = override(Experiment(), {"window.offset_s": 0.1, **changes})
    record, cluster = RunRecord(home / "run"), Cluster(home=home)
    return TrainJob(experiment, cluster, Store(home), (), "0123456789", "brain", {}, record, versions(experiment))


def test_it_is_asked_of_the_data_alone() -> None:
    asked = Experiment()
    same = {"encoder.depth": 3, "loss": "mse", "optim.lr": 1e-3, "train.seed": 1, "speech_encoder": "deep_mel"}
    others = {"window.offset_s": 0, "data.segments.tmax_s": 2, "test.subjects": 1}
    signature = baseline_of(asked).signature
    assert {baseline_of(override(asked, {key: value})).signature for key, value in same.items()} == {signature}
    assert signature not in {baseline_of(override(asked, {key: value})).signature for key, value in others.items()}
    assert baseline_of(baseline_of(asked)).signature == signature, "that of a ridge regression is itself"


def test_it_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables, asked = known(), job(tmp_path)
    assert baseline_ranks(asked) is None
    made = make_baseline(asked, tables, Place())
    assert len(made) == 16 and made["rank"].between(1, 16).all()
    monkeypatch.setattr(baseline, "fitted", None)
    pd.testing.assert_frame_equal(make_baseline(job(tmp_path, **{"train.seed": 1}), tables, Place()), made)
    baseline_path(asked).write_bytes(b"damaged")
    assert baseline_ranks(asked) is None


def rows(accurate: int, of: int = 20, subject: str = "01") -> pd.DataFrame:
    """Ranks of segments of which some are right and the others last."""
    columns = {"study": "s", "subject": subject, "recording": subject, "sentence": "a", "word_index": range(of)}
    words = [f"w{number % 7}" for number in range(of)]
    ranks = [1] * accurate + [of] * (of - accurate)
    return pd.DataFrame({**columns, "word": words, "rank": ranks, "candidates": of, "word_rank": ranks, "words": 7})


def test_what_is_below_is_marked() -> None:
    model, ridge = (pd.concat([rows(a), rows(b, subject="02")], ignore_index=True) for a, b in ((10, 12), (9, 15)))
    subjects, studies = (beside(summary(model, by), summary(ridge, by)) for by in (["study", "subject"], ["study"]))
    assert subjects["below_baseline"].tolist() == [False, True] and studies["below_baseline"].tolist() == [True]
    assert studies["baseline1"].tolist() == [24 / 40] and studies["top1"].tolist() == [22 / 40]
    assert studies["mrr"].tolist() == pytest.approx([(22 + 18 / 20) / 40]) and studies["median_rank"].tolist() == [1]
    line = baseline_line(studies)
    assert line.startswith("BELOW ITS BASELINE") and "s top-1 55.0% < 60.0%; s top-10 55.0% < 60.0%" in line
    assert "not below" in baseline_line(beside(summary(ridge, ["study"]), summary(model, ["study"])))
    cells = list(accuracy_table(studies, subjects).columns[3].cells)
    assert [str(cell) for cell in cells] == ["50.0% (5.0, 45.0)", "60.0% (5.0, 75.0)", "55.0% (5.0, 60.0)"]
    assert [cell.style for cell in cells] == ["", "yellow", "yellow"]


def test_a_breakdown_by_words() -> None:
    found = breakdown(rows(5), rows(20))
    places = found[found["by"] == "place in the sentence"].set_index("group")
    assert list(places.index) == ["1", "2", "3-4", "5-8", "9+"]
    assert places["segments"].tolist() == [1, 1, 2, 4, 12]
    assert places["top1"].tolist() == [1, 1, 1, 1 / 4, 0] and (places["baseline1"] == 1).all()
    assert places["median_rank"].tolist() == [1, 1, 1, 20, 20]
    common = found[found["by"] == "candidates with the word"].set_index("group")
    assert common["segments"].to_dict() == {"2-4": 20}, "each of seven words stands among the candidates two or three times"
    letters = found[found["by"] == "letters"]
    assert letters["group"].tolist() == ["1-3"] and letters["segments"].tolist() == [20]


@pytest.mark.slow
def test_one_and_two_workers_rank_the_same(ray_cluster: None, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = dict(setting.split("=", 1) for setting in TINY if not setting.startswith("encoder"))
    answer = raybrain.answer(raybrain.recipe("quickstart", settings | {"encoder": "ridge"}), Cluster(home=home))
    trained, evaluation = answer.trained.job, answer.evaluation
    assert not evaluation.studies["below_baseline"].any(), "it is its own baseline"
    pd.testing.assert_frame_equal(evaluation.ranks, evaluation.baseline, check_dtype=False)
    two = replace(trained, cluster=Cluster(home=home, workers=2))
    pd.testing.assert_frame_equal(rank._rank(two).ranks, evaluation.ranks, check_dtype=False)
    for module in (retrieve, segment_rows):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 16)
    shares = {
        shards: pd.concat([rank.rank_shard(trained, shard, shards) for shard in range(shards)], ignore_index=True)
        for shards in (1, 2, 3)
    }
    pd.testing.assert_frame_equal(shares[2], shares[1])
    pd.testing.assert_frame_equal(shares[3], shares[1])


def test_a_breakdown_by_what_words_are_in_their_language() -> None:
    some = rows(5).assign(word=["The", "ship", "n't", "xylophone"] * 5)
    found = breakdown(some, some, {"s": "en"})
    classes = found[found["by"] == "word class"].set_index("group")
    assert classes["segments"].to_dict() == {"content": 10, "function": 10}
    assert classes["top1"].to_dict() == {"content": 2 / 10, "function": 3 / 10}
    frequency = found[found["by"] == "word frequency"].set_index("group")
    assert list(frequency.index) == ["0-3", "3-4", "4-5", "6+"] and frequency["segments"].to_dict()["6+"] == 5
    assert frequency["median_rank"]["0-3"] == 20
    unknown = breakdown(some, some, {"s": "zu"})
    assert not {"word class", "word frequency"} & set(unknown["by"]), "nothing is known of that language"
    assert set(breakdown(some, some)["by"]) == set(found["by"]), "no language counts as English"


@pytest.mark.parametrize(
    ("word", "language", "kind"),
    [
        ("the", "", FUNCTION),
        ("It's", "en-GB", FUNCTION),
        ("wouldn\u2019t", "en", FUNCTION),
        ("(that,", "en", FUNCTION),
        ("Alice's", "en", CONTENT),
        ("two", "en", CONTENT),
        ("het", "nl", FUNCTION),
        ("het", "en", CONTENT),
        ("huis", "nl", CONTENT),
        ("der", "de", None),
    ],
)
def test_function_words(word: str, language: str, kind: str | None) -> None:
    assert word_class(word, language) == kind
