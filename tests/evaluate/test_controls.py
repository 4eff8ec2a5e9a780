"""What might explain an accuracy is told apart from it, and everything that marks a result is in one list."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from raybrain.config import InputError, override
from raybrain.evaluate.controls import Models, control_rows, is_flat
from raybrain.evaluate.explained import component, correlations, explained_row, known, why_unknown
from raybrain.evaluate.lags import peak
from raybrain.evaluate.marks import marked, marks_of, measured, names_of
from raybrain.evaluate.permutation import Leaders
from raybrain.evaluate.silence import RESPONSE_S, find_silence, gaps, starts_within
from raybrain.evaluate.standing import ranking
from raybrain.experiment import Experiment
from raybrain.metrics import TOP, leaders
from raybrain.report.terminal import absent_lines, lag_lines, mark_lines
from raybrain.store import Store
from tests.evaluate.test_rank import Oracle, controls_of, learner, marked_tables, pools
from tests.evaluate.test_rank import known as known_tables

# silence


def test_gaps_begin_when_the_response_is_over() -> None:
    heard = [(2.0, 5.0), (4.0, 6.0), (6.4, 7.0), (20.0, 21.0)]
    assert gaps(heard, 30.0) == [(0.0, 2.0), (7.0 + RESPONSE_S, 20.0), (21.0 + RESPONSE_S, 30.0)]
    assert gaps([], 3.0) == [(0.0, 3.0)] and gaps([(0.0, 9.0)], 9.2) == []


def test_windows_lie_inside_of_gaps() -> None:
    assert starts_within([(0.05, 1.0), (2.0, 2.3)], rate_hz=10.0, samples=4).tolist() == [1, 2, 3, 4, 5, 6]
    assert starts_within([(2.0, 2.4)], 10.0, 4).tolist() == [20], "as long as a window"
    assert starts_within([(0.0, 0.3)], 10.0, 4).tolist() == [] == starts_within([], 10.0, 4).tolist()


class MadeStore(Store):
    """Three recordings of 400 samples at 20 Hz; in the second one something is heard all the time."""

    def part(self, uid: str) -> Any:
        return type("Part", (), {"samples": 400, "study": "s"})()

    def events(self, uid: str) -> Any:
        import pyarrow as pa

        start = 0.0 if uid == known_tables().meta["recordings"][1] else 4.0
        return pa.Table.from_pylist([{"kind": "sound", "start_s": start, "duration_s": 20.0 - start - 1.0}])


def test_silence_is_of_the_same_recording(tmp_path: Any) -> None:
    tables = known_tables()
    found = find_silence(tables, MadeStore(tmp_path))
    assert torch.equal(found.covered, tables.recording != 1)
    inside = found.tables.start - tables.recording * 400
    assert (inside[found.covered] + tables.window.samples <= 4.0 * 20).all() and (inside >= 0).all()
    assert torch.equal(found.tables.start[~found.covered], tables.start[~found.covered])
    models = Models(learner(tables), learner(tables), found)
    rows, absent = control_rows(models, pools(tables, "test"))
    row = rows.set_index("control").loc["silence"]
    assert row["segments"] == int((tables.recording[tables.rows["test"]] != 1).sum()) < 16 and row["candidates"] == 16
    assert "silence" not in [one["control"] for one in absent]


def test_a_study_without_silence_says_so() -> None:
    tables = known_tables()
    rows, absent = control_rows(Models(learner(tables), learner(tables)), pools(tables, "test"))
    assert "silence" not in set(rows["control"])
    reason = f"no recording has a stretch of {tables.window.samples / 20:.1f} s in which nothing is heard"
    assert {"study": "s", "control": "silence", "reason": reason} in absent
    assert f"no control silence of s: {reason}" in absent_lines(absent)


# flat


def test_what_is_flat() -> None:
    signal = torch.randn(1, 3, 12, generator=torch.Generator().manual_seed(0))
    signal[:, :, 2:5] = torch.tensor([1.0, -2.0, 0.0])[None, :, None]
    assert torch.nonzero(is_flat(signal)[0, 0])[:, 0].tolist() == [2, 3, 4]
    signal[0, 1, 4] += 0.01
    assert torch.nonzero(is_flat(signal)[0, 0])[:, 0].tolist() == [2, 3, 4], "what rings on a little"
    signal[0, 1, 4] = 7.0
    assert torch.nonzero(is_flat(signal)[0, 0])[:, 0].tolist() == [2, 3]
    assert is_flat(torch.zeros(2, 3, 5)).all()
    assert not is_flat(torch.randn(64, 8, 300, generator=torch.Generator().manual_seed(0))).any()


def test_segments_that_differ_in_length_are_told_apart_without_the_brain() -> None:
    """A model that knows how much of the input is flat, where each segment has another length: noise for the rest is enough."""
    tables = marked_tables()
    test = tables.rows["test"]
    signal = tables.signal.clone()
    starts = torch.arange(len(test)) * 60  # where no window reaches into another
    start = tables.start.clone()
    start[test] = starts
    signal = torch.randn(16 * 60 + 400, signal.shape[1], generator=torch.Generator().manual_seed(0))
    for place, begin in enumerate(starts.tolist()):
        signal[begin + 10 + place : begin + 60] = 0.0
    tables = replace(tables, signal=signal, start=start, recording=torch.zeros_like(tables.recording))

    class Length(type(learner(tables))):  # type: ignore[misc]
        def encoded(self, batch: Any) -> torch.Tensor:
            varies = (~is_flat(batch.signal)).sum(dim=2)[:, 0] - 10
            return self.aimed(self.tables.rows["test"][varies.clamp(0, 15)])

    found = controls_of(Models(learner(tables, Length), learner(tables)), pools(tables, "test"))
    assert found["top1"]["model"] == found["top1"]["flat"] == 1.0 and found["top1"]["noise"] < 0.2
    assert found["marked"]["flat"] and not found["marked"]["noise"]


# what explains a model


def standing(scores: torch.Tensor, targets: torch.Tensor) -> Leaders:
    return Leaders(targets, *leaders(scores, TOP[-1]), scores.shape[1])


def test_knowing_the_group_and_no_more() -> None:
    group = np.array([0, 0, 0, 1, 1, 2])
    some = standing(torch.eye(6), torch.tensor([0, 3, 5, 5]))
    assert known([some], [group]) == pytest.approx({"known1": (1 / 3 + 1 / 2 + 1 + 1) / 4, "known5": 1.0, "known10": 1.0})


def test_a_model_that_knows_its_place_is_explained_by_it() -> None:
    make, count, place = torch.Generator().manual_seed(0), 120, np.arange(120) % 6
    by_place = torch.from_numpy((place[:, None] == place).astype(np.float32)) + 0.01 * torch.rand(count, count, generator=make)
    more = by_place + 0.5 * torch.eye(count)
    for scores, explained in ((by_place, True), (more, False)):
        some = standing(scores, torch.arange(count))
        row = explained_row([some], [place])
        accuracy = {k: float((some.ranks[:, :k][some.leaders[:, :k] == some.targets[:, None]] <= k).sum()) / count for k in TOP}
        assert row["known10"] == 0.5 and row["top10"] == pytest.approx(0.5, abs=0.05)
        assert (accuracy[10] <= row["band_high10"]) == explained == (accuracy[1] <= row["band_high1"])


def test_groups_of_one_say_nothing() -> None:
    assert why_unknown([np.arange(5)]) and why_unknown([np.array([0, 0, 1, 2, 3])])
    assert not why_unknown([np.array([0, 0, 1, 1, 2])]) and not why_unknown([np.zeros(3, dtype=int)])


def test_the_first_component_is_the_loudness_of_a_spectrum() -> None:
    make = torch.Generator().manual_seed(0)
    loud, bands = torch.randn(200, generator=make), torch.rand(12, generator=make) + 1
    first = component(loud[:, None] * bands + 0.1 * torch.randn(200, 12, generator=make) + 3)
    assert float(first.norm()) == pytest.approx(1.0, abs=1e-5)
    assert abs(float(first @ bands / bands.norm())) > 0.99


def test_correlations_by_hand() -> None:
    courses = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [5.0, 5.0, 5.0]])
    torch.testing.assert_close(correlations(courses[:1], courses), torch.tensor([[1.0, -1.0, 0.0]]))


def test_the_envelope_of_an_oracle_finds_about_as_much_and_is_encoded_once() -> None:
    tables = marked_tables()

    class Counting(Oracle):
        seen = 0

        def estimates(self, rows: torch.Tensor) -> torch.Tensor:
            Counting.seen += len(rows)
            return super().estimates(rows)

    rows, _ = control_rows(Models(learner(tables, Counting), learner(tables)), pools(tables, "test"))
    found = rows.set_index("control")
    assert found["top1"]["envelope"] > 0.9, "estimates are the candidates themselves, so their courses are as well"
    assert Counting.seen == 16 * 2, "once for the model and its envelope, once for other segments"


def test_estimates_that_are_not_finite_are_refused() -> None:
    tables = marked_tables()
    (pool,) = pools(tables, "test")
    model = learner(tables)
    with pytest.raises(InputError, match="the estimates of 16 of 16 segments of s are not finite"):
        ranking(model, pool, lambda rows: model.aimed(rows) * float("nan"))


# marks


def controls(**changes: Any) -> pd.DataFrame:
    """A study's controls as they should be, of 100 candidates."""
    names = ["model", "noise", "place", "envelope"]
    rows = pd.DataFrame({"study": "s", "control": names, "candidates": 100, "mrr": [0.5, 0.05, None, 0.2]})
    for k, low, high in ((1, 0.0, 0.05), (5, 0.02, 0.1), (10, 0.05, 0.2)):
        rows = rows.assign(**{f"top{k}": [0.7, k / 100, k / 100, 0.3], f"band_low{k}": low, f"band_high{k}": high})
    for name, values in changes.items():
        column, control = name.split("_of_")
        rows.loc[rows["control"] == control, column] = values
    return rows


