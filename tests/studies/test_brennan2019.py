"""Alice: its published tables, and its loader on copies of all forms it is found in."""

import csv
import functools
import itertools
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raybrain.config import InputError, override
from raybrain.events import Event, Sound, SplitConfig, Word
from raybrain.prepare.plan import Heard, make_plan
from raybrain.prepare.segments import make_segments
from raybrain.recording import Recording
from raybrain.signal.window import SegmentConfig
from raybrain.studies.base import Study
from raybrain.studies.brennan2019 import LATE, Brennan2019
from raybrain.studies.brennan2019.alice import place_sounds, read_script
from raybrain.studies.readers.fieldtrip import read_trials
from tests.conftest import SHARED
from tests.two_steps import own_copy, two_steps

DATA = SHARED / "data" / "brennan2019"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}")
SCRIPT = "AliceChapterOne-EEG.csv"
SOUND = "DownTheRabbitHoleFinal_SoundFile{}.wav"
FULL = ["S01", "S03", "S04", "S05", "S06", "S10"]
SHORT = ["S02", "S24", "S26", "S34"]
EEG = [str(number) for number in range(1, 62) if number != 29]
LAST_SOUND = 12

# the forms on disk, made


@functools.cache
def length_s(sound: int) -> float:
    """Of the real sounds, as their TextGrids say."""
    from raybrain.studies.readers.textgrids import read_tiers

    tiers = read_tiers(DATA / "textgrids" / f"DownTheRabbitHoleFinal_SoundFile{sound}.TextGrid")
    return max(interval.stop for tier in tiers.values() for interval in tier)


def write_story(root: Path, sounds: Sequence[int] = range(1, LAST_SOUND + 1), rate: int = 1000) -> None:
    """The words of some sounds, and noise instead of the sounds but as long."""
    import soundfile

    (root / "audio").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for sound in sounds:
        wave = rng.uniform(-0.1, 0.1, round(length_s(sound) * rate))
        soundfile.write(root / "audio" / SOUND.format(sound), wave, rate)
    lines = (DATA / SCRIPT).read_text().splitlines()
    kept = [line for line in lines[1:] if int(line.split(",")[1]) in sounds]
    (root / SCRIPT).write_text("\n".join([lines[0], *kept]) + "\n")


def write_raw(file: Path, values: np.ndarray, names: Sequence[str]) -> None:
    """The struct ``raw`` of FieldTrip, as version 1 has it."""
    import scipy.io

    channels, samples = values.shape
    types = np.array(["unknown"] * channels, dtype=object)[:, None]
    units = np.array(["uV"] * channels, dtype=object)[:, None]
    labels = np.array(list(names), dtype=object)[:, None]
    header = {"Fs": 500.0, "nChans": channels, "nSamples": samples, "label": labels, "chantype": types, "chanunit": units}
    trial, time = np.empty((1, 1), dtype=object), np.empty((1, 1), dtype=object)
    trial[0, 0], time[0, 0] = values, np.arange(samples)[None] / 500
    struct = {"hdr": header, "label": labels, "fsample": 500.0, "trial": trial, "time": time, "sampleinfo": [[1, samples]]}
    file.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(file, {"raw": struct}, do_compression=True)


def write_proc(file: Path, lead_s: float, sounds: Sequence[int] = range(1, LAST_SOUND + 1), bads: Sequence[str] = ()) -> None:
    """The struct ``proc``, for a recording in which the first of ``sounds`` starts after ``lead_s``."""
    import scipy.io

    first = {}
    for sound in sounds:
        first[sound] = lead_s
        lead_s += length_s(sound) + 0.05
    rows = []
    with (DATA / SCRIPT).open() as lines:
        for row in csv.DictReader(lines):
            if int(row["Segment"]) in first:
                start = round((first[int(row["Segment"])] + float(row["onset"])) * 500) - 150
                rows.append([start, start + 650, -150, int(row["Segment"]), float(row["onset"]), int(row["Order"])])
    cells = np.array(list(bads), dtype=object)[:, None]
    proc = {"trl": np.array(rows, float), "impedence": {"bads": cells}, "rejections": {"badchans": cells}, "tot_chans": 61}
    file.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(file, {"proc": proc}, do_compression=True)


