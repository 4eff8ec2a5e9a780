"""What signals, sounds, times and numbers of real BIDS folders are like: one row per case. Nothing is silently wrong."""

# ruff: noqa: E501  (a row per case)

import json
from collections.abc import Callable
from pathlib import Path

import mne
import numpy as np
import pytest
import soundfile

from raybrain.studies.bids import Bids
from tests.studies.bent import BOTH, NAMES, RATE, Bend, bend_column, bend_events, expect, header, replace, to_bytes
from tests.studies.test_edf_gaps import write_edf

NOISE = np.random.default_rng(0).normal(0, 0.1, 30_000)
CLICKS = (np.arange(30_000) % 1000 < 5) * 0.9
VALUES = np.random.default_rng(1).normal(0, 10, (40 * RATE, len(NAMES)))  # in microvolts


def sound(root: Path, values: np.ndarray, hz: int = 1000, subtype: str = "FLOAT") -> Path:
    """Have the first subject hear something else."""
    path = root / "stimuli" / "b.wav"
    soundfile.write(path, values, hz, subtype)
    replace(root, "events.tsv", "a.wav", "b.wav")
    return path


def stereo(*channels: np.ndarray) -> np.ndarray:
    return np.stack(channels, axis=1)


def mp3(root: Path) -> None:
    """Quiet first and loud later, with the frame that says how long it is taken out."""
    path = root / "stimuli" / "b.mp3"
    values = np.random.default_rng(0).normal(0, 1, 30 * 16_000) * np.repeat([1e-4, 0.3], [8 * 16_000, 22 * 16_000])
    soundfile.write(path, values, 16_000)
    content = path.read_bytes()
    start = content.index(b"\xff", content.index(b"Xing" if b"Xing" in content else b"Info") + 4)
    path.write_bytes(content[start:])
    replace(root, "events.tsv", "a.wav", "b.mp3")


def signal(root: Path, values: np.ndarray) -> None:
    to_bytes(header(root).with_suffix(".eeg"), values.astype("<f4").tobytes())


def nan(root: Path) -> None:
    signal(root, np.where(np.arange(len(NAMES)) == 2, np.nan, VALUES))


def sidecar(root: Path, **values: object) -> None:
    header(root).with_suffix(".json").write_text(json.dumps(values))


def marker(root: Path, line: str) -> None:
    with header(root).with_suffix(".vmrk").open("a") as file:
        file.write(line)


def row(root: Path, line: str) -> None:
    bend_events(root, lambda text: text + line + "\tn/a\tn/a\tn/a\n")


def fif(root: Path, text: str) -> None:
    """The first subject's signal as a FIF file with an annotation."""
    raw = mne.io.read_raw_brainvision(header(root), preload=True, verbose="error")
    raw.set_annotations(mne.Annotations([5.0], [3.0], [text]))
    for file in header(root).parent.glob("*_eeg.*"):
        file.unlink()
    raw.save(header(root).with_suffix(".fif"), verbose="error")


def edf(root: Path, starts: list[float]) -> None:
    """The first subject's signal as one channel of an EDF+D file."""
    for file in header(root).parent.iterdir():
        if not file.name.endswith("_events.tsv"):
            file.unlink()
    write_edf(header(root).with_suffix(".edf"), starts)


