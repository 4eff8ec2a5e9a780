"""`raybrain studies check` names what is missing, short or odd, and nothing else."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.download.base import Host
from raybrain.events import Event, Sound, Word
from raybrain.prepare import survey
from raybrain.prepare.tasks import Source
from raybrain.recording import Recording
from raybrain.studies.base import Facts, Study
from tests.conftest import Ended

FACTS = Facts(licence="CC0", language="en", device="EEG", recordings=4, channels=3, hertz=100.0, hours=0.1)


class Made(Study):
    """A recording of a minute, and a sound of half a minute from second 10 on; one word a second."""

    facts = FACTS
    names: tuple[str, ...] = ("Fz", "Cz", "Pz")
    bad: tuple[str, ...] = ()
    hertz: float = 100.0
    seconds: float = 60.0

    def recordings(self, root: Path) -> list[Recording]:
        return [Recording("made", f"0{number}") for number in range(1, 5)]

    def raw(self, root: Path, recording: Recording) -> Any:
        import mne

        info = mne.create_info([*self.names, "EOG"], self.hertz, ["eeg"] * len(self.names) + ["eog"], verbose="error")
        info.set_montage("standard_1020", on_missing="ignore", verbose="error")
        values = np.random.default_rng(0).normal(0, 1e-5, (len(self.names) + 1, int(self.seconds * self.hertz)))
        raw = mne.io.RawArray(values, info, verbose="error")
        raw.info["bads"] = [*self.bad, "EOG"]
        return raw

    def events(self, root: Path, recording: Recording) -> list[Event]:
        words = [Word(start=10.0 + s, duration=0.3, word=f"w{s}", word_index=s % 10) for s in range(30)]
        return [Sound(start=10.0, duration=30.0, filepath=str(root / "a.wav")), *words]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 30_000), 1000)
    return tmp_path


def problems(study: Study, root: Path) -> list[str]:
    return survey.survey_recording(Source(study, root, study.recordings(root)[0]), root)[0].problems


def test_what_is_as_it_should_be(root: Path) -> None:
    surveyed, events = survey.survey_recording(Source(Made(), root, Recording("made", "01")), root)
    assert surveyed == survey.RecordingSurvey("made_sub-01", 60.0, 3, 0, 100.0, 1, 30, 3, 0, [], 3, [])
    assert len(events) == 31


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"names": ("Fz", "Cz")}, ["2 channels, not 3"]),
        ({"hertz": 128.0}, ["128 Hz, not 100"]),
        ({"bad": ("Cz",)}, ["1 of 3 channels are bad"]),
        ({"names": ("Fz", "Cz", "A7")}, ["the positions of 1 of 3 sensors are not known"]),
        ({"seconds": 30.0}, ["words go on for 9.0 s after its end"]),
    ],
)
def test_odd_signals(root: Path, settings: dict[str, Any], expected: list[str]) -> None:
    assert problems(Made(**settings), root) == expected


def longer(events: Sequence[Event]) -> list[Event]:
    return [replace(event, duration=200.0) if isinstance(event, Sound) else event for event in events]


ODD: dict[str, tuple[Callable[[Sequence[Event]], list[Event]], str]] = {
    "no sound there": (lambda es: [e for e in es if e.start != 10.0 or isinstance(e, Word)], "30 of 30 words lie in no sound"),
    "before": (lambda es: [replace(e, start=e.start - 15) for e in es], "6 events before it begins"),
    "twice": (lambda es: [*es, replace(es[0], start=20.0)], "1 sounds start before the one before them ends"),
    "no words": (lambda es: [es[0]], "no word with word_index 0 starts a block (found 1 sounds)"),
    "endless": (
        lambda es: [*es, Word(start=30.5, duration=0.1, word="x", word_index=200, sequence="on and on")],
        "a sentence of more than 200 words (on and on...): are sentences marked?",
    ),
    "no sentences": (
        lambda es: [replace(e, word_index=0) if isinstance(e, Word) else e for e in es],
        "30 words without a sentence and a word_index: each is a sentence of its own",
    ),
    "no file": (lambda es: [replace(es[0], filepath="/no.wav"), *es[1:]], "no sound file /no.wav"),  # type: ignore[call-arg]
    "damaged": (lambda es: es[10_000].start, "IndexError: list index out of range"),  # type: ignore[arg-type,return-value]
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_events(root: Path, odd: str) -> None:
    change, expected = ODD[odd]

    class Odd(Made):
        def events(self, root: Path, recording: Recording) -> list[Event]:
            return change(super().events(root, recording))

        def problems(self, root: Path, recording: Recording) -> list[str]:
            return ["and more"]

    listed = problems(Odd(), root)
    assert len(listed) == 2
    assert listed[0].startswith(expected)
    assert listed[1] == "and more"


def test_what_is_short_or_missing() -> None:
    recordings = [survey.RecordingSurvey(f"made_sub-0{number}", seconds=100.0) for number in range(1, 5)]
    recordings[2].seconds = 49.0
    survey._mark_short(recordings, {recording.recording: "story" for recording in recordings})
    assert [recording.problems for recording in recordings] == [[], [], ["49 s long; half of 4 like it last 100 s or more"], []]
    assert survey._against_facts(Made(), recordings, ["01", "01", "02", "02"]) == []
    assert survey._against_facts(Made(), recordings[:3], ["01", "01", "02"]) == [
        "3 recordings, not 4 (most subjects have 2, but 02 has 1)",
        "0.0692 hours, not 0.1",
    ]
    assert survey._against_facts(Made(bad=("Cz",)), recordings[:3], ["01", "01", "02"]) == [], "less was asked for, perhaps"


def test_words_that_are_read_need_no_sound(root: Path) -> None:
    class Read(Made):
        def events(self, root: Path, recording: Recording) -> list[Event]:
            return [replace(event, modality="visual") for event in super().events(root, recording) if isinstance(event, Word)]

    assert problems(Read(), root) == []


def test_nothing_is_downloaded_to_be_checked(tmp_path: Path) -> None:
    class Far(Made, name=""):
        hosts = (Host(),)

        def fetch(self, cache: Path) -> Path:
            raise AssertionError("a check is no download")

    with pytest.raises(InputError, match="type raybrain studies fetch"):
        survey.survey_study(Far(), Cluster(home=tmp_path))


@pytest.mark.slow
def test_a_damaged_dataset(ray_cluster: None, raybrain: Callable[..., Ended], semireal: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(semireal, copy, copy_function=shutil.copyfile)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    data = copy / "sub-03" / "eeg" / "sub-03_task-listening_eeg.eeg"
    data.write_bytes(data.read_bytes()[:100_000])
    events = copy / "sub-02" / "eeg" / "sub-02_task-listening_events.tsv"
    lines = events.read_text().splitlines()
    sound = next(line for line in lines if "LJ001-0009.wav" in line and "\tsound\t" in line)
    events.write_text("\n".join(line for line in lines if line != sound))

    ended = raybrain("studies", "check", f"bids:{copy}", "--home", str(tmp_path / "home"), "--json")
    assert ended.code == 1, ended.err
    problems_of = {row["recording"][-22:-15]: row["problems"] for row in ended.json["recordings"]}
    assert {subject for subject, listed in problems_of.items() if listed} == {"_sub-02", "_sub-03"}
    assert "words lie in no sound" in problems_of["_sub-02"][0]
    assert len(problems_of["_sub-03"]) == 1
    assert "truncated" in problems_of["_sub-03"][0]
    assert (ended.json["totals"]["recordings"], ended.json["totals"]["words"]) == (4, 4 * 574)
    assert ended.json["sentences_in_two_splits"] == ended.json["audio_in_two_splits"] == []
    assert "2 problems" in ended.out
    assert not (tmp_path / "home" / "stores").exists()


def test_a_study_that_is_not_there(raybrain: Callable[..., Ended], tmp_path: Path) -> None:
    ended = raybrain("studies", "check", f"bids:{tmp_path / 'none'}", "--home", str(tmp_path))
    assert ended.code == 2
    assert ended.err.splitlines()[-1].startswith("raybrain: no folder")
