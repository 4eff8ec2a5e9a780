"""Sounds that cannot be what was heard are refused by the name of their file, and odd ones are told with numbers."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from raybrain.config import InputError
from raybrain.events import Sound
from raybrain.prepare.sound_check import refuse_unheard, sound_remarks
from raybrain.studies.readers.sounds import sound_length_s

HZ = 8000
SPEECH = np.random.default_rng(0).normal(0, 0.1, 3 * HZ)
CLICKS = (np.arange(3 * HZ) % HZ == 0).astype(float)


def stereo(left: Any, right: Any) -> Any:
    return np.stack([left, right], axis=1)


def with_nan() -> Any:
    wave = SPEECH.copy()
    wave[HZ] = np.nan
    return wave


REFUSED: dict[str, tuple[Any, int, str]] = {
    "silence": (0 * SPEECH, 0, r"a\.wav is silent; get the sounds again"),
    "silent in two channels": (stereo(0 * SPEECH, 0 * SPEECH), 0, r"a\.wav is silent"),
    "the silent channel is chosen": (stereo(SPEECH, 0 * SPEECH), 2, r"a\.wav is silent"),
    "opposite channels": (stereo(SPEECH, -SPEECH), 0, r"2 channels of .*a\.wav cancel each other: .* type sounds\.channel=1"),
    "nearly opposite channels": (stereo(SPEECH, -0.97 * SPEECH), 0, "cancel each other: their mean has 1.5%"),
    "a value that is no number": (with_nan(), 0, r"a\.wav holds a value that is not a number at 1\.000 s"),
    "a channel that is not there": (SPEECH, 2, r"a\.wav has 1 channels, and no channel 2"),
}
ODD: dict[str, tuple[Any, int, str]] = {
    "clicks in the second channel": (
        stereo(SPEECH, CLICKS),
        0,
        r"the channels of 1 of 1 sounds .* Then type sounds\.channel=NUMBER with that of speech",
    ),
    "another talker": (stereo(SPEECH, np.roll(SPEECH, HZ)), 0, "correlation -?0.0"),
    "clicks first": (stereo(CLICKS, SPEECH), 0, "are not alike"),
}
FINE: dict[str, tuple[Any, int]] = {
    "one channel": (SPEECH, 0),
    "the same twice": (stereo(SPEECH, SPEECH), 0),
    "a little to the left": (stereo(SPEECH, 0.3 * SPEECH), 0),
    "a silent channel beside it": (stereo(SPEECH, 0 * SPEECH), 0),
    "clicks that are not chosen": (stereo(SPEECH, CLICKS), 1),
    "opposite, and one is chosen": (stereo(SPEECH, -SPEECH), 2),
    "very soft": (0.001 * SPEECH, 0),
}


def heard(folder: Path, wave: Any, channel: int) -> list[Sound]:
    soundfile.write(folder / "a.wav", wave, HZ, subtype="FLOAT")
    return [Sound(start=1.0, duration=3.0, filepath=str(folder / "a.wav"), channel=channel)]


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path) -> None:
    wave, channel, expected = REFUSED[case]
    with pytest.raises(InputError, match=expected):
        refuse_unheard(heard(tmp_path, wave, channel))


@pytest.mark.parametrize("case", ODD)
def test_odd(case: str, tmp_path: Path) -> None:
    wave, channel, expected = ODD[case]
    events = heard(tmp_path, wave, channel)
    refuse_unheard(events)
    (remark,) = sound_remarks(events)
    assert re.search(expected, remark), remark


@pytest.mark.parametrize("case", FINE)
def test_nothing_is_said_of_sound(case: str, tmp_path: Path) -> None:
    events = heard(tmp_path, *FINE[case])
    refuse_unheard(events)
    assert sound_remarks(events) == []


def test_one_silent_sound_of_two_is_odd(tmp_path: Path) -> None:
    events = heard(tmp_path, SPEECH, 0)
    soundfile.write(tmp_path / "b.wav", 0 * SPEECH, HZ)
    both = [*events, Sound(start=5.0, duration=3.0, filepath=str(tmp_path / "b.wav"))]
    refuse_unheard(both)
    assert sound_remarks(both) == [f"1 of 2 sounds are silent (the first: {tmp_path / 'b.wav'})"]


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_wav_that_is_cut_off(share: float, tmp_path: Path) -> None:
    heard(tmp_path, SPEECH, 0)
    path = tmp_path / "a.wav"
    assert sound_length_s(path) == 3.0
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"a\.wav is cut off: \d+ of the 96\d\d\d bytes that its header promises"):
        sound_length_s(path)


def test_a_wav_of_a_program_that_did_not_know_its_length(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", SPEECH, HZ, subtype="PCM_16")
    content = bytearray((tmp_path / "a.wav").read_bytes())
    place = content.index(b"data") + 4
    content[4:8] = content[place : place + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(content)
    assert sound_length_s(tmp_path / "a.wav") == 3.0


def test_an_mp3_without_a_length_in_its_header(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, np.concatenate([*[0 * SPEECH] * 20, *[SPEECH] * 20]), HZ)
    assert sound_length_s(path) == pytest.approx(120.0, abs=0.3)
    path.write_bytes(re.sub(b"Xing|Info", bytes(4), path.read_bytes(), count=1))
    assert soundfile.info(path).duration < 110, "the header's guess, from the first frames"
    with pytest.raises(InputError, match=r"a\.mp3 does not say how long it is, and .*`ffmpeg -i a\.mp3 a\.wav`"):
        sound_length_s(path)
