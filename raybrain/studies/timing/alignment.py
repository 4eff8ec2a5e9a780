"""Where a sound is in a recording, found by comparing it with a copy recorded along with the brain. Not a study itself."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SMOOTH_S = 0.01


def lag_s(recorded: Array, rate_hz: float, wave: Array, wave_rate_hz: float) -> tuple[float, float]:
    """How much later than expected a sound was played, and the correlation that supports it.

    The loudness of the sound is cross-correlated with that of the copy; loudness rather than the wave, because the copy's
    sampling rate is too low for speech.

    Args:
        recorded: the copy, from some time before the expected start of the sound to the same time after its end [samples].
        rate_hz: the sampling rate of the copy.
        wave: the sound [samples].
        wave_rate_hz: the sampling rate of the sound.

    Returns:
        The lag in seconds, negative if the sound was played earlier, and the correlation at that lag; zeros if the copy is
        silent or too short.
    """
    from scipy.signal import correlate

    step = wave_rate_hz / rate_hz
    edges = (np.arange(int(len(wave) / step) + 1) * step).astype(int)
    sound = _smooth(np.add.reduceat(np.abs(wave), edges[:-1]) / np.diff(edges), rate_hz)
    copy = _smooth(np.abs(recorded - recorded.mean()), rate_hz)
    places = len(copy) - len(sound) + 1
    if places < 1 or not sound.std() or not copy.std():
        return 0.0, 0.0
    sound = (sound - sound.mean()) / np.linalg.norm(sound - sound.mean())
    sums = np.cumsum(np.insert(copy, 0, 0.0)), np.cumsum(np.insert(copy**2, 0, 0.0))
    total, squares = (sum_[len(sound) :] - sum_[: -len(sound)] for sum_ in sums)
    spread = np.sqrt(np.maximum(squares - total**2 / len(sound), 1e-30))
    correlation = correlate(copy, sound, mode="valid") / spread
    best = int(correlation.argmax())
    return (best - (places - 1) / 2) / rate_hz, float(correlation[best])


def _smooth(loudness: Array, rate_hz: float) -> Array:
    width = max(1, round(SMOOTH_S * rate_hz))
    smoothed: Array = np.convolve(loudness, np.full(width, 1 / width), mode="same")
    return smoothed
