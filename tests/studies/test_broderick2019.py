"""broderick2019 is read right from both of its forms on disk, sentences are found, and each fault has one line."""

import itertools
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raybrain.events import (
    Block,
    Phoneme,
    Sound,
    Split,
    SplitConfig,
    SplitMode,
    Word,
    assign_splits,
    sentence_blocks,
)
from raybrain.prepare.plan import Heard, PlannedBlock, make_plan
from raybrain.prepare.segments import make_segments
from raybrain.recording import Recording
from raybrain.signal.window import SegmentConfig
from raybrain.studies.base import Study
from raybrain.studies.bids.bids_table import bad_channels
from raybrain.studies.broderick2019 import Broderick2019
from raybrain.studies.readers.gentle import read_gentle
from raybrain.studies.readers.textgrids import Interval
from raybrain.studies.timing.grouping import places_by_pauses, places_by_text
from tests.conftest import SHARED
from tests.made_studies import link_copy, of, one_line, write_textgrid, write_wav
from tests.two_steps import two_steps

REAL = SHARED / "data" / "broderick2019"
NAMES = [f"{letter}{number}" for letter in "ABCD" for number in range(1, 33)]
SENTENCES, WORDS, WORD_S, GAP_S, PAUSE_S = 8, 7, 0.5, 0.05, 0.8  # of one run
EXTRA_S = 2.5  # by which the EEG outlasts the sound
FIRST = Recording("broderick2019", "001", task="listening", run="01")


def spoken(seed: int) -> list[list[str]]:
    """The sentences of two runs."""
    return [[f"{'abcdefg'[word]}x{sentence}y{seed}" for word in range(WORDS)] for sentence in range(2 * SENTENCES)]


def splits(sentences: Sequence[Sequence[str]]) -> set[str]:
    texts = [" ".join(words) for words in sentences]
    blocks = [Block(0.0, 9.0, (one, other)) for one, other in zip(texts[::2], texts[1::2], strict=True)]
    return set(assign_splits([blocks], SplitConfig()).values())


SAID = next(spoken(seed) for seed in itertools.count() if len(splits(spoken(seed))) == 3)
SOUND_S = SENTENCES * (WORDS * (WORD_S + GAP_S) + PAUSE_S) + 0.5


def spoken_words(run: int) -> list[Interval]:
    """The words of a run, as heard."""
    at, words = 0.5, []
    for sentence in SAID[(run - 1) * SENTENCES : run * SENTENCES]:
        for word in sentence:
            words.append(Interval(round(at, 3), round(at + WORD_S, 3), word))
            at += WORD_S + GAP_S
        at += PAUSE_S
    return words


