"""Mel against torchaudio itself, words against tables made by hand, and what every feature promises."""

import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
import wordfreq

from raybrain.config import InputError, override
from raybrain.events import Block, Phoneme, Sound, Word, cut_sounds
from raybrain.features.audio import place, read
from raybrain.features.base import Feature, Stimulus
from raybrain.features.mel import Mel
from raybrain.features.words import WordFrequency, WordHash, WordLength

WORDS = (
    Word(start=0.5, duration=0.25, word="The", word_index=0),
    Word(start=1.0, duration=0.5, word="cat", word_index=1),
    Word(start=2.5, duration=0.5, word="sleeps", word_index=2),
)
PHONEMES = (
    Phoneme(start=0.5, duration=0.1, phoneme="DH"),
    Phoneme(start=0.6, duration=0.15, phoneme="AH"),
    Phoneme(start=1.0, duration=0.5, phoneme="K"),
)


def noise(seconds: float, rate_hz: int, seed: int) -> np.ndarray:
    wave = 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * rate_hz), 1))
    return np.asarray(wave, dtype=np.float32)


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "noise.wav"
    tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(64_000) / 16_000)[:, None]
    soundfile.write(path, noise(4.0, 16_000, seed=0) + tone, 16_000, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def stimulus(wav: Path) -> Stimulus:
    sounds = (
        Sound(start=0.25, duration=1.0, filepath=str(wav), offset=0.5),
        Sound(start=2.0, duration=1.5, filepath=str(wav), offset=2.0),
    )
    return Stimulus(duration=4.0, sounds=sounds, words=WORDS, phonemes=PHONEMES)


def directly(wave: np.ndarray) -> np.ndarray:
    """The mel spectrum of the paper, written down without raybrain."""
    wave = (wave - wave.mean()) / wave.std()
    mel = torchaudio.transforms.MelSpectrogram(16_000, n_fft=512, hop_length=128, n_mels=120, power=2.0, normalized=True)
    return np.asarray(torch.log10(mel(torch.from_numpy(wave)) + 1e-5).T)


@pytest.mark.filterwarnings("ignore:At least one mel filterbank")
def test_mel_is_torchaudio_at_the_right_frames(stimulus: Stimulus, wav: Path) -> None:
    frames = Mel().extract(stimulus)
    wave = soundfile.read(wav, dtype="float32")[0]
    first, second = directly(wave[8_000:24_000]), directly(wave[32_000:56_000])
    assert frames.shape == (501, 120) and first.shape == (126, 120) and second.shape == (188, 120)
    np.testing.assert_allclose(frames[31 : 31 + 126], first, atol=1e-4)  # 0.25 s * 125 Hz = 31.25
    np.testing.assert_allclose(frames[250 : 250 + 188], second, atol=1e-4)
    silent = np.r_[0:31, 157:250, 438:501]
    assert np.all(frames[silent] == -5)
    assert frames[31:157].max() > -5


def test_mel_of_true_silence_is_silence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "zeros.wav", np.zeros(16_000), 16_000)
    heard = Stimulus(duration=1.0, sounds=(Sound(start=0, duration=1, filepath=str(tmp_path / "zeros.wav")),))
    np.testing.assert_allclose(Mel().extract(heard), -5, atol=1e-6)


@pytest.mark.parametrize("duration", [0.0, 0.001, 0.016])
def test_mel_of_a_very_short_sound(duration: float, wav: Path) -> None:
    sound = Sound(start=0.5, duration=duration, filepath=str(wav))
    assert np.isfinite(Mel().extract(Stimulus(duration=1.0, sounds=(sound,)))).all()


def test_mel_settings() -> None:
    assert Mel().hop == 128
    assert override(Mel(), {"rate_hz": "100"}).hop == 160
    assert Feature.parse("mel:40").size == 40
    with pytest.raises(InputError, match="120"):
        override(Mel(), {"rate_hz": "120"})


def test_sound_is_cut_mixed_and_resampled(tmp_path: Path) -> None:
    time = np.arange(3 * 44_100) / 44_100
    tone = np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "stereo.wav", np.stack([tone, 0 * tone], axis=1), 44_100, subtype="FLOAT")
    wave = read(Sound(start=7.0, duration=1.0, filepath=str(tmp_path / "stereo.wav"), offset=1.5), 16_000)
    assert wave.dtype == torch.float32 and wave.shape == (16_000,)
    expected = 0.5 * np.sin(2 * np.pi * 440 * (1.5 + np.arange(16_000) / 16_000))
    np.testing.assert_allclose(wave[200:-200], expected[200:-200], atol=2e-3)


@pytest.mark.parametrize("speed", [1.0, 1.0003])
def test_pieces_of_a_sound_share_no_sample(speed: float, tmp_path: Path) -> None:
    """What is heard after a border is not heard before it, wherever the border lies between two samples."""
    rate_hz = 1000
    soundfile.write(tmp_path / "a.wav", np.arange(4000) / 4000, rate_hz, subtype="DOUBLE")
    for border in np.linspace(1.2344, 1.2356, 13):
        sound = Sound(start=0.0, duration=3.0, filepath=str(tmp_path / "a.wav"), offset=0.1237, speed=speed)
        blocks = [Block(0.0, border, ("one",)), Block(border, 3.0 - border, ("two",))]
        before, after = (
            read(replace(piece, speed=1.0, duration=piece.duration * speed), rate_hz) for piece in cut_sounds([sound], blocks)
        )
        assert round(float(before[-1]) * 4000) + 1 == round(float(after[0]) * 4000)


