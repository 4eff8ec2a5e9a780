"""BIDS folders in all the forms they come in: where sounds, words and sentences are found, and when they were heard."""

import json
import shutil
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mne
import mne_bids
import numpy as np
import pytest
import soundfile

from raybrain.config import InputError, override
from raybrain.data_config import DataConfig
from raybrain.events import Event, Phoneme, Sound, SplitConfig, Word
from raybrain.features.mel import Mel
from raybrain.prepare.plan import Heard, make_plan
from raybrain.recording import Recording
from raybrain.studies.bids import Bids
from raybrain.studies.bids.bids_events import SoundRows, WordRows, read_events
from raybrain.studies.bids.bids_signal import mark_bad
from raybrain.studies.bids.bids_stimuli import textgrids
from raybrain.studies.timing.sound_clock import fit_clock
from tests.conftest import SHARED

RATE = 1000


def dataset(root: Path, rows: Sequence[str], header: str = "onset\tduration\ttrial_type\tstim_file\tword") -> Path:
    """A dataset without a recording: its events.tsv, and sounds of 10, 60 and 700 s."""
    (root / "stimuli" / "audio").mkdir(parents=True, exist_ok=True)
    for seconds in (10, 60, 700):
        soundfile.write(root / "stimuli" / "audio" / f"{seconds}s.wav", np.zeros(seconds * RATE), RATE)
    (root / "dataset_description.json").write_text("{}")
    file = root / "sub-01_events.tsv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def heard(file: Path, sounds: Any = None, words: Any = None, shift_s: float = 0.0) -> list[Event]:
    return read_events(file.parent, file, SoundRows(**(sounds or {})), WordRows(**(words or {})), shift_s).events


