"""Recordings become a store: planned, cut and scaled as written, whole or not at all, and mended where they are damaged."""

import json
import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raybrain.cluster import Cluster
from raybrain.config import InputError, override
from raybrain.data_config import DataConfig
from raybrain.events import Event, Sound, SplitConfig, Word
from raybrain.experiment import Experiment, recipe
from raybrain.features.mel import Mel
from raybrain.prepare import build as preparing
from raybrain.prepare.plan import Heard, SplitPlan, make_plan
from raybrain.prepare.tasks import Job, Source, make_part
from raybrain.recording import Recording
from raybrain.signal.base import Context, Step
from raybrain.store import Store, frames_folder
from raybrain.store.parts import TABLES
from raybrain.studies.base import Study
from raybrain.studies.synthetic import Synthetic
from tests.conftest import TINY, Ended

Prepare = Callable[..., Ended]

# the plan

SENTENCES = [[f"{word}{number}" for word in ("the", "cat", "sat")] for number in range(6)]


def story(lead: float = 0.0, jitter: float = 0.0, sentences: Sequence[Sequence[str]] = SENTENCES) -> tuple[Event, ...]:
    """Sentences of 4 s, each in a file of its own that starts 50 ms before the first word."""
    rng = np.random.default_rng(0)
    events: list[Event] = []
    for number, words in enumerate(sentences):
        start = lead + 4.0 * number
        events.append(Sound(start=start - 0.05, duration=4.0, filepath=f"{number}.wav"))
        for index, word in enumerate(words):
            start_s = start + index + (rng.uniform(-jitter, jitter) if index else 0.0)
            events.append(Word(start=start_s, duration=0.5, word=word, word_index=index, sequence=" ".join(words)))
    return tuple(events)


def planned(*stories: tuple[Event, ...], digests: Mapping[str, str] | None = None) -> SplitPlan:
    heard = [Heard(Recording("made-up", f"{number:02d}"), events) for number, events in enumerate(stories)]
    return make_plan(heard, digests or {f"{number}.wav": f"digest {number}" for number in range(6)}, SplitConfig())


def keys(plan: SplitPlan, subject: str) -> list[str]:
    return [block.stimulus for block in plan.blocks[f"made-up_sub-{subject}"]]


def test_one_story_is_one_set_of_stimuli() -> None:
    """However late a recording starts, and if its clock places events a few milliseconds off."""
    plan = planned(story(lead=1.0), story(lead=3.217, jitter=0.004), story(lead=7.0001, jitter=0.009))
    assert keys(plan, "00") == keys(plan, "01") == keys(plan, "02")
    assert len(plan.stimuli) == len(set(keys(plan, "00"))) == 3  # two sentences of 4 s a block of at least 6 s
    assert [block.origin_s for block in plan.blocks["made-up_sub-01"]] == pytest.approx([3.167, 11.167, 19.167])
    assert {block.split for blocks in plan.blocks.values() for block in blocks} <= {"train", "valid", "test"}
    for first, second in zip(plan.blocks["made-up_sub-00"], plan.blocks["made-up_sub-01"], strict=True):
        assert first.split == second.split


def moved(events: tuple[Event, ...], seconds: float) -> tuple[Event, ...]:
    return tuple(replace(event, start=event.start + seconds) if event is events[2] else event for event in events)


@pytest.mark.parametrize("other", ["word", "time", "sound file"])
def test_other_content_is_another_stimulus(other: str) -> None:
    first, second = story(lead=1.0), story(lead=2.0)
    if other == "word":
        second = story(lead=2.0, sentences=[["the", "dog", "sat"], *SENTENCES[1:]])
    elif other == "time":
        second = moved(second, 0.05)
    else:
        second = tuple(replace(e, filepath="6.wav") if isinstance(e, Sound) and e.filepath == "0.wav" else e for e in second)
    plan = planned(first, second, digests={f"{number}.wav": f"digest {number}" for number in range(7)})
    same = [one == two for one, two in zip(keys(plan, "00"), keys(plan, "01"), strict=True)]
    assert same == [False, True, True]
    assert len(plan.stimuli) == 4