def write_brainvision(header: Path, values: np.ndarray, names: Sequence[str]) -> None:
    """A recording in microvolts."""
    header.parent.mkdir(parents=True, exist_ok=True)
    values.T.astype("<f4").tofile(header.with_suffix(".eeg"))
    channels = "\n".join(f"Ch{number}={name},,1,µV" for number, name in enumerate(names, start=1))
    header.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={header.stem}.eeg\nMarkerFile={header.stem}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(names)}\nSamplingInterval=2000\n\n[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n\n"
        f"[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )
    header.with_suffix(".vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={header.stem}.eeg\n\n[Marker Infos]\nMk1=New Segment,,1,1,0\n"
    )


def write_events(file: Path, trials: Path) -> None:
    """The mirror's events, from a table of trials."""
    table = read_trials(trials, 500.0)
    header = "onset\tduration\ttrial_type\tword\tstim_file\tword_index\n"
    rows = [
        f"{onset:.3f}\t0.3\tword\tx\t{SOUND.format(int(sound))}\t{int(order)}\n"
        for onset, (sound, _, order) in zip(table.onsets, table.columns, strict=True)
    ]
    file.write_text("\ufeff" + header + "".join(rows))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real tables of ten subjects, and recordings of ten samples."""
    root = tmp_path_factory.mktemp("brennan2019")
    write_story(root)
    shutil.copytree(DATA / "proc", root / "proc")
    for subject in [*FULL, *SHORT]:
        write_raw(root / f"{subject}.mat", np.zeros((2, 10)), ["1", "VEOG"])
    return root


def subjects_of(study: Study) -> list[str]:
    return [f"S{number:02d}" for number in range(1, 50) if study.wanted(f"S{number:02d}.mat")]


def words(events: Sequence[Event]) -> list[Word]:
    return [event for event in events if isinstance(event, Word)]


def sounds(events: Sequence[Event]) -> dict[int, Sound]:
    played = [event for event in events if isinstance(event, Sound)]
    return {int(Path(event.filepath).stem.removeprefix("DownTheRabbitHoleFinal_SoundFile")): event for event in played}


def events_of(root: Path, subject: str) -> list[Event]:
    return Brennan2019(subject_set="all").events(root, Recording("brennan2019", subject, task="alice"))


# the published tables


def test_the_reference_has_190_unique_test_segments(tmp_path: Path) -> None:
    """33 subjects in the published splits; the tables of those that are not here are made as the published ones are."""
    write_story(tmp_path)
    study = Brennan2019()
    write_raw(tmp_path / "S01.mat", np.zeros((2, 366_000), np.int16), ["1", "VEOG"])
    for number, subject in enumerate(subjects_of(study)):
        if number:
            os.link(tmp_path / "S01.mat", tmp_path / f"{subject}.mat")
        if subject in FULL:
            (tmp_path / "proc").mkdir(exist_ok=True)
            shutil.copy(DATA / "proc" / f"{subject}.mat", tmp_path / "proc")
        else:
            write_proc(tmp_path / "proc" / f"{subject}.mat", lead_s=1.33 + number / 2)
    recordings = study.recordings(tmp_path)
    assert len(recordings) == study.facts.recordings == 33
    heard = [Heard(recording, tuple(study.events(tmp_path, recording))) for recording in recordings]
    digests = {event.filepath: event.filepath for event in heard[0].events if isinstance(event, Sound)}
    plan = make_plan(heard, digests, SplitConfig(mode="paper"))
    unique: set[tuple[str, int]] = set()
    for item in heard:
        samples = study.raw(tmp_path, item.recording).n_times * 120 // 500
        rows = make_segments(item.events, plan.blocks[item.recording.uid], SegmentConfig(), 120.0, samples).to_pylist()
        mine = {(row["sentence"], row["word_index"]) for row in rows if row["split"] == "test"}
        assert len(mine) == 190, item.recording
        unique |= mine
    assert len(unique) == 190
    assert {len(blocks) for blocks in plan.blocks.values()} == {58}


@pytest.mark.parametrize("subject", FULL)
def test_words_are_where_the_tables_say(subject: str, tables: Path) -> None:
    """Within 2 ms of (start - offset) / 500, and of the word's place in its sound; no more than 1.1 ms in fact."""
    import scipy.io

    events = events_of(tables, subject)
    trl = scipy.io.loadmat(DATA / "proc" / f"{subject}.mat", simplify_cells=True)["proc"]["trl"]
    assert set(trl[:, 2]) == {-150.0}
    with (DATA / SCRIPT).open() as lines:
        script = list(csv.DictReader(lines))
    spoken = words(events)
    assert [word.word for word in spoken] == [row["Word"] for row in script]
    assert [word.word_index for word in spoken] == [int(row["Position"]) - 1 for row in script]
    assert len({word.sequence for word in spoken}) == 84
    onsets = {int(row[5]): (row[0] - row[2]) / 500 for row in trl}
    assert max(abs(word.start - onsets[int(row["Order"])]) for word, row in zip(spoken, script, strict=True)) < 0.0015
    starts = sounds(events)
    assert len(starts) == 12
    for word, row in zip(spoken, script, strict=True):
        assert word.start - starts[int(row["Segment"])].start == pytest.approx(float(row["onset"]), abs=1e-9)
        assert word.duration == pytest.approx(float(row["Length"]), abs=1e-4)


@pytest.mark.parametrize("subject", SHORT)
def test_short_tables_merge_on_order_but_are_a_sound_off(subject: str, tables: Path) -> None:
    """Order names each word right; but from mark to mark time passes as between the next sounds, not those they name."""
    trials = read_trials(DATA / "proc" / f"{subject}.mat", 500.0)
    script = read_script(tables / SCRIPT)
    orders = trials.columns[:, 2].astype(int)
    assert len(orders) == len(set(orders)) < 2000 and list(orders) != sorted(orders)
    assert all(script[order].sound == number for order, number in zip(orders, trials.columns[:, 0], strict=True))
    assert max(script[order].sound for order in orders) == LAST_SOUND - 1
    heard = dict(zip(orders.tolist(), trials.onsets.tolist(), strict=True))
    lengths = {sound: length_s(sound) for sound in range(1, LAST_SOUND + 1)}
    starts = place_sounds(heard, script, lengths)
    assert list(starts) == list(range(1, LAST_SOUND + 1))
    assert -4 < starts[1] < 0, "the story began before the recording"
    for number in range(1, LAST_SOUND):
        assert starts[number + 1] - starts[number] - lengths[number] == pytest.approx(0.06, abs=0.04)
        first = min(order for order in orders if script[order].sound == number)
        assert heard[first] - script[first].start == pytest.approx(starts[number + 1], abs=0.002)


@pytest.mark.parametrize("subject", SHORT)
def test_words_of_short_tables(subject: str, tables: Path) -> None:
    """The words of all sounds but for the first seconds of the story, in the story's order."""
    events = events_of(tables, subject)
    first = sounds(events)[1]
    assert first.start == 0.0
    assert 0 < first.offset < 4
    assert first.duration + first.offset == pytest.approx(length_s(1), abs=1e-3)
    spoken = words(events)
    everything = words(events_of(tables, "S01"))
    assert 2110 < len(spoken) < 2129
    assert [word.word for word in spoken] == [word.word for word in everything[-len(spoken) :]]
    assert all(one.start < other.start for one, other in itertools.pairwise(spoken))


def test_a_short_table_put_right_ends_in_the_recording(tables: Path) -> None:
    """S26 lasts 726.6 s. As published, words go on beyond it, and so eleven words of that sound are not in the table."""
    last = sounds(events_of(tables, "S26"))[LAST_SOUND]
    assert 715 < last.stop < 726.648
    published = read_trials(DATA / "proc" / "S26.mat", 500.0)
    assert len(published.onsets) == 1992 - 11, "words of the first eleven sounds"
    start = min(published.onsets[published.columns[:, 0] == LAST_SOUND - 1])
    assert start + length_s(LAST_SOUND - 1) > 726.648


@pytest.mark.parametrize(("subject", "folder"), [("S01", "sub-001"), ("S26", "sub-026")])
def test_the_mirror_has_the_same_events(subject: str, folder: str, tables: Path, tmp_path: Path) -> None:
    shutil.copytree(DATA / "bids" / folder, tmp_path / folder)
    write_story(tmp_path / "sourcedata")
    shutil.move(tmp_path / "sourcedata" / "audio", tmp_path / "stimuli")
    here, there = events_of(tmp_path, subject), events_of(tables, subject)
    assert [type(event) for event in here] == [type(event) for event in there]
    assert [word.word for word in words(here)] == [word.word for word in words(there)]
    assert max(abs(one.start - other.start) for one, other in zip(here, there, strict=True)) < 0.002


# subjects


def test_subject_sets() -> None:
    reference, paper, everybody = (set(subjects_of(Study.parse(f"brennan2019:{n}"))) for n in ("reference", "paper", "all"))
    assert (len(reference), len(paper), len(everybody)) == (33, 33, 42)
    assert reference - paper == {"S07", "S09", "S23", "S43"}
    assert paper - reference == {"S26", "S34", "S35", "S36"}
    assert everybody - reference == set(LATE)
    excluded = Brennan2019.facts.excluded
    assert len(excluded) == 20
    assert set(excluded) == {f"S{n:02d}" for n in range(1, 50)} - (reference & paper)


def test_subjects_and_numbers(tables: Path) -> None:
    def chosen(**settings: Any) -> list[str]:
        return [recording.subject for recording in override(Brennan2019(), settings).recordings(tables)]

    assert chosen() == FULL
    assert chosen(subject_set="paper") == [*FULL, "S26", "S34"]
    assert chosen(subject_set="all", max_recordings=3) == ["S01", "S02", "S03"]
    assert chosen(subjects="sub-003,10,S01") == ["S01", "S03", "S10"]
    for settings, message in [
        ({"subjects": "S26"}, "S26 is not in subject_set=reference: not in the reference: recorded from after the story began"),
        ({"subjects": "S50"}, "no subject 'S50'"),
        ({"subjects": "S11"}, "no subject 'S11'"),
        ({"subject_set": "everybody"}, "reference"),
        ({"max_recordings": 0}, "max_recordings"),
    ]:
        with pytest.raises(InputError, match=message):
            chosen(**settings)
    with pytest.raises(InputError, match="no recordings in"):
        Brennan2019().recordings(tables / "audio")


def test_what_is_wanted_of_a_host() -> None:
    study = Brennan2019(subjects=("S01", "S10"))
    wanted = ["S01.mat", "proc.zip", "audio.zip", SCRIPT, "sub-010/eeg/sub-010_task-alicelistening_eeg.eeg", "stimuli/a.wav"]
    assert all(study.wanted(path) for path in wanted)
    assert not any(study.wanted(path) for path in ["S03.mat", "sub-003/eeg/sub-003_task-alicelistening_eeg.eeg"])
    assert not Brennan2019().wanted("S28.mat")


# the signal


@pytest.fixture
def forms(tmp_path: Path) -> dict[str, Path]:
    """One recording of all channels in its three forms, in microvolts."""
    values = np.random.default_rng(0).normal(0, 20, (62, 400)).astype(np.float32)
    names = [*EEG, "VEOG", "AUD"]
    write_raw(tmp_path / "v1" / "S01.mat", values, names)
    write_brainvision(tmp_path / "v2" / "S01.vhdr", values, names)
    for form, folder in (("v1", "proc"), ("v2", "timelock-preprocessing")):
        write_proc(tmp_path / form / folder / "S01.mat", 1.0, bads=["24", "29", "60"])
    eeg = tmp_path / "mirror" / "sub-001" / "eeg"
    write_brainvision(eeg / "sub-001_task-alicelistening_eeg.vhdr", values, names)
    write_events(eeg / "sub-001_task-alicelistening_events.tsv", tmp_path / "v1" / "proc" / "S01.mat")
    shutil.copy(DATA / "bids/sub-001/eeg/sub-001_task-alicelistening_channels.tsv", eeg)
    return {form: tmp_path / form for form in ("v1", "v2", "mirror")}


@pytest.mark.parametrize("form", ["v1", "v2", "mirror"])
def test_signal(form: str, forms: dict[str, Path]) -> None:
    from raybrain.signal.channels import sensor_positions

    study, root = Brennan2019(), forms[form]
    recordings = study.recordings(root)
    assert [recording.uid for recording in recordings] == ["brennan2019_sub-S01_task-alice"]
    raw = study.raw(root, recordings[0])
    assert Counter(raw.get_channel_types()) == {"eeg": 60, "eog": 1, "misc": 1}
    assert raw.info["sfreq"] == study.facts.hertz
    assert raw.info["bads"] == ([] if form == "mirror" else ["24", "60"])
    assert raw.get_data("eeg").std() == pytest.approx(20e-6, rel=0.05)
    positions, known = sensor_positions(raw.copy().pick("eeg").info)
    assert known.all()
    assert len({tuple(place) for place in positions.round(3)}) == 60
    assert set(study.sources(root, recordings[0])) == {
        path for path in root.rglob("*") if path.is_file() and path.suffix in (".mat", ".vhdr", ".eeg", ".vmrk", ".tsv")
    }


@pytest.mark.parametrize("form", ["v1", "mirror"])
def test_from_disk_to_two_training_steps(form: str, ray_cluster: None, tmp_path: Path) -> None:
    """Two subjects who hear the first two sounds; ten channels."""
    root = own_copy(Brennan2019(), tmp_path)
    write_story(root, sounds=(1, 2), rate=8000)
    for number, subject in enumerate(("S01", "S03")):
        values = np.random.default_rng(number).normal(0, 20, (10, 500 * 126)).astype(np.float32)
        names = [*EEG[:8], "VEOG", "AUD"]
        proc = root / "proc" / f"{subject}.mat"
        write_proc(proc, 3.0 + number, sounds=(1, 2), bads=["7"])
        if form == "v1":
            write_raw(root / f"{subject}.mat", values, names)
        else:
            eeg = root / f"sub-0{subject[1:]}" / "eeg"
            write_brainvision(eeg / f"{eeg.parent.name}_task-alicelistening_eeg.vhdr", values, names)
            write_events(eeg / f"{eeg.parent.name}_task-alicelistening_events.tsv", proc)
            proc.unlink()
    prepared, trained_on, losses = two_steps(tmp_path, "brennan2019", **{"data.splits.seed": 16})
    assert prepared.failed == {}
    assert prepared.recordings == ("brennan2019_sub-S01_task-alice", "brennan2019_sub-S03_task-alice")
    assert trained_on.positions.shape[1] == 8
    assert trained_on.valid.sum(dim=1).tolist() == [8 if form == "mirror" else 7]
    assert np.isfinite(losses).all()


# what cannot be read


def assert_one_line(error: InputError, *expected: str) -> None:
    assert "\n" not in str(error)
    for part in expected:
        assert part in str(error), str(error)


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
@pytest.mark.parametrize("name", ["S01.mat", "proc/S01.mat"])
def test_truncated_files(name: str, keep: float, forms: dict[str, Path]) -> None:
    study, root = Brennan2019(), forms["v1"]
    file = root / name
    content = file.read_bytes()
    file.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    with pytest.raises(InputError) as caught:
        study.raw(root, study.recordings(root)[0])
    assert_one_line(caught.value, str(file), "get the file again")


def test_other_content(forms: dict[str, Path]) -> None:
    import scipy.io

    study, root = Brennan2019(), forms["v1"]
    recording = study.recordings(root)[0]
    scipy.io.savemat(root / "S01.mat", {"raw": {"hdr": {"Fs": 500.0}}})
    with pytest.raises(InputError) as caught:
        study.raw(root, recording)
    assert_one_line(caught.value, "S01.mat is not a FieldTrip recording: no field 'label'")
    header = forms["v2"] / "S01.vhdr"
    header.with_suffix(".eeg").write_bytes(b"\0" * 1001)
    with pytest.raises(InputError) as caught:
        study.raw(forms["v2"], recording)
    assert_one_line(caught.value, "S01.eeg is truncated")


def test_missing_sounds_and_words(tmp_path: Path) -> None:
    write_story(tmp_path)
    write_proc(tmp_path / "proc" / "S01.mat", 1.0)
    (tmp_path / "audio" / SOUND.format(7)).unlink()
    with pytest.raises(InputError) as caught:
        events_of(tmp_path, "S01")
    assert_one_line(caught.value, f"no sound file {SOUND.format(7)} in {tmp_path}")
    (tmp_path / SCRIPT).unlink()
    with pytest.raises(InputError) as caught:
        events_of(tmp_path, "S01")
    assert_one_line(caught.value, f"no {SCRIPT} in {tmp_path}")
    (tmp_path / SCRIPT).write_text("Word,Segment\nAlice,1\n")
    with pytest.raises(InputError) as caught:
        events_of(tmp_path, "S01")
    assert_one_line(caught.value, f"{SCRIPT}, line 2", "Sentence")


def test_sounds_that_were_not_played(tmp_path: Path) -> None:
    write_story(tmp_path)
    write_proc(tmp_path / "proc" / "S01.mat", 1.0)
    shutil.copy(tmp_path / "audio" / SOUND.format(4), tmp_path / "audio" / SOUND.format(9))
    with pytest.raises(InputError) as caught:
        events_of(tmp_path, "S01")
    assert_one_line(caught.value, "S01.mat", "intervals between sounds do not match their durations")


# the recorded copy of the sound


@pytest.mark.parametrize("late_s", [0.0, 0.3, -0.05])
def test_sounds_are_checked_against_the_recorded_copy(late_s: float, tmp_path: Path) -> None:
    """The real last sound, low-passed and sampled at 500 Hz as AUD would be, in noise."""
    import soundfile
    from scipy.signal import resample_poly

    write_story(tmp_path, sounds=(12,))
    shutil.copy(DATA / SOUND.format(12), tmp_path / "audio")
    write_proc(tmp_path / "proc" / "S01.mat", 3.0, sounds=(12,))
    wave, rate = soundfile.read(DATA / SOUND.format(12))
    copy = resample_poly(wave, 500, rate)
    values = np.random.default_rng(0).normal(0, 0.3 * copy.std(), (3, 500 * 52))
    start = round((3.0 + late_s) * 500)
    values[2, start : start + len(copy)] += copy
    write_raw(tmp_path / "S01.mat", values, ["1", "VEOG", "AUD"])
    study = Brennan2019()
    problems = study.problems(tmp_path, study.recordings(tmp_path)[0])
    if not late_s:
        assert problems == []
        return
    assert len(problems) == 1
    assert problems[0].startswith(f"AUD has {SOUND.format(12)} ")
    assert float(problems[0].split()[3]) == pytest.approx(late_s, abs=0.004)


def test_a_copy_of_something_else_is_reported(tmp_path: Path) -> None:
    write_story(tmp_path, sounds=(12,))
    write_proc(tmp_path / "proc" / "S01.mat", 3.0, sounds=(12,))
    write_raw(tmp_path / "S01.mat", np.random.default_rng(1).normal(0, 1, (3, 500 * 52)), ["1", "VEOG", "AUD"])
    study = Brennan2019()
    assert "does not resemble" in study.problems(tmp_path, study.recordings(tmp_path)[0])[0]


def test_what_is_odd_of_a_late_recording(tables: Path) -> None:
    problems = Brennan2019(subject_set="all").problems(tables, Recording("brennan2019", "S26", task="alice"))
    assert problems[0] == "the table has 1981 of 2129 words"
    assert problems[1].startswith("began after the story")


@pytest.mark.parametrize(
    ("subject", "times", "early_s"), [("S01", "reference", 0.3), ("S26", "paper", 0), ("S26", "reference", 0.3)]
)
def test_times_as_published(subject: str, times: Any, early_s: float, tables: Path) -> None:
    """Every word that the table names is where it says, right or wrong, or as early as in the reference."""
    study = Brennan2019(subject_set="all", times=times)
    recording = Recording("brennan2019", subject, task="alice")
    trials = read_trials(DATA / "proc" / f"{subject}.mat", 500.0)
    starts = np.array([word.start for word in words(study.events(tables, recording))])
    assert max(np.abs(starts - (onset - early_s)).min() for onset in trials.onsets) < 0.002
    assert len(sounds(study.events(tables, recording))) == len(set(trials.columns[:, 0]))
    problems = [problem for problem in study.problems(tables, recording) if problem.startswith("began after the story")]
    assert [problem.endswith("times=heard corrects this") for problem in problems] == ([True] if subject == "S26" else [])