def write_brainvision(header: Path, seconds: float, rate: int = 512) -> None:
    """128 channels of noise in microvolts."""
    header.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).standard_normal((round(seconds * rate), len(NAMES))).astype("<f4") * 20
    header.with_suffix(".eeg").write_bytes(values.tobytes())
    header.with_suffix(".vmrk").write_text(
        f"Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile={header.stem}.eeg\n"
        "[Marker Infos]\nMk1=New Segment,,1,1,0,20200101000000000000\n"
    )
    channels = "\n".join(f"Ch{number}={name},,1,µV" for number, name in enumerate(NAMES, start=1))
    header.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={header.stem}.eeg\nMarkerFile={header.stem}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(NAMES)}\nSamplingInterval={1e6 / rate}\n[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n"
        f"[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )


def write_bids(root: Path, runs: Sequence[tuple[str, int]]) -> None:
    for subject, run in runs:
        stem = f"sub-{subject}_task-listening_run-{run:02d}"
        folder = root / f"sub-{subject}" / "eeg"
        write_brainvision(folder / f"{stem}_eeg.vhdr", SOUND_S + EXTRA_S)
        (folder / f"{stem}_eeg.json").write_text(json.dumps({"RecordingDuration": SOUND_S + EXTRA_S}))
        rows = [f"{name}\tEEG\tV\t{'bad' if name in ('A3', 'C17') else 'good'}" for name in NAMES]
        (folder / f"{stem}_channels.tsv").write_text("\n".join(["name\ttype\tunits\tstatus", *rows]) + "\n")
    for run in {run for _, run in runs}:
        write_wav(root / "stimuli" / f"audio{run:02d}.wav", SOUND_S)
        words = [(word.start, word.stop, word.label.upper()) for word in spoken_words(run)]
        phones = [
            (start + half * 0.25, start + half * 0.25 + 0.25, ("AH0", "D")[half]) for start, _, _ in words for half in (0, 1)
        ]
        words.insert(0, (0.0, 0.5, "sil"))
        write_textgrid(root / "stimuli" / f"audio{run:02d}.TextGrid", SOUND_S, {"phones": phones, "words": words})


def gentle(run: int) -> dict[str, Any]:
    """Gentle's JSON: the third word was not found, the fourth is in no dictionary."""
    words: list[dict[str, Any]] = []
    for number, word in enumerate(spoken_words(run)):
        phones = [{"duration": 0.2, "phone": "hh_B"}, {"duration": 0.3, "phone": "iy_E"}]
        entry = {"alignedWord": word.label, "case": "success", "start": word.start, "end": word.stop, "phones": phones}
        if number == 2:
            entry = {"case": "not-found-in-audio"}
        elif number == 3:
            entry |= {"alignedWord": "<unk>", "phones": [{"duration": 0.5, "phone": "oov_S"}]}
        words.append({"word": word.label, "startOffset": 0, "endOffset": 0} | entry)
    return {"transcript": "", "words": words}


def write_mat(root: Path, runs: Sequence[tuple[int, int]]) -> None:
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    for subject, run in runs:
        path = root / "Natural Speech" / "EEG" / f"Subject{subject}" / f"Subject{subject}_Run{run}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = round((SOUND_S + EXTRA_S) * 128)
        eeg, mastoids = rng.standard_normal((samples, 128)) * 20, rng.standard_normal((samples, 2))
        savemat(path, {"eegData": eeg, "mastoids": mastoids, "fs": 128.0})
    other = root / "N400" / "EEG" / "Subject1" / "Subject1_Run1.mat"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"another experiment of the collection")
    for run in {run for _, run in runs}:
        write_wav(root / "private" / "audio" / f"oldman_run{run}.wav", SOUND_S)
        (root / "private" / f"oldman_run{run}.json").write_text(json.dumps(gentle(run)))
        text = ". ".join(" ".join(words).capitalize() for words in SAID[(run - 1) * SENTENCES : run * SENTENCES])
        (root / "private" / f"oldman_run{run}.txt").write_text(f"{text}.")


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bids") / "broderick2019"
    write_bids(root, [("001", 1), ("001", 2)])
    return root


@pytest.fixture(scope="module")
def matlab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("matlab") / "broderick2019"
    write_mat(root, [(1, 1), (1, 2), (10, 1)])
    return root


# what is read


def test_bids(bids: Path) -> None:
    study = Study.parse("broderick2019")
    recordings = study.recordings(bids)
    assert recordings == [FIRST, Recording("broderick2019", "001", task="listening", run="02")]
    raw = study.raw(bids, FIRST)
    assert raw.ch_names == NAMES
    assert raw.info["bads"] == ["A3", "C17"]
    assert raw.info["sfreq"] == 512
    assert 1e-5 < raw.get_data(stop=512).std() < 3e-5  # volts
    assert np.isfinite([channel["loc"][:3] for channel in raw.info["chs"]]).all()
    events = study.events(bids, recordings[1])
    (sound,) = of(events, Sound)
    assert (sound.start, Path(sound.filepath).name) == (0.0, "audio02.wav")
    assert sound.duration == pytest.approx(SOUND_S)
    words = of(events, Word)
    assert [word.word for word in words] == [word.label for word in spoken_words(2)]  # in lower case
    np.testing.assert_allclose(
        [(word.start, word.stop) for word in words], [(word.start, word.stop) for word in spoken_words(2)]
    )
    assert len(of(events, Phoneme)) == 2 * len(words)
    assert [word.word_index for word in words] == [*range(WORDS)] * SENTENCES  # by pauses
    assert words[-1].sequence == " ".join(SAID[-1])
    assert study.problems(bids, FIRST) == []


def test_matlab(matlab: Path) -> None:
    study = Broderick2019()
    assert [(r.subject, r.run) for r in study.recordings(matlab)] == [("001", "01"), ("001", "02"), ("010", "01")]
    raw = study.raw(matlab, FIRST)
    assert raw.ch_names == NAMES
    assert raw.info["sfreq"] == 128
    assert 1e-5 < raw.get_data().std() < 3e-5
    events = study.events(matlab, FIRST)
    words = of(events, Word)
    heard = [word for number, word in enumerate(spoken_words(1)) if number != 2]
    assert [word.word for word in words] == [word.label for word in heard]
    assert [word.start for word in words] == [word.start for word in heard]
    assert words[0].sequence == " ".join(SAID[0]).capitalize() + "."  # as the text has it
    assert sum(word.word_index == 0 for word in words) == SENTENCES
    assert len(of(events, Phoneme)) == 2 * (len(words) - 1)  # those of the unknown word are not known
    problems = study.problems(matlab, FIRST)
    assert any("1 words not located in the sound" in problem for problem in problems)
    assert any(
        "1 words without known pronunciation" in problem and repr(spoken_words(1)[3].label) in problem for problem in problems
    )


