"""A small BIDS dataset of two subjects, and ways to bend it; what a check says of it."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import mne
import numpy as np
import soundfile

from raybrain.prepare.survey import survey_recording
from raybrain.prepare.tasks import Source
from raybrain.recording import Recording
from raybrain.studies.bids import Bids

Bend = Callable[[Path], object]
BOTH = ["sub-01_task-story", "sub-02_task-story"]
SECOND = ["sub-02_task-story"]
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


def write_dataset(root: Path) -> Path:
    """Two subjects who hear the same."""
    (root / "stimuli").mkdir(parents=True)
    soundfile.write(root / "stimuli" / "a.wav", np.random.default_rng(0).normal(0, 0.1, 30 * 1000), 1000)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "talk"}))
    for subject in ("01", "02"):
        write_subject(root, subject)
    return root


def lines(root: Path) -> list[str]:
    """What a check says of a dataset: ``PATH REASON`` of what is left out, ``SUBJECT: PROBLEM`` of what is used."""
    study = Bids(path=str(root))
    said = [f"{out.path} {out.reason}" for out in study.left_out(root) if out.odd]
    for recording in study.recordings(root):
        said += [f"{recording.subject}: {line}" for line in checked(root, recording)]
    assert all("\n" not in line for line in said)
    return said


def checked(root: Path, recording: Recording) -> list[str]:
    """What a check says of one recording."""
    study = Bids(path=str(root))
    surveyed, _ = survey_recording(Source(study, root, recording), root)
    assert "Traceback" not in str(surveyed.problems)
    return surveyed.problems + surveyed.odd


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


def bend_events(root: Path, bend: Callable[[str], str]) -> None:
    """Change the events of the first subject."""
    file = header(root).with_name("sub-01_task-story_events.tsv")
    file.write_text(bend(file.read_text(encoding="utf-8")), encoding="utf-8")


def bend_column(column: int, bend: Callable[[float], float]) -> Callable[[str], str]:
    """Change the numbers of a column."""

    def changed(line: str) -> str:
        values = line.split("\t")
        values[column] = f"{bend(float(values[column])):.10g}"
        return "\t".join(values)

    return lambda text: "\n".join([text.split("\n")[0], *map(changed, text.strip().split("\n")[1:])])


def bend_places(root: Path, place: Callable[[str], str]) -> None:
    """Give the electrodes of the first subject other places."""
    rows = ["name\tx\ty\tz", *(f"{name}\t{place(name)}" for name in NAMES)]
    header(root).with_name("sub-01_space-CapTrak_electrodes.tsv").write_text("\n".join(rows))


def write_epochs(file: Path) -> None:
    """Epochs in place of a recording."""
    raw = mne.io.read_raw_fif(write_fif(file.parent, "raw.fif"), verbose="error")
    mne.make_fixed_length_epochs(raw, 1.0, preload=True, verbose="error").save(file, verbose="error")
    (file.parent / "raw.fif").unlink()


def expect(root: Path, bend: Bend, kept: list[str], line: str) -> None:
    """Bend a dataset: some recordings are used, one line matches (none is said where it is empty), and none of the second."""
    bend(root)
    assert used(root) == kept
    said = lines(root)
    assert not [other for other in said if other.startswith("02:")]
    if line:
        assert [other for other in said if re.search(line, other)], said
    else:
        assert said == []