def test_sound_that_is_not_there(wav: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.wav"):
        read(Sound(start=0, duration=1, filepath="nowhere.wav"), 16_000)
    with pytest.raises(InputError, match=r"lasts 4.000 s"):
        read(Sound(start=0, duration=1, filepath=str(wav), offset=9.0), 16_000)


@pytest.mark.parametrize(
    ("first", "expected"), [(-2, [3, 4, 0, 0]), (1, [0, 1, 2, 3]), (3, [0, 0, 0, 1]), (4, [0] * 4), (-4, [0] * 4)]
)
def test_place_leaves_out_what_falls_outside(first: int, expected: list[int]) -> None:
    frames = np.zeros((4, 1))
    place(frames, np.array([[1.0], [2.0], [3.0], [4.0]]), first)
    assert frames[:, 0].tolist() == expected


# at 4 Hz: frames 0..16; The 2..3, cat 4..6, sleeps 10..12
@pytest.mark.parametrize(
    ("name", "values"), [("word_length", (3, 3, 6)), ("word_position", (1, 2, 3)), ("word_segment", (1, 1, 1))]
)
def test_words_by_hand(name: str, values: tuple[float, ...]) -> None:
    feature = override(Feature.parse(name), {"rate_hz": 4.0})
    the, cat, sleeps = values
    expected = [0, 0, the, 0, cat, cat, 0, 0, 0, 0, sleeps, sleeps, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(feature.extract(Stimulus(duration=4.0, words=WORDS))[:, 0], expected, atol=1e-5)


def test_pulses_by_hand() -> None:
    heard = Stimulus(duration=4.0, words=WORDS, phonemes=PHONEMES)
    words = Feature.parse("word_pulse").extract(heard)[:, 0]
    assert np.flatnonzero(words).tolist() == [*range(60, 66), *range(120, 126), *range(300, 306)]
    phonemes = Feature.parse("phoneme_pulse").extract(heard)[:, 0]
    assert np.flatnonzero(phonemes).tolist() == [60, 61, 72, 73, 90, 91, 120, 121, 180, 181]


def test_word_frequency_is_zipf_in_the_language_of_the_event() -> None:
    def frequency(word: str, language: str) -> float:
        heard = Stimulus(duration=0.1, words=(Word(start=0, duration=0.1, word=word, language=language),))
        return float(WordFrequency().extract(heard)[0, 0])

    for word, language in (("sleeps", "en"), ("huis", "nl")):  # Zipf: log10 of the occurrences in a billion words
        assert frequency(word, language) == pytest.approx(math.log10(wordfreq.word_frequency(word, language) * 1e9), abs=0.01)
    assert frequency("huis", "nl") > 5 > frequency("huis", "") == frequency("huis", "en")
    assert frequency("qwrtzpfgh", "en") == 0
    with pytest.raises(InputError, match="'xx'"):
        frequency("huis", "xx")


def test_word_hash_is_one_hot_and_the_same_in_every_process(stimulus: Stimulus) -> None:
    frames = WordHash().extract(stimulus)
    assert frames.shape[1] == 64 and set(frames.sum(axis=1)) == {0.0, 1.0}
    shown = str([int(frames[round(word.start * 120)].argmax()) for word in WORDS])
    code = """
from raybrain.events import Word
from raybrain.features.base import Feature, Stimulus
heard = [Stimulus(1.0, words=(Word(start=0, duration=1, word=w),)) for w in ("THE", "cat", "sleeps")]
print([int(Feature.parse("word_hash").extract(s)[0].argmax()) for s in heard])
"""
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == shown


def test_a_word_outside_the_stimulus_is_left_out() -> None:
    late = Stimulus(duration=1.0, words=(Word(start=5.0, duration=1.0, word="late"),))
    assert not WordLength().extract(late).any() and not WordHash().extract(late).any()


# kinds that need a model, and the small one they are given here
MODELS = {
    "speech_model": "wav2vec2_layer",
    "speech_model_conv": "wav2vec2",
    "text_model": "bert",
    "text_embedding": "xlm_roberta",
    "spacy_vector": "spacy",
    "part_of_speech": "spacy",
}


@pytest.mark.parametrize("name", Feature.kinds())
def test_every_feature_depends_on_the_stimulus_alone(name: str, stimulus: Stimulus, models: Callable[[str], str]) -> None:
    feature = Feature.parse(f"{name}:{models(MODELS[name])}" if name in MODELS else name)
    if "layers" in type(feature).model_fields:
        feature = override(feature, {"layers": "1,2"})
    feature.check()
    frames = feature.extract(stimulus)
    assert frames.shape == (len(feature.frames(stimulus)), feature.size)
    assert frames.dtype == np.float32 and np.isfinite(frames).all()
    assert (frames != feature.silence).any()
    if feature.categories:
        assert feature.size == 1 and np.all((frames == np.round(frames)) & (frames >= 0) & (frames < feature.categories))
    feature.extract(Stimulus(duration=2.0, sounds=stimulus.sounds[:1], words=WORDS[1:], phonemes=PHONEMES[1:]))
    again = pickle.loads(pickle.dumps(feature)).extract(pickle.loads(pickle.dumps(stimulus)))
    np.testing.assert_array_equal(frames, again)
    for together in list(feature.extract_many([stimulus, Stimulus(duration=1.0), stimulus]))[::2]:
        np.testing.assert_array_equal(frames, together)
    assert feature.identity() == feature.identity()
    nothing = feature.extract(Stimulus(duration=1.0))
    assert (nothing == feature.silence).all()
