"""schoffelen2019 is read right from its form on disk, a log is put on the recording's clock, and each fault has one line."""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raybrain.config import override
from raybrain.events import Event, Phoneme, Sound, SplitConfig, SplitMode, Word, sentence_blocks, uid_split
from raybrain.integrity import file_record
from raybrain.prepare.plan import Heard, PlannedBlock, make_plan
from raybrain.prepare.segments import make_segments
from raybrain.prepare.tasks import Source
from raybrain.recording import Recording
from raybrain.signal.window import SegmentConfig
from raybrain.studies.base import Study
from raybrain.studies.readers.presentation import Logged, Trigger, align, read_log
from raybrain.studies.schoffelen2019 import EXCLUDED, LISTENERS, READERS, Schoffelen2019
from tests.made_studies import CTF, CTF_HZ, link_copy, of, one_line, write_ctf, write_textgrid, write_wav
from tests.two_steps import two_steps

needs_ctf = pytest.mark.skipif(not CTF.is_dir(), reason=f"no {CTF}")

# a session of eight trials, four of them word lists

SPLITS = {"train": (2, 3, 4, 5), "valid": (10, 15), "test": (1, 8)}
NUMBERS = (2, 10, 1, 3, 4, 15, 8, 5)  # the last four are word lists
WORDS = ("De", "hond", "zag", "een", "grote", "kat", "op", "straat")
SOUND_S, TRIAL_S, LEAD_S, SILENCE_S = 3.2, 5.4, 2.0, 0.12
LASTS_S = LEAD_S + 8 * TRIAL_S + 3.0
VALUES = {"FIX": 20, "ZINNEN": 10, "WOORDEN": 10}
A2002 = Recording("schoffelen2019-audio", "A2002", task="auditory")
V1001 = Recording("schoffelen2019-visual", "V1001", task="visual")


def text(number: int) -> str:
    """A sentence of its own for each number, longer than 45 characters."""
    return " ".join(f"{word}{number}" for word in WORDS) + "."


def trial_s(place: int) -> float:
    return LEAD_S + place * TRIAL_S + 0.2 * np.sin(place)  # trials do not come at equal intervals


def auditory() -> list[Logged]:
    rows = []
    for place, number in enumerate(NUMBERS):
        start = trial_s(place)
        if place in (0, 4):
            rows.append(Logged(start - 0.3, "Picture", "ZINNEN" if place < 4 else "WOORDEN"))
        value = 1 if place < 4 else 3
        rows += [
            Logged(start, "Picture", "FIX 3512"),
            Logged(start + 1.5, "Sound", f"14 Start File {number:03d}.wav"),
            Logged(start + 1.5 + SILENCE_S, "Nothing", f"{value} Audio onset"),
            Logged(start + 2.5, "Nothing", f"{value + 1} target"),
            Logged(start + 1.5 + SOUND_S, "Nothing", "15 End of file"),
        ]
    return rows


def visual() -> list[Logged]:
    rows = []
    for place, number in enumerate(NUMBERS):
        start = trial_s(place)
        if place in (0, 4):
            rows.append(Logged(start - 0.3, "Picture", "ZINNEN" if place < 4 else "WOORDEN"))
        rows.append(Logged(start, "Picture", "FIX 3512"))
        for index, word in enumerate(text(number).split()):
            rows.append(Logged(start + 1.0 + 0.5 * index, "Picture", f"1 {word} 300"))
            rows.append(Logged(start + 1.3 + 0.5 * index, "Picture", "ISI"))
        rows.append(Logged(start + 5.0, "Picture", "blank"))
    return rows


def sent(rows: Sequence[Logged]) -> list[tuple[float, int]]:
    """The triggers of a session: those of titles and fixations, and the leading numbers of codes."""
    triggers = []
    for row in rows:
        first = row.code.split()[0]
        value = VALUES.get(first, int(first) if first.isdigit() else 0)
        triggers += [(row.start, value)] if value else []
    return triggers


def write_table(path: Path, rows: Sequence[Logged]) -> None:
    lines = ["onset\tduration\tsample\ttype\tvalue"]
    both = [*rows, *(Logged(start, "UPPT001", str(value)) for start, value in sent(rows))]
    for row in sorted(both, key=lambda row: row.start):
        lines.append(f"{row.start:.4f}\tn/a\t{round(row.start * CTF_HZ)}\t{row.kind}\t{row.code}")
    path.write_text("\n".join(lines) + "\n")