def test_some_recordings(matlab: Path) -> None:
    assert [r.subject for r in Broderick2019(subjects=("sub-010",)).recordings(matlab)] == ["010"]
    assert [(r.subject, r.run) for r in Broderick2019(max_recordings=2).recordings(matlab)] == [("001", "01"), ("001", "02")]
    one_line(lambda: Broderick2019(subjects=("003",)).recordings(matlab), "'003'", "001, 010")


def test_what_is_downloaded() -> None:
    eeg = "sub-{0}/eeg/sub-{0}_task-listening_run-{1}_eeg.vhdr".format
    mat = "{0}/EEG/Subject{1}/Subject{1}_Run{2}.mat".format
    whole = Broderick2019()
    assert all(map(whole.wanted, [eeg("001", "01"), eeg("019", "20"), "stimuli/audio01.wav", "participants.tsv"]))
    assert whole.wanted(mat("Natural Speech", 3, 4))
    assert not any(map(whole.wanted, [mat("N400", 3, 4), "derivatives/a.txt", ".git/config"]))
    some = Broderick2019(subjects=("002",), max_recordings=3)
    assert [run for run in ("01", "02", "03", "04") if some.wanted(eeg("002", run))] == ["01", "02", "03"]
    assert not some.wanted(eeg("001", "01"))
    assert some.wanted(mat("Natural Speech", 2, 3))
    assert [host.name for host in whole.hosts] == ["OpenNeuro ds004408", "Dryad 10.5061/dryad.070jc"]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no {REAL}")
def test_bad_channels_of_the_real_tables() -> None:
    tables = sorted(REAL.glob("sub-*/eeg/*_channels.tsv"))
    marked = {table.name: bad_channels(table) for table in tables}
    assert [len(bads) for bads in marked.values()] == [5, 2, 2]  # as grep counts them
    for table, bads in zip(tables, marked.values(), strict=True):
        lines = [line.split("\t") for line in table.read_text().splitlines()[1:]]
        assert [line[0] for line in lines] == NAMES
        assert bads == [line[0] for line in lines if "bad" in line]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no {REAL}")
def test_a_recording_with_its_real_sidecars(tmp_path: Path) -> None:
    """They promise 196 s; what is shorter is refused."""
    shutil.copytree(REAL, tmp_path / "real")
    for path in (tmp_path / "real").rglob("*"):
        path.chmod(0o755)
    header = tmp_path / "real" / "sub-001" / "eeg" / "sub-001_task-listening_run-01_eeg.vhdr"
    write_brainvision(header, 195.998046875, rate=512)
    raw = Broderick2019().raw(tmp_path / "real", FIRST)
    assert len(raw.info["bads"]) == 5
    write_brainvision(header, 100.0)
    one_line(lambda: Broderick2019().raw(tmp_path / "real", FIRST), "truncated", "100.0 s of 196.0 s")


def test_sources(bids: Path, matlab: Path) -> None:
    study = Broderick2019()
    stem = "sub-001_task-listening_run-01_"
    names = {path.name for path in study.sources(bids, FIRST)}
    assert names == {"audio01.TextGrid"} | {
        f"{stem}{end}" for end in ("eeg.eeg", "eeg.vhdr", "eeg.vmrk", "eeg.json", "channels.tsv")
    }
    names = {path.name for path in study.sources(matlab, FIRST)}
    assert names == {"Subject1_Run1.mat", "oldman_run1.json", "oldman_run1.txt"}


# published splits


