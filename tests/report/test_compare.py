"""Models are compared on the segments they share, and what is not the same for both is said; a name that is none is refused."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raybrain.config import InputError, override
from raybrain.evaluate.rank import Evaluation, summary
from raybrain.experiment import Experiment, recipe
from raybrain.report.compared import ALL, ComparedModel, ModelComparison, TestedRun, compare_models
from raybrain.report.compared_curves import size_curves
from raybrain.report.compared_page import comparison_page
from raybrain.report.compared_settings import called, differing, without_seed
from raybrain.report.compared_words import verdicts
from raybrain.store import SplitAudit
from raybrain.train.order import RunSizes
from raybrain.train.record import RunRecord
from tests.conftest import Ended
from tests.sweeps import finish, sizes_of

SUBJECTS = tuple(f"{number:02d}" for number in range(1, 9))


def ranks(hits: Mapping[str, Sequence[bool]], study: str = "made", candidates: int = 40) -> pd.DataFrame:
    """One row per segment: the first or the last place, by subject."""
    rows = [
        {
            "study": study,
            "subject": who,
            "recording": f"{study}_sub-{who}",
            "sentence": f"s{place // 5}",
            "word_index": place % 5,
        }
        | {"rank": 1 if hit else candidates, "candidates": candidates, "word_rank": 1, "words": candidates}
        for who, some in hits.items()
        for place, hit in enumerate(some)
    ]
    return pd.DataFrame(rows)


def run(name: str, rows: pd.DataFrame, **changes: Any) -> TestedRun:
    studies = summary(rows, ["study"]).assign(below_baseline=False)
    controls = pd.DataFrame({"study": []})
    audit = SplitAudit({"sentences": []})
    evaluation = Evaluation(rows, summary(rows, ["study", "subject"]), studies, controls, audit, baseline=rows)
    return TestedRun(name, override(Experiment(), changes), evaluation)


def model(name: str, rows: pd.DataFrame, **changes: Any) -> ComparedModel:
    return ComparedModel(name, (run(name, rows, **changes),))


def first_hits(counts: Sequence[int], of: int = 20) -> dict[str, list[bool]]:
    """So many hits of each subject, the first ones."""
    return {who: [place < count for place in range(of)] for who, count in zip(SUBJECTS, counts, strict=False)}


def only(comparison: ModelComparison, measure: str = "top10", study: str = "made") -> Any:
    (test,) = (test for test in comparison.tests if (test.measure, test.study) == (measure, study))
    return test


def test_who_is_better_by_how_much_and_on_whom() -> None:
    """The second is ahead on seven of eight subjects, by one to seven segments of twenty; it is behind on one, by one."""
    one, other = first_hits([5] * 8), first_hits([6, 7, 8, 9, 10, 11, 12, 4])
    made = compare_models([model("A", ranks(one)), model("B", ranks(other))])
    test = only(made)
    assert test.difference.mean == pytest.approx(27 / 8 / 20)
    assert (test.better, test.worse, test.difference.subjects, test.difference.segments) == (7, 1, 8, 160)
    assert test.difference.p == test.holm == pytest.approx(6 / 2**8), "ranks 1.5 of 36 are against it: 3 of 256 on each side"
    assert test.significant
    low, high = test.difference.over_subjects
    assert 0 < low < test.difference.mean < high < 0.35
    assert made.notes == []
    (line,) = verdicts(made)
    assert line.startswith(
        "B is better than A by 16.9 points (top-10, made): better on 7 of 8 subjects; Wilcoxon p = 0.023 (exact)"
    )


def test_identical_models_do_not_differ() -> None:
    same = ranks(first_hits([5, 6, 7, 8]))
    made = compare_models([model("A", same), model("B", same)])
    test = only(made)
    assert (test.difference.mean, test.difference.p, test.holm, test.significant) == (0.0, 1.0, 1.0, False)
    assert verdicts(made) == ["B and A are equally accurate on every subject (top-10, made)"]
    assert made.settings == []
    assert "Nothing: they ask the very same." in comparison_page(made)


def test_one_subject_cannot_be_tested() -> None:
    made = compare_models([model("A", ranks(first_hits([5]))), model("B", ranks(first_hits([9])))])
    assert (only(made).difference.p, only(made).difference.over_subjects) == (None, None)
    assert only(made).difference.over_segments[0] > 0
    (line,) = verdicts(made)
    assert line.endswith(
        "may be chance (top-10, made): better on 1 of 1 subjects; one subject, so no test over subjects is possible"
    )
    assert "one subject" in comparison_page(made)


def test_only_shared_segments_count_and_that_is_said() -> None:
    """The first was tested on two more subjects, on whom it fails."""
    one = ranks({**first_hits([10, 10, 10]), "07": [False] * 20, "08": [False] * 20})
    other = ranks(first_hits([10, 10, 10]))
    made = compare_models([model("A", one), model("B", other)])
    assert only(made).difference.mean == 0.0
    assert made.notes == ["made: compared on the 60 test segments that all share (A 100, B 60 were tested)"]
    assert [score.accuracy["top10"] for study in made.studies for score in study.scores] == [0.5, 0.5]


def test_other_candidates_are_said() -> None:
    one, other = first_hits([5, 5, 5]), {who: [True] * 30 for who in SUBJECTS[:3]}
    made = compare_models([model("A", ranks(one)), model("B", ranks(other, candidates=60))])
    assert [note.partition(" (")[0] for note in made.notes] == [
        "made: compared on the 60 test segments that all share",
        "made: NOT THE SAME CANDIDATES",
    ]


def test_what_is_heard_twice_is_two_segments() -> None:
    twice = pd.concat([ranks(first_hits([5, 5])), ranks(first_hits([9, 9]))], ignore_index=True)
    made = compare_models([model("A", twice), model("B", twice)])
    assert only(made).difference.segments == 80


def test_seeds_are_averaged_and_spread_is_shown() -> None:
    seeds = [run(f"A{seed}", ranks(first_hits([count] * 4)), **{"train.seed": seed}) for seed, count in ((1, 5), (2, 9))]
    made = compare_models([ComparedModel("A", tuple(seeds)), model("B", ranks(first_hits([7, 7, 7, 7])))])
    score = made.studies[0].scores[0]
    assert (score.seeds, score.accuracy["top10"]) == (2, pytest.approx(0.35))
    assert score.sd["top10"] == pytest.approx(np.std([0.25, 0.45], ddof=1))
    assert only(made).difference.mean == pytest.approx(0.0)
    assert made.settings == [], "the seed is no difference"


def test_every_two_models_are_tested_and_all_tests_are_counted() -> None:
    counts = ([5] * 8, [7, 8, 9, 10, 11, 12, 13, 14], [5, 6, 5, 6, 5, 6, 5, 6])
    both = [
        pd.concat([ranks(first_hits(count)), ranks(first_hits(count), study="other")], ignore_index=True) for count in counts
    ]
    made = compare_models([model(name, rows) for name, rows in zip("ABC", both, strict=True)])
    tests = [test for test in made.tests if test.measure == "top10"]
    assert [(test.first, test.second) for test in tests[::3]] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert {test.study for test in tests} == {"made", "other", ALL}
    pooled = next(test for test in tests if (test.study, test.second) == (ALL, "B"))
    assert pooled.difference.subjects == 16
    assert pooled.difference.p is not None and pooled.holm is not None
    assert pooled.difference.p < pooled.holm <= 9 * pooled.difference.p
    assert [line.split()[0] for line in verdicts(made)] == ["B", "C", "B"]


REFUSED = {
    "one model": ([("A", "made")], "A alone cannot be compared; type the name of another run"),
    "no study in common": (
        [("A", "made"), ("B", "other")],
        "tested on no study in common, so nothing can be compared (A on made;",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared(case: str) -> None:
    tested, expected = REFUSED[case]
    with pytest.raises(InputError, match=re.escape(expected)):
        compare_models([model(name, ranks(first_hits([5, 5]), study=study)) for name, study in tested])


def test_no_segment_in_common() -> None:
    one = ranks(first_hits([5, 5]))
    with pytest.raises(InputError, match="no test segment in common"):
        compare_models([model("A", one), model("B", one.assign(sentence="another"))])


def test_only_differing_settings_are_listed() -> None:
    base = recipe("quickstart")
    rows = differing([base, override(base, {"encoder.depth": 6, "optim.lr": 0.01, "train.seed": 5})])
    assert dict(rows) == {"encoder.depth": [str(base.encoder.depth), "6"], "optim.lr": [str(base.optim.lr), "0.01"]}  # type: ignore[attr-defined]
    assert called(rows, 1) == "encoder.depth=6, lr=0.01"
    kinds = differing([base, override(base, {"encoder": "ridge", "data.features": "mel,word_length"})])
    assert dict(kinds)["encoder"] == ["simple_conv", "ridge"]
    assert dict(kinds)["data.features"] == ["mel", "mel,word_length"]
    assert not any(name.startswith("encoder.ridge") or name == "encoder.per_subject" for name, _ in kinds), "a default"
    assert called(kinds, 1) == "features=mel,word_length, ridge"
    assert without_seed(base) == without_seed(override(base, {"train.seed": 7}))


def test_the_page_holds_it_all_and_escapes_names() -> None:
    evil = "<script>$x</script>"
    made = compare_models(
        [
            model(evil, ranks(first_hits([5, 6, 7, 3, 2, 1, 4]))),
            model("B", ranks(first_hits([18, 8, 9, 7, 6, 5, 10])), **{"encoder.depth": 3}),
        ]
    )
    page = comparison_page(made)
    assert evil not in page
    assert page.count("<svg") == 3
    for text in ("encoder.depth", "Wilcoxon", "Every subject", "is better than", 'class="good"'):
        assert text in page
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)


def test_wrong_names_get_one_line(raybrain: Callable[..., Ended], tmp_path: Path) -> None:
    experiment = recipe("quickstart")
    begun = RunRecord(tmp_path / "runs" / f"{experiment.signature}-12345678")
    begun.begin(experiment)
    trained = RunRecord(tmp_path / "runs" / "0123456789ab-12345678")
    trained.begin(experiment)
    finish(trained, [1.0])
    home = ["--home", str(tmp_path)]
    for names, expected in {
        ("nothing", "x"): "no run and no sweep called 'nothing'",
        (experiment.signature[:-1] + "?", "x"): f"did you mean '{experiment.signature}'?",
        (experiment.signature, "x"): "is not trained to the end; run the command that trains it again",
        ("0123456789ab", "x"): "is trained, but was not tested",
        (str(tmp_path / "nowhere"), "x"): "no run in",
    }.items():
        ended = raybrain("compare", *names, *home)
        assert (ended.code, ended.err.count("\n")) == (2, 1), ended
        assert expected in ended.err
    assert not (tmp_path / "comparisons").exists()
    assert raybrain("compare", "a", "b", "--home", str(tmp_path / "none")).code == 2


def test_curves_over_subjects_and_hours() -> None:
    """Models that differ in one size alone are joined; those that differ in something else are a curve of their own."""
    contrast = sizes_of().contrast
    models = []
    for share, subjects, count in ((0.5, 2, 4), (1.0, 2, 6), (0.5, 4, 5), (1.0, 4, 9)):
        changes = {"train.share": share, "train.subjects": subjects, "test.subjects": 2}
        tested = run(f"{share} {subjects}", ranks(first_hits([count] * 3)), **changes)
        sizes = RunSizes(contrast, 1, "memory", round(3600 * share * subjects), subjects)
        models.append(ComparedModel(tested.name, (replace(tested, sizes=sizes),)))
    made = compare_models(models)
    hours, people = (size_curves(made, made.studies[0], axis) for axis in ("train_hours", "train_subjects"))  # type: ignore[arg-type]
    assert [(curve.name, [score.train_hours for score in curve.scores]) for curve in hours] == [
        ("train.subjects=2", [0.5, 1.0]),
        ("train.subjects=4", [1.0, 2.0]),
    ]
    assert [(curve.name, [score.model for score in curve.scores]) for curve in people] == [
        ("train.share=0.5", ["0.5 2", "0.5 4"]),
        ("train.share=1.0", ["1.0 2", "1.0 4"]),
    ]
    assert "More subjects, more hours" in comparison_page(made)
    alike = compare_models([models[0], replace(models[0], name="again")])
    assert size_curves(alike, alike.studies[0], "train_hours") == []
