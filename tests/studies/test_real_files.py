"""What real BIDS folders are like: one row per case. Nothing vanishes, the others go on, and the right file is named."""

# ruff: noqa: E501  (a row per case)

import json
import re
import shutil
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import mne
import numpy as np
import pytest
import soundfile

from raybrain.events import Word
from raybrain.prepare.survey import survey_recording
from raybrain.prepare.tasks import Source
from raybrain.studies.bids import Bids
from raybrain.studies.dataset import title

NAMES = ("Fp1", "Fp2", "C3", "C4", "Cz", "Pz", "O1", "O2")
RATE = 100
SECONDS = 40
WORDS = ("the", "old", "man", "sat", "by", "the", "sea", "and", "sang", "songs")


def write_brainvision(stem: Path, names: tuple[str, ...] = NAMES, seconds: float = SECONDS) -> None:
    """Noise as BrainVision files."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(1).normal(0, 10, (int(seconds * RATE), len(names))).astype("<f4")
    stem.with_name(f"{stem.name}.eeg").write_bytes(noise.tobytes())
    channels = "\n".join(f"Ch{number}={name},,1,µV" for number, name in enumerate(names, start=1))
    stem.with_name(f"{stem.name}.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={stem.name}.eeg\nMarkerFile={stem.name}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(names)}\nSamplingInterval={1e6 / RATE:g}\n"
        f"[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )
    stem.with_name(f"{stem.name}.vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={stem.name}.eeg\n[Marker Infos]\nMk1=New Segment,,1,1,0,20200101000000000000\n"
    )


def write_subject(root: Path, subject: str, task: str = "story") -> Path:
    """A recording of a subject who hears ten words in a sound of thirty seconds; its folder."""
    folder = root / f"sub-{subject}" / "eeg"
    write_brainvision(folder / f"sub-{subject}_task-{task}_eeg")
    rows = ["onset\tduration\ttrial_type\tstim_file\tword\tword_index", "2\t30\tsound\ta.wav\tn/a\tn/a"]
    rows += [f"{3 + 2.5 * index}\t0.3\tword\tn/a\t{word}\t{index}" for index, word in enumerate(WORDS)]
    (folder / f"sub-{subject}_task-{task}_events.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    rows = ["name\ttype\tunits\tstatus", *(f"{name}\tEEG\tµV\tgood" for name in NAMES)]
    (folder / f"sub-{subject}_task-{task}_channels.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    places = mne.channels.make_standard_montage("colin27_1005").get_positions()["ch_pos"]
    rows = ["name\tx\ty\tz", *("\t".join([name, *map(str, places[name])]) for name in NAMES)]
    (folder / f"sub-{subject}_space-CapTrak_electrodes.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    system = {"EEGCoordinateSystem": "CapTrak", "EEGCoordinateUnits": "m"}
    (folder / f"sub-{subject}_space-CapTrak_coordsystem.json").write_text(json.dumps(system))
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("good") / "talk"
    (root / "stimuli").mkdir(parents=True)
    soundfile.write(root / "stimuli" / "a.wav", np.random.default_rng(0).normal(0, 0.1, 30 * 1000), 1000)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "talk"}))
    for subject in ("01", "02"):
        write_subject(root, subject)
    return root


@pytest.fixture
def root(good: Path, tmp_path: Path) -> Path:
    """Two subjects, of which a case may bend the first."""
    return Path(shutil.copytree(good, tmp_path / "talk"))


def lines(root: Path) -> list[str]:
    """What a check says of a dataset: ``PATH REASON`` of what is left out, ``SUBJECT: PROBLEM`` of what is used."""
    study = Bids(path=str(root))
    said = [f"{out.path} {out.reason}" for out in study.left_out(root) if out.odd]
    for recording in study.recordings(root):
        surveyed, _ = survey_recording(Source(study, root, recording), root)
        assert "Traceback" not in str(surveyed.problems)
        said += [f"{recording.subject}: {problem}" for problem in surveyed.problems + surveyed.odd]
    assert all("\n" not in line for line in said)
    return said


def used(root: Path) -> list[str]:
    study = Bids(path=str(root))
    return [recording.uid.removeprefix("bids-talk_") for recording in study.recordings(root)]


def rename(root: Path, old: str, new: str, subject: str = "01") -> None:
    """Rename the files of a subject, whatever their suffix; a header names its data file."""
    for file in sorted((root / f"sub-{subject}").rglob(f"*{old}*")):
        if file.suffix in (".vhdr", ".vmrk"):
            file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        file.rename(file.with_name(file.name.replace(old, new)))


def replace(root: Path, ending: str, old: str, new: str) -> None:
    """Replace text in a file of the first subject."""
    file = next((root / "sub-01").rglob(f"*{ending}"))
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def header(root: Path) -> Path:
    return root / "sub-01" / "eeg" / "sub-01_task-story_eeg.vhdr"


def dangling(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("../../.git/annex/objects/Xy/SHA256E-s1--00.eeg")


def write_fif(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    info = mne.create_info([f"MEG{number}" for number in range(4)], RATE, "mag", verbose="error")
    raw = mne.io.RawArray(np.random.default_rng(0).normal(0, 1e-12, (4, SECONDS * RATE)), info, verbose="error")
    raw.save(folder / name, verbose="error", overwrite=True)
    return folder / name


def split_meg(root: Path, missing: str) -> None:
    for part in ("01", "02", "03"):
        file = write_fif(root / "sub-03" / "meg", f"sub-03_task-story_split-{part}_meg.fif")
        if part == missing:
            file.unlink()


def to_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


INTERVALS = [(0, 1, ""), (1, 2, "old"), (2, 3, "man"), (3, 33, ""), (33, 34, "late"), (34, 35, "")]
GRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 35\ntiers? <exists>\nsize = 1\nitem []:\n'
    '    item [1]:\n        class = "IntervalTier"\n        name = "words"\n        xmin = 0\n        xmax = 35\n'
    f"        intervals: size = {len(INTERVALS)}\n"
) + "".join(
    f'        intervals [{number}]:\n            xmin = {start}\n            xmax = {stop}\n            text = "{text}"\n'
    for number, (start, stop, text) in enumerate(INTERVALS, start=1)
)


def textgrid(root: Path, content: bytes) -> None:
    """Have the first subject's words in a TextGrid."""
    shutil.copy(root / "stimuli" / "a.wav", root / "stimuli" / "b.wav")
    (root / "stimuli" / "b.TextGrid").write_bytes(content)
    rows = "onset\tduration\ttrial_type\tstim_file\n2\t30\tsound\tb.wav\n"
    (root / "sub-01" / "eeg" / "sub-01_task-story_events.tsv").write_text(rows)