@pytest.mark.parametrize("form", ["bids", "matlab"])
def test_published_blocks(form: str, request: pytest.FixtureRequest) -> None:
    """The first one is counted from 0, each is longer than the least length, and the last ends with the recording.

    A sentence's first word is at 0.5 s and then every 4.65 s.
    """
    events = Broderick2019().events(request.getfixturevalue(form), FIRST)
    starts = [event.start for event in events if isinstance(event, Word) and event.word_index == 0]
    assert len(starts) == SENTENCES
    digests = {event.filepath: event.filepath for event in events if isinstance(event, Sound)}

    def borders(mode: SplitMode, min_block_s: float) -> list[float]:
        config = SplitConfig(mode=mode, min_block_s=min_block_s)
        plan = make_plan([Heard(FIRST, tuple(events))], digests, config)
        blocks = [planned.block for planned in plan.blocks[FIRST.uid]]
        assert [block.stop for block in blocks[:-1]] == [block.start for block in blocks[1:]]
        return [block.start for block in blocks] + [blocks[-1].stop]

    end = max(event.stop for event in events)
    assert borders("clean", 6.0) == [0.0, *starts[2::2], end]
    assert borders("paper", 6.0) == [0.0, *starts[2::2], math.inf]
    assert borders("clean", 5.0) == [0.0, *starts[2::2], end]
    assert borders("paper", 5.0) == [0.0, *starts[1::2], math.inf], "the first sentence ends 5.15 s after the start"
    assert borders("paper", 9.3) == [0.0, starts[2], starts[5], math.inf], "two sentences last 9.3 s, which is not enough"


def test_published_windows(bids: Path) -> None:
    """The EEG outlasts the sound: windows at the last words, and of the grid after them, count in the published splits."""
    events = Broderick2019().events(bids, FIRST)
    said_until = max(event.stop for event in events if isinstance(event, Word))
    samples = round((SOUND_S + 60.0) * 120)

    def last_anchor(split: Split, mode: SplitMode) -> float:
        block = sentence_blocks(events, mode=mode)[-1]
        rows = make_segments(events, [PlannedBlock(block, split, "x", block.start)], SegmentConfig(), 120.0, samples)
        return float(rows["start_sample"][-1].as_py()) / 120 + 0.5

    assert last_anchor("test", "clean") <= SOUND_S - 2.5 < last_anchor("test", "paper") < said_until
    assert last_anchor("train", "clean") <= SOUND_S - 2.5
    assert SOUND_S + 57.0 < last_anchor("train", "paper") <= SOUND_S + 57.5


# sentences


def test_sentences_by_text_survive_words_that_differ() -> None:
    text = "He was an old man, alone. He fished in the Gulf Stream!\n\nEighty-four days now"
    words = "he was an old man lone he fished um in the gulf stream eighty days now".split()  # noqa: SIM905
    places = places_by_text(words, text)
    assert [place.sentence[:6] for place in places] == ["He was"] * 6 + ["He fis"] * 8 + ["Eighty"] * 2
    assert [place.word_index for place in places] == [*range(6), *range(8), *range(2)]
    one_line(lambda: places_by_text(words, "Call me Ishmael. Some years ago"), "0 of 16 words")
    one_line(lambda: places_by_text(words, ""), "0 of 16")


def test_sentences_by_pauses() -> None:
    words = [Interval(0.0, 0.4, "one"), Interval(0.6, 1.0, "two"), Interval(1.5, 2.0, "three")]
    assert [(place.word_index, place.sentence) for place in places_by_pauses(words)] == [
        (0, "one two"),
        (1, "one two"),
        (0, "three"),
    ]
    assert places_by_pauses([]) == []


