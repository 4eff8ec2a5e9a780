"""The synthetic study keeps its promises; a BIDS folder is read right, and each fault of one has its own one-line error."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raybrain.config import InputError, override
from raybrain.events import Phoneme, Sound, SplitConfig, Word, merge_blocks, sentence_blocks
from raybrain.recording import Recording
from raybrain.studies.base import Study
from raybrain.studies.bids import Bids
from raybrain.studies.synthetic import Synthetic
from raybrain.studies.synthetic.brain import UNIT
from tests.made_studies import one_line

REPO = Path(__file__).parents[2]
DATA = Path(os.environ.get("RAYBRAIN_SHARED", REPO.parent / "shared")) / "data"
needs_data = pytest.mark.skipif(not (DATA / "semireal_bids").is_dir(), reason=f"no {DATA / 'semireal_bids'}")
SMALL: dict[str, Any] = {"minutes": 1.0, "subjects": 3, "channels": 16, "rate_hz": 125.0}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def envelope(root: Path, study: Synthetic, recording: Recording, samples: int) -> np.ndarray:
    """Loudness of what is heard, at the rate of the recording."""
    import soundfile

    times = np.arange(samples) / study.rate_hz
    heard = np.zeros(samples)
    for event in study.events(root, recording):
        if isinstance(event, Sound):
            wave, rate = soundfile.read(event.filepath)
            smooth = np.convolve(np.abs(wave), np.ones(rate // 20) / (rate // 20), mode="same")
            heard += np.interp(times - event.start, np.arange(len(wave)) / rate, smooth, left=0, right=0)
    return heard


def best_correlation(data: np.ndarray, heard: np.ndarray, lags: range) -> float:
    """The largest correlation over channels and lags."""
    live = data[data.std(axis=1) > 0]
    normal = (live - live.mean(axis=1, keepdims=True)) / live.std(axis=1, keepdims=True)
    heard = (heard - heard.mean()) / heard.std()
    return max(float(np.abs(normal[:, lag:] @ heard[: len(heard) - lag] / len(heard)).max()) for lag in lags)


# the synthetic study


def test_kinds_are_found() -> None:
    assert {"synthetic", "bids"} <= set(Study.kinds())
    assert Study.parse("synthetic:eeg") == Synthetic(device="eeg")
    with pytest.raises(InputError, match="rate_hz"):
        override(Synthetic(), {"rate_hz": "-1"})
    with pytest.raises(InputError, match="channels=300"):
        override(Synthetic(), {"device": "eeg", "channels": 300})


def test_same_bytes_in_another_process(tmp_path: Path) -> None:
    code = """
import hashlib, sys
from pathlib import Path
from raybrain.studies.synthetic import Synthetic
from raybrain.studies.synthetic.brain import UNIT
study = Synthetic(minutes=0.2, subjects=2, channels=8, rate_hz=100)
root = study.fetch(Path(sys.argv[1]))
digest = hashlib.sha256()
for file in sorted(root.iterdir()):
    digest.update(file.name.encode() + file.read_bytes())
for recording in study.recordings(root):
    digest.update(study.raw(root, recording).get_data().tobytes())