def doubts(some: pd.DataFrame, **others: Any) -> list[dict[str, Any]]:
    nothing: dict[str, Any] = {"lags": pd.DataFrame(), "context": pd.DataFrame(), "leaks": {}, "trained": "none"}
    return marks_of(marked(some), **{**nothing, **others})


def test_what_is_as_it_should_be_has_no_mark() -> None:
    assert doubts(controls()) == []
    assert doubts(controls(top10_of_noise=0.2)) == [], "the end of the band is inside"
    assert doubts(controls(top10_of_noise=0.01)) == [], "below chance is no gain"
    few = controls().assign(candidates=[1, 1, 1, 1], top1=1.0, band_high1=1.0, mrr=1.0)
    assert doubts(few) == [], "one candidate is always right"


def test_a_control_above_its_band_marks_the_result() -> None:
    (mark,) = doubts(controls(top10_of_noise=0.21))
    assert (mark["study"], mark["control"], mark["measure"]) == ("s", "noise", "top10")
    assert (mark["value"], mark["band"]) == (0.21, [0.05, 0.2])
    assert mark_lines([mark]) == [f"MARKED by noise in s: {mark['meaning']} (top10 21.0%, should be 5.0% to 20.0%)"]
    assert names_of([mark]) == ["noise (s)"]


