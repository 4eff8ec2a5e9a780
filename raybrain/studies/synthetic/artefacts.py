"""Artefacts of the synthetic study: what can be planted on top of its noise, to see which step takes it off."""

import numpy as np
from pydantic import Field

from raybrain.config import Config
from raybrain.studies.synthetic.brain import HEAD_M, LINE_HZ, UNIT, Array, Sensors, dipole_field
from raybrain.studies.synthetic.speech import keyed_rng

EYES = HEAD_M + np.array([[0.03, 0.075, -0.02], [-0.03, 0.075, -0.02]])
HEART = HEAD_M + np.array([[0.03, 0.0, -0.12]])
JUMP_S = 10.0  # between two jumps, of one channel or another


class Artefacts(Config):
    """Each in multiples of the background on a typical channel; 0 for none. Blinks and heartbeats come with EOG and ECG.

    Attributes:
        line: the amplitude of mains hum, with a harmonic, that differs between channels.
        blinks: the peak of blinks on the channel that sees them best, every two to four seconds.
        heart: the peak of heartbeats on the channel that sees them best.
        jumps: the size of steps of single channels to another level.
    """

    line: float = Field(default=0.0, ge=0)
    blinks: float = Field(default=0.0, ge=0)
    heart: float = Field(default=0.0, ge=0)
    jumps: float = Field(default=0.0, ge=0)

    def plant(self, data: Array, sensors: Sensors, rate_hz: float, seed: int, subject: str) -> dict[str, tuple[str, Array]]:
        """Add them to signal [channels samples], in place.

        Returns:
            The channels that are recorded beside it: kind and course, by name.
        """
        unit, samples, beside = UNIT[sensors.device], data.shape[1], dict[str, tuple[str, Array]]()
        if self.line:
            rng = keyed_rng("planted line", seed, subject)
            phase = 2 * np.pi * (LINE_HZ * np.arange(samples) / rate_hz + rng.uniform())
            gains = rng.uniform(0.5, 1.5, (2, len(data), 1))
            harmonic = 0.3 * np.sin(2 * phase) if rate_hz > 4 * LINE_HZ else 0.0
            data += self.line * unit * (gains[0] * np.sin(phase) + gains[1] * harmonic)
        if self.blinks:
            rng = keyed_rng("planted blinks", seed, subject)
            blink = _pulses(samples, rate_hz, rng, (2.0, 4.0), np.hanning(max(3, round(0.35 * rate_hz))))
            data += self.blinks * unit * np.outer(_seen(sensors, EYES), blink)
            beside["EOG"] = "eog", 3e-4 * blink + 5e-6 * rng.standard_normal(samples)
        if self.heart:
            rng = keyed_rng("planted heart", seed, subject)
            beat = _pulses(samples, rate_hz, rng, (0.8, 1.0), _beat(rate_hz))
            data += self.heart * unit * np.outer(_seen(sensors, HEART), beat)
            beside["ECG"] = "ecg", 1e-3 * beat + 2e-5 * rng.standard_normal(samples)
        if self.jumps:
            rng = keyed_rng("planted jumps", seed, subject)
            for place in np.arange(JUMP_S / 2, samples / rate_hz, JUMP_S):
                level = self.jumps * unit * rng.uniform(0.5, 1.5) * rng.choice([-1, 1])
                data[rng.integers(len(data)), round(place * rate_hz) :] += level
        return beside


def _pulses(samples: int, rate_hz: float, rng: np.random.Generator, gaps_s: tuple[float, float], shape: Array) -> Array:
    """A shape that comes again and again, more or less strong, [samples]."""
    gaps = rng.uniform(*gaps_s, int(samples / rate_hz / gaps_s[0]) + 2)
    places = (np.cumsum(gaps) * rate_hz).astype(int)
    sizes = rng.uniform(0.7, 1.3, len(places))
    train = np.zeros(samples)
    train[places[places < samples]] = sizes[places < samples]
    course: Array = np.convolve(train, shape)[:samples]
    return course


def _beat(rate_hz: float) -> Array:
    """A heartbeat: the sharp peak of the ventricles, and the slow wave after it."""
    times = np.arange(round(0.5 * rate_hz)) / rate_hz
    beat: Array = np.exp(-(((times - 0.05) / 0.012) ** 2)) + 0.2 * np.exp(-(((times - 0.3) / 0.05) ** 2))
    return beat


def _seen(sensors: Sensors, places: Array) -> Array:
    """How much of currents at some places each channel sees, 1 where it is most, [channels]."""
    moment = [0.0, 0.5, 1.0] if sensors.device == "eeg" else [1.0, 0.0, 0.0]
    field = dipole_field(sensors, places, np.array([moment] * len(places))).sum(axis=1)
    seen: Array = field / np.abs(field).max()
    return seen
