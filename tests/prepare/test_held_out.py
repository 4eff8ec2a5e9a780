"""Whole subjects, sessions, recordings and stories are held out: by name or by a draw, never leaving a split empty."""

import re
from collections.abc import Iterable, Sequence

import pytest

from raybrain.config import InputError, override
from raybrain.events import Event, Sound, SplitConfig, Word
from raybrain.experiment import Experiment, recipe
from raybrain.prepare.held_out import Unit, hold_out, unit_of
from raybrain.prepare.plan import Heard, SplitPlan, make_plan, why_empty
from raybrain.recording import Recording

MODES = ("subject", "session", "recording")


def spoken(files: Sequence[str], sentences: int = 6) -> tuple[Event, ...]:
    """So many sentences of eight words in each sound file, a word every half second; 0.3 s of silence before the first."""
    events: list[Event] = []
    start = 1.0
    for file in files:
        events.append(Sound(start=start, duration=0.3 + 4.0 * sentences, filepath=file))
        for number in range(sentences):
            said = " ".join(f"{file}{number}word{place}" for place in range(8))
            first = start + 0.3 + 4.0 * number
            events += [
                Word(start=first + 0.5 * place, duration=0.4, word=word, word_index=place, sequence=said)
                for place, word in enumerate(said.split())
            ]
        start += 0.3 + 4.0 * sentences
    return tuple(events)


FILES = ("a.wav", "b.wav", "c.wav", "d.wav")


def people(subjects: int, sessions: Iterable[str] = ("",), tasks: Iterable[str] = ("",), study: str = "made") -> list[Heard]:
    """Everybody hears all files in each session; with tasks, one file in each."""
    return [
        Heard(
            Recording(study, f"{number + 1:02d}", session, task),
            spoken([FILES[place]] if task else FILES),
        )
        for number in range(subjects)
        for session in sessions
        for place, task in enumerate(tasks)
    ]


def plan_of(heard: Sequence[Heard], **settings: object) -> SplitPlan:
    return make_plan(heard, {file: file for file in FILES}, SplitConfig.model_validate(settings))


def sides(plan: SplitPlan) -> dict[str, set[str]]:
    """The splits of each recording, without its study's name."""
    return {uid.removeprefix("made_"): {block.split for block in blocks} for uid, blocks in plan.blocks.items()}


def test_named_subjects_are_held_out() -> None:
    plan = plan_of(people(4), mode="subject", test=["02"], valid=["made/03"])
    assert sides(plan) == {"sub-01": {"train"}, "sub-02": {"test"}, "sub-03": {"valid"}, "sub-04": {"train"}}
    assert plan.held_out_in_two_splits == []
    assert len(plan.sentences_in_two_splits) == 24, "all hear the same"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(10))
def test_no_split_is_empty_whatever_is_drawn(mode: str, seed: int) -> None:
    for subjects, sessions in ((3, ("1", "2")), (5, ("1", "2", "3")), (12, ("1", "2"))):
        units = {unit_of(item.recording, mode) for item in people(subjects, sessions)}
        held = hold_out(units, SplitConfig(mode=mode, seed=seed))  # type: ignore[arg-type]
        assert set(held.values()) == {"train", "valid", "test"}
        if mode != "subject":
            trained = {unit.owner for unit, split in held.items() if split == "train"}
            assert len(trained) == subjects, "everybody is trained with"


def test_the_draw_depends_on_seed_and_names_alone() -> None:
    units = [Unit(f"made/{number:02d}", (f"{number:02d}",), "made") for number in range(40)]
    config = SplitConfig(mode="subject", test_ratio=0.25, valid_ratio=0.1, remove_ratio=0.2)
    held = hold_out(units, config)
    assert held == hold_out(reversed(units), config)
    assert [list(held.values()).count(split) for split in ("train", "valid", "test", "removed")] == [18, 4, 10, 8]
    assert held != hold_out(units, config.model_copy(update={"seed": 13}))
    more = hold_out([*units, Unit("made/99", ("99",), "made")], config)
    assert sum(held[unit] != more[unit] for unit in units) <= 3, "one more subject moves few others"


def test_each_study_has_some_of_its_own() -> None:
    both = [*people(4), *people(3, study="other")]
    held = hold_out({unit_of(item.recording, "subject") for item in both}, SplitConfig(mode="subject"))
    for study in ("made", "other"):
        assert {split for unit, split in held.items() if unit.study == study} == {"train", "valid", "test"}
    named = hold_out({unit_of(item.recording, "subject") for item in both}, SplitConfig(mode="subject", test=("01",)))
    assert [unit.name for unit, split in named.items() if split == "test"] in (["made/01", "other/01"], ["other/01", "made/01"])


def test_a_session_of_everybody_or_of_one() -> None:
    heard = people(3, ("1", "2", "3"))
    plan = plan_of(heard, mode="session", test=["3"], valid=["01/2"])
    splits = {uid: next(iter(names)) for uid, names in sides(plan).items()}
    assert [uid for uid, split in splits.items() if split == "test"] == [f"sub-0{n}_ses-3" for n in (1, 2, 3)]
    assert [uid for uid, split in splits.items() if split == "valid"] == ["sub-01_ses-2"]


def test_recordings_by_their_names() -> None:
    plan = plan_of(people(2, ("1", "2")), mode="recording", test=["sub-01_ses-2"], valid=["made_sub-02_ses-1"])
    assert sides(plan)["sub-01_ses-2"] == {"test"}
    assert sides(plan)["sub-02_ses-1"] == {"valid"}


