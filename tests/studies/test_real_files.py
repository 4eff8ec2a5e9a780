"""What real BIDS folders are like: one row per case. Nothing vanishes, the others go on, and the right file is named."""

# ruff: noqa: E501  (a row per case)

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import mne
import numpy as np
import pytest
import soundfile

from raybrain.prepare.survey import survey_recording
from raybrain.prepare.tasks import Source
from raybrain.studies.bids import Bids

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
        said += [f"{recording.subject}: {problem}" for problem in surveyed.problems]
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