# faults


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        ("wav", ("no sound of run 1", "audio01.wav")),
        ("broken wav", ("audio01.wav", "cannot be read")),
        ("textgrid", ("no words of run 1", "audio01.TextGrid", "oldman_run1.json")),
        ("broken textgrid", ("audio01.TextGrid", "cannot be read")),
        ("tier", ("audio01.TextGrid", "no tier 'words'")),
        ("text", ("audio01.txt", "audio01.TextGrid", "of 56 words")),
        ("json", ("audio01.json", "cannot be read as JSON")),
        ("other json", ("audio01.json", "not an output of Gentle")),
        ("code", ("audio01.json", "not an output of Gentle")),
    ],
)
def test_each_fault_of_events_has_one_line(bids: Path, tmp_path: Path, damage: str, parts: tuple[str, ...]) -> None:
    stimuli = tmp_path / "stimuli"
    shutil.copytree(bids / "stimuli", stimuli)
    header = "sub-001/eeg/sub-001_task-listening_run-01_eeg.vhdr"
    (tmp_path / header).parent.mkdir(parents=True)
    (tmp_path / header).write_text((bids / header).read_text())
    wav, grid, gentles = stimuli / "audio01.wav", stimuli / "audio01.TextGrid", stimuli / "audio01.json"
    if damage == "wav":
        wav.unlink()
    elif damage == "broken wav":
        wav.write_bytes(b"RIFF")
    elif damage == "broken textgrid":
        grid.write_text(grid.read_text()[:500])
    elif damage == "tier":
        grid.write_text(grid.read_text().replace('"words"', '"tokens"'))
    elif damage == "text":
        (stimuli / "audio01.txt").write_text("Call me Ishmael.")
    else:
        grid.unlink()
        content = {
            "json": '{"words": [',
            "other json": '{"fragments": []}',
            "code": '{"words": ["__import__(\'os\').abort()"]}',
        }
        if damage in content:
            gentles.write_text(content[damage])
    one_line(lambda: Broderick2019().events(tmp_path, FIRST), *parts)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"start": "now"}, "word 0"),
        ({"start": 3.0, "end": 2.0}, "word 0"),
        ({"start": float("nan")}, "word 0"),
        ({"phones": [{"phone": "hh_B"}]}, "word 0"),
        ({"case": "not-found-in-audio"}, "none of 1 words"),
    ],
)
def test_gentle_that_cannot_be(tmp_path: Path, change: dict[str, Any], part: str) -> None:
    content = gentle(1)
    (tmp_path / "a.json").write_text(json.dumps({"words": [content["words"][0] | change]}))
    one_line(lambda: read_gentle(tmp_path / "a.json"), "a.json", part)


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        ("nothing", ("no EEG in", "ds004408", "dryad.070jc")),
        ("truncated", ("_eeg.eeg is truncated",)),
        ("no data", ("_eeg.eeg", "does not exist")),
        ("header", ("_eeg.vhdr", "cannot be read")),
        ("channels", ("A1 to D32", "A3, EXG1")),
        ("table", ("channels.tsv", "line 7")),
        ("mat", ("Subject1_Run1.mat", "cannot be read")),
        ("fields", ("Subject1_Run1.mat", "eegData", "(10, 12)")),
    ],
)
def test_each_fault_of_the_signal_has_one_line(
    bids: Path, matlab: Path, tmp_path: Path, damage: str, parts: tuple[str, ...]
) -> None:
    from scipy.io import savemat

    study = Broderick2019()
    if damage == "nothing":
        one_line(lambda: study.recordings(tmp_path), *parts)
        return
    if damage in ("mat", "fields"):
        mat = tmp_path / "Natural Speech" / "EEG" / "Subject1" / "Subject1_Run1.mat"
        mat.parent.mkdir(parents=True)
        if damage == "mat":
            mat.write_bytes((matlab / mat.relative_to(tmp_path)).read_bytes()[:5000])
        else:
            savemat(mat, {"eegData": np.zeros((10, 12)), "fs": 128.0})
        one_line(lambda: study.raw(tmp_path, FIRST), *parts)
        return
    shutil.copytree(bids / "sub-001", tmp_path / "sub-001")
    stem = tmp_path / "sub-001" / "eeg" / "sub-001_task-listening_run-01_eeg"
    header, data = stem.with_suffix(".vhdr"), stem.with_suffix(".eeg")
    if damage == "truncated":
        data.write_bytes(data.read_bytes()[:-100])
    elif damage == "no data":
        data.unlink()
    elif damage == "header":
        header.write_text("[Common Infos]\n")
    elif damage == "channels":
        header.write_text(header.read_text().replace("=A3,", "=EXG1,"))
    else:
        table = stem.with_name(stem.name.replace("_eeg", "_channels.tsv"))
        lines = table.read_text().splitlines()
        table.write_text("\n".join([*lines[:6], "A6\tEEG", *lines[7:]]))
    one_line(lambda: study.raw(tmp_path, FIRST), *parts)


def test_eeg_that_ends_before_its_sound_is_told(bids: Path, tmp_path: Path) -> None:
    shutil.copytree(bids, tmp_path / "short")
    write_wav(tmp_path / "short" / "stimuli" / "audio01.wav", SOUND_S + 10)
    assert any("less than its sound" in problem for problem in Broderick2019().problems(tmp_path / "short", FIRST))


# from disk to training


@pytest.mark.slow
@pytest.mark.parametrize("form", ["bids", "matlab"])
def test_each_form_is_prepared_and_trained(
    form: str, request: pytest.FixtureRequest, ray_cluster: None, tmp_path: Path
) -> None:
    root: Path = request.getfixturevalue(form)
    link_copy(root, Broderick2019(), tmp_path)
    prepared, tables, losses = two_steps(tmp_path, "broderick2019", **{"data.studies.broderick2019.max_recordings": 2})
    assert len(prepared.recordings) == 2
    assert not prepared.failed
    assert {len(table) > 0 for table in tables.rows.values()} == {True}
    assert np.isfinite(losses).all()