@pytest.mark.parametrize("mode", MODES)
def test_new_speech_is_new_on_both_sides(mode: str) -> None:
    """What is tested was held out, and nobody was trained on what is said in it."""
    plan = plan_of(people(6, ("1", "2")), mode=mode, new_speech=True, test_ratio=0.3, valid_ratio=0.3)
    assert plan.sentences_in_two_splits == plan.audio_in_two_splits == plan.held_out_in_two_splits == []
    assert {split for names in sides(plan).values() for split in names} == {"train", "valid", "test", "removed"}


def test_a_story_is_a_sound_file_and_no_block_spans_two() -> None:
    plan = plan_of(people(2), mode="story", test=["b"], valid=["d"])
    assert plan.sentences_in_two_splits == plan.audio_in_two_splits == []
    for blocks in plan.blocks.values():
        for planned in blocks:
            files = {sound.filepath for sound in plan.stimuli[planned.stimulus].sounds}
            assert len(files) == 1
            assert planned.split == {"b.wav": "test", "d.wav": "valid"}.get(files.pop(), "train")
    assert sides(plan_of(people(2), mode="story"))["sub-01"] == {"train", "valid", "test"}


def test_a_story_is_a_task_where_there_are_several() -> None:
    heard = people(2, tasks=("lion", "hare", "fox"))
    plan = plan_of(heard, mode="story", test=["hare"], valid=["c"])
    assert sides(plan)["sub-01_task-hare"] == {"test"}
    assert sides(plan)["sub-02_task-fox"] == {"valid"}, "a file's name is good as well"
    assert sides(plan)["sub-02_task-lion"] == {"train"}


def test_stories_that_share_speech_are_one() -> None:
    heard = people(3, tasks=("lion", "hare", "fox"))
    again = Heard(Recording("other", "01", "", "retold"), spoken(["a.wav"]))
    with pytest.raises(InputError, match=r"no story called 'nobody'\. Allowed: fox, hare, lion"):
        plan_of([*heard[:3], again], mode="story", test=["nobody"])
    plan = plan_of([*heard[:3], again], mode="story", test=["lion"])
    assert sides(plan)["other_sub-01_task-retold"] == {"test"}


REFUSED = {
    "too few subjects": (people(2), {"mode": "subject"}, "at least 3 subjects of made; found 2 subjects (01, 02); type"),
    "too few beside those named": (
        people(3),
        {"mode": "subject", "test": ["01", "02"]},
        "draws valid and leaves some to train on, of at least 2 subjects of made; found 1 subject (03)",
    ),
    "one story": (people(2)[:1], {"mode": "story", "test": ["a", "b", "c", "d"]}, "of at least 2 stories; found 0 stories"),
    "all are named": (people(2), {"mode": "subject", "test": ["01"], "valid": ["02"]}, "nothing is left to train on"),
    "no such subject": (people(3), {"mode": "subject", "test": ["1"]}, "data.splits.test: no subject called '1', did you mean"),
    "no sessions": (people(3), {"mode": "session"}, "made_sub-01 is of no session; type data.splits.mode=recording or"),
    "a session each": (people(4, ("1",)), {"mode": "session"}, "no session of made can be drawn for test while each subject"),
    "a name for both": (people(3, ("1",)), {"mode": "subject", "test": ["01"], "valid": ["sub-01"]}, "for both test and valid"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_held_out_is_refused_in_a_line(case: str) -> None:
    heard, settings, expected = REFUSED[case]
    with pytest.raises(InputError, match=re.escape(expected)) as error:
        plan_of(heard, **settings)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"data.splits.test": "01"}, "mode=clean holds out sentences; type mode=subject"),
        ({"data.splits.mode": "paper", "data.splits.valid": "01"}, "mode=paper holds out sentences"),
        ({"data.splits.new_speech": True}, "type new_speech=no, or mode=subject"),
        ({"data.splits.mode": "story", "data.splits.new_speech": True}, "mode=story splits what was said already"),
        ({"data.splits.mode": "subject"}, "encoder=simple_conv was not trained with.*type encoder.subject=none"),
        ({"data.splits.mode": "subject", "encoder": "conv_rnn"}, "encoder=conv_rnn .*type encoder.subject=none"),
    ],
)
def test_settings_that_do_not_go_together(changes: dict[str, object], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        override(Experiment(), changes)


def test_who_is_held_out_may_be_anybody_to_the_encoder() -> None:
    for changes in ({"encoder.subject": "none"}, {"encoder": "ridge"}):
        asked = recipe("quickstart", {"data.splits.mode": "subject", **changes})
        assert asked.signature != recipe("quickstart", changes).signature
    named = [
        recipe("quickstart", {"encoder": "ridge", "data.splits.mode": "subject", "data.splits.test": t})
        for t in ("2,1", "1, 2")
    ]
    assert named[0].signature == named[1].signature


def test_held_out_blocks_that_are_too_short_are_named() -> None:
    heard, config = people(4), SplitConfig(mode="subject")
    digests = {file: file for file in FILES}
    assert why_empty(make_plan(heard, digests, config), heard, digests, config, 3.0) == ""
    why = why_empty(make_plan(heard, digests, config), heard, digests, config, 60.0)
    assert why.startswith("no train and no valid and no test segments in 4 recordings: what is left of subjects has no block")