print(root.name, digest.hexdigest())
"""
    processes = [
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / salt)],
            env=os.environ | {"PYTHONHASHSEED": salt},
            cwd=REPO,
            capture_output=True,
            text=True,
            check=True,
        )
        for salt in ("1", "2")
    ]
    assert processes[0].stdout == processes[1].stdout != ""
    assert processes[0].stderr == ""


def test_story_is_made_once_and_settings_of_the_brain_share_it(cache: Path) -> None:
    study = Synthetic(**SMALL)
    root = study.fetch(cache)
    before = {file: file.stat().st_mtime_ns for file in root.iterdir()}
    assert override(study, {"device": "eeg", "signal": 0.0, "channels": 20}).fetch(cache) == root
    assert {file: file.stat().st_mtime_ns for file in root.iterdir()} == before
    assert override(study, {"seed": 1, "minutes": 0.2}).fetch(cache) != root
    assert not [file for file in cache.iterdir() if file.name.startswith(".")]
    assert study.sources(root, study.recordings(root)[0]) == sorted(before)


@pytest.mark.parametrize("name", ["story.json", "part-01.wav"])
def test_half_a_story_is_made_again(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study = Synthetic(minutes=0.2)
    file = study.fetch(tmp_path) / name
    whole = file.read_bytes()
    file.unlink()
    assert study.fetch(tmp_path) / name == file
    assert capfd.readouterr().err == f"raybrain: damaged file {file}; the story is made again\n"
    assert file.read_bytes() == whole


def test_events_are_sentences_in_time(cache: Path) -> None:
    study = Synthetic(**SMALL)
    root = study.fetch(cache)
    recordings = study.recordings(root)
    assert [recording.subject for recording in recordings] == ["01", "02", "03"]
    events = study.events(root, recordings[0])
    words = [event for event in events if isinstance(event, Word)]
    sounds = [event for event in events if isinstance(event, Sound)]
    assert len(sounds) == 1
    assert all(Path(sound.filepath).is_file() for sound in sounds)
    assert all(word.sequence.split()[word.word_index] == word.word for word in words)
    sentences = [word.sequence for word in words if word.word_index == 0]
    assert len(set(sentences)) == len(sentences) > 10
    assert {len(sentence.split()) for sentence in sentences} <= set(range(4, 10))
    assert sum(isinstance(event, Phoneme) for event in events) > len(words)
    assert len(merge_blocks(sentence_blocks(events), SplitConfig().min_block_s)) > 5
    leads = [next(e.start for e in study.events(root, r) if isinstance(e, Sound)) for r in recordings]
    assert len(set(leads)) == 3
    assert all(2 <= lead <= 5 for lead in leads)


def test_words_start_when_they_say(cache: Path) -> None:
    import soundfile

    study = Synthetic(**SMALL)
    root = study.fetch(cache)
    events = study.events(root, study.recordings(root)[0])
    sound = next(event for event in events if isinstance(event, Sound))
    wave, rate = soundfile.read(sound.filepath)
    assert rate == 16_000
    assert sound.duration == pytest.approx(len(wave) / rate, abs=1e-9)
    for word in (event for event in events if isinstance(event, Word)):
        first, last = (round((time - sound.start) * rate) for time in (word.start, word.stop))
        assert not wave[first - 100 : first].any()  # silence before each word
        assert np.abs(wave[first : first + 160]).max() > 1e-3  # heard within 10 ms
        assert not wave[last : last + 100].any()


def test_words_sound_different(cache: Path) -> None:
    """Tokens of a word have spectra more alike than those of other words."""
    import soundfile

    study = Synthetic(**SMALL)
    root = study.fetch(cache)
    events = study.events(root, study.recordings(root)[0])
    sound = next(event for event in events if isinstance(event, Sound))
    wave, rate = soundfile.read(sound.filepath)
    spectra: dict[str, list[np.ndarray]] = {}
    for word in (event for event in events if isinstance(event, Word)):
        piece = wave[round((word.start - sound.start) * rate) :][: round(word.duration * rate)]
        power = np.abs(np.fft.rfft(piece, 16_000)) ** 2
        spectra.setdefault(word.word, []).append(np.log10(power.reshape(-1)[:8000].reshape(40, 200).mean(axis=1) + 1e-6))
    centred = {name: [s - s.mean() for s in tokens] for name, tokens in spectra.items() if len(tokens) > 1}
    same = [np.corrcoef(tokens[0], tokens[1])[0, 1] for tokens in centred.values()]
    first = [tokens[0] for tokens in centred.values()]
    other = np.corrcoef(first)[np.triu_indices(len(first), 1)]
    assert np.median(same) > np.median(other) + 0.1


@pytest.mark.parametrize("device", ["meg", "eeg"])
def test_signal_is_all_that_differs(cache: Path, device: str) -> None:
    study = Synthetic(**SMALL | {"device": device})
    root = study.fetch(cache)
    recording = study.recordings(root)[0]
    none, weak, strong = (override(study, {"signal": size}).raw(root, recording).get_data() for size in (0.0, 1.0, 2.0))
    assert weak - none == pytest.approx((strong - none) / 2, rel=1e-6, abs=1e-20)
    heard = envelope(root, study, recording, none.shape[1])
    lags = range(0, int(0.3 * study.rate_hz))
    planted = best_correlation((weak - none)[:, :], heard, lags)
    assert planted > 0.3
    loud = override(study, {"signal": 10.0}).raw(root, recording).get_data()
    assert best_correlation(loud, heard, lags) > 2 * best_correlation(none, heard, lags)
    lead = int(1.9 * study.rate_hz)
    np.testing.assert_allclose((weak - none)[:, :lead].std(axis=1), 0, atol=1e-6 * weak.std())


@pytest.mark.parametrize(("device", "low", "high"), [("meg", 1e-13, 2e-12), ("eeg", 5e-6, 5e-5)])
def test_recordings_look_like_the_device(cache: Path, device: str, low: float, high: float) -> None:
    import mne

    study = Synthetic(**SMALL | {"device": device})
    root = study.fetch(cache)
    bad = set()
    for recording in study.recordings(root):
        raw = study.raw(root, recording)
        data = raw.get_data()
        assert len(mne.pick_types(raw.info, meg=device == "meg", eeg=device == "eeg")) == 16
        assert raw.info["sfreq"] == 125
        assert study.events(root, recording)[-1].stop < raw.times[-1]
        spread = data.std(axis=1)
        assert low < np.median(spread) < high
        odd = np.flatnonzero((spread < 0.1 * np.median(spread)) | (spread > 8 * np.median(spread)))
        assert len(odd) == 1
        bad.add(int(odd[0]))
        layout = mne.find_layout(raw.info)
        assert set(raw.ch_names) <= set(layout.names)
        assert len({tuple(channel["loc"][:3]) for channel in raw.info["chs"]}) == 16
    assert len(bad) == 3


@pytest.mark.parametrize(("device", "channels"), [("eeg", 8), ("eeg", 40), ("eeg", 128), ("meg", 208)])
def test_any_number_of_sensors(cache: Path, device: str, channels: int) -> None:
    from raybrain.studies.synthetic import _sensors

    sensors, info = _sensors(device, channels, 100.0)  # type: ignore[arg-type]
    assert len(set(sensors.names)) == len(info["chs"]) == channels
    assert np.isfinite(sensors.positions).all()
    gaps = np.linalg.norm(sensors.positions[:, None] - sensors.positions[None], axis=2) + np.eye(channels)
    assert gaps.min() > 0.005


def test_subjects_differ_but_not_wholly(cache: Path) -> None:
    from raybrain.studies.synthetic import _sensors
    from raybrain.studies.synthetic import brain as synthetic_brain

    sensors, _ = _sensors("meg", 32, 100.0)
    fields = [synthetic_brain.response_topography(sensors, 0, subject, 14) for subject in ("01", "02")]
    alike = [np.corrcoef(fields[0][:, k], fields[1][:, k])[0, 1] for k in range(14)]
    assert 0.3 < np.mean(alike) < 0.98
    assert synthetic_brain.latency_s(0, "01") != synthetic_brain.latency_s(0, "02")
    assert abs(synthetic_brain.latency_s(0, "01")) <= 0.01


def test_ridge_finds_the_speech(cache: Path) -> None:
    """A backward linear model, trained on two thirds of three minutes, hears the rest; without a signal it does not."""
    study = Synthetic(minutes=3.0, subjects=1, channels=16, rate_hz=100.0)
    root = study.fetch(cache)
    recording = study.recordings(root)[0]
    scores = []
    for size in (0.0, 1.0):
        data = override(study, {"signal": size}).raw(root, recording).get_data()
        data = data / np.maximum(data.std(axis=1, keepdims=True), 1e-20)
        heard = envelope(root, study, recording, data.shape[1])
        lagged = np.concatenate([np.roll(data, -lag, axis=1) for lag in range(0, 40, 3)])
        cut = 2 * data.shape[1] // 3
        past = lagged[:, :cut]
        weights = np.linalg.solve(past @ past.T + 300 * np.eye(len(past)), past @ (heard[:cut] - heard[:cut].mean()))
        scores.append(np.corrcoef(weights @ lagged[:, cut:-50], heard[cut:-50])[0, 1])
    assert abs(scores[0]) < 0.1
    assert scores[1] > 0.2


@pytest.mark.parametrize("device", ["meg", "eeg"])
def test_artefacts_are_planted_on_top_and_nothing_else_changes(cache: Path, device: str) -> None:
    def values(**artefacts: float) -> Any:
        changes = {f"artefacts.{key}": value for key, value in artefacts.items()}
        study = override(Synthetic(device=device, subjects=1, minutes=0.2, channels=16), changes)  # type: ignore[arg-type]
        root = study.fetch(cache)
        return study.raw(root, study.recordings(root)[0])

    plain, unit = values(), UNIT[device]  # type: ignore[index]
    for name, beside in (("line", []), ("blinks", ["EOG"]), ("heart", ["ECG"]), ("jumps", [])):
        planted = values(**{name: 10.0})
        assert planted.ch_names == [*plain.ch_names, *beside]
        assert values(**{name: 10.0}).get_data() == pytest.approx(planted.get_data(), abs=0)
        left = (planted.get_data()[:16] - plain.get_data()) / unit
        assert 7 < np.abs(left).max() < 20 + 10 * (name == "jumps"), name
        if beside:
            assert planted.get_channel_types(beside) == [name.replace("blinks", "eog").replace("heart", "ecg")]
            strongest = left[np.abs(left).max(axis=1).argmax()]
            assert abs(np.corrcoef(strongest, planted.get_data(beside)[0])[0, 1]) > 0.9
    spectrum = np.abs(np.fft.rfft((values(line=10.0).get_data() - plain.get_data())[0]))
    assert np.fft.rfftfreq(plain.n_times, 1 / plain.info["sfreq"])[spectrum.argmax()] == pytest.approx(50, abs=0.1)


def test_unknown_subject(cache: Path) -> None:
    study = Synthetic(**SMALL)
    root = study.fetch(cache)
    one_line(lambda: study.raw(root, Recording("synthetic-meg", "99")), "99", "01")


# BIDS folders


def listing(root: Path) -> str:
    return hashlib.sha256(repr(sorted((str(f), f.stat().st_mtime_ns) for f in root.rglob("*"))).encode()).hexdigest()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A writable copy of two subjects of the semi-real dataset."""
    root = tmp_path / "Semi-real copy"
    shutil.copytree(DATA / "semireal_bids", root, ignore=shutil.ignore_patterns("sub-0[34]"), copy_function=shutil.copyfile)
    for path in root.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    root.chmod(0o755)
    return root