def only(kind: type[Any], events: Sequence[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def refused(*expected: str) -> Any:
    """An error of one line that contains all of ``expected``, in order."""
    return pytest.raises(InputError, match=r"^[^\n]*" + r"[^\n]*".join(expected) + r"[^\n]*$")


# sounds and their clocks


def test_sounds_of_another_column_without_ending(tmp_path: Path) -> None:
    rows = [
        "1.0\t0\ttrigger\taudio/10s\tn/a",
        "1.5\t0.2\tn/a\tn/a\thello",
        "20\t3\tn/a\taudio/60s.wav\tn/a",
        "20.1\t1\tn/a\tn/a\tyou",
    ]
    file = dataset(tmp_path, rows, "onset\tduration\ttrial_type\tplayed\tword")
    sounds = only(Sound, heard(file, {"column": "played"}))
    assert [(Path(sound.filepath).name, sound.start, sound.duration) for sound in sounds] == [
        ("10s.wav", 1.0, 10.0),
        ("60s.wav", 20.0, 3.0),
    ]
    file.write_text(file.read_text().replace("audio/10s", "../../secret"))
    with refused("line 2", r"played '\.\./\.\./secret' lies outside"):
        heard(file, {"column": "played"})
    with refused("no sounds"):
        heard(file)


DRIFT = 1.000485  # seconds of the recording in a second of the sound


def at(second: float, start: float = 7.25) -> float:
    """When a second of the sound is heard by the drifting clock; triggers lie on samples of 1 ms."""
    return round(start + second * DRIFT, 3)


def with_words(rows: list[str]) -> list[str]:
    """Words at seconds 10, 300 and 690 of the sound, where its own clock says."""
    return [*rows, *(f"{7.25 + second}\t0.3\tword\tn/a\tw{second}\t{second}" for second in (10, 300, 690))]


HEADER = "onset\tduration\ttrial_type\tstim_file\tword\tsecond"


def test_ticks_show_the_drift(tmp_path: Path) -> None:
    """Triggers a second, as in ds006468: some are missing, one comes between, and the first is the sound's."""
    ticks = [f"{at(second)}\t0\ttick\tn/a\tn/a\tn/a" for second in range(1, 700) if second % 50 > 9]
    rows = ["7.25\t0\tsound\taudio/700s.wav\tn/a\tn/a", *ticks, "99.4\t0\ttick\tn/a\tn/a\tn/a"]
    events = heard(dataset(tmp_path, with_words(rows), HEADER), {"tick": "tick", "time_column": "second"})
    sound = only(Sound, events)[0]
    assert sound.speed == pytest.approx(1 / DRIFT, abs=1e-7)
    assert sound.start == pytest.approx(7.25, abs=1e-3)
    assert sound.duration == pytest.approx(700 * DRIFT, abs=1e-3)
    assert [word.start for word in only(Word, events)] == pytest.approx([at(s) for s in (10, 300, 690)], abs=1e-3)


def lag_s(file: Path, brain: np.ndarray, block: int, sounds: dict[str, Any]) -> float:
    """By how much the loudness in a block's mel frames comes after the brain of that block, which is loudness, at 1 kHz."""
    events = heard(file, sounds)
    sound = only(Sound, events)[0]
    plan = make_plan([Heard(Recording("made", "01"), tuple(events))], {sound.filepath: "a"}, SplitConfig())
    planned = plan.blocks["made_sub-01"][block]
    mel = Mel(bands=10, n_fft=256)
    loud = mel.extract(plan.stimuli[planned.stimulus])[20:-20].mean(axis=1)
    times = planned.origin_s + np.arange(20, 20 + len(loud)) / mel.rate_hz
    shifts = np.arange(-400, 401, 2) / 1000
    scores = [np.corrcoef(loud, np.interp(times + shift, np.arange(len(brain)) / 1000, brain))[0, 1] for shift in shifts]
    assert max(scores) > 0.5
    return float(shifts[np.argmax(scores)])


def test_audio_and_brain_meet_however_long_they_drift(tmp_path: Path) -> None:
    """Ten minutes of noise of changing loudness; what the mel frames of the last block say is where the brain has it."""
    words = [f"{7.25 + s}\t0.3\tword\tn/a\tw{s}\t{s}\t{s // 8}\t{s % 8}" for s in range(600)]
    ticks = [f"{at(second)}\t0\ttick" + "\tn/a" * 5 for second in range(1, 600)]
    rows = ["7.25\t0\tsound\tnoise.wav" + "\tn/a" * 4, *words, *ticks]
    file = dataset(tmp_path, rows, f"{HEADER}\tsequence_id\tword_index")
    rng = np.random.default_rng(0)
    loud = np.repeat(rng.uniform(0.01, 0.3, 600 * 10), 400)
    soundfile.write(tmp_path / "stimuli" / "noise.wav", loud * rng.standard_normal(len(loud)), 4000)
    second = (np.arange(620 * 1000) / 1000 - 7.25) / DRIFT
    brain = np.interp(second, np.arange(len(loud)) / 4000, loud, left=0, right=0)
    fitted, ignored = {"tick": "tick", "time_column": "second"}, {"time_column": "second"}
    assert abs(lag_s(file, brain, 0, fitted)) < 0.02
    assert abs(lag_s(file, brain, -2, fitted)) < 0.02
    assert lag_s(file, brain, -2, ignored) == pytest.approx(580 * (DRIFT - 1), abs=0.03)


def test_seconds_of_the_sound_in_a_column(tmp_path: Path) -> None:
    """Rows every ten seconds; a twentieth of them is wrong, which is said; a second playing is another sound."""
    wrong = {200: 0.8, 450: -0.3, 640: 5.0}
    marks = [f"{at(s) + wrong.get(s, 0)}\t0\tsound\taudio/700s.wav\tn/a\t{s}" for s in range(0, 700, 10)]
    again = [f"{at(s, 800.0)}\t0\tsound\taudio/700s.wav\tn/a\t{s}" for s in range(30, 700, 10)]
    file = dataset(tmp_path, with_words([*marks, *again]), HEADER)
    reading = read_events(tmp_path, file, SoundRows(time_column="second"), WordRows(), 0.0)
    first, second = only(Sound, reading.events)
    assert (first.speed, second.speed) == pytest.approx((1 / DRIFT, 1 / DRIFT), abs=2e-6)
    assert (first.start, second.start, second.offset) == pytest.approx((7.25, at(30, 800.0), 30.0), abs=1e-3)
    assert [word.start for word in only(Word, reading.events)] == pytest.approx([at(s) for s in (10, 300, 690)], abs=2e-3)
    assert reading.remarks == ["3 of 70 marks of 700s.wav at 7.2 s do not fit its clock and are left out"]


def test_words_mark_moments_where_nothing_else_does(tmp_path: Path) -> None:
    words = [f"{at(s)}\t0.3\tword\tn/a\tw{s}\t{s}" for s in range(1, 690, 3)]
    file = dataset(tmp_path, ["7.25\t0\tsound\taudio/700s.wav\tn/a\tn/a", *words, "n/a\t0.3\tword\tn/a\tlast\t695"], HEADER)
    events = heard(file, {"time_column": "second"})
    assert only(Sound, events)[0].speed == pytest.approx(1 / DRIFT, abs=1e-6)
    assert only(Word, events)[-1].start == pytest.approx(at(695), abs=2e-3)


def test_words_alone_name_the_sound_and_its_seconds(tmp_path: Path) -> None:
    """A table of words, as many are: the sound's name, the second of it, and the place in the sentence, from 1."""
    rows = [f"{at(s)}\t0.3\tn/a\taudio/700s.wav\tw{s}\t{s}\t{s // 9}\t{s % 9 // 3 + 1}" for s in range(9, 684, 3)]
    file = dataset(tmp_path, rows, f"{HEADER}\tphrase\tplace")
    with refused("no sounds"):
        heard(file)
    events = heard(file, {"time_column": "second"}, {"sentence_column": "phrase", "index_column": "place"})
    sound = only(Sound, events)[0]
    assert (sound.start, sound.offset, sound.offset_stop) == pytest.approx((at(9), 9.0, 700.0), abs=1e-3)
    assert [word[2:] for word in word_rows(events)[:4]] == [
        (0, "w9 w12 w15"),
        (1, "w9 w12 w15"),
        (2, "w9 w12 w15"),
        (0, "w18 w21 w24"),
    ]


def test_one_file_twice_is_two_sounds(tmp_path: Path) -> None:
    rows = [f"{s}\t0\tsound\taudio/10s.wav\tn/a\t0" for s in (5, 50)] + ["51\t0.2\tword\tn/a\thello\t1"]
    assert [sound.start for sound in only(Sound, heard(dataset(tmp_path, rows, HEADER), {"time_column": "second"}))] == [5, 50]


def test_marks_that_fit_no_clock_are_refused(tmp_path: Path) -> None:
    rows = [f"{s * 1.3}\t0\tsound\taudio/700s.wav\tn/a\t{s}" for s in range(0, 100, 5)]
    with refused("line 2", "20 marks a second of the sound lasts 1.3000 s"):
        heard(dataset(tmp_path, with_words(rows), HEADER), {"time_column": "second"})
    jumping = [f"{s + s % 3 / 10}\t0\tsound\taudio/700s.wav\tn/a\t{s}" for s in range(0, 100, 5)]
    with refused("line 2", r"only \d+ of 20 marks lie within 20 ms of one line, 80% must"):
        heard(dataset(tmp_path, with_words(jumping), HEADER), {"time_column": "second"})
    ticks = ["0.5\t0\tsound\taudio/700s.wav\tn/a\tn/a", *(f"{s}\t0\ttick\tn/a\tn/a\tn/a" for s in range(1, 60))]
    with refused("line 2", "only 0 of 59 ticks come a whole number of 1 s after the sound's row"):
        heard(dataset(tmp_path, with_words(ticks), HEADER), {"tick": "tick"})
    beyond = ["1\t0\tsound\taudio/10s.wav\tn/a\t10.5"]
    with refused("line 2", "second is 10.5 s, but .*10s.wav lasts 10.000 s"):
        heard(dataset(tmp_path, with_words(beyond), HEADER), {"time_column": "second"})


@pytest.mark.parametrize("off", [0.0, 0.2])
def test_a_clock_is_found_among_false_marks(off: float) -> None:
    rng = np.random.default_rng(1)
    file_s = np.sort(rng.uniform(0, 600, 500))
    heard_s = 3.0 + file_s * DRIFT + rng.normal(0, 0.0005, 500)
    false = rng.permutation(500)[: int(off * 450)]
    heard_s[false] += rng.choice([-1, 1], len(false)) * rng.uniform(0.05, 3, len(false))
    clock = fit_clock(file_s, heard_s)  # type: ignore[arg-type]
    assert (clock.start, clock.speed) == pytest.approx((3.0, 1 / DRIFT), abs=3e-4)
    assert clock.heard(600) == pytest.approx(3 + 600 * DRIFT, abs=5e-4)
    assert clock.off == len(false)
    assert 0.0003 < clock.residual_s < 0.001


def test_few_marks_fit_no_drift() -> None:
    assert fit_clock([0.0], [5.0]).speed == 1.0
    assert fit_clock([0.0, 1.0, 2.0], [5.0, 6.001, 7.0]).speed == 1.0
    exact = fit_clock([0.0, 100.0, 200.0], [5.0, 105.0, 205.0])
    assert (exact.start, exact.speed) == (5.0, 1.0)


def test_shifts(tmp_path: Path) -> None:
    file = dataset(tmp_path, ["2\t0\tsound\taudio/10s.wav\tn/a", "3\t0.2\tword\tn/a\thello"])
    late = heard(file, shift_s=0.5, words={"start_s": -0.25})
    assert [event.start for event in late] == [2.5, 3.25]
    early = only(Sound, heard(file, shift_s=-3.0))[0]  # what was heard before the recording began is left out
    assert (early.start, early.offset, early.duration) == (0.0, 1.0, 9.0)
    with refused("line 2", "10s.wav ends before the recording begins"):
        heard(file, shift_s=-13.0)


# dicts


def test_dicts_in_trial_type(tmp_path: Path) -> None:
    dicts = [
        {"kind": "sound", "sound": "audio/10s.wav", "start": 0.0, "nothing": None, "word": float("nan")},
        {"kind": "word", "word": "it's", "sound": "audio/10s.wav", "start": 0.5, "sequence_id": 3.0, "word_index": 0.0},
        {"kind": "phoneme", "phoneme": "i_B", "start": 0.5, "sound": "audio/10s.wav"},
    ]
    for write in (str, json.dumps):
        rows = [f"{1 + row['start']}\t0.1\t{write(row)}\t5" for row in dicts]  # type: ignore[operator]
        events = heard(
            dataset(tmp_path, rows, "onset\tduration\ttrial_type\tvalue"), {"column": "sound", "time_column": "start"}
        )
        assert [type(event) for event in events] == [Sound, Word, Phoneme]
        assert only(Word, events)[0].word == "it's"
        assert only(Phoneme, events)[0].phoneme == "i_B"


@pytest.mark.parametrize(
    "text",
    [
        "{'kind': __import__('pathlib').Path('{0}').touch()}",
        "{**__import__('pathlib').Path('{0}').touch()}",
        "{'kind': open('{0}', 'w')}",
        "{'kind': ['sound']}",
        "{'kind': 'sound'",
        "{'kind', 'sound'}",
        "{" * 5000,
        "{'kind': " + "-" * 9000 + "1}",
        "{'kind': '" + "x" * 20_000 + "'}",
    ],
)
def test_malicious_dicts_are_refused(tmp_path: Path, text: str) -> None:
    mark = tmp_path / "touched"
    file = dataset(tmp_path, [f"1.0\t0.1\t{text.replace('{0}', str(mark))}\tn/a\tn/a"])
    with refused("line 2", "trial_type", "not a dict of plain values"):
        heard(file)
    assert not mark.exists()


def test_both_forms_of_real_tables(tmp_path: Path) -> None:
    """MEG-MASC as flattened columns (sub-01) and as dicts (sub-13): one story, so the same events but for the start."""
    folder = SHARED / "data" / "gwilliams2022"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    dataset(tmp_path, [])
    for number in range(4):
        soundfile.write(tmp_path / "stimuli" / "audio" / f"lw1_{number}.0.wav", np.zeros(200 * 100), 100)
    of_subject = []
    for subject in ("01", "13"):
        named = f"sub-{subject}_ses-0_task-0_events.tsv"
        (tmp_path / named).write_bytes((folder / f"sub-{subject}" / "ses-0" / "meg" / named).read_bytes())
        of_subject.append(heard(tmp_path / named, {"column": "sound", "time_column": "start"}))
    assert [[len(only(kind, events)) for kind in (Phoneme, Word, Sound)] for events in of_subject] == [[2462, 668, 4]] * 2
    one, other = ([(event.word, event.word_index, event.sequence) for event in only(Word, events)] for events in of_subject)
    assert one == other
    for events, subject in zip(of_subject, ("01", "13"), strict=True):
        table = (tmp_path / f"sub-{subject}_ses-0_task-0_events.tsv").read_text().splitlines()
        words = [float(line.split("\t")[0]) for line in table[1:] if "\tword\t" in line or "'kind': 'word'" in line]
        assert [word.start for word in only(Word, events)] == pytest.approx(words, abs=1e-3)
        assert {sound.speed for sound in only(Sound, events)} == {1.0}


# words and sentences


def textgrid(path: Path, **tiers: Sequence[tuple[float, float, str]]) -> None:
    from praatio import textgrid as praat

    grid = praat.Textgrid()
    for name, entries in tiers.items():
        grid.addTier(praat.IntervalTier(name, list(entries), 0.0, 10.0))
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)


WORDS = [(0.5, 0.9, "one"), (0.9, 1.4, "two"), (2.5, 2.8, "three"), (2.8, 3.0, "<p:>"), (3.1, 3.5, "four"), (8.0, 8.5, "five")]
PHONES = [(0.5, 0.7, "w"), (0.7, 0.9, "n"), (2.8, 3.0, "sil")]


def word_rows(events: Sequence[Event]) -> list[tuple[float, str, int, str]]:
    return [(round(word.start, 3), word.word, word.word_index, word.sequence) for word in only(Word, events)]


def test_words_from_textgrids_and_sentences_by_pauses(tmp_path: Path) -> None:
    file = dataset(tmp_path, ["5\t0\tsound\taudio/10s.wav\tn/a", "100\t3\tsound\taudio/10s.wav\tn/a"])
    textgrid(tmp_path / "stimuli" / "audio" / "10s.TextGrid", **{"anna - phones": PHONES, "anna - words": WORDS})
    events = heard(file)
    assert word_rows(events) == [
        (5.5, "one", 0, "one two"),
        (5.9, "two", 1, "one two"),
        (7.5, "three", 0, "three four"),
        (8.1, "four", 1, "three four"),
        (13.0, "five", 0, "five"),
        (100.5, "one", 0, "one two"),
        (100.9, "two", 1, "one two"),
        (102.5, "three", 0, "three"),  # the second time, 3 s of the file were heard
    ]
    assert [phoneme.phoneme for phoneme in only(Phoneme, events)] == ["w", "n", "w", "n"]
    whole = word_rows(heard(file, words={"pause_s": None}))
    assert {sentence for *_, sentence in whole} == {"one two three four five", "one two three"}


def test_textgrids_are_sources_wherever_their_sounds_lie(tmp_path: Path) -> None:
    rows = ["5\t0\tsound\taudio/10s.wav\tn/a", "9\t0\tsound\t../outside.wav\tn/a", "9\t0\tsound\tnone.wav\tn/a"]
    file = dataset(tmp_path, rows)
    shutil.move(tmp_path / "stimuli" / "audio", tmp_path / "audio")
    grid = tmp_path / "audio" / "10s.TextGrid"
    textgrid(grid, words=WORDS)
    textgrid(tmp_path / "audio" / "other.TextGrid", words=WORDS)
    assert textgrids(tmp_path, file, "stim_file") == {grid}
    assert textgrids(tmp_path, tmp_path / "none.tsv", "stim_file") == textgrids(tmp_path, None, "stim_file") == set()


def test_tiers_by_name(tmp_path: Path) -> None:
    file = dataset(tmp_path, ["5\t0\tsound\taudio/10s.wav\tn/a"])
    spoken = [(0.4, 3.0, "One two. Three."), (3.05, 9.0, "Four five.")]
    grid = tmp_path / "stimuli" / "audio" / "10s.TextGrid"
    textgrid(grid, ORTH=WORDS, sounds=PHONES, sentences=spoken)
    with refused("no tier of", r"10s\.TextGrid", "ORTH, sounds, sentences", "word_tier"):
        heard(file)
    with refused("no tier 'ORT' in", "did you mean 'ORTH'"):
        heard(file, words={"word_tier": "ORT"})
    events = heard(file, words={"word_tier": "ORTH", "phoneme_tier": "sounds"})
    assert [sentence for *_, sentence in word_rows(events)] == ["one two three"] * 3 + ["four five"] * 2
    assert len(only(Phoneme, events)) == 2
    grid.write_text("no TextGrid")
    with refused("cannot be read as a TextGrid"):
        heard(file)


def test_words_of_the_table_come_first(tmp_path: Path) -> None:
    rows = ["5\t0\tsound\taudio/10s.wav\tn/a\tn/a", "5.5\t0.2\tword\tn/a\thello\ta", "5.8\tn/a\tword\tn/a\tthere\tb"]
    file = dataset(tmp_path, rows, "onset\tduration\ttrial_type\tstim_file\tword\tphrase")
    textgrid(tmp_path / "stimuli" / "audio" / "10s.TextGrid", words=WORDS, phones=PHONES)
    assert [row[1:] for row in word_rows(heard(file))] == [("hello", 0, "hello there"), ("there", 1, "hello there")]
    assert len(only(Phoneme, heard(file))) == 2, "phonemes, which the table lacks, come from the TextGrid"
    by_column = heard(file, words={"sentence_column": "phrase"})
    assert [row[1:] for row in word_rows(by_column)] == [("hello", 0, "hello"), ("there", 0, "there")]


def test_a_sound_without_a_textgrid_is_named(tmp_path: Path) -> None:
    file = dataset(tmp_path, ["5\t0\tsound\taudio/10s.wav\tn/a", "50\t0\tsound\taudio/60s.wav\tn/a"])
    with refused("no words"):
        heard(file)
    textgrid(tmp_path / "stimuli" / "audio" / "10s.TextGrid", words=WORDS)
    with refused("no TextGrid next to", r"60s\.wav"):
        heard(file)


# recordings


def edf(path: Path, seconds: int = 30, rate: int = 100) -> None:
    """Two channels of noise as EDF: a header of text, then records of a second of 16-bit numbers."""
    names = ("Cz", "Pz")
    each = [[("uV", 8), ("-1000", 8), ("1000", 8), ("-32768", 8), ("32767", 8)]] * 2
    columns = [f"{name:16}" for name in names] + [" " * 80] * 2
    columns += [f"{text:{width}}" for field in zip(*each, strict=True) for text, width in field]
    columns += [" " * 80] * 2 + [f"{rate:<8}"] * 2 + [" " * 32] * 2
    head = f"{'0':8}{'X X X X':80}{'Startdate X X X X':80}{'01.01.20'}{'00.00.00'}{256 * 3:<8}{'':44}{seconds:<8}{1:<8}{2:<4}"
    noise = np.random.default_rng(0).integers(-300, 300, seconds * rate * 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((head + "".join(columns)).encode() + struct.pack(f"<{len(noise)}h", *noise))


def test_sessions_runs_and_upper_case(tmp_path: Path) -> None:
    root = tmp_path / "one, two"
    dataset(root, [])
    for session, run, ending in (("a", "1", "EDF"), ("a", "2", "edf"), ("b", "1", "EDF")):
        edf(root / "sub-01" / f"ses-{session}" / "eeg" / f"sub-01_ses-{session}_task-talk_run-{run}_eeg.{ending}")
    data = override(DataConfig(), {"studies": f'"bids:{root}"', "studies.bids.words.pause_s": "none"})
    study = data.studies[0]
    assert study == Bids(path=str(root), words=WordRows(pause_s=None))
    recordings = study.recordings(study.fetch(tmp_path))
    assert recordings == [Recording("bids-one-two", "01", s, "talk", r) for s, r in (("a", "1"), ("a", "2"), ("b", "1"))]
    for recording in recordings:
        raw = study.raw(root, recording)
        assert (raw.ch_names, raw.n_times, raw.info["sfreq"]) == (["Cz", "Pz"], 3000, 100.0)
    two = override(DataConfig(), {"studies": f"bids:{tmp_path},synthetic"}).studies
    assert [study.name for study in two] == ["bids", "synthetic"]


def test_bti_folders_are_found(tmp_path: Path) -> None:
    """No file of such a machine is free to use here: that one is found and handed to the reader is all that can be seen."""
    dataset(tmp_path, [])
    folder = tmp_path / "sub-7" / "meg" / "sub-7_task-talk_run-1_meg"
    folder.mkdir(parents=True)
    for name in ("config", "c,rfDC", "hs_file"):
        (folder / name).write_bytes(b"damaged")
    study = Bids(path=str(tmp_path))
    assert study.recordings(tmp_path) == [Recording(study.recordings(tmp_path)[0].study, "7", "", "talk", "1")]
    with refused("sub-7_task-talk_run-1_meg", "cannot be read"):
        study.raw(tmp_path, study.recordings(tmp_path)[0])
    assert folder in study.sources(tmp_path, study.recordings(tmp_path)[0])


def test_onsets_that_include_first_samp(tmp_path: Path) -> None:
    """As in ds007523, whose last onset lies after the end of its recording."""
    info = mne.create_info([f"MEG{number:04d}" for number in range(4)], 100.0, "mag", verbose="error")
    late = mne.io.RawArray(np.zeros((4, 3000)), info, first_samp=5000, verbose="error")
    late.save(tmp_path / "late_raw.fif", verbose="error")
    root = tmp_path / "meg"
    path = mne_bids.BIDSPath(subject="1", task="talk", datatype="meg", root=root)
    mne_bids.write_raw_bids(mne.io.read_raw_fif(tmp_path / "late_raw.fif", verbose="error"), path, verbose="error")
    file = dataset(root, ["52\t0\tsound\taudio/10s.wav\tn/a", "60.5\t0.2\tword\tn/a\thello"])
    file.rename(path.copy().update(suffix="events", extension=".tsv").fpath)
    study = Bids(path=str(root))
    recording = study.recordings(root)[0]
    with refused("lasts 30.0 s, but .* goes on to 60.5 s", "the 50.0 s of first_samp", "type onsets=acquisition"):
        study.raw(root, recording)
    study = Bids(path=str(root), onsets="acquisition", start_s=0.1)
    assert study.raw(root, recording).n_times == 3000
    assert [round(event.start, 3) for event in study.events(root, recording)] == [2.1, 10.6]
    assert study.problems(root, recording) == []


@pytest.mark.parametrize("date", [None, datetime(2020, 1, 1, tzinfo=UTC)], ids=["without a date", "with a date"])
def test_rows_that_are_out_of_use_lie_at_their_time(date: datetime | None, tmp_path: Path) -> None:
    """Counted from the first sample, whatever number that has in the file; what the file marks itself stays where it is."""
    table = tmp_path / "sub-01_task-story_events.tsv"
    table.write_text("onset\tduration\ttrial_type\n30\t2\tBAD_row\n")
    raw = mne.io.RawArray(np.zeros((1, 6000)), mne.create_info(["Cz"], 100.0, "eeg"), first_samp=2000, verbose="error")
    raw.set_meas_date(date)
    raw.set_annotations(mne.Annotations([10.0 + 20.0 * (date is not None)], [1.0], ["BAD_file"], orig_time=date))
    mark_bad(raw, table, shift_s=0.5)
    assert (raw.annotations.onset - raw.first_time).tolist() == [10.0, 30.5]
    assert raw.annotations.description.tolist() == ["BAD_file", "BAD_row"]
