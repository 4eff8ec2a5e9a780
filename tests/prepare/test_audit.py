"""No sentence and no stretch of audio stands in two splits, and what is heard is known by its content, over all studies."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from raybrain.config import InputError
from raybrain.events import Block, Event, Sound, Split, SplitConfig, Word, cut_sounds
from raybrain.experiment import recipe
from raybrain.features.audio import read
from raybrain.integrity import file_digest
from raybrain.prepare.audit import SHARED_S, Stretch, audit_audio, same_audio
from raybrain.prepare.plan import Heard, SplitPlan, make_plan
from raybrain.recording import Recording
from raybrain.storage import write_json
from raybrain.store.parts import MANIFEST
from tests.conftest import Ended

# the map from a sound file to the recording


def test_a_sound_knows_when_its_file_is_heard() -> None:
    sound = Sound(start=5.0, duration=10.0, filepath="a.wav", offset=2.0, speed=1.25)
    assert sound.offset_stop == 14.5
    assert [sound.heard(second) for second in (2.0, 7.0, 14.5)] == [5.0, 9.0, 15.0]
    pieces = cut_sounds([sound], [Block(0.0, 9.0, ("a",)), Block(9.0, 20.0, ("b",))])
    assert [(piece.start, piece.stop, piece.offset, piece.offset_stop) for piece in pieces] == [
        (5.0, 9.0, 2.0, 7.0),
        (9.0, 15.0, 7.0, 14.5),
    ]
    with pytest.raises(InputError, match=r"a\.wav at 5\.000 s has speed 0"):
        replace(sound, speed=0.0)


@pytest.mark.parametrize("speed", [1.0, 1.000485, 0.99])
def test_audio_is_read_in_the_time_of_the_recording(tmp_path: Path, speed: float) -> None:
    """Clicks lie every second of the file; they are heard, and read, every 1 / speed seconds."""
    rate = 22_050
    wave = np.zeros(40 * rate)
    wave[::rate] = 1.0
    soundfile.write(tmp_path / "clicks.wav", wave, rate)
    sound = Sound(start=3.0, duration=20.0, filepath=str(tmp_path / "clicks.wav"), offset=9.5, speed=speed)
    heard = read(sound, 16_000).numpy()
    assert len(heard) == pytest.approx(20 * 16_000, abs=1)
    for second in range(10, 29):
        near = round((sound.heard(second) - sound.start) * 16_000)
        assert abs(np.abs(heard[near - 800 : near + 800]).argmax() - 800) <= 2


# the plan


def story(path: str, lead: float, speed: float = 1.0, words: Iterable[str] = (), blocks: int = 4) -> tuple[Event, ...]:
    """Four sentences of 20 s in one file, a word a second, by a clock that runs at ``speed``."""
    names = list(words) or [f"Word{number}" for number in range(20 * blocks)]
    sound = Sound(start=lead, duration=20 * blocks / speed, filepath=path, speed=speed)
    words = [
        Word(start=sound.heard(second), duration=0.5 / speed, word=word, word_index=second % 20)
        for second, word in enumerate(names)
    ]
    return (sound, *words)


def planned(*stories: tuple[Event, ...], digests: dict[str, str], mode: str = "clean", seed: int = 12) -> SplitPlan:
    heard = [Heard(Recording(f"study-{number}", "01"), events) for number, events in enumerate(stories)]
    return make_plan(heard, digests, SplitConfig(mode=mode, seed=seed))  # type: ignore[arg-type]


def keys(plan: SplitPlan, study: int) -> list[str]:
    return [block.stimulus for block in plan.blocks[f"study-{study}_sub-01"]]


def test_people_whose_clocks_drift_apart_share_stimuli() -> None:
    """485 ppm, as in ds006468, are 9.7 ms in a block of 20 s; 0.29 s over ten minutes."""
    stories = [story("a.wav", lead, speed, blocks=30) for lead, speed in ((1.0, 1.0), (2.345, 1.000485), (7.2, 0.9998))]
    plan = planned(*stories, digests={"a.wav": "a"})
    assert keys(plan, 0) == keys(plan, 1) == keys(plan, 2)
    assert len(plan.stimuli) == len(set(keys(plan, 0))) == 30
    assert plan.blocks["study-1_sub-01"][-1].origin_s == pytest.approx(2.345 + 580 / 1.000485)
    apart = planned(stories[0], story("a.wav", 1.0, 1.002, blocks=30), digests={"a.wav": "a"})
    assert not set(keys(apart, 0)) & set(keys(apart, 1))
    assert apart.audio_in_two_splits == []


def test_copies_in_two_studies_are_one_stimulus(tmp_path: Path) -> None:
    """The same bytes under another path. Words in another case are another stimulus to features, in the same split."""
    noise = np.random.default_rng(0).standard_normal(8000) * 0.1
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / f"{folder}.wav", noise, 8000)
    paths = [str(tmp_path / folder / f"{folder}.wav") for folder in ("one", "two")]
    digests = {path: file_digest(Path(path)) for path in paths}
    upper = [f"WORD{number}" for number in range(80)]
    copies = story(paths[0], 1.0), story(paths[1], 4.0), story(paths[1], 4.0, words=upper)
    plan = planned(*copies, digests=digests)
    assert keys(plan, 0) == keys(plan, 1)
    assert not set(keys(plan, 0)) & set(keys(plan, 2))
    splits = [[block.split for block in plan.blocks[f"study-{number}_sub-01"]] for number in (0, 1, 2)]
    assert splits[0] == splits[1] == splits[2]


@pytest.mark.parametrize("seed", range(4))
def test_clean_mode_keeps_shared_audio_on_one_side(seed: int) -> None:
    """Two studies have annotated one file, in other words; a third has another file."""
    other = [f"mot{number}" for number in range(600)]
    third = [f"wort{number}" for number in range(600)]
    stories = (
        story("a.wav", 1.0, blocks=30),
        story("copy of a.wav", 4.0, words=other, blocks=30),
        story("b.wav", 4.0, words=third, blocks=30),
    )
    digests = {"a.wav": "a", "copy of a.wav": "a", "b.wav": "b"}
    clean, paper = (planned(*stories, digests=digests, mode=mode, seed=seed) for mode in ("clean", "paper"))
    assert clean.sentences_in_two_splits == paper.sentences_in_two_splits == []
    assert clean.audio_in_two_splits == []
    assert len(paper.audio_in_two_splits) > 3
    assert all(leak.startswith("a.wav ") for leak in paper.audio_in_two_splits)
    for number in (0, 1, 2):
        assert len({block.split for block in clean.blocks[f"study-{number}_sub-01"]}) > 1
    alone = planned(stories[2], digests=digests, seed=seed)
    assert [b.split for b in clean.blocks["study-2_sub-01"]] == [b.split for b in alone.blocks["study-0_sub-01"]]


def in_splits(stretches: Iterable[Stretch], splits: Mapping[str, Split]) -> list[Stretch]:
    return [replace(stretch, uid=splits[stretch.uid]) for stretch in stretches]


def test_the_audit_names_the_file_and_the_seconds() -> None:
    stretches = [Stretch("d", 0.0, 10.0, "a"), Stretch("d", 8.0, 12.5, "b"), Stretch("d", 12.4, 20.0, "c")]
    splits: dict[str, Split] = {"a": "train", "b": "test", "c": "train"}
    assert audit_audio(in_splits(stretches, splits), {"d": "x.wav"}) == ["x.wav 8.0-10.0 s (test, train)"]
    assert audit_audio(in_splits(stretches, splits | {"b": "removed"}), {"d": "x.wav"}) == []


@pytest.mark.parametrize("seed", range(20))
def test_the_sweep_finds_what_comparing_all_pairs_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = "abcdefghij"
    stretches = [
        Stretch(rng.choice(["x", "y"]), start, start + rng.uniform(0.1, 4.0), rng.choice(list(names)))
        for start in rng.uniform(0, 60, 40)
    ]
    pairs = {
        (one.uid, other.uid)
        for one, other in itertools.combinations(stretches, 2)
        if one.digest == other.digest and min(one.stop, other.stop) - max(one.start, other.start) > SHARED_S
    }
    assert groups(names, same_audio(stretches)) == groups(names, pairs)
    splits: dict[str, Split] = {name: rng.choice(["train", "valid", "test"]) for name in names}
    crossing = any(splits[one] != splits[other] for one, other in pairs)
    assert bool(audit_audio(in_splits(stretches, splits), {"x": "x", "y": "y"})) == crossing


def test_what_the_audit_found_is_shown(raybrain: Callable[..., Ended], tmp_path: Path) -> None:
    store = tmp_path / "stores" / recipe("quickstart").data.brain_signature
    manifest: dict[str, Any] = {key: {} for key in MANIFEST} | {"sentences_in_two_splits": [], "audio_in_two_splits": []}
    command = ["show", "quickstart", "--home", str(tmp_path)]
    write_json(store / "manifest.json", manifest)
    assert "no sentences or stretches of audio in two splits" in raybrain(*command).out
    write_json(store / "manifest.json", manifest | {"audio_in_two_splits": ["a.wav 1.0-2.0 s (test, train)"]})
    assert "1 stretches of audio in two splits (a.wav 1.0-2.0 s (test, train))" in raybrain(*command).out


def groups(names: str, pairs: Iterable[tuple[str, str]]) -> set[frozenset[str]]:
    """What the pairs tie together."""
    connected = {name: frozenset(name) for name in names}
    for one, other in pairs:
        joined = connected[one] | connected[other]
        connected |= dict.fromkeys(joined, joined)
    return set(connected.values())