Bend = Callable[[Path], object]
BOTH = ["sub-01_task-story", "sub-02_task-story"]
SECOND = ["sub-02_task-story"]

# case, what is bent, which recordings are used, a line that is said (none: nothing is)
CASES: list[tuple[str, Bend, list[str], str]] = [
    ("as it should be", lambda root: None, BOTH, ""),
    # 1. nothing vanishes
    ("annex link", lambda root: dangling(header(root)), SECOND, r"sub-01/eeg/sub-01_task-story_eeg.vhdr is a link .*datalad get sub-01/eeg/sub-01_task-story_eeg.vhdr"),
    ("annex link of the data", lambda root: dangling(header(root).with_suffix(".eeg")), BOTH, r"01: .*_eeg.eeg is a link to content that is not here; type datalad get"),
    ("unlocked annex pointer", lambda root: to_bytes(header(root), b"/annex/objects/SHA256E-s1--00.vhdr\n"), SECOND, r"_eeg.vhdr stands for content that is not here; type datalad get"),
    ("git-lfs pointer", lambda root: to_bytes(header(root).with_suffix(".eeg"), b"version https://git-lfs.github.com/spec/v1\noid"), BOTH, r"_eeg.eeg stands for content .* type git lfs pull"),
    ("empty file", lambda root: to_bytes(header(root), b""), SECOND, r"_eeg.vhdr is empty; get the file again"),
    ("annex link in a folder", lambda root: ((root / "sub-03/meg/sub-03_task-x_meg.ds").mkdir(parents=True), dangling(root / "sub-03/meg/sub-03_task-x_meg.ds/x.meg4")), BOTH, r"sub-03/meg/sub-03_task-x_meg.ds holds x.meg4, which is a link"),
    ("first part missing", lambda root: split_meg(root, "01"), BOTH, r"split-02_meg.fif is a later part .* first part sub-03_task-story_split-01_meg.fif is missing"),
    ("middle part missing", lambda root: split_meg(root, "02"), BOTH, r"sub-03_task-story_split-03_meg.fif is part of a recording without its split-2"),
    ("entities in another order", lambda root: rename(root, "task-story", "run-1_task-story"), ["sub-01_task-story_run-1", *SECOND], ""),
    ("unknown entity", lambda root: rename(root, "task-story", "cond-a_task-story"), BOTH, ""),
    ("hyphen in a label", lambda root: rename(root, "task-story", "task-long-story"), ["sub-01_task-long-story", *SECOND], ""),
    ("underscore in a label", lambda root: rename(root, "sub-01_task", "sub-S_01_task"), SECOND, r"sub-S_01_task-story_eeg.vhdr has '01' in its name, which is not KEY-LABEL"),
    ("capital Sub-", lambda root: ((root / "sub-01").rename(root / "Sub-01"), header(root).parent), SECOND, r"Sub-01/eeg/sub-01_task-story_eeg.vhdr is called sub-01 but lies in Sub-01/eeg"),
    ("capital Sub- in names", lambda root: rename(root, "sub-01", "Sub-01"), SECOND, r"Sub-01_task-story_eeg.vhdr is called Sub-...; rename it"),
    ("sub twice", lambda root: rename(root, "task-story", "sub-01_task-story"), SECOND, r"has sub- twice in its name"),
    *(
        (f"format {ending}", lambda root, ending=ending: to_bytes(root / f"sub-03/eeg/sub-03_task-story_eeg{ending}", b"x" * 2000), BOTH, rf"sub-03_task-story_eeg\{ending} is in the format \{ending}, which is not read; convert it")
        for ending in (".gdf", ".cnt", ".mff", ".xdf", ".cdt")
    ),
    ("packed", lambda root: to_bytes(root / "sub-03/meg/sub-03_task-story_meg.fif.gz", b"x" * 2000), BOTH, r"sub-03_task-story_meg.fif.gz is packed.* gunzip sub-03_task-story_meg.fif.gz"),
    ("packed header", lambda root: header(root).rename(f"{header(root)}.gz"), SECOND, r"_eeg.vhdr.gz is packed"),
    ("upper case", lambda root: to_bytes(root / "sub-03/eeg/sub-03_task-story_eeg.BDF", b"x" * 2000), [*BOTH, "sub-03_task-story"], r"03: .*_eeg.BDF cannot be read"),
    ("not in eeg", lambda root: [file.rename(root / "sub-01" / file.name) for file in (root / "sub-01" / "eeg").iterdir()], SECOND, r"sub-01/sub-01_task-story_eeg.vhdr lies in sub-01, not in a folder eeg or meg; move it to sub-01/eeg"),
    ("in the top folder", lambda root: [file.rename(root / file.name) for file in (root / "sub-01" / "eeg").iterdir()], SECOND, r"^sub-01_task-story_eeg.vhdr is called sub-01 but lies in the top folder"),
    ("folder of another name", lambda root: (root / "sub-01").rename(root / "S01"), SECOND, r"S01/eeg/sub-01_task-story_eeg.vhdr is called sub-01 but lies in S01/eeg"),
    ("no suffix", lambda root: rename(root, "story_eeg", "story"), SECOND, r"sub-01_task-story.vhdr has a name that ends in _task-story"),
    ("events without data", lambda root: [file.unlink() for file in (root / "sub-01/eeg").glob("*_eeg.*")], SECOND, r"sub-01_task-story_events.tsv lists events, but there is no signal file"),
    ("data without header", lambda root: header(root).unlink(), SECOND, r"sub-01_task-story_eeg.eeg holds the data of a recording without its header sub-01_task-story_eeg.vhdr"),
    ("empty subject", lambda root: (root / "sub-03").mkdir(), BOTH, r"sub-03 holds no EEG or MEG recording \(no files\)"),
    # 2. the others go on
    ("no sub- in a name", lambda root: rename(root, "sub-01_task-story_eeg", "task-story_eeg"), SECOND, r"task-story_eeg.vhdr has no sub-LABEL in its name"),
    ("called for another subject", lambda root: (root / "sub-01").rename(root / "sub-03"), SECOND, r"sub-03/eeg/sub-01_task-story_eeg.vhdr is called sub-01 but lies in sub-03/eeg"),
    ("session in the name only", lambda root: rename(root, "_task-story", "_ses-a_task-story"), ["sub-01_ses-a_task-story", *SECOND], ""),
    ("session in the folder only", lambda root: ((root / "sub-01/ses-a").mkdir(), (root / "sub-01/eeg").rename(root / "sub-01/ses-a/eeg")), SECOND, r"lies in sub-01/ses-a/eeg, but its name says no session"),
    ("plus in a label", lambda root: rename(root, "task-story", "task-story+"), ["sub-01_task-story+", *SECOND], ""),
    ("the same recording twice", lambda root: write_brainvision(root / "sub-01/eeg/sub-01_task-story_acq-b_eeg"), SECOND, r"sub-01_task-story_eeg.vhdr has the same subject, session, task and run as sub-01_task-story_acq-b_eeg.vhdr"),
    ("onsets in samples", lambda root: replace(root, "events.tsv", "\n25.5\t", "\n25500\t"), BOTH, r"01: .*_eeg.eeg lasts 40.0 s, but .*sub-01_task-story_events.tsv goes on to 25500.0 s"),
    # 3. the model sees where sensors lie
    ("no places", lambda root: [file.unlink() for file in (root / "sub-01/eeg").glob("*space*")], BOTH, r"01: there is no electrodes.tsv of .*: 8 of 8 electrodes are placed by their names in the 10-05 system"),
    ("no coordsystem", lambda root: next((root / "sub-01/eeg").glob("*coordsystem.json")).unlink(), BOTH, r"01: sub-01_space-CapTrak_electrodes.tsv has no coordsystem.json: 8 of 8 electrodes are placed by their names"),
    ("all places n/a", lambda root: next((root / "sub-01/eeg").glob("*electrodes.tsv")).write_text("name\tx\ty\tz\nCz\tn/a\tn/a\tn/a\n"), BOTH, r"electrodes.tsv gives no places: 8 of 8 electrodes are placed by their names"),
    ("two spaces", lambda root: [shutil.copy(file, file.with_name(file.name.replace("CapTrak", "MNI305"))) for file in (root / "sub-01/eeg").glob("*space*")], BOTH, r"01: electrodes are placed by sub-01_space-CapTrak_electrodes.tsv, not sub-01_space-MNI305_electrodes.tsv"),
    ("unknown frame", lambda root: replace(root, "coordsystem.json", "CapTrak", "Moon"), BOTH, r"names the coordinate system 'Moon', which is not known: 8 of 8 electrodes are placed by their names"),
    ("names nobody knows", lambda root: (next((root / "sub-01/eeg").glob("*electrodes.tsv")).unlink(), [replace(root, end, name, f"E{number}") for number, name in enumerate(NAMES) for end in ("channels.tsv", ".vhdr")]), BOTH, r"01: 0 of 8 sensors can be used: the places of 8 are not known; add electrodes.tsv"),
    ("all bad", lambda root: replace(root, "channels.tsv", "good", "bad"), BOTH, r"01: 0 of 8 sensors can be used: 8 are marked bad"),
    # 9. the right file is blamed
    ("button row", lambda root: replace(root, "events.tsv", "\n2\t30", "\n1\t-1\tbutton\tn/a\tn/a\tn/a\n2\t30"), BOTH, ""),
    ("participants.tsv", lambda root: to_bytes(root / "participants.tsv", b"\xff\xfe\x00"), BOTH, ""),
    ("scans.tsv", lambda root: to_bytes(root / "sub-01" / "sub-01_scans.tsv", b"filename\tacq_time\nx\tyesterday\n"), BOTH, ""),
    ("eeg.json", lambda root: to_bytes(root / "sub-01/eeg/sub-01_task-story_eeg.json", b"{"), BOTH, ""),
    ("quoted header", lambda root: replace(root, "channels.tsv", "name\ttype", '"name" \t"type"'), BOTH, ""),
    ("channels.tsv without name", lambda root: replace(root, "channels.tsv", "name\t", "label\t"), BOTH, r"01: \S*sub-01_task-story_channels.tsv has no column 'name'"),
    ("channels.tsv cut off", lambda root: replace(root, "channels.tsv", "C3\tEEG\tµV\tgood", "C3\tEEG"), BOTH, r"01: \S*sub-01_task-story_channels.tsv, line 4: 2 values for 4 columns"),
    ("channel twice", lambda root: replace(root, "channels.tsv", "C3\t", "C4\t"), BOTH, r"01: \S*channels.tsv lists channel 'C4' twice"),
    ("channels of another file", lambda root: [replace(root, "channels.tsv", f"{name}\t", f"X{name}\t") for name in NAMES], BOTH, r"01: \S*channels.tsv lists XFp1, XFp2, XC3, ..., but the signal has Fp1, Fp2, C3"),
    ("a channel that is not there", lambda root: replace(root, "channels.tsv", "C3\t", "C5\t"), BOTH, r"01: sub-01_task-story_channels.tsv lists 1 channels that the signal does not have \(C5\)"),
    ("electrodes.tsv", lambda root: replace(root, "electrodes.tsv", "Cz\t", "Cz\tabove "), BOTH, r"01: \S*electrodes.tsv, line 6: x is 'above .*', not a number"),
    ("coordsystem.json", lambda root: replace(root, "coordsystem.json", "{", "["), BOTH, r"01: \S*sub-01_space-CapTrak_coordsystem.json cannot be read"),
    # 10. words and names
    ("the word nan", lambda root: replace(root, "events.tsv", "\tsea\t", "\tnan\t"), BOTH, ""),
    ("a word that is n/a", lambda root: replace(root, "events.tsv", "\tsea\t", "\tn/a\t"), BOTH, r"01: 1 rows of sub-01_task-story_events.tsv are words that are n/a and are left out \(line 9\)"),
    ("a line separator in a word", lambda root: replace(root, "events.tsv", "\tsea\t", "\tse\u2028a\t"), BOTH, ""),
    ("another separator", lambda root: replace(root, "events.tsv", "\tsea\t", "\tse\x1da\t"), BOTH, ""),
    ("a row twice", lambda root: replace(root, "events.tsv", "\n25.5\t0.3\tword\tn/a\tsongs\t9", "\n25.5\t0.3\tword\tn/a\tsongs\t9" * 2), BOTH, r"01: 1 rows of sub-01_task-story_events.tsv are there twice \(line 13\)"),
    ("two onsets", lambda root: replace(root, "events.tsv", "onset\tduration", "onset\tonset"), BOTH, r"01: \S*events.tsv, line 2: two columns are called 'onset' and differ"),
    ("UTF-16 without mark", lambda root: (file := header(root).with_name("sub-01_task-story_events.tsv")).write_bytes(file.read_text().encode("utf-16-le")), BOTH, r"01: \S*events.tsv is not UTF-8 text; save it as UTF-8"),
    ("a sound in another case", lambda root: replace(root, "events.tsv", "a.wav", "A.WAV"), BOTH, r"01: \S*events.tsv, line 2: no sound file 'A.WAV' .*'a.wav' is there"),
    ("backslashes", lambda root: ((root / "stimuli/x").mkdir(), shutil.copy(root / "stimuli/a.wav", root / "stimuli/x"), replace(root, "events.tsv", "a.wav", "x\\a.wav")), BOTH, r"01: .*'x/a.wav' is there"),
    ("another form of accents", lambda root: (shutil.copy(root / "stimuli/a.wav", root / "stimuli" / unicodedata.normalize("NFD", "é.wav")), replace(root, "events.tsv", "a.wav", "é.wav")), BOTH, r"01: .* names must be the same in case, accents"),
    ("a sound that was not fetched", lambda root: (dangling(root / "stimuli/b.wav"), replace(root, "events.tsv", "a.wav", "b.wav")), BOTH, r"01: .*the sound file \S*b.wav is a link .* datalad get stimuli/b.wav"),
    ("an empty TextGrid", lambda root: textgrid(root, b""), BOTH, r"01: the TextGrid \S*b.TextGrid is empty"),
    ("a binary TextGrid", lambda root: textgrid(root, b"ooBinaryFile\x08TextGrid\0\0"), BOTH, r"01: the TextGrid \S*b.TextGrid is a binary one; save it as a text file"),
    ("a TextGrid in UTF-16 without mark", lambda root: textgrid(root, GRID.encode("utf-16-le")), BOTH, r"01: the TextGrid \S*b.TextGrid is UTF-16 without a byte order mark"),
    ("a TextGrid longer than its sound", lambda root: textgrid(root, GRID.encode()), BOTH, r"01: 1 words of b.TextGrid begin after the 30.0 s of its sound and are left out"),
]  # fmt: skip