def test_few_candidates_are_judged_by_fewer_of_the_best() -> None:
    assert [measured(count) for count in (1, 2, 9, 10, 19, 20, 1000)] == [1, 1, 1, 5, 5, 10, 10]


def test_a_model_that_is_explained_is_marked() -> None:
    (mark,) = doubts(controls(band_high10_of_place=0.8, band_high1_of_place=0.7))
    assert (mark["control"], mark["value"], mark["band"]) == ("place", 0.7, [0.8, 1.0])
    assert mark_lines([mark])[0].endswith("(top10 70.0%, should be above 80.0%)")
    assert doubts(controls(band_high10_of_place=0.8)) == [], "the top-1 accuracy is more than that"
    (mark,) = doubts(controls(mrr_of_envelope=0.6))
    assert (mark["control"], mark["measure"], mark["value"], mark["band"]) == ("envelope", "mrr", 0.5, [0.6, 1.0])
    nothing = controls(top10_of_model=0.1, mrr_of_envelope=0.6, band_high10_of_place=0.8, band_high1_of_place=0.7)
    assert doubts(nothing) == [], "a model at chance needs no explanation"


def test_a_training_on_nothing_that_passes_is_marked() -> None:
    (mark,) = doubts(controls(), trained="noise")
    assert (mark["control"], mark["value"], mark["band"]) == ("trained on noise", 0.7, [0.05, 0.2])
    assert doubts(controls(top10_of_model=0.15), trained="shuffled") == []


def test_a_leak_and_a_context_of_anything_are_marked() -> None:
    (mark,) = doubts(controls(), leaks={"sentences": ["roy", "yes"], "audio": ["a.wav 0-2 s"], "words": []})
    assert (mark["study"], mark["control"], mark["value"]) == ("", "split audit", 3.0)
    assert mark["meaning"].startswith("2 sentences and 1 stretches of audio stand in two splits")
    context = pd.DataFrame([{"study": "s", "odd": True, "plain1": 0.4, "random1": 0.5}, {"study": "t", "odd": False}])
    assert [one["control"] for one in doubts(controls(), context=context)] == ["context"]


def curve(top: float, height: float = 0.3) -> pd.DataFrame:
    lags = np.arange(-40, 41) * 0.025
    return pd.DataFrame(
        {"study": "s", "lag_s": lags, "correlation": height * np.exp(-(((lags - top) / 0.1) ** 2)), "noise": 0.1}
    )


@pytest.mark.parametrize(
    ("top", "height", "meaning"),
    [(0.15, 0.3, ""), (0.0, 0.3, "at once"), (0.025, 0.3, "at once"), (-0.3, 0.3, "before"), (0.0, 0.09, "")],
)
def test_a_curve_is_highest_after_the_sound(top: float, height: float, meaning: str) -> None:
    marks = doubts(controls(), lags=curve(top, height))
    assert [mark["control"] for mark in marks] == (["lags"] if meaning else [])
    assert all(meaning in mark["meaning"] and mark["value"] == pytest.approx(top) for mark in marks)
    assert (peak(curve(top, height)) is None) == (height < 0.1)
    (line,) = lag_lines(curve(top, height))
    assert (f"{1000 * top:.0f} ms after it" in line) == (height > 0.1)


def test_decoding_asks_for_all_of_them() -> None:
    assert {"flat", "silence", "place", "envelope"} <= set(override(Experiment(), {}).task.controls)