def opened(root: Path) -> tuple[Bids, Recording, Path]:
    """The study of a folder, its first recording and that one's events.tsv."""
    study = Bids(path=str(root))
    recording = study.recordings(study.fetch(root))[0]
    return study, recording, root / "sub-01" / "eeg" / "sub-01_task-listening_events.tsv"


@needs_data
def test_semireal(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    root = DATA / "semireal_bids"
    before = listing(root)
    study = Study.parse(f"bids:{root}")
    assert study.fetch(Path("unused")) == root
    recordings = study.recordings(root)
    assert recordings == [Recording("bids-real-eeg-background-and", f"0{number}", task="listening") for number in range(1, 5)]
    raw = study.raw(root, recordings[0])
    assert (len(raw.ch_names), raw.n_times, raw.info["sfreq"], raw.preload) == (32, 30060, 128.0, False)
    events = study.events(root, recordings[0])
    sounds = [event for event in events if isinstance(event, Sound)]
    words = [event for event in events if isinstance(event, Word)]
    assert (len(sounds), len(words)) == (32, 574)
    assert sounds[0].filepath == str(root / "stimuli" / "LJ001-0001.wav")
    assert words[0].sequence.startswith("Printing in the only sense")
    assert [word.word_index for word in words[:3]] == [0, 1, 2]
    assert len(sentence_blocks(events)) == 32
    names = {path.name for path in study.sources(root, recordings[0])}
    stem = "sub-01_task-listening_"
    assert {f"{stem}eeg.eeg", f"{stem}eeg.vhdr", f"{stem}eeg.json", f"{stem}events.tsv", f"{stem}channels.tsv"} <= names
    assert all(name.startswith("sub-01") for name in names)
    assert listing(root) == before
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


@needs_data
def test_choosing(copy: Path) -> None:
    assert [r.subject for r in Bids(path=str(copy), subjects=("sub-02",)).recordings(copy)] == ["02"]
    assert Bids(path="~/x").path == os.path.expanduser("~/x")
    one_line(lambda: Bids(subjects=("9",)).recordings(copy), "'9'", str(copy), "01, 02")
    one_line(lambda: Bids(task="lisening").recordings(copy), "lisening", "did you mean 'listening'")
    channels = copy / "sub-01" / "eeg" / "sub-01_task-listening_channels.tsv"
    channels.write_text(channels.read_text().replace("good", "bad", 1))
    study, recording, _ = opened(copy)
    assert recording.uid == "bids-real-eeg-background-and_sub-01_task-listening"
    assert study.raw(copy, recording).info["bads"] == ["Fp1"]


def test_no_dataset(tmp_path: Path) -> None:
    one_line(lambda: Bids().fetch(tmp_path), "bids:PATH")
    one_line(lambda: Bids(path=str(tmp_path / "none")).fetch(tmp_path), str(tmp_path / "none"), "no folder")
    one_line(lambda: Bids(path=str(tmp_path)).fetch(tmp_path), str(tmp_path), "dataset_description.json")
    (tmp_path / "dataset_description.json").write_text("{}")
    one_line(lambda: Bids().recordings(tmp_path), str(tmp_path), "no EEG or MEG recordings")


@needs_data
def test_tiny_dataset_has_no_words(capfd: pytest.CaptureFixture[str]) -> None:
    root = DATA / "bids_tiny_eeg" / "tiny_bids"
    study = Bids(path=str(root))
    recording = study.recordings(root)[0]
    assert recording == Recording("bids-tiny-bids", "01", "eeg", "rest")
    assert study.raw(root, recording).info["bads"] == ["PO10"]
    one_line(lambda: study.events(root, recording), "_events.tsv", "no sounds and no words", "1 show_stimulus", "stim_file")
    assert capfd.readouterr() == ("", "")


def edit(file: Path, change: Callable[[list[str]], list[str]]) -> None:
    file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")


FAULTS: dict[str, tuple[Callable[[list[str]], list[str]], tuple[str, ...]]] = {
    "no words": (lambda ls: [ls[0], *(ln for ln in ls[1:] if "\tword\t" not in ln)], ("no words", "32 sound", "expected")),
    "no sounds": (lambda ls: [ln for ln in ls if "\tsound\t" not in ln], ("no sounds", "574 word")),
    "no onset": (lambda ls: ["start" + ls[0][5:], *ls[1:]], ("'onset'", "start")),
    "empty": (lambda ls: [], ("no column 'onset'",)),
    "outside": (lambda ls: [ls[0], ls[1].replace("LJ", "../../LJ"), *ls[2:]], ("line 2", "../../LJ001-0001.wav", "outside")),
    "absolute": (lambda ls: [ls[0], ls[1].replace("LJ", "/etc/LJ"), *ls[2:]], ("line 2", "/etc/LJ001-0001.wav", "outside")),
    "missing wav": (lambda ls: [ls[0], ls[1].replace("LJ", "XX"), *ls[2:]], ("line 2", "XX001-0001.wav", "no sound file")),
    "no stim_file": (lambda ls: [ls[0], ls[1].replace("LJ001-0001.wav", "n/a"), *ls[2:]], ("line 2", "stim_file")),
    "onset": (lambda ls: [*ls[:2], "soon" + ls[2][6:], *ls[3:]], ("line 3", "'soon'", "not a number")),
    "onset n/a": (lambda ls: [*ls[:2], "n/a" + ls[2][6:], *ls[3:]], ("line 3", "onset is n/a")),
    "duration": (lambda ls: [*ls[:2], ls[2].replace("0.5062", "-0.5"), *ls[3:]], ("line 3", "duration is -0.5 s")),
    "index": (lambda ls: [*ls[:2], ls[2][:-1] + "0.5", *ls[3:]], ("line 3", "word_index is 0.5")),
    "columns": (lambda ls: [*ls[:2], "1.0\t2.0", *ls[3:]], ("line 3", "2 values for 7 columns")),
}


@needs_data
@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_events(copy: Path, fault: str) -> None:
    study, recording, file = opened(copy)
    change, expected = FAULTS[fault]
    edit(file, change)
    one_line(lambda: study.events(copy, recording), str(file), *expected)


@needs_data
def test_missing_and_inherited_events(copy: Path) -> None:
    study, recording, file = opened(copy)
    count = len(study.events(copy, recording))
    file.rename(copy / "task-listening_events.tsv")
    assert len(study.events(copy, recording)) == count
    assert copy / "task-listening_events.tsv" in study.sources(copy, recording)
    (copy / "task-listening_events.tsv").unlink()
    one_line(lambda: study.events(copy, recording), str(file))
    assert study.raw(copy, recording).n_times == 30060


@needs_data
@pytest.mark.parametrize("damage", [b"", b"RIFF", b"not a sound at all" * 10])
def test_corrupt_wav(copy: Path, damage: bytes) -> None:
    study, recording, file = opened(copy)
    wav = copy / "stimuli" / "LJ001-0002.wav"
    wav.write_bytes(damage)
    one_line(lambda: study.events(copy, recording), str(wav), str(file))


@needs_data
def test_other_forms_of_events(copy: Path) -> None:
    """No ids of sentences, words in the value column, a byte order mark, a quote in a word, durations n/a or too long."""
    study, recording, file = opened(copy)
    rows = [
        "onset\tduration\ttrial_type\tvalue\tstim_file",
        "2\tn/a\tSound\tn/a\tLJ001-0001.wav",
        '2.5\t0.2\tword\t"hello\tn/a',
        "3.0\tn/a\tWord\tthere\tn/a",
        "3.0\t0.05\tphoneme\tDH\tn/a",
        "3.5\t0.2\tword\tn/a\tn/a",
        "20\t1000\tn/a\tn/a\tstimuli/LJ001-0002.wav",
        "20.5\t0.2\tword\t__import__('os')\tn/a",
        "",
    ]
    file.write_text("\n".join(rows), encoding="utf-8-sig")
    sounds = [event for event in study.events(copy, recording) if isinstance(event, Sound)]
    words = [event for event in study.events(copy, recording) if isinstance(event, Word)]
    assert [sound.duration for sound in sounds] == pytest.approx([9.655, 1.8995], abs=1e-3)
    assert [(word.word, word.word_index, word.sequence) for word in words] == [
        ('"hello', 0, '"hello there'),
        ("there", 1, '"hello there'),
        ("__import__('os')", 0, "__import__('os')"),
    ]
    assert sum(isinstance(event, Phoneme) for event in study.events(copy, recording)) == 1
    assert words[1].duration == 0


@needs_data
def test_word_index_alone_tells_sentences_apart(copy: Path) -> None:
    study, recording, file = opened(copy)
    with_ids = [e.sequence for e in study.events(copy, recording) if isinstance(e, Word)]
    edit(file, lambda lines: [lines[0].replace("sequence_id", "unused"), *lines[1:]])
    assert [e.sequence for e in study.events(copy, recording) if isinstance(e, Word)] == with_ids


@needs_data
@pytest.mark.parametrize("kept", [0, 1, 128 * 1000, 128 * 1000 + 4, 128 * 30059 + 64])
def test_truncated_data(copy: Path, kept: int) -> None:
    study, recording, file = opened(copy)
    data = file.with_name("sub-01_task-listening_eeg.eeg")
    data.write_bytes(data.read_bytes()[:kept])
    one_line(lambda: study.raw(copy, recording), str(data), "truncated")


@needs_data
def test_truncated_data_without_a_duration(copy: Path) -> None:
    study, recording, file = opened(copy)
    data, sidecar = (file.with_name(f"sub-01_task-listening_eeg.{kind}") for kind in ("eeg", "json"))
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"RecordingDuration": "n/a"}))
    assert study.raw(copy, recording).n_times == 30060
    data.write_bytes(data.read_bytes()[: 128 * 10000])
    one_line(lambda: study.raw(copy, recording), str(data), str(file), "lasts 78.1 s")
    data.unlink()
    one_line(lambda: study.raw(copy, recording), data.name, "does not exist")


