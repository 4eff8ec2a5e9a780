"""What is kept of a recording's quality: what was planted in one is in its numbers, and old stores get theirs when asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raybrain.cluster import Cluster
from raybrain.config import override
from raybrain.events import Sound
from raybrain.experiment import Experiment
from raybrain.prepare import build as preparing
from raybrain.prepare.quality import heard_courses
from raybrain.prepare.tasks import make_part
from raybrain.recording import Recording
from raybrain.storage import read_json, write_json
from raybrain.store import QUALITY, Store
from raybrain.studies.base import Study
from tests.conftest import TINY
from tests.made_studies import write_wav
from tests.prepare.test_build import job_of

HZ, DELAY_S, MICROPHONE_S = 250.0, 0.08, 0.04
SMALL = {"minutes": 1, "subjects": 1, "channels": 10, "rate_hz": HZ}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[str]]:
    """The row of a recording with line noise, a delay, a flat channel, a marked one, a BAD stretch, a microphone, triggers."""
    import mne

    data = override(Experiment(), {f"data.studies.synthetic.{key}": value for key, value in SMALL.items()}).data
    job = job_of(data, tmp_path_factory.mktemp("cache"), Store(tmp_path_factory.mktemp("store")))
    kind = type(job.source.study)

    def made(study: Study, root: Path, recording: Recording, read: Callable[..., Any] = kind.raw) -> Any:
        raw = read(study, root, recording)
        rng = np.random.default_rng(0)
        sound = heard_courses(job.events, HZ, raw.n_times)["sound"]
        values = 1e-12 * rng.standard_normal((10, raw.n_times))
        values += 4e-13 * np.roll(sound, round(DELAY_S * HZ)) / sound.std()
        values += 1e-12 * np.sin(2 * np.pi * 50 * raw.times)
        values[2] = 0.0
        triggers = np.roll(heard_courses(job.events, HZ, raw.n_times)["onsets"], 5)  # 20 ms
        microphone = np.roll(sound, round(MICROPHONE_S * HZ)) * rng.standard_normal(raw.n_times)
        beside = mne.create_info(["MISC1", "MISC2", "STI"], HZ, ["misc", "misc", "stim"])
        marked = mne.io.RawArray(values, raw.info, verbose="error")
        rows = np.stack([rng.standard_normal(raw.n_times), microphone, triggers])
        marked.add_channels([mne.io.RawArray(rows, beside, verbose="error")], force_update_info=True)
        marked.info["bads"] = [raw.ch_names[3]]
        return marked.set_annotations(mne.Annotations([5.0, 30.0], [4.0, 0.0], ["BAD_noise", "boundary"]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "raw", made)
        remarks = make_part(job)["remarks"]
    return job.store.quality(job.source.recording.uid), remarks


def test_what_was_planted_is_in_the_numbers(planted: tuple[dict[str, Any], list[str]]) -> None:
    row, remarks = planted
    assert set(row) == set(QUALITY.names)
    assert (row["line_hz"], row["recorded_hz"]) == (50.0, HZ)
    assert row["line_db_before"] > 15
    states = {channel["name"]: (channel["state"], channel["reason"]) for channel in row["channels"]}
    names = list(states)
    assert states.pop(names[2]) == ("odd", "flat")
    assert states.pop(names[3]) == ("bad", "marked bad by the study")
    assert set(states.values()) == {("good", "")}
    assert row["stretches"] == [
        {"start_s": 5.0, "stop_s": 9.0, "why": "BAD_noise"},
        {"start_s": 30.0, "stop_s": 30.0, "why": "boundary"},
    ]
    lost = np.array(row["lost_windows_s"])
    assert len(lost) and (((lost > 2.0 - 0.1) & (lost < 9.1)) | ((lost > 27.0 - 0.1) & (lost <= 30.1))).all()
    assert row["remarks"] == remarks and "windows are left out" in remarks[-1]
    assert [(one["stage"], one["kind"]) for one in row["spectra"]] == [("before the steps", "mag"), ("prepared", "mag")]
    assert 50 < len(row["minute"]) <= 60 * 120


def test_the_delay_of_brain_microphone_and_triggers_is_found(planted: tuple[dict[str, Any], list[str]]) -> None:
    found = {one["what"]: one for one in planted[0]["alignment"]}
    expected = {
        "the brain behind the sound": DELAY_S,
        "channel MISC2 behind the sound": MICROPHONE_S,
        "channel STI behind the onsets of sounds and words": 0.02,
    }
    assert set(found) == set(expected)
    for what, delay_s in expected.items():
        assert found[what]["peak_s"] == pytest.approx(delay_s, abs=0.0085), what
        assert found[what]["peak"] > found[what]["limit"]
    responses = [channel["response"] for channel in planted[0]["channels"]]
    assert np.isnan(responses[2]) and min(responses[4:]) > 0.1


def test_a_sound_is_where_it_is_heard(tmp_path: Path) -> None:
    """From its offset on, faster if its speed says so; what cannot be read has no course."""
    import soundfile

    wave = np.zeros(16_000)
    wave[8_000:8_160] = 1.0  # 10 ms from 0.5 s on
    soundfile.write(tmp_path / "click.wav", wave, 16_000, subtype="FLOAT")
    where = {"filepath": str(tmp_path / "click.wav"), "offset": 0.25}
    sounds = [Sound(start=1.0, duration=0.7, **where), Sound(start=3.0, duration=0.3, speed=2.0, **where)]
    course = heard_courses(sounds, 100.0, 500)["sound"]
    assert course.nonzero()[0].tolist() == [125, 312]
    assert course[[125, 312]] == pytest.approx([1.0, 0.5], abs=0.02)
    gone = heard_courses([Sound(start=1.0, duration=1.0, filepath=str(tmp_path / "gone.wav"))], 100.0, 500)
    assert set(gone) == {"onsets"}
    write_wav(tmp_path / "one.wav", 2.0)
    assert set(heard_courses([Sound(start=4.0, duration=2.0, filepath=str(tmp_path / "one.wav"))], 100.0, 500)) == {
        "sound",
        "onsets",
    }


@pytest.mark.slow
def test_a_store_of_an_earlier_version_gets_its_table_when_asked(tmp_path: Path, ray_cluster: None) -> None:
    changes = dict(setting.split("=", 1) for setting in [*TINY, "data.studies.synthetic.subjects=1"])
    data, cluster = override(Experiment(), changes).data, Cluster(home=tmp_path)
    prepared = preparing.run(data, cluster)
    store, (uid,) = prepared.store, prepared.recordings
    row, path = store.quality(uid), store.root / "parts" / f"{uid}.json"
    known = read_json(path)
    del known["files"]["quality"]
    write_json(path, known)
    store.table_path("quality", uid).unlink()
    assert preparing.run(data, cluster) == prepared
    assert not store.table_path("quality", uid).exists(), "nobody asked for it"
    assert preparing.run(data, cluster, ("quality",)) == prepared, "all that training reads is the same"
    assert store.quality(uid) == row