def test_a_copy_of_a_sound_file_is_the_same_sound() -> None:
    copied = tuple(replace(e, filepath=f"copy-{e.filepath}") if isinstance(e, Sound) else e for e in story())
    digests = {f"{copy}{number}.wav": f"digest {number}" for number in range(6) for copy in ("", "copy-")}
    assert len(planned(story(), copied, digests=digests).stimuli) == 3


def test_a_sound_that_starts_before_its_first_word_is_in_that_block() -> None:
    plan = planned(story(lead=1.0))
    for number, key in enumerate(keys(plan, "00")):
        stimulus = plan.stimuli[key]
        assert [sound.filepath for sound in stimulus.sounds] == [f"{2 * number}.wav", f"{2 * number + 1}.wav"]
        assert [sound.start for sound in stimulus.sounds] == pytest.approx([0.0, 4.0])
        assert stimulus.words[0].start == pytest.approx(0.05)
        assert [word.word for word in stimulus.words] == [*SENTENCES[2 * number], *SENTENCES[2 * number + 1]]


# one recording's part


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    changes = {f"data.studies.synthetic.{key}": value for key, value in SMALL.items()}
    data = override(Experiment(), changes).data
    return job_of(data, tmp_path_factory.mktemp("cache"), Store(Path("unused")))


SMALL = {"minutes": 0.5, "subjects": 1, "channels": 8, "rate_hz": 100.0}


def job_of(data: DataConfig, cache: Path, store: Store) -> Job:
    study = data.studies[0]
    root = study.fetch(cache)
    source = Source(study, root, study.recordings(root)[0])
    events = tuple(study.events(root, source.recording))
    digests = {event.filepath: event.filepath for event in events if isinstance(event, Sound)}
    plan = make_plan([Heard(source.recording, events)], digests, data.splits)
    return Job(source, store, data, events, plan.blocks[source.recording.uid])