@pytest.mark.parametrize(("bend", "kept", "line"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_real_files(root: Path, bend: Bend, kept: list[str], line: str) -> None:
    bend(root)
    assert used(root) == kept
    said = lines(root)
    assert not [other for other in said if other.startswith("02:")]
    if line:
        assert [other for other in said if re.search(line, other)], said
    else:
        assert said == []


def test_words_are_kept_as_they_are(root: Path) -> None:
    replace(root, "events.tsv", "\tsea\t", "\tnan\t")
    replace(root, "events.tsv", "\tman\t", "\tma\u2028n\t")
    replace(root, "events.tsv", "\told\t", "\tNone\t")
    study = Bids(path=str(root))
    events = study.events(root, study.recordings(root)[0])
    words = [event.word for event in events if isinstance(event, Word)]
    assert words == ["the", "None", "ma\u2028n", "sat", "by", "the", "nan", "and", "sang", "songs"]


def test_folders_whose_names_are_no_latin(root: Path) -> None:
    (root / "dataset_description.json").write_text("{}")
    names = [title(root.rename(root.with_name(name))) for name in ("馬", "牛")[:1]]
    names += [title(Path(name)) for name in ("牛", "ウマ", "a, [b]")]
    assert len(set(names)) == 4
    assert all(re.fullmatch("[a-z0-9-]+", name) for name in names)


@pytest.mark.parametrize("name", ["a,b", "a[1]", "a b", "馬", "a'b", "{x}", "a*"])
def test_paths(root: Path, name: str) -> None:
    moved = root.rename(root.with_name(name))
    assert used(moved) == BOTH
    assert lines(moved) == []
    assert all(path.exists() for path in Bids(path=str(moved)).sources(moved, Bids(path=str(moved)).recordings(moved)[0]))


def test_a_thousand_recordings_are_found_quickly(tmp_path: Path) -> None:
    """Each by the folder of its subject alone, not by another look at all folders."""
    for number in range(1000):
        stem = tmp_path / f"sub-{number:04d}" / "eeg" / f"sub-{number:04d}_task-story"
        stem.parent.mkdir(parents=True)
        for ending in ("eeg.edf", "events.tsv"):
            Path(f"{stem}_{ending}").write_text("x")
    study = Bids(path=str(tmp_path))
    started = time.process_time()
    recordings = study.recordings(tmp_path)
    assert len(recordings) == 1000
    assert {len(study.sources(tmp_path, recording)) for recording in recordings} == {2}
    assert time.process_time() - started < 15