@needs_data
def test_unreadable_header(copy: Path) -> None:
    study, recording, file = opened(copy)
    file.with_name("sub-01_task-listening_eeg.vhdr").write_text("name\ttype\nno\tsuch\n")
    one_line(lambda: study.raw(copy, recording), "sub-01_task-listening_eeg.vhdr", "cannot be read")


@needs_data
def test_a_signal_is_read_without_a_sidecar_that_is_damaged(copy: Path) -> None:
    study, recording, file = opened(copy)
    whole = study.raw(copy, recording)
    file.with_name("sub-01_task-listening_eeg.json").write_text("name\ttype\nno\tsuch\n")
    assert (study.raw(copy, recording).get_data() == whole.get_data()).all()


def test_meg_folder(tmp_path: Path, cache: Path) -> None:
    """A FIF recording that starts late on the clock: onsets count from its first sample all the same."""
    import mne
    import mne_bids

    made = Synthetic(minutes=0.2, subjects=1, channels=8, rate_hz=100.0)
    story = made.fetch(cache)
    source = made.raw(story, made.recordings(story)[0])
    info = source.info.copy()
    late = mne.io.RawArray(source.get_data(), info, first_samp=5000, verbose="error")
    late.save(tmp_path / "late_raw.fif", verbose="error")
    root = tmp_path / "meg"
    path = mne_bids.BIDSPath(subject="A1", session="2", task="story", run="01", datatype="meg", root=root)
    raw = mne.io.read_raw_fif(tmp_path / "late_raw.fif", verbose="error")
    mne_bids.write_raw_bids(raw, path, verbose="error")
    shutil.copytree(story, root / "stimuli")
    rows = ["onset\tduration\ttrial_type\tstim_file\tword\tsequence_id\tword_index"]
    for event in made.events(story, made.recordings(story)[0]):
        if isinstance(event, Sound):
            rows.append(f"{event.start}\tn/a\tsound\t{Path(event.filepath).name}\tn/a\tn/a\tn/a")
        elif isinstance(event, Word):
            rows.append(f"{event.start}\t{event.duration}\tword\tn/a\t{event.word}\tn/a\t{event.word_index}")
    file = path.copy().update(suffix="events", extension=".tsv").fpath
    file.write_text("\n".join(rows))

    study = Bids(path=str(root))
    recordings = study.recordings(root)
    assert recordings == [Recording("bids-meg", "A1", "2", "story", "01")]
    read = study.raw(root, recordings[0])
    assert read.first_samp == 5000
    np.testing.assert_allclose(read.get_data(), source.get_data(), rtol=1e-5)
    words, made_words = (
        [e for e in s.events(r, rec) if isinstance(e, Word)]
        for s, r, rec in (
            (study, root, recordings[0]),
            (made, story, made.recordings(story)[0]),
        )
    )
    assert [(w.start, w.word, w.sequence) for w in words] == [(w.start, w.word, w.sequence) for w in made_words]
    data = path.copy().update(suffix="meg", extension=".fif").fpath
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    one_line(lambda: study.raw(root, recordings[0]), data.name)