def test_a_killed_preparation_leaves_no_half_part(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, uid = replace(job, store=Store(tmp_path)), job.source.recording.uid

    def killed(path: Path, value: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("raybrain.store.parts.write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            make_part(job)
    assert job.store.part(uid) is None
    assert not [path.name for path in tmp_path.rglob(".*")]
    made = make_part(job)
    part = job.store.part(uid)
    assert made == {"remarks": []}
    assert part is not None
    assert part.key == job.key
    assert part.samples == sum(len(chunk) for chunk in job.store.brain(uid))
    assert sum(part.segments.values()) == job.store.segments(uid).num_rows


def test_windows_over_bad_stretches_are_left_out_and_counted(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mne

    kind, uid = type(job.source.study), job.source.recording.uid
    whole, marked = replace(job, store=Store(tmp_path / "whole")), replace(job, store=Store(tmp_path / "marked"))
    make_part(whole)

    def annotated(study: Study, root: Path, recording: Recording, read: Callable[..., Any] = kind.raw) -> Any:
        raw = read(study, root, recording)
        values = raw.load_data().get_data()
        values[:3] = 0.0
        raw = mne.io.RawArray(values, raw.info, verbose="error")
        return raw.set_annotations(mne.Annotations([5.0, 12.0], [4.0, 0.5], ["BAD_noise", "fine"]))

    monkeypatch.setattr(kind, "raw", annotated)
    remarks = make_part(marked)["remarks"]
    starts = whole.store.segments(uid)["start_sample"].to_pylist()
    kept = [start for start in starts if start + 360 < 5 * 120 or start > 9 * 120]
    assert marked.store.segments(uid)["start_sample"].to_pylist() == kept
    assert len(kept) < len(starts)
    assert re.fullmatch(r"3 of 8 channels are flat \(.*\): were they connected\? Mark them bad if not", remarks[0])
    assert remarks[1:] == [f"4.0 s are marked as BAD_noise: {len(starts) - len(kept)} of {len(starts)} windows are left out"]


def test_seconds_of_zeros_that_nobody_marked_are_left_out_as_if_they_were(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scaler is fitted without them, too; ``over_bad`` keeps them, and a part without any is the same bit for bit."""
    import mne

    kind, uid = type(job.source.study), job.source.recording.uid

    def made(name: str, why: str, over_bad: bool = False) -> tuple[Job, list[str]]:
        def zeros(study: Study, root: Path, recording: Recording, read: Callable[..., Any] = kind.raw) -> Any:
            raw = read(study, root, recording).load_data()
            raw._data[:, 500:900] = 0.0
            return raw.set_annotations(mne.Annotations([5.0], [4.0], [why]))

        data = override(Experiment(data=job.data), {"data.segments.over_bad": over_bad}).data
        one = replace(job, store=Store(tmp_path / name), data=data)
        with monkeypatch.context() as patch:
            patch.setattr(kind, "raw", zeros)
            return one, make_part(one)["remarks"]

    (marked, told), (found, remarks), (kept, nothing) = made("a", "BAD_x"), made("b", "fine"), made("c", "fine", True)
    every, left = len(kept.store.segments(uid)), len(found.store.segments(uid))
    assert remarks == [f"4.0 s are flat: {every - left} of {every} windows are left out"] and every > left and nothing == []
    assert told == [remarks[0].replace("are flat", "are marked as BAD_x")]
    assert found.store.segments(uid) == marked.store.segments(uid)
    parts = [one.store.part(uid) for one in (marked, found, kept)]
    assert parts[0] and parts[1] and parts[2]
    assert parts[0].scale == parts[1].scale != parts[2].scale
    assert found.store.quality(uid)["stretches"] == [{"start_s": 5.0, "stop_s": 9.0, "why": "flat"}]
    assert [path.name for path in (tmp_path / "b").rglob(".*")] == [], "what was written at first is gone"


def test_windows_with_large_values_are_left_out_if_that_is_asked_for(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, uid = type(job.source.study), job.source.recording.uid

    def jump(study: Study, root: Path, recording: Recording, read: Callable[..., Any] = kind.raw) -> Any:
        raw = read(study, root, recording).load_data()
        raw._data[1, 1500:1510] += 1e4 * raw._data[1].std()
        return raw

    def made(reject: float | None) -> tuple[Store, list[str]]:
        data = override(Experiment(data=job.data), {"data.segments.reject": reject}).data
        one = replace(job, store=Store(tmp_path / str(reject)), data=data)
        return one.store, make_part(one)["remarks"]

    monkeypatch.setattr(kind, "raw", jump)
    (whole, nothing), (less, remarks) = made(None), made(1000.0)
    every, kept = (store.segments(uid)["start_sample"].to_pylist() for store in (whole, less))
    held = sorted({start for start in every if start <= 15.1 * 120 and start + 361 > 15.0 * 120})
    assert sorted(set(every) - set(kept)) == held
    assert np.round(np.array(less.quality(uid)["lost_windows_s"]) * 120).tolist() == held
    assert nothing == []
    assert remarks == [
        f"{len(every) - len(kept)} of {len(every)} windows are left out, as a channel goes beyond data.segments.reject=1000"
    ]
    part = less.part(uid)
    assert part and sum(part.segments.values()) == len(kept)
    with pytest.raises(InputError, match=r"all \d+ windows go beyond data\.segments\.reject=0\.01; type a higher one"):
        made(0.01)


def test_two_who_make_the_same_part_end_with_a_whole_one(job: Job, tmp_path: Path) -> None:
    job = replace(job, store=Store(tmp_path))
    threads = [threading.Thread(target=make_part, args=(job,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert job.store.part(job.source.recording.uid) is not None
    assert not (tmp_path / "damaged").exists()


def test_key_stands_for_what_the_part_is_made_from(job: Job) -> None:
    others = [
        replace(job, data=override(job.data, {"segments.stride_s": 1})),
        replace(job, blocks=job.blocks[1:]),
        replace(job, source=replace(job.source, study=Synthetic(seed=1))),
    ]
    assert len({job.key, *(other.key for other in others)}) == 4
    assert replace(job, data=override(job.data, {"features": "word_length"})).key == job.key


# the whole command


def test_a_file_that_a_step_reads_beside_the_recording_is_one_it_is_made_from(job: Job, tmp_path: Path) -> None:
    beside = tmp_path / "positions"
    beside.write_text("here")

    class Beside(Step, name="test_beside"):
        def files(self, recorded: Sequence[Path]) -> list[Path]:
            return [beside] if beside.exists() else []

        def apply(self, raw: Any, fitted: Any, context: Context) -> Any:
            return raw

    data = override(job.data, {"signal.steps": "test_beside,resample"})
    job = replace(job, store=Store(tmp_path / "store"), data=data)
    make_part(job)
    part = job.store.part(job.source.recording.uid)
    assert part and job.store.unchanged(part, job.files())
    beside.write_text("gone")
    assert job.store.unchanged(part, job.files()) is None
    beside.unlink()
    assert job.store.unchanged(part, job.files()) is None


def mtimes(root: Path, pattern: str = "**/*") -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in root.glob(pattern) if path.is_file()}


@pytest.fixture
def tiny(ray_cluster: None, raybrain: Prepare, home: Path) -> Callable[[], tuple[Ended, Store]]:
    """Prepare the tiny study, once for all tests."""

    def prepare() -> tuple[Ended, Store]:
        ended = raybrain("prepare", "quickstart", *TINY, "--home", str(home), "--json")
        assert ended.code == 0, ended.err
        return ended, Store(Path(ended.json["store"]))

    return prepare


@pytest.mark.slow
def test_prepare(tiny: Callable[[], tuple[Ended, Store]], home: Path) -> None:
    ended, store = tiny()
    result, manifest = ended.json, store.manifest
    experiment = override(recipe("quickstart"), dict(setting.split("=") for setting in TINY))
    assert result["signature"] == experiment.signature
    assert result["recordings"] == [f"synthetic-meg_sub-0{number}_task-story" for number in (1, 2)]
    assert result["failed_recordings"] == {}
    rows = {uid: store.segments(uid).to_pylist() for uid in result["recordings"]}
    for split, count in result["counts"].items():
        assert count == sum(row["split"] == split for uid in rows for row in rows[uid]) > 0
    assert manifest["sentences_in_two_splits"] == manifest["audio_in_two_splits"] == []
    for uid in rows:
        part = store.part(uid)
        assert part is not None
        assert (len(part.channels), sum(len(chunk) for chunk in store.brain(uid))) == (16, part.samples)

    heard = [{row["stimulus"] for row in rows[uid]} for uid in rows]
    assert manifest["stimuli"] < sum(map(len, heard)), "both heard one story, yet nothing is shared"
    computed = {path.stem for path in frames_folder(home, Mel(bands=20)).folder.glob("*.parquet")}
    assert len(computed) == manifest["stimuli"]
    assert heard[0] | heard[1] <= computed

    before = mtimes(store.root)
    again, _ = tiny()
    assert again.json == result
    assert "signals" not in again.err, "what is prepared is not prepared again"
    assert mtimes(store.root) == before


@pytest.mark.slow
def test_a_new_feature_touches_no_signal(tiny: Callable[[], tuple[Ended, Store]], raybrain: Prepare, home: Path) -> None:
    _, store = tiny()
    before = mtimes(store.root, "[beps]*/**/*")
    settings = [setting for setting in TINY if "mel" not in setting]
    ended = raybrain("prepare", "quickstart", *settings, "data.features=word_length", "--home", str(home), "--json")
    assert ended.code == 0, ended.err
    assert ended.json["store"] == str(store.root)
    assert mtimes(store.root, "[beps]*/**/*") == before
    assert {name.split("-")[0] for name in store.manifest["features"]} >= {
        "mel",
        "word_length",
    }  # other tests may have added theirs


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flip, truncate])
def test_damage_is_set_aside_and_made_again(tiny: Callable[[], tuple[Ended, Store]], damage: Callable[[Path], None]) -> None:
    ended, store = tiny()
    broken, other = ended.json["recordings"]
    path = store.table_path("brain", broken)
    whole, before = path.read_bytes(), mtimes(store.root, f"**/*{other}*/*")
    damage(path)
    bad = path.read_bytes()
    again, _ = tiny()
    assert again.json == ended.json
    assert path.read_bytes() == whole
    assert (store.root / "damaged" / f"{broken}.brain.parquet").read_bytes() == bad
    assert len(before) == len(TABLES)
    assert mtimes(store.root, f"**/*{other}*/*") == before


@pytest.fixture
def copy(semireal: Path, tmp_path: Path) -> Path:
    """A writable copy of a BIDS folder of four recordings."""
    root = tmp_path / "copy"
    shutil.copytree(semireal, root, copy_function=shutil.copyfile)
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return root


@pytest.mark.slow
def test_a_failed_recording_takes_no_other_along(ray_cluster: None, raybrain: Prepare, copy: Path, tmp_path: Path) -> None:
    data = copy / "sub-03" / "eeg" / "sub-03_task-listening_eeg.eeg"
    whole = data.read_bytes()
    data.write_bytes(whole[:100_000])
    with (copy / "sub-02" / "eeg" / "sub-02_task-listening_events.tsv").open("a") as table:
        table.write("20\t3\tBAD_noise\tn/a\tn/a\tn/a\tn/a\n")
    command = ["prepare", "quickstart", f"data.studies=bids:{copy}", "--home", str(tmp_path / "home"), "--json"]
    ended = raybrain(*command)
    uid = "bids-real-eeg-background-and_sub-03_task-listening"
    assert ended.code == 1
    assert list(ended.json["failed_recordings"]) == [uid]
    assert "truncated" in ended.json["failed_recordings"][uid]
    assert len(ended.json["recordings"]) == 3
    assert f"failed {uid}" in ended.err
    assert re.search(r"odd \S+sub-02_task-listening: 3.0 s are marked as BAD_noise: \d+ of \d+ windows are left out", ended.err)
    assert "--accept-failed" in ended.err.splitlines()[-1]

    before = mtimes(Path(ended.json["store"]), "brain/**/*")
    strict = raybrain(*command, "--strict")
    assert strict.code == 2 and strict.err.splitlines()[-1].startswith(f"raybrain: {uid}: ") and "truncated" in strict.err
    accepted = raybrain(*command, "--accept-failed")
    assert (accepted.code, accepted.json) == (0, ended.json)
    data.write_bytes(whole)
    mended = raybrain(*command)
    assert (mended.code, len(mended.json["recordings"]), mended.json["failed_recordings"]) == (0, 4, {})
    assert mended.json["store"] != ended.json["store"], "it is another dataset now"
    after = mtimes(Path(mended.json["store"]), "brain/**/*")
    assert {path: time for path, time in after.items() if path in before} == before, "three were prepared already"
    assert len(after) == 4


@pytest.mark.slow
def test_each_way_to_fail_is_named_and_only_what_failed_is_tried_again(
    ray_cluster: None, copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def file(subject: int, end: str) -> Path:
        return copy / f"sub-{subject:02d}" / "eeg" / f"sub-{subject:02d}_task-listening_{end}"

    whole = {path: path.read_bytes() for path in (file(2, "eeg.eeg"), file(3, "eeg.eeg"), file(4, "eeg.vhdr"))}
    file(2, "eeg.eeg").write_bytes(b"")
    values = np.frombuffer(whole[file(3, "eeg.eeg")], "<f4").copy().reshape(-1, 32)
    values[500:600, 7] = np.nan
    file(3, "eeg.eeg").write_bytes(values.tobytes())
    file(4, "eeg.vhdr").write_bytes(b"0       an EDF file".ljust(256))
    data = override(DataConfig(), {"studies": f"bids:{copy}", "features": "word_length"})

    def run() -> tuple[dict[str, str], str]:
        known = preparing.run(data, Cluster(home=tmp_path / "home")).store.manifest["recordings"]
        return {uid.split("_")[1]: state for uid, state in known.items()}, capfd.readouterr().err

    states, _ = run()
    assert states["sub-01"] == "ready"
    not_numbers = "values that are not numbers in channels C3; mark them bad in channels.tsv"
    wanted = {"sub-02": "eeg.eeg is empty; get the file again", "sub-03": not_numbers, "sub-04": "eeg.vhdr: No section"}
    for subject, reason in wanted.items():
        assert states[subject].startswith("failed: ") and reason in states[subject] and "\n" not in states[subject], states
    for path in (file(2, "eeg.eeg"), file(3, "eeg.eeg")):
        path.write_bytes(whole[path])
    again, err = run()
    assert {subject for subject, state in again.items() if state == "ready"} == {"sub-01", "sub-02", "sub-03"}
    assert again["sub-04"] == states["sub-04"] and "signals are there already" in err
    file(4, "eeg.vhdr").write_bytes(whole[file(4, "eeg.vhdr")])
    assert set(run()[0].values()) == {"ready"}


def test_studies_of_one_name(semireal: Path, copy: Path, tmp_path: Path) -> None:
    """One of them may be called otherwise."""
    data = override(DataConfig(), {"studies": f"bids:{semireal},bids:{copy}", "features": "word_length"})
    with pytest.raises(InputError, match=r"^/.* and /.*/copy both hold a study called 'bids-real-eeg-back.*'; call"):
        preparing.run(data, Cluster(home=tmp_path))
    twice = override(data, {"studies": f"bids:{copy},bids:{copy}"})
    with pytest.raises(InputError, match=r"names recording bids-real-eeg-background-and_sub-01_task-listening twice"):
        preparing.run(twice, Cluster(home=tmp_path))
    called = override(data, {"studies.bids#1.label": "again"}).studies[1]
    assert {recording.study for recording in called.recordings(copy)} == {"bids-again"}


@pytest.mark.slow
def test_nothing_to_prepare(ray_cluster: None, raybrain: Prepare, copy: Path, tmp_path: Path) -> None:
    (copy / "stimuli" / "LJ001-0002.wav").unlink()
    ended = raybrain("prepare", "quickstart", f"data.studies=bids:{copy}", "--home", str(tmp_path / "home"))
    assert ended.code == 2
    assert ended.out == ""
    last = ended.err.splitlines()[-1]
    assert last.startswith("raybrain: bids-real-eeg-background-and_sub-0")
    assert "LJ001-0002.wav" in last
    assert "3 more recordings failed too" in last
    assert "Traceback" not in ended.err


@pytest.mark.slow
def test_too_short_for_all_splits(ray_cluster: None, tmp_path: Path) -> None:
    changes = {f"data.studies.synthetic.{key}": value for key, value in (SMALL | {"minutes": 0.2}).items()}
    with pytest.raises(InputError, match=r"^no [\w ]+ segments in 1 recordings: .*data\.splits"):
        preparing.run(override(Experiment(), changes).data, Cluster(home=tmp_path))


@pytest.mark.slow
def test_published_splits_are_prepared(ray_cluster: None, tmp_path: Path) -> None:
    """The last block has no end, but the manifest is JSON as the standard has it, and says how long speech lasts in a block."""
    changes = {f"data.studies.synthetic.{key}": value for key, value in (SMALL | {"minutes": 2.0}).items()}
    data = override(Experiment(), changes | {"data.splits.mode": "paper"}).data
    prepared = preparing.run(data, Cluster(home=tmp_path))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    manifest = json.loads((prepared.store.root / "manifest.json").read_text(), parse_constant=refuse)["content"]
    assert 6 < manifest["longest_block_s"] < 20
    assert (
        manifest["counts"]
        != preparing.run(override(Experiment(), changes).data, Cluster(home=tmp_path)).store.manifest["counts"]
    )


@pytest.mark.slow
def test_what_training_reads_is_named_by_its_content(ray_cluster: None, semireal: Path, tmp_path: Path) -> None:
    """A sensor marked bad gives other data another name; features are not left as they were when words move."""
    folder = tmp_path / "study"
    shutil.copytree(semireal, folder)
    cluster = Cluster(home=tmp_path / "home")

    def prepared(features: str) -> Any:
        return preparing.run(override(DataConfig(), {"studies": f"bids:{folder}", "features": features}), cluster)

    first, words = prepared("word_length"), prepared("mel:20")
    assert first.digest != words.digest
    channels = folder / "sub-01" / "eeg" / "sub-01_task-listening_channels.tsv"
    channels.write_text(channels.read_text().replace("good", "bad", 1))
    assert prepared("word_length").digest != first.digest
    before = prepared("word_length")
    for events in folder.glob("sub-*/eeg/*_events.tsv"):
        events.write_text(events.read_text().replace("\tPrinting\t", "\tImprinting\t"))
    prepared("mel:20")  # forgets the statistics of the words as they were
    after = prepared("word_length")
    assert after.digest != before.digest
    assert set(after.store.manifest["features"]) >= {name for name in before.store.manifest["features"] if "word" in name}
