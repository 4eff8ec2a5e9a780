"""Synthetic brain signals: the response that speech evokes, and background noise.

The response follows six band envelopes of the sound, their onsets, and the onsets of words and phonemes. Each of these drives
is convolved with a kernel of its own with two peaks (60-120 ms and 150-250 ms) and reaches the sensors as the field of a dipole
of its own. Subjects differ in the dipoles, in gain and in latency.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raybrain.studies.synthetic.speech import RATE_HZ, SpokenPhoneme, SpokenWord, keyed_rng

Array = NDArray[np.float64]
Device = Literal["meg", "eeg"]

HOP = 128  # samples of sound per frame of the drives: 8 ms
FRAME_HZ = RATE_HZ / HOP
EDGES_HZ = (100.0, 300.0, 600.0, 1200.0, 2400.0, 4200.0, 8000.0)
HEAD_M = np.array([0.0, 0.0, 0.04])  # the centre of the head in head coordinates
UNIT = {"eeg": 15e-6, "meg": 4e-13}  # the background on a typical channel, in V and T
BLINK = {"eeg": 120e-6, "meg": 2e-12}  # the peak of a blink where it is largest, in V and T
RESPONSE = {"eeg": 0.06, "meg": 0.08}  # rms of the response relative to the background, for signal=1
SOURCES = 24  # the number of background dipoles
LINE_HZ = 50.0


@dataclass(frozen=True)
class Sensors:
    """The sensors: positions and outward normals [channels 3], in metres in head coordinates."""

    device: Device
    names: list[str]
    positions: Array

    @property
    def normals(self) -> Array:
        """Unit vectors pointing away from the centre of the head."""
        outward = self.positions - HEAD_M
        normals: Array = outward / np.linalg.norm(outward, axis=1, keepdims=True)
        return normals


def drives(wave: Array, words: list[SpokenWord], phonemes: list[SpokenPhoneme]) -> Array:
    """The features of speech that the brain responds to [drives frames], one frame per ``HOP`` samples of sound."""
    window = 2 * HOP
    padded = np.pad(wave, (HOP, window + HOP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::HOP] * np.hanning(window)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    hertz = np.fft.rfftfreq(window, 1 / RATE_HZ)
    bands = [power[:, (hertz >= low) & (hertz < high)].sum(1) for low, high in pairwise(EDGES_HZ)]
    envelopes = np.array(bands) ** 0.3
    onsets = np.maximum(np.diff(envelopes, axis=1, prepend=0.0), 0.0)
    pulses = np.zeros((2, envelopes.shape[1]))
    for row, starts in enumerate(([word.start for word in words], [phoneme.start for phoneme in phonemes])):
        pulses[row, np.round(np.array(starts) * FRAME_HZ).astype(int)] = 1.0
    return np.concatenate([envelopes, onsets, pulses])


def scales(parts: list[Array]) -> Array:
    """The standard deviation of each drive over the parts of a story [drives 1]."""
    whole: Array = np.concatenate(parts, axis=1).std(axis=1, keepdims=True)
    return np.maximum(whole, 1e-12)


def evoked(drive: Array, scale: Array, seed: int) -> Array:
    """The time course each drive evokes [drives frames], at the rate of the drives; the same for all subjects."""
    rng = keyed_rng("kernels", seed)
    lag = np.arange(int(0.45 * FRAME_HZ)) / FRAME_HZ
    courses = np.zeros((len(drive), drive.shape[1] + len(lag)))
    for row, course in enumerate(drive / scale):
        early = np.exp(-(((lag - rng.uniform(0.06, 0.12)) / 0.025) ** 2))
        late = np.exp(-(((lag - rng.uniform(0.15, 0.25)) / 0.045) ** 2))
        kernel = early - rng.uniform(0.5, 1.0) * late
        courses[row, :-1] = np.convolve(course, kernel / np.linalg.norm(kernel))
    return courses


def response_topography(sensors: Sensors, seed: int, subject: str, count: int) -> Array:
    """The field of each drive on the sensors [channels drives]: alike over subjects, but not the same."""
    shared, own = keyed_rng("dipoles", seed), keyed_rng("dipoles", seed, subject)
    places = _places(count, shared) + 0.008 * own.standard_normal((count, 3))
    moments = shared.standard_normal((count, 3)) + 0.4 * own.standard_normal((count, 3))
    weights = shared.uniform(0.5, 1.5, count) * own.lognormal(0.0, 0.2, count)
    return dipole_field(sensors, places, moments) * weights


def latency_s(seed: int, subject: str) -> float:
    """How much later than others this subject responds: up to 10 ms either way."""
    return float(keyed_rng("latency", seed, subject).uniform(-0.01, 0.01))


def noise(sensors: Sensors, samples: int, rate_hz: float, seed: int, subject: str) -> Array:
    """All that is not the response [channels samples]: 1/f background, alpha, mains hum, blinks. It knows no speech."""
    background = _background(sensors, samples, rate_hz, keyed_rng("background", seed, subject))
    hum = keyed_rng("hum", seed, subject)
    if rate_hz > 2 * LINE_HZ:
        line = np.sin(2 * np.pi * (LINE_HZ * np.arange(samples) / rate_hz + hum.uniform()))
        background += 0.15 * hum.uniform(0.3, 1.7, (len(background), 1)) * line
    scaled = UNIT[sensors.device] * background
    return scaled + _blinks(sensors, samples, rate_hz, keyed_rng("blinks", seed, subject))


def bad_channel(channels: int, number: int, seed: int) -> int:
    """The index of the bad channel of the subject with this number; it differs between subjects."""
    return int(keyed_rng("bad", seed).permutation(channels)[number % channels])


def break_channel(data: Array, channel: int, number: int, seed: int, device: Device) -> None:
    """Make a channel bad, in place: flat for every second subject, pure noise for the others."""
    rng = keyed_rng("bad noise", seed, number)
    data[channel] = 0.0 if number % 2 else 30 * UNIT[device] * rng.standard_normal(data.shape[1])


def _background(sensors: Sensors, samples: int, rate_hz: float, rng: np.random.Generator) -> Array:
    hertz = np.fft.rfftfreq(samples, 1 / rate_hz)
    pink = 1 / np.maximum(hertz, 0.5) ** 0.6
    pink[hertz < 0.1] = 0.0
    alpha = np.exp(-(((hertz - 10.0) / 1.0) ** 2))
    spectra = np.array([pink] * SOURCES + [alpha] * 2)
    courses = _coloured(spectra, samples, rng)
    places = np.concatenate([_places(SOURCES, rng), [[0.03, -0.06, 0.06], [-0.03, -0.06, 0.06]]])
    weights = np.concatenate([rng.uniform(0.5, 1.5, SOURCES), [1.5, 1.5]])
    fields = dipole_field(sensors, places, rng.standard_normal((len(places), 3))) * weights
    data = fields @ courses + 0.5 * _coloured(np.broadcast_to(pink, (len(fields), len(pink))), samples, rng)
    data += 0.2 * rng.standard_normal(data.shape)
    scaled: Array = data / np.median(data.std(axis=1))
    return scaled


def _coloured(spectra: Array, samples: int, rng: np.random.Generator) -> Array:
    """Noise of unit variance with the given amplitude spectra [rows frequencies]."""
    shape = spectra.shape
    waves = np.fft.irfft(spectra * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)), samples)
    unit: Array = waves / waves.std(axis=1, keepdims=True)
    return unit


def _blinks(sensors: Sensors, samples: int, rate_hz: float, rng: np.random.Generator) -> Array:
    gaps = rng.uniform(4.0, 6.0, int(samples / rate_hz / 4) + 2)
    pulses = np.zeros(samples)
    places = (np.cumsum(gaps) * rate_hz).astype(int)
    sizes = rng.uniform(0.7, 1.3, len(places))
    pulses[places[places < samples]] = sizes[places < samples]
    shape = np.hanning(max(3, int(0.3 * rate_hz)))
    course = np.convolve(pulses, shape)[:samples]
    eyes = np.array([[0.03, 0.075, 0.02], [-0.03, 0.075, 0.02]])
    moment = [[0.0, 0.5, 1.0]] if sensors.device == "eeg" else [[1.0, 0.0, 0.0]]
    field = dipole_field(sensors, eyes, np.array(moment * 2)).sum(axis=1)
    peak: Array = np.outer(field / np.abs(field).max(), course)
    return BLINK[sensors.device] * peak


def _places(count: int, rng: np.random.Generator) -> Array:
    """Random positions in the upper two thirds of the brain, a few centimetres below the sensors, in metres [count 3]."""
    directions = rng.standard_normal((count, 3))
    directions[:, 2] = np.abs(directions[:, 2]) - 0.3
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    places: Array = HEAD_M + 0.06 * directions
    return places


def dipole_field(sensors: Sensors, places: Array, moments: Array) -> Array:
    """The fields of current dipoles at the sensors [channels dipoles], each with unit rms over the sensors."""
    away = sensors.positions[:, None] - places[None]
    distance = np.maximum(np.linalg.norm(away, axis=2), 0.02)
    if sensors.device == "eeg":
        field = (away * moments).sum(axis=2) / distance**3
        field -= field.mean(axis=0)
    else:
        field = (np.cross(moments[None], away) * sensors.normals[:, None]).sum(axis=2) / distance**3
    unit: Array = field / np.sqrt((field**2).mean(axis=0))
    return unit
