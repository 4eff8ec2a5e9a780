"""Controls end at chance where the brain is all there is, and tell where it is not; intervals and tests of differences."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from raybrain.config import override
from raybrain.evaluate.controls import SHIFT_S, Models, control_rows
from raybrain.evaluate.marks import marked
from raybrain.evaluate.rank import summary
from raybrain.evaluate.statistics import bootstrap_interval, compare, over_seeds
from raybrain.experiment import Experiment
from raybrain.report.terminal import audit_line, controls_table
from raybrain.store import SEGMENTS, Gap, SplitAudit
from raybrain.tasks.candidates import Pool
from raybrain.tasks.retrieve import rank_rows
from raybrain.train.order import Contrast
from raybrain.train.step import Learner, Place
from raybrain.train.tables import Tables
from tests.workers import SMALL, random_tables

# controls


def known(**changes: Any) -> Tables:
    """Random tables of one study whose test segments are the words."""
    tables = random_tables(override(Experiment(), SMALL), torch.float32)
    meta = tables.meta | {
        "candidates": [{"study": "s", "sentence": "", "word_index": n, "word": str(n)} for n in range(len(tables.start))],
        "subjects": [["s", "01"], ["s", "02"]],
    }
    rows = {**tables.rows, "test": tables.rows["valid_words"]}
    return replace(tables, rows=rows, meta=meta, **changes)


class Oracle(Learner):
    """Knows from the first sample of a window which segment it is; a model that reads the brain and nothing else."""

    def encoded(self, batch: Any) -> torch.Tensor:
        marked = self.tables.signal[self.tables.start, 0]
        rows = (batch.signal[:, 0, 0, None] - marked).abs().argmin(dim=1)
        return self.aimed(rows)


def learner(tables: Tables, kind: type[Learner] = Learner) -> Learner:
    experiment = override(Experiment(), SMALL)
    made = kind(experiment, tables, Contrast(1, 1, 1, 1, 0, 1), Place())
    made.network.eval()
    return made


def pools(tables: Tables, split: str, subjects: int | None = None) -> list[Pool]:
    return Experiment().task.pools(tables.words(split, subjects))


def controls_of(models: Models, some: list[Pool]) -> pd.DataFrame:
    """The rows of controls by name."""
    return marked(control_rows(models, some)[0]).set_index("control")


def marked_tables() -> Tables:
    """Tables in which a window is the signal itself, with nothing taken off it."""
    tables = known(start=torch.arange(128) % 3 * 400 + torch.arange(128) * 2)
    window = replace(tables.window, baseline_samples=0, offset_samples=0, clamp=None)
    return replace(tables, centre=torch.zeros_like(tables.centre), window=window)


def test_a_model_that_reads_the_brain_is_right_and_its_controls_are_not() -> None:
    tables = marked_tables()
    found = controls_of(Models(learner(tables, Oracle), learner(tables)), pools(tables, "test"))
    replaced = ["random", "untrained", "other segment", "noise", "shifted", "flat"]
    assert list(found.index) == ["model", *replaced, "length", "envelope"]
    assert found["top1"]["model"] == 1.0 == found["mrr"]["model"]
    assert (found["candidates"] == 16).all()
    assert found["top1"][replaced].max() <= 4 / 16
    assert not found["marked"].any()
    assert found["top1"]["other segment"] == 0.0
    assert found["chance10"]["random"] == 10 / 16


def test_random_estimates_are_at_chance_and_the_same_again() -> None:
    tables = known()
    tables = replace(tables, rows={"test": torch.arange(len(tables.start))})
    models = Models(learner(tables), learner(tables))
    found = controls_of(models, pools(tables, "test"))
    assert found["low10"]["random"] <= found["top10"]["random"] <= found["high10"]["random"]
    assert found["band_low10"]["random"] <= found["top10"]["random"] <= found["band_high10"]["random"]
    pd.testing.assert_frame_equal(controls_of(models, pools(tables, "test")), found)
    assert found.loc["untrained"].equals(found.loc["model"]), "it is not trained"


def test_a_leak_shows_in_noise_and_the_table_marks_it() -> None:
    """A model that knows who is listening and when, and not by the brain: every control but random keeps its accuracy."""

    class Cheat(Learner):
        def encoded(self, batch: Any) -> torch.Tensor:
            return self.aimed(self.tables.rows["test"][:1]).expand(len(batch), -1, -1)

    tables = known(candidate=torch.zeros(128, dtype=torch.long))
    rows = {"test": torch.arange(96)}
    tables = replace(tables, rows=rows, candidate=(torch.arange(128) >= 95).long())
    models = Models(learner(tables, Cheat), learner(tables))
    found = controls_of(models, pools(tables, "test"))
    assert found["top1"]["noise"] == found["top1"]["shifted"] == found["top1"]["model"] == 95 / 96
    assert found["band_low1"]["noise"] == 1 / 96 and found["band_high1"]["noise"] == 95 / 96, "of two candidates"
    odd = marked(found.reset_index().assign(band_high1=0.5))
    styles = [row.style for row in controls_table(odd).rows]
    replaced = ("untrained", "other segment", "noise", "shifted", "flat", "envelope")
    assert styles == ["yellow" if name in replaced else "" for name in odd["control"]]


def test_shifted_starts_stay_in_their_recording() -> None:
    tables = known(start=torch.arange(128) % 3 * 10_000 + torch.arange(128) * 50)
    moved = tables.shifted(SHIFT_S).start
    assert set((moved - tables.start).abs().tolist()) == {round(SHIFT_S * tables.window.rate_hz)}
    assert (moved // 10_000 == tables.recording).all()
    short = known(start=torch.arange(128) % 3 * 10_000 + torch.arange(128))
    assert (short.shifted(SHIFT_S).start // 10_000 == short.recording).all()
    assert (short.shifted(SHIFT_S).start != short.start).all()


def test_the_first_subjects_are_tested_on_the_candidates_they_heard() -> None:
    tables = known()
    (pool,) = pools(tables, "test", subjects=1)
    assert set(tables.subject[tables.recording[pool.rows]].tolist()) == {0}
    assert len(pool.stands) == len(pool.rows) < len(tables.rows["test"])
    (everybody,) = pools(tables, "test", subjects=2)
    assert len(everybody.rows) == len(tables.rows["test"])


def test_ranks_of_other_estimates() -> None:
    tables = known()
    (pool,) = pools(tables, "test")
    model = learner(tables)
    ranked = rank_rows(model, pool, slice(None), estimate=model.aimed)
    assert ranked.segment.tolist() == ranked.word.tolist() == [1] * 16, "the candidates themselves are found at once"


# the audit


def test_the_audit_is_told_in_a_line() -> None:
    assert SplitAudit.of({"sentences_in_two_splits": []}).leaks == {"sentences": []}
    assert audit_line(SplitAudit.of({"sentences_in_two_splits": []})) == "split audit: no sentences in two splits"
    both = SplitAudit.of({"sentences_in_two_splits": ["roy"], "audio_in_two_splits": []})
    assert audit_line(both) == "split audit: 1 sentences in two splits (roy)"
    assert "no sentences or stretches of audio in" in audit_line(SplitAudit({"sentences": [], "audio": []}))


def test_the_audit_tells_mistakes_from_what_is_so_by_design() -> None:
    """Held-out subjects hear what others hear, unless new speech is asked for: then that would be a leak."""
    found = {"sentences_in_two_splits": ["roy", "ada"], "audio_in_two_splits": ["a.wav"], "held_out_in_two_splits": []}
    gap = {"windows": 0, "least_s": None, "near": 0, "window_s": 3.0}
    subjects = SplitAudit.of({**found, "data": {"splits": {"mode": "subject"}}, "gap": gap})
    assert subjects.leaks == {"subjects": []}
    assert audit_line(subjects) == (
        "split audit: no subjects in two splits; same speech in train and test: yes, by design of held-out subjects"
        " (2 sentences and 1 stretches of audio in two splits); no test window has a train window in its recording"
    )
    new = SplitAudit.of({**found, "data": {"splits": {"mode": "recording", "new_speech": True}}})
    assert new.shared == {}
    assert audit_line(new) == "split audit: 2 sentences in two splits (roy; ada); 1 stretches of audio in two splits (a.wav)"


def test_the_gap_between_test_and_train_windows() -> None:
    """Windows of 3 s at 10 Hz: one touches a train window, one lies 2 s after, one 4 s before; one recording has none."""

    def segments(**starts: Sequence[int]) -> pa.Table:
        rows = [{"split": split, "start_sample": start} for split, some in starts.items() for start in some]
        return pa.Table.from_pylist(rows, schema=SEGMENTS)

    both = segments(train=[100, 300], valid=[400], test=[130, 230, 350])
    assert Gap.of([both, segments(test=[0, 5])], window_s=3.0, rate_hz=10.0) == Gap(3, 0.0, 2, 3.0)
    assert Gap.of([segments(test=[0])], 3.0, 10.0) == Gap(0, None, 0, 3.0)
    line = audit_line(SplitAudit({"sentences": []}, gap=Gap(3, 0.25, 2, 3.0)))
    assert line.endswith("at least 0.25 s from train windows of their recording, 2 of 3 are nearer than their 3 s")


# statistics


def test_bootstrap_over_subjects_is_wider_than_over_segments() -> None:
    one = bootstrap_interval([500], [1000])
    assert one == pytest.approx((0.469, 0.531), abs=0.002)
    assert bootstrap_interval([500], [1000]) == one
    low, high = bootstrap_interval([90, 10, 50, 50], [100] * 4)
    assert low < 0.35 < 0.65 < high
    assert bootstrap_interval([50, 50, 50], [100] * 3) == (0.5, 0.5)
    with pytest.raises(ValueError, match="of each subject"):
        bootstrap_interval([], [])


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(100):
        rates = np.clip(rng.normal(0.4, 0.1, 25), 0, 1)
        low, high = bootstrap_interval(rng.binomial(200, rates).tolist(), [200] * 25)
        inside += low <= 0.4 <= high
    assert inside >= 85


def test_wilcoxon_over_subjects() -> None:
    first = {("s", f"{n:02d}"): 0.3 + n / 100 for n in range(12)}
    better = {who: value + 0.01 * (1 + n) for n, (who, value) in enumerate(first.items())}
    found = compare(first, better)
    assert found.subjects == 12
    assert found.difference == pytest.approx(0.065)
    assert found.p == pytest.approx(2 / 2**12), "all signs agree: exact"
    assert compare(first, first).p == 1.0
    assert compare(first, better | {("s", "99"): 1.0}).subjects == 12
    with pytest.raises(ValueError, match="no subject"):
        compare(first, {("other", "00"): 1.0})


def test_seeds_are_averaged_a_subject() -> None:
    one = pd.DataFrame({"study": ["s", "s"], "subject": ["1", "2"], "top10": [0.2, 0.4]})
    assert over_seeds([one, one.assign(top10=[0.4, 0.4])]) == pytest.approx({("s", "1"): 0.3, ("s", "2"): 0.4})


def test_summary_has_intervals() -> None:
    ranks = pd.DataFrame(
        {
            "study": "s",
            "subject": ["1"] * 50 + ["2"] * 50,
            "rank": [1] * 50 + [50] * 50,
            "candidates": 100,
            "word_rank": 1,
            "words": 90,
        }
    )
    study = summary(ranks, ["study"]).iloc[0]
    assert (study["top10"], study["low10"], study["high10"]) == (0.5, 0.0, 1.0)
    subject = summary(ranks, ["study", "subject"]).iloc[0]
    assert (subject["top10"], subject["low10"], subject["high10"]) == (1.0, 1.0, 1.0)
