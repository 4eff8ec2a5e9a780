"""Sound is read from the channel that holds it, at any rate, and a fault names its file."""

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from raybrain.config import InputError
from raybrain.events import Sound
from raybrain.features import audio


@pytest.mark.parametrize(
    "rates", [(44100, 16000), (22050, 16000), (48000, 16000), (16000, 16000), (11025, 16000), (44100, 16200)]
)
def test_usual_rates_are_resampled_as_torchaudio_does(rates: tuple[int, int]) -> None:
    wave = torch.randn(rates[0] + 17, generator=torch.Generator().manual_seed(0))
    expected = torchaudio.functional.resample(wave, *rates)
    for _ in range(2):  # the second time with the kernel of the first
        assert torch.equal(audio.resampled(wave, *rates), expected)


@pytest.mark.parametrize("from_hz", [11_127, 24_414, 8_001, 44_101, 22_255])
def test_odd_rates_take_no_time(from_hz: int) -> None:
    tone = torch.from_numpy(np.sin(2 * np.pi * 440 * np.arange(6 * from_hz) / from_hz).astype(np.float32))
    audio.resampled(tone[:100], from_hz, 16_000)  # makes the filter
    began = time.process_time()
    result = audio.resampled(tone, from_hz, 16_000)
    assert time.process_time() - began < 2.0, "a kernel of 10^8 values takes a minute"
    assert len(result) == 96_000
    inside = slice(100, -100)
    assert np.abs(result.numpy() - np.sin(2 * np.pi * 440 * np.arange(96_000) / 16_000))[inside].max() < 0.01


@pytest.mark.parametrize("rates", [(1000, 997), (997, 1000), (811, 160)])
def test_odd_rates_agree_with_torchaudio(rates: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    wave = torch.randn(2000, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(audio, "LARGEST_KERNEL", 0)
    result = audio.resampled(wave, *rates)
    torch.testing.assert_close(result.double(), torchaudio.functional.resample(wave.double(), *rates), atol=1e-6, rtol=0)


def test_a_channel_is_chosen(tmp_path: Path) -> None:
    path = str(tmp_path / "a.wav")
    soundfile.write(path, np.tile([0.5, -0.25], (16_000, 1)), 16_000, subtype="FLOAT")
    values = {
        channel: float(audio.read(Sound(start=0, duration=1, filepath=path, channel=channel), 16_000)[0])
        for channel in range(3)
    }
    assert values == {0: 0.125, 1: 0.5, 2: -0.25}
    with pytest.raises(InputError, match=r"a\.wav has 2 channels, and no channel 3"):
        audio.read(Sound(start=0, duration=1, filepath=path, channel=3), 16_000)


def test_a_value_that_is_no_number_names_its_file(tmp_path: Path) -> None:
    wave = np.zeros(16_000, dtype=np.float32)
    wave[8_000] = np.nan
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    with pytest.raises(InputError, match=r"a\.wav holds a value that is not a number at 0\.500 s"):
        audio.read(Sound(start=0, duration=1, filepath=str(tmp_path / "a.wav")), 16_000)
