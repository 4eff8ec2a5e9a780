"""A plug-in of synthetic studies, each with a fault that a control is meant for: tests/evaluate/test_faults.py."""

from dataclasses import replace
from typing import Any

import numpy as np

from raybrain.events import Sound, Word
from raybrain.studies.synthetic import Synthetic


class Repeating(Synthetic, name="repeating"):
    """Some sentences are said again and again: where splits go by blocks, they stand on both sides."""

    def recordings(self, root: Any) -> Any:
        return [replace(one, study="repeating") for one in super().recordings(root)]

    def events(self, root: Any, recording: Any) -> Any:
        events = super().events(root, recording)
        said = sorted({event.sequence for event in events if isinstance(event, Word)})[::3]
        return [replace(event, sequence="again") if getattr(event, "sequence", "") in said else event for event in events]


class Padded(Synthetic, name="padded"):
    """Epochs as long as sentences, one after another, padded with zeros: what is heard shows in the padding."""

    def recordings(self, root: Any) -> Any:
        return [replace(one, study="padded") for one in super().recordings(root)]

    def raw(self, root: Any, recording: Any) -> Any:
        raw = super().raw(root, recording)
        times, kept = raw.times, np.zeros(len(raw.times), dtype=bool)
        words = [event for event in self.events(root, recording) if isinstance(event, Word)]
        for sentence in {word.sequence for word in words}:
            mine = [word for word in words if word.sequence == sentence]
            kept |= (times >= min(word.start for word in mine)) & (times < max(word.stop for word in mine))
        raw._data[:, ~kept] = 0.0
        return raw


class Earphones(Synthetic, name="earphones"):
    """One channel has the envelope of the sound in it, at the moment of the sound."""

    def recordings(self, root: Any) -> Any:
        return [replace(one, study="earphones") for one in super().recordings(root)]

    def raw(self, root: Any, recording: Any) -> Any:
        import soundfile

        raw = super().raw(root, recording)
        wave = np.zeros(len(raw.times))
        for event in self.events(root, recording):
            if isinstance(event, Sound):
                sound, rate = soundfile.read(event.filepath)
                loud = np.convolve(np.abs(sound), np.ones(rate // 50) / (rate // 50), mode="same")
                at = np.arange(len(wave)) / raw.info["sfreq"] - event.start
                wave += np.interp(at, np.arange(len(loud)) / rate, loud, left=0.0, right=0.0)
        raw._data[3] += wave / wave.std() * 2 * raw._data[3].std()
        return raw