# case, what is bent, a line that is said (none: nothing is); all recordings are used
CASES: list[tuple[str, Bend, str]] = [
    # 4. the file's own time
    ("bad in a FIF file", lambda root: fif(root, "BAD_noise"), r"01: 3.0 s are marked as BAD_noise: windows there are left out"),
    ("a skip in a FIF file", lambda root: fif(root, "BAD_ACQ_SKIP"), r"01: 3.0 s are marked as BAD_ACQ_SKIP: windows there are left out"),
    ("a seam in a FIF file", lambda root: fif(root, "EDGE boundary"), r"01: 1 boundaries lie between pieces: windows there are left out"),
    ("something else in a FIF file", lambda root: fif(root, "blink"), ""),
    ("a pause of BrainVision", lambda root: marker(root, "Mk2=New Segment,,1501,1,0,20200101000100000000\n"), r"01: 1 boundaries lie between pieces"),
    ("a bad interval of BrainVision", lambda root: marker(root, "Mk2=Bad Interval,Bad Min-Max,1501,200,0\n"), r"01: 2.0 s are marked as Bad Interval/Bad Min-Max"),
    ("a bad row", lambda root: row(root, "12\t3\tBAD_noise"), r"01: 3.0 s are marked as BAD_noise: windows there are left out"),
    ("a boundary row", lambda root: row(root, "12\tn/a\tboundary"), r"01: 1 boundaries lie between pieces"),
    ("a bad row after the end", lambda root: row(root, "39\t30\tBAD_noise"), r"01: 1.0 s are marked as BAD_noise"),
    ("rows of bad answers", lambda root: row(root, "12\t3\tbad_answer"), ""),
    ("gaps in an EDF file", lambda root: edf(root, [*range(20), *range(28, 38)]), r"01: 8.0 s are marked as BAD_ACQ_SKIP: windows there are left out"),
    ("an EDF file without gaps", lambda root: edf(root, list(range(35))), r"01: there is no electrodes.tsv of \S+: 1 of 1 electrodes are placed"),
    # 5. sounds
    ("clicks in the second channel", lambda root: sound(root, stereo(NOISE, CLICKS)), r"01: the channels of 1 of 1 sounds are not alike, .*b.wav, correlation -?0.0., loudness 0.100, 0.06.\); .* sounds.channel=NUMBER"),
    ("clicks in the first channel", lambda root: sound(root, stereo(CLICKS, NOISE)), r"01: the channels of 1 of 1 sounds are not alike"),
    ("speech in the second channel", lambda root: sound(root, stereo(0 * NOISE, NOISE)), ""),
    ("one channel against the other", lambda root: sound(root, stereo(NOISE, -NOISE)), r"01: the 2 channels of \S*b.wav cancel each other: .* type sounds.channel=1"),
    ("silence", lambda root: sound(root, 0 * NOISE), r"01: \S*b.wav is silent; get the sounds again"),
    ("a constant", lambda root: sound(root, 0 * NOISE + 0.5), r"01: \S*b.wav is silent; get the sounds again"),
    ("silence from the middle on", lambda root: sound(root, NOISE * (np.arange(30_000) < 15_000)), r"01: 1 of 1 sounds fall silent \(the first: \S*b.wav for 15 s from second 15\)"),
    ("a sound shorter than its row", lambda root: sound(root, NOISE[:27_000]), r"01: 1 of 1 sounds are shorter than their rows say \(the first, b.wav, lasts 27.0 s, not 30.0 s\)"),
    ("words after a sound", lambda root: sound(root, NOISE[:10_000]), r"01: .*events.tsv, line 2: \S*b.wav ends 20.0 s before its row says, and 6 words are heard after its end"),
    ("words after a sound without a duration", lambda root: (sound(root, NOISE[:10_000]), replace(root, "events.tsv", "\t30\t", "\tn/a\t")), r"01: 6 of 10 words lie in no sound"),
    ("a sound cut off", lambda root: (path := sound(root, NOISE, subtype="PCM_16")).write_bytes(path.read_bytes()[:20_000]), r"01: .*b.wav is cut off: 20000 of the 60044 bytes that its header promises, 10.0 s"),
    ("an empty sound", lambda root: sound(root, NOISE).write_bytes(b""), r"01: .*events.tsv, line 2: the sound file \S*b.wav is empty; get the file again"),
    ("no samples", lambda root: sound(root, NOISE[:0]), r"01: .*the sound file \S*b.wav holds no sound"),
    ("a page in place of a sound", lambda root: sound(root, NOISE).write_bytes(b"<html>" * 400), r"01: .*the sound file \S*b.wav cannot be read: Format not recognised; get the file again"),
    ("a sound that was not fetched", lambda root: sound(root, NOISE).write_bytes(b"/annex/objects/SHA256E-s1--00.wav\n"), r"01: .*the sound file \S*b.wav stands for content that is not here; type datalad get b.wav"),
    ("no number in a sound", lambda root: sound(root, np.where(np.arange(30_000) == 500, np.nan, NOISE)), r"01: \S*b.wav holds a value that is not a number at 0.500 s"),
    ("an MP3 that does not say how long it is", mp3, r"01: .*the sound file \S*b.mp3 does not say how long it is, and \d+ bytes of it are left .* convert it, as with `ffmpeg"),
    # 6. numbers
    ("durations in milliseconds", lambda root: bend_events(root, bend_column(1, lambda value: 1000 * value)), r"01: half of 10 words last 300 s or more: durations are seconds; are these milliseconds\?"),
    ("durations of sounds in milliseconds", lambda root: replace(root, "events.tsv", "\t30\t", "\t30000\t"), r"01: 1 of 1 sounds are shorter than their rows say \(the first, a.wav, lasts 30.0 s, not 30000.0 s: are these milliseconds\?\)"),
    ("onsets in milliseconds", lambda root: bend_events(root, bend_column(0, lambda value: 1000 * value)), r"01: \S*_eeg.eeg lasts 40.0 s, but \S*events.tsv goes on to 25500.0 s: onsets seem to be milliseconds; write seconds, up to 25.5 here"),
    ("onsets in samples", lambda root: bend_events(root, bend_column(0, lambda value: RATE * value)), r"01: .*goes on to 2550.0 s: onsets seem to be samples of 100 Hz; write seconds, up to 25.5 here"),
    ("onsets in minutes", lambda root: bend_events(root, bend_column(0, lambda value: value / 60)), r"01: half of 10 words follow each other within 0.04167 s: are onsets in another unit\?"),
    ("onsets by the clock", lambda root: bend_events(root, bend_column(0, lambda value: 1_577_836_800 + value)), r"01: .*goes on to 15778368\d\d.\d s: .* onsets do not count from its first sample"),
    ("another rate in the sidecar", lambda root: sidecar(root, SamplingFrequency=500), r"01: its sidecar says 500 Hz \(SamplingFrequency\), but sub-01_task-story_eeg.vhdr has 100 Hz, which is used: was it resampled by 5 "),
    ("about the rate in the sidecar", lambda root: sidecar(root, SamplingFrequency=100.04), ""),
    ("no number in the sidecar", lambda root: sidecar(root, SamplingFrequency="n/a", RecordingDuration="n/a"), ""),
    ("a longer recording in the sidecar", lambda root: sidecar(root, RecordingDuration=80.0), r"01: \S*_eeg.eeg is truncated: 40.0 s of 80.0 s \(RecordingDuration\)"),
    ("all flat", lambda root: signal(root, 0 * VALUES), r"01: the signal is flat: none of 8 channels ever changes"),
    ("half of the channels flat", lambda root: signal(root, VALUES * (np.arange(len(NAMES)) < 4)), r"01: 4 of 8 channels are flat \(Cz, Pz, O1, O2, ...\): were they connected\?"),
    ("flat most of the time", lambda root: signal(root, VALUES * (np.arange(len(VALUES)) < 1000)[:, None]), r"01: the signal is flat in 15 of 20 seconds looked at: was it recorded to the end\?"),
    ("microvolts called volts", lambda root: replace(root, ".vhdr", "µV", "V"), r"01: eeg has a standard deviation of 9.\d* V, usual are 1e-07 to 0.005: is its unit right\?"),
    ("microvolts called nanovolts", lambda root: replace(root, ".vhdr", "µV", "nV"), r"01: eeg has a standard deviation of 9.\d*e-09 V"),
    ("no number in a channel", nan, r"01: values that are not numbers in C3"),
    ("no number in a bad channel", lambda root: (nan(root), replace(root, "channels.tsv", "C3\tEEG\tµV\tgood", "C3\tEEG\tµV\tbad")), ""),
    # 7. rates
    *((f"a sound of {hz} Hz", lambda root, hz=hz: sound(root, np.random.default_rng(0).normal(0, 0.1, 30 * hz), hz), "") for hz in (8001, 11127, 16001, 24414, 44101)),
]  # fmt: skip


@pytest.mark.parametrize(("bend", "line"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_real_contents(talk: Path, bend: Callable[[Path], object], line: str) -> None:
    expect(talk, bend, BOTH, line)


@pytest.mark.parametrize(("acquisition", "start_s"), [("first_sample", 0.0), ("first_sample", 5.0), ("acquisition", 0.0)])
def test_a_bad_row_is_where_it_says(talk: Path, acquisition: str, start_s: float) -> None:
    """Whatever is added to onsets because sounds came late."""
    row(talk, "12\t3\tBAD_noise")
    study = Bids(path=str(talk), onsets=acquisition, start_s=start_s)  # type: ignore[arg-type]
    raw = study.raw(talk, study.recordings(talk)[0])
    assert [(mark["onset"], mark["duration"]) for mark in raw.annotations if mark["description"] == "BAD_noise"] == [
        (12.0, 3.0)
    ]