def log_text(rows: Sequence[Logged], ahead_s: float = 321.0, drift: float = 4e-5) -> str:
    """A Presentation log whose clock started earlier and runs faster."""
    head = "Subject\tTrial\tEvent Type\tCode\tTime\tTTime\tUncertainty\tDuration\tUncertainty\tReqTime\tReqDur\tStim Type"
    lines = ["Scenario -\tMEG", "Logfile written - 01/01/1970 00:00:00", "", head, ""]
    for number, row in enumerate(rows, start=1):
        ticks = round((row.start * (1 + drift) + ahead_s) * 1e4)
        lines.append(f"A2002\t{number}\t{row.kind}\t{row.code}\t{ticks}\t0\t1\t3000\t2\t0\tnext\tother")
    lines += [
        "",
        "",
        "Event Type\tCode\tType\tResponse\tRT\tRT Uncertainty\tTime",
        "",
        "Picture\tFIX 3512\tother\t0\t\t\t0",
        "",
    ]
    return "\r\n".join(lines)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's folder with one listener and one reader."""
    if not CTF.is_dir():
        pytest.skip(f"no {CTF}")
    root = tmp_path_factory.mktemp("studies") / "schoffelen2019"
    recordings = {"A2002_task-auditory": auditory(), "V1001_task-visual": visual()}
    for name, rows in recordings.items():
        folder = root / f"sub-{name.partition('_')[0]}" / "meg"
        write_ctf(folder / f"sub-{name}_meg.ds", LASTS_S, sent(rows))
        write_table(folder / f"sub-{name}_events.tsv", rows)
        (folder / f"sub-{name}_channels.tsv").write_text(
            "name\ttype\tstatus\nMLC11-4304\tMEGGRADAXIAL\tbad\nMLC12-4304\tMEGGRADAXIAL\tgood\n"
        )
        (folder / f"sub-{name}_meg.json").write_text(f'{{"RecordingDuration": {LASTS_S:.1f}}}')
    (root / "sub-A2002" / "meg" / "sub-A2002_task-rest_meg.ds").mkdir()
    stimuli = root / "stimuli"
    for number in NUMBERS:
        name = f"EQ_Ramp_Int2_Int1LPF{number:03d}"
        write_wav(stimuli / "audio_files" / f"{name}.wav", SOUND_S, rate=44_100, channels=2)
        words = [(SILENCE_S + 0.35 * i, SILENCE_S + 0.35 * i + 0.3, word) for i, word in enumerate(text(number)[:-1].split())]
        phones = [(start + half * 0.15, start + half * 0.15 + 0.15, "@d"[half]) for start, _, _ in words for half in (0, 1)]
        tiers = {"ORT-MAU": words, "KAN-MAU": words, "MAU": [(0.0, SILENCE_S, "<p:>"), *phones]}
        write_textgrid(root / "derivatives" / "phonemes" / f"{name}.TextGrid", SOUND_S, tiers)
    lines = [f"{number} {text(number)}" for number in sorted(NUMBERS)]
    (stimuli / "stimuli.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The same, for a test to damage; large files are linked."""
    for path in sorted(made.rglob("*")):
        target = tmp_path / "copy" / path.relative_to(made)
        if path.is_dir():
            target.mkdir(parents=True)
        elif path.suffix == ".meg4":
            os.link(path, target)
        else:
            target.write_bytes(path.read_bytes())
    return tmp_path / "copy"


# what is read


@needs_ctf
def test_the_real_header_has_273_channels(tmp_path: Path) -> None:
    """Told by their type: 28 reference channels and 55 others lie before, between and behind them."""
    from raybrain.signal.base import Context, SignalConfig
    from raybrain.signal.pipeline import read_signal

    link = tmp_path / "sub-A2002" / "meg" / "sub-A2002_task-auditory_meg.ds"
    link.mkdir(parents=True)
    for path in CTF.iterdir():
        (link / path.name.replace(CTF.stem, link.stem)).symlink_to(path)
    raw = Schoffelen2019().raw(tmp_path, A2002)
    assert raw.info["sfreq"] == 1200
    signal = read_signal(raw, SignalConfig().steps, Context(120.0))
    assert len(signal.channels) == signal.valid.sum() == 273
    assert len({tuple(place) for place in signal.positions.tolist()}) == 273
    assert np.abs(signal.values).max() < 1e-9  # tesla


def test_recordings(made: Path) -> None:
    assert Schoffelen2019().recordings(made) == [A2002]
    assert Study.parse("schoffelen2019:visual").recordings(made) == [V1001]
    assert Study.parse("schoffelen2019:audio_wordlists").recordings(made) == [A2002]


def test_excluded_subjects_and_runs(tmp_path: Path) -> None:
    for name in ("A2003_task-auditory", "A2002_task-auditory", "A2011_task-auditory_run-1", "A2011_task-auditory_run-2"):
        (tmp_path / f"sub-{name[:5]}" / "meg" / f"sub-{name}_meg.ds").mkdir(parents=True)

    def recordings(**settings: Any) -> list[tuple[str, str]]:
        return [(r.subject, r.run) for r in Schoffelen2019(**settings).recordings(tmp_path)]

    assert "A2011" in EXCLUDED
    assert recordings() == [("A2002", ""), ("A2003", "")]
    assert recordings(max_recordings=1) == [("A2002", "")]
    assert recordings(subjects=("sub-A2011",)) == [("A2011", "1"), ("A2011", "2")]
    one_line(lambda: recordings(subjects=("A2004",)), "'A2004'", "did you mean")
    one_line(lambda: recordings(selection="visual"), "no recordings of visual", str(tmp_path))


def test_what_is_downloaded() -> None:
    meg = "sub-{0}/meg/sub-{0}_task-{1}_meg.ds/sub-{0}_task-{1}_meg.meg4".format
    texts = ["stimuli/stimuli.txt", "dataset_description.json"]
    heard = ["stimuli/audio_files/EQ_Ramp_Int2_Int1LPF001.wav", "derivatives/phonemes/EQ_Ramp_Int2_Int1LPF001.TextGrid"]
    log = "sourcedata/meg_task/A2002-2-MEG-MOUS-Aud.log"
    audio, read = Schoffelen2019(), Schoffelen2019(selection="visual")
    assert all(map(audio.wanted, [meg("A2002", "auditory"), *texts, *heard, log]))
    assert all(map(read.wanted, [meg("V1001", "visual"), *texts]))
    useless = [meg("A2002", "rest"), meg("A2011", "auditory"), meg("V1001", "visual"), "sub-A2002/anat/sub-A2002_T1w.nii"]
    assert not any(map(audio.wanted, [*useless, "sourcedata/mri_task/A2002.log", "stimuli/presentation_code/a.pcl"]))
    assert not any(map(read.wanted, [meg("A2002", "auditory"), *heard, log]))
    some = Schoffelen2019(subjects=("A2003",))
    assert some.wanted(meg("A2003", "auditory"))
    assert not some.wanted(meg("A2002", "auditory"))
    assert "DSC_3011020.09_236_v1" in audio.hosts[0].name
    first = Schoffelen2019(max_recordings=2)
    assert [first.wanted(meg(subject, "auditory")) for subject in ("A2002", "A2003", "A2004")] == [True, True, False]


def test_the_subjects_of_the_paper() -> None:
    """96 listeners are left of 102 when those in two runs are taken out."""
    assert len(LISTENERS) == len(READERS) == 102
    assert len(set(LISTENERS) - set(EXCLUDED)) == Schoffelen2019.facts.recordings == 96
    assert len(set(READERS) - set(EXCLUDED)) == 99


def test_what_was_heard(made: Path) -> None:
    study = Schoffelen2019()
    events = study.events(made, A2002)
    sounds, words, phonemes = of(events, Sound), of(events, Word), of(events, Phoneme)
    onsets = [trial_s(place) + 1.5 + SILENCE_S for place in range(8)]
    np.testing.assert_allclose([sound.start for sound in sounds], onsets, atol=1e-4)
    assert {sound.duration for sound in sounds} == {SOUND_S}
    assert all(Path(sound.filepath).is_file() for sound in sounds)
    assert len(words) == 8 * len(WORDS)
    assert len(phonemes) == 2 * len(words)
    assert [word.word for word in words[:8]] == [f"{word}2" for word in WORDS]
    assert {word.sequence for word in words} == {text(number) for number in NUMBERS}
    np.testing.assert_allclose([w.start for w in words if w.word_index == 0], np.array(onsets) + SILENCE_S, atol=1e-4)
    assert {event.language for event in events if not isinstance(event, Phoneme)} == {"nl"}
    started = of(override(study, {"sound_starts_at": "start_file"}).events(made, A2002), Sound)
    np.testing.assert_allclose([sound.start for sound in started], np.array(onsets) - SILENCE_S, atol=1e-4)


def test_word_lists_only(made: Path) -> None:
    study = Schoffelen2019(selection="audio_wordlists")
    events = study.events(made, A2002)
    assert [int(Path(sound.filepath).stem[-3:]) for sound in of(events, Sound)] == [4, 15, 8, 5]


def test_what_was_read(made: Path) -> None:
    study = Schoffelen2019(selection="visual")
    words = of(study.events(made, V1001), Word)
    assert len(words) == 64
    assert {word.modality for word in words} == {"visual"}
    assert [word.word for word in words[:8]] == [f"{word}2" for word in WORDS]  # without the full stop
    assert [word.word_index for word in words[:9]] == [*range(8), 0]
    np.testing.assert_allclose([word.duration for word in words], 0.3, atol=1e-3)
    assert words[0].start == pytest.approx(trial_s(0) + 1.0)


def test_blocks_are_split_by_the_numbers_of_sentences(made: Path) -> None:
    """However a sentence was presented, it is the same block, in the split of its own number."""
    heard = sentence_blocks(Schoffelen2019().events(made, A2002), "sound")
    read = sentence_blocks(Schoffelen2019(selection="visual").events(made, V1001), "sound")
    assert [block.uid for block in heard] == [block.uid for block in read] == [f"mous-{number:03d}" for number in NUMBERS]
    for name, numbers in SPLITS.items():
        assert {uid_split(f"mous-{number:03d}", SplitConfig()) for number in numbers} == {name}


def blocks_of(events: Sequence[Event], recording: Recording, mode: SplitMode) -> list[PlannedBlock]:
    heard = Heard(recording, tuple(events), Schoffelen2019.blocks_by)
    digests = {sound.filepath: sound.filepath for sound in of(events, Sound)}
    return list(make_plan([heard], digests, SplitConfig(mode=mode)).blocks[recording.uid])


@pytest.mark.parametrize("selection", ["audio", "audio_wordlists", "visual"])
def test_published_blocks(selection: str, made: Path) -> None:
    """By sound, or by sentence read; never merged, however short; each goes on to the next, however long the pause between.

    They are named by the sentence's own id, and the last one ends with the recording.
    """
    study = override(Schoffelen2019(), {"selection": selection})
    recording = V1001 if selection == "visual" else A2002
    numbers = NUMBERS[4:] if selection == "audio_wordlists" else NUMBERS
    on_time = study.events(made, recording)
    third = [event.start for event in on_time if starts_trial(event)][2]
    events = [replace(event, start=event.start + (60.0 if event.start >= third else 0.0)) for event in on_time]
    starts = [event.start for event in events if starts_trial(event)]
    paper, clean = ([planned.block for planned in blocks_of(events, recording, mode)] for mode in ("paper", "clean"))
    assert [block.start for block in paper] == [block.start for block in clean] == starts
    assert [block.uid for block in paper] == [f"mous-{number:03d}" for number in numbers]
    assert [block.stop for block in paper] == [*starts[1:], math.inf]
    assert clean[1].stop < starts[1] + TRIAL_S + 5.0, "what was heard between is left out: the block ends soon after"
    assert [block.stop for block in clean[2:]] == [*starts[3:], max(event.stop for event in events)]


def starts_trial(event: Event) -> bool:
    return isinstance(event, Sound) or (isinstance(event, Word) and event.modality == "visual" and event.word_index == 0)


def test_published_windows(made: Path) -> None:
    """They may outlast a block by half a sample, and go on after the last sound to the end of the recording."""
    events = Schoffelen2019().events(made, A2002)
    samples = round((LASTS_S + 60) * 120)
    clean, paper = (
        make_segments(events, blocks_of(events, A2002, mode), SegmentConfig(), 120.0, samples).to_pylist()
        for mode in ("clean", "paper")
    )
    assert all(row in paper for row in clean)
    last = paper[-1]["start_sample"] + 361
    assert (paper[-1]["split"], samples - 60 < last <= samples) == ("train", True)
    assert clean[-1]["start_sample"] + 361 < samples - 60 * 120


def test_bad_channels_and_layout(made: Path) -> None:
    raw = Schoffelen2019().raw(made, A2002)
    assert raw.info["bads"] == ["MLC11"]  # its name in the table has the suffix of the system


@needs_ctf
def test_what_follows_the_stop_of_the_clock_is_left_out(tmp_path: Path) -> None:
    """The acquisition fills its last trial with zeros; the sidecar counts them, and that is no fault."""
    import mne

    folder = tmp_path / "sub-A2002" / "meg"
    file = folder / "sub-A2002_task-auditory_meg.ds"
    write_ctf(file, 8.0, [])
    (folder / "sub-A2002_task-auditory_meg.json").write_text('{"RecordingDuration": 8.0}')
    channels = mne.io.read_raw_ctf(file, verbose="error").ch_names
    data = np.memmap(file / f"{file.stem}.meg4", ">i4", mode="r+", offset=8).reshape(-1, len(channels), 2402 // 2)
    whole = Schoffelen2019().raw(tmp_path, A2002).n_times
    data[-1, :, 500:] = 0
    data.flush()
    assert Schoffelen2019().raw(tmp_path, A2002).n_times == whole - (data.shape[2] - 500)


def test_sources_are_all_that_matters(copy: Path) -> None:
    names = [path.name for path in Schoffelen2019().sources(copy, A2002)]
    assert {"sub-A2002_task-auditory_meg.ds", "sub-A2002_task-auditory_events.tsv", "stimuli.txt", "phonemes"} <= set(names)
    assert not [name for name in names if name.endswith(".wav") or "V1001" in name]


def test_problems(copy: Path) -> None:
    problems = Schoffelen2019().problems(copy, A2002)
    assert any("8 of 240 trials" in line for line in problems)
    late = [line for line in problems if "sound_starts_at=start_file" in line]
    assert late, problems  # the first word is said where Audio onset is logged
    assert len(problems) == 2
    assert not [p for p in Schoffelen2019(sound_starts_at="start_file").problems(copy, A2002) if "start_file" in p]
    (copy / "stimuli" / "stimuli.txt").write_text("2 iets anders\n")
    assert any("8 texts that are not in stimuli.txt" in p for p in Schoffelen2019(selection="visual").problems(copy, V1001))


# the log of a session


def log_only(copy: Path, content: str) -> None:
    """Leave events.tsv with triggers only, and a log beside."""
    table = copy / "sub-A2002" / "meg" / "sub-A2002_task-auditory_events.tsv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *(line for line in lines if "UPPT001" in line)]) + "\n")
    folder = copy / "sourcedata" / "meg_task"
    folder.mkdir(parents=True)
    (folder / "A2002-2-MEG-MOUS-Aud.log").write_bytes(content.encode("cp1252"))


def test_the_log_tells_what_the_table_does_not(copy: Path, made: Path) -> None:
    study = Schoffelen2019()
    expected = study.events(made, A2002)
    log_only(copy, log_text(auditory()))
    events = study.events(copy, A2002)
    assert len(events) == len(expected)
    assert [event.start for event in events] == pytest.approx([event.start for event in expected], abs=2e-3)
    assert any("its log is used" in problem for problem in study.problems(copy, A2002))
    assert any(path.name.endswith("Aud.log") for path in study.sources(copy, A2002))


def test_the_log_of_another_session_is_refused(copy: Path) -> None:
    """Trials of the same kinds, at other intervals."""
    rng = np.random.default_rng(1)
    other = [replace(row, start=row.start * 1.07 + rng.uniform(0, 0.3)) for row in auditory()]
    log_only(copy, log_text(other))
    one_line(lambda: Schoffelen2019().events(copy, A2002), "A2002-2-MEG-MOUS-Aud.log", "another session")


def test_no_table_and_no_log(copy: Path) -> None:
    log_only(copy, "")
    (copy / "sourcedata" / "meg_task" / "A2002-2-MEG-MOUS-Aud.log").unlink()
    one_line(lambda: Schoffelen2019().events(copy, A2002), "events.tsv", "no log of A2002", "meg_task")


def test_reading_a_log(tmp_path: Path) -> None:
    """Only its first scenario and first table; rows that a full stop cut in two are joined; accents survive."""
    path = tmp_path / "a.log"
    rows = [Logged(1.0, "Picture", "1 één 300"), Logged(2.0, "Picture", "1 straat.\n 345"), Logged(3.0, "Picture", "ISI")]
    content = log_text(rows, ahead_s=0.5, drift=0.0)
    path.write_bytes((content + "\r\n" + log_text(auditory())).encode("cp1252"))
    read = read_log(path)
    assert [event.code for event in read] == ["1 één 300", "1 straat. 345", "ISI"]
    assert [event.start for event in read] == pytest.approx([1.5, 2.5, 3.5])
    path.write_text("nothing of this kind")
    one_line(lambda: read_log(path), str(path), "not a Presentation log")
    path.write_text(content.partition("\t15000")[0])
    one_line(lambda: read_log(path), str(path), "cut off")
    path.write_text("Scenario - a\n\nSubject\tCode\n")
    one_line(lambda: read_log(path), "Event Type")


def session(seed: int = 0) -> list[Trigger]:
    """240 fixations in groups of five, a title before each, at jittered intervals; 40 minutes."""
    rng = np.random.default_rng(seed)
    triggers, time = [], 10.0
    for trial in range(240):
        if trial % 5 == 0:
            triggers.append(Trigger(time, 10))
            time += 3.7 + rng.normal(0, 0.003)
        triggers.append(Trigger(time, 20))
        time += 1.2 + rng.uniform(0, 1) + rng.uniform(2.5, 9)
    return triggers


def recorded(log: Sequence[Trigger], drift: float = 5e-5) -> list[Trigger]:
    """The same in samples of a clock that started 500 s earlier and runs faster."""
    return [Trigger(round((500 + t.start * (1 + drift)) * CTF_HZ) / CTF_HZ, t.value) for t in log]


def check(log: Sequence[Trigger], seen: Sequence[Trigger], drift: float = 5e-5) -> None:
    clock = align(log, seen)
    for time in np.arange(log[0].start, log[-1].start, 7.3):
        assert clock(time) == pytest.approx(500 + time * (1 + drift), abs=2e-3)


@pytest.mark.parametrize("fault", ["none", "missing", "spurious", "doubled", "first trials", "last trials", "all of it"])
def test_alignment_survives(fault: str) -> None:
    log = session()
    seen = recorded(log)
    rng = np.random.default_rng(2)
    if fault in ("missing", "all of it"):
        seen = [trigger for trigger in seen if rng.random() > 0.2]
    if fault in ("spurious", "all of it"):
        seen += [Trigger(float(rng.uniform(500, seen[-1].start)), int(rng.choice([10, 20]))) for _ in range(30)]
    if fault in ("doubled", "all of it"):
        seen += [replace(trigger, start=trigger.start + 1 / CTF_HZ) for trigger in seen[::7]]
    if fault in ("first trials", "all of it"):
        seen = [trigger for trigger in seen if trigger.start > 500 + log[60].start]  # the recording was started late
    if fault == "last trials":
        seen = seen[:-60]
    check(log, sorted(seen, key=lambda trigger: trigger.start))


def test_alignment_refuses_another_session() -> None:
    one_line(lambda: align(session(), recorded(session(seed=5))), "another session")
    one_line(lambda: align(session(), []), "0 of 0 triggers")


def test_alignment_refuses_intervals_that_differ() -> None:
    """All within reach of their partners, but not at the same intervals."""
    rng = np.random.default_rng(3)
    seen = [replace(trigger, start=trigger.start + rng.uniform(-0.05, 0.05)) for trigger in recorded(session())]
    one_line(lambda: align(session(), seen), "correlate", "another session")


def test_what_was_before_and_after_the_recording_is_dropped(copy: Path) -> None:
    """The recording holds the middle of a longer session, as a second run would."""
    before = [replace(row, start=row.start - 70.0) for row in auditory()]
    after = [replace(row, start=row.start + 60.0) for row in auditory()]
    log_only(copy, log_text([*before, *auditory(), *after]))
    sounds = of(Schoffelen2019().events(copy, A2002), Sound)
    assert len(sounds) == 8


# faults


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        ("wav", ("no sound file", "LPF010.wav")),
        ("textgrid", ("no TextGrid", "LPF010.TextGrid")),
        ("textgrids", ("no TextGrids in", "derivatives", "ORT-MAU", "WebMAUS")),
        ("tier", ("LPF010.TextGrid", "no tier 'MAU'")),
        ("stimuli", ("stimuli.txt", "identifies sentences")),
        ("texts", ("stimuli.txt", "number text")),
        ("table", ("events.tsv", "line 5")),
        ("onset", ("events.tsv", "'soon'")),
        ("orphan", ("no sound file was started",)),
        ("code", ("__import__", "not a number")),
    ],
)
def test_each_fault_of_events_has_one_line(copy: Path, damage: str, parts: tuple[str, ...]) -> None:
    phonemes, stimuli = copy / "derivatives" / "phonemes", copy / "stimuli"
    table = copy / "sub-A2002" / "meg" / "sub-A2002_task-auditory_events.tsv"
    lines = table.read_text().splitlines()
    grid = phonemes / "EQ_Ramp_Int2_Int1LPF010.TextGrid"
    if damage == "wav":
        (stimuli / "audio_files" / "EQ_Ramp_Int2_Int1LPF010.wav").unlink()
    elif damage == "textgrid":
        grid.unlink()
    elif damage == "textgrids":
        for path in phonemes.iterdir():
            path.unlink()
    elif damage == "tier":
        grid.write_text(grid.read_text().replace('"MAU"', '"SAM"'))
    elif damage == "stimuli":
        (stimuli / "stimuli.txt").unlink()
    elif damage == "texts":
        (stimuli / "stimuli.txt").write_text("zonder nummer\n")
    elif damage == "table":
        table.write_text("\n".join(lines[:4]) + "\n" + lines[4][:9])
    elif damage == "onset":
        table.write_text("\n".join([*lines, "soon\tn/a\t1\tPicture\tFIX"]) + "\n")
    elif damage == "code":
        table.write_text("\n".join([*lines, "__import__('os').system('false')\tn/a\t1\tSound\t14 Start File 002.wav"]) + "\n")
    else:
        table.write_text("\n".join(line for line in lines if "Start File 010" not in line) + "\n")
    one_line(lambda: Schoffelen2019().events(copy, A2002), *parts)


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        ("truncated", ("cannot be read",)),
        ("short", ("truncated", "RecordingDuration")),
        ("no data", ("cannot be read",)),
        ("no header", ("cannot be read",)),
        ("none", ("no ", "did you mean")),
    ],
)
def test_each_fault_of_the_signal_has_one_line(copy: Path, damage: str, parts: tuple[str, ...]) -> None:
    folder = copy / "sub-A2002" / "meg"
    file = folder / "sub-A2002_task-auditory_meg.ds"
    data = file / f"{file.stem}.meg4"
    content = data.read_bytes()[: 3 * 3_420_448 + 8]
    recording = A2002
    data.unlink()
    if damage == "truncated":
        data.write_bytes(content[:-100])
    elif damage == "short":
        data.write_bytes(content)
    elif damage == "no header":
        data.write_bytes(content)
        (file / f"{file.stem}.res4").unlink()
    elif damage == "none":
        recording = replace(A2002, run="3")
    one_line(lambda: Schoffelen2019().raw(copy, recording), "sub-A2002_task-auditory", *parts)


# from disk to training


@pytest.mark.slow
def test_heard_and_read_are_prepared_and_trained(made: Path, ray_cluster: None, tmp_path: Path) -> None:
    link_copy(made, Schoffelen2019(), tmp_path)
    studies = "schoffelen2019:audio,schoffelen2019:visual"
    prepared, tables, losses = two_steps(tmp_path, studies, **{"data.features": "mel,word_length"})
    assert prepared.recordings == (A2002.uid, V1001.uid)
    assert not prepared.failed
    assert {len(table) > 0 for table in tables.rows.values()} == {True}
    assert np.isfinite(losses).all()


def test_an_edited_textgrid_is_seen(copy: Path) -> None:
    """Its folder's own time does not change."""
    source = Source(Schoffelen2019(), copy, A2002)
    before = {name: file_record(path) for name, path in source.files().items()}
    file = min((copy / "derivatives" / "phonemes").glob("*.TextGrid"))
    file.write_text(file.read_text())
    after = {name: file_record(path) for name, path in source.files().items()}
    assert [name for name in before if before[name] != after[name]] == [file.relative_to(copy).as_posix()]
