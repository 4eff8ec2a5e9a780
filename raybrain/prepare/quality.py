"""Quality: numbers by which people judge a recording, gathered while it is prepared; a row of the store's table of them.

Of the recording as it was, a few stretches are read; the prepared signal is looked at as it passes by. Both are bounded,
however long the recording is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from raybrain.config import InputError
from raybrain.events import Event, Sound, Word
from raybrain.features.audio import mono
from raybrain.signal.beside import beside_channels, beside_course
from raybrain.signal.lagged import Alignment, LaggedPairs
from raybrain.signal.loudness import STRETCHES, Listener, Loudness, evenly, loudness
from raybrain.store import QUALITY, chunk_samples

if TYPE_CHECKING:
    import mne

    from raybrain.signal.bad_stretches import BadStretch
    from raybrain.signal.pipeline import Signal

PIECES = 60  # of the prepared signal, of ten seconds each, that are compared with what is heard
BESIDE_PIECES = 12  # of channels beside the brain
SURE = 5.0  # deviations above chance of a channel beside the brain, of which the best one of several is shown
MINUTE_S = 60.0  # of sound that a page shows


@dataclass
class Before:
    """What is known of a recording before its steps.

    Attributes:
        raw: the recording.
        loudness: of its channels.
        marked: the channels that its study marks bad.
    """

    raw: "mne.io.BaseRaw"
    loudness: Loudness
    marked: tuple[str, ...]

    @classmethod
    def of(cls, raw: "mne.io.BaseRaw") -> "Before":
        """Look at a recording."""
        return cls(raw, loudness(raw), tuple(map(str, raw.info["bads"])))


@dataclass
class Watch:
    """What passes by of a recording while its signal is written.

    Attributes:
        before: the recording before its steps.
        signal: the prepared one.
        events: what was heard.
        rate_hz: of the prepared signal.
    """

    before: Before
    signal: "Signal"
    events: Sequence[Event]
    rate_hz: float
    _listener: Listener = field(init=False)
    _pairs: LaggedPairs | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        samples, self._length = self.signal.samples, chunk_samples(self.rate_hz)
        whole = max(1, samples // self._length)
        self._heard_in, self._paired = set(evenly(whole, STRETCHES)), set(evenly(whole, PIECES))
        self._listener = Listener(self.signal.recording.info, self.rate_hz)
        self._courses = heard_courses(self.events, self.rate_hz, samples)
        self._follows = next((what for what in ("sound", "onsets") if what in self._courses), "")
        if self._follows:
            channels = len(self.signal.channels)
            self._pairs = LaggedPairs(self._courses[self._follows], self.rate_hz, channels, self._length)

    def pass_by(self, first: int, piece: np.ndarray) -> None:
        """A piece [samples channels] of the prepared signal that begins at sample ``first``."""
        number = first // self._length
        if number in self._heard_in:
            self._listener.hear(piece.T.astype(np.float64))
        if self._pairs and number in self._paired:
            self._pairs.pass_by(first, piece)

    def row(self, bad: "Sequence[BadStretch]", lost: np.ndarray, windows: int, remarks: Sequence[str]) -> dict[str, Any]:
        """The row of this recording, as the schema QUALITY has it.

        Args:
            bad: its stretches that are not used.
            lost: the first samples of the windows that are left out for them.
            windows: how many there are with these.
            remarks: on the recording and its steps.
        """
        before, after = self.before.loudness, self._listener.loudness()
        response = self._pairs.alignment(np.array(self.signal.valid)) if self._pairs else None
        follows = {"sound": "the brain behind the sound", "onsets": "the brain behind the onsets of words"}
        alignments = [(follows[self._follows], response)] if response else []
        alignments += list(self._beside())
        line_hz = float(self.before.raw.info["line_freq"] or before.line_hz())
        first = min((event.start for event in self.events if isinstance(event, Word)), default=0.0)
        begin = max(0, min(round(first * self.rate_hz), self.signal.samples - round(MINUTE_S * self.rate_hz)))
        minute = self._courses.get("sound", np.empty(0))[begin : begin + round(MINUTE_S * self.rate_hz)]
        return {
            "seconds": self.before.raw.n_times / float(self.before.raw.info["sfreq"]),
            "recorded_hz": float(self.before.raw.info["sfreq"]),
            "channels": _channels(self, after, remarks, response),
            "spectra": [*_spectra("before the steps", before), *_spectra("prepared", after)],
            "line_hz": line_hz,
            "line_db_before": before.line_db(line_hz),
            "line_db_after": after.line_db(line_hz),
            "stretches": [{"start_s": one.start, "stop_s": one.stop, "why": one.why} for one in bad],
            "windows": windows,
            "lost_windows_s": lost / self.rate_hz,
            "alignment": [_alignment(what, one) for what, one in alignments],
            "components": [
                {"name": one.name, "reason": one.reason, "channels": list(one.weights), "weights": list(one.weights.values())}
                for one in self.signal.removed
            ],
            "minute_s": begin / self.rate_hz,
            "minute_hz": self.rate_hz,
            "minute": minute,
            "remarks": list(remarks),
        }

    def _beside(self) -> Iterable[tuple[str, Alignment]]:
        """The channel beside the brain that follows the sound, and the one that follows the onsets, where there are such."""
        for what, names in beside_channels(self.before.raw).items():
            if what not in self._courses:
                continue
            pairs = LaggedPairs(self._courses[what], self.rate_hz, len(names), self._length)
            for number in evenly(max(1, self.signal.samples // self._length), BESIDE_PIECES):
                span = int(number) * self._length, int(number) * self._length + pairs.length
                course = beside_course(self.before.raw, what, names, span, self.rate_hz)
                if course is not None:
                    pairs.pass_by(span[0], course)
            each = [(pairs.alignment(np.arange(len(names)) == row), name) for row, name in enumerate(names)]
            sure = [(curve, name) for curve, name in each if curve and curve.deviations > SURE and curve.peak > curve.limit]
            if sure:
                curve, name = max(sure, key=lambda one: one[0].peak)
                yield f"channel {name} behind the {'sound' if what == 'sound' else 'onsets of sounds and words'}", curve


def quality_table(row: dict[str, Any]) -> pa.Table:
    """One row with the schema QUALITY."""
    return pa.Table.from_pylist([row], schema=QUALITY)


def _channels(watch: Watch, after: Loudness, remarks: Sequence[str], response: Alignment | None) -> list[dict[str, Any]]:
    """Every channel there was before the steps: how loud, whether it is used, and why not."""
    before, signal = watch.before, watch.signal
    place = {name: number for number, name in enumerate(signal.channels)}
    odd = before.loudness.odd_channels()
    rows = []
    for number, name in enumerate(before.loudness.names):
        reasons = ["marked bad by the study"] if name in before.marked else [odd[name]] if name in odd else []
        at = place.get(name)
        if at is None:
            state, reasons = "left out", [*reasons, "the steps leave it out"]
        elif signal.valid[at]:
            state = "odd" if name in odd else "mended" if reasons else "good"
        else:
            state = "bad"
            marked = name in signal.recording.info["bads"]
            reasons += _by_steps(name, remarks) if marked and name not in before.marked else []
            reasons += [] if marked else ["nobody knows where it lies"]
        power = before.loudness.spread[number]
        rows.append(
            {
                "name": name,
                "kind": before.loudness.kinds[number],
                "deviation": power if np.isfinite(power) else None,
                "deviation_after": None if at is None else after.spread[at],
                "state": state,
                "reason": ", ".join(reasons),
                "response": None if at is None or response is None else response.channels[at],
            }
        )
    return rows


def _by_steps(name: str, remarks: Sequence[str]) -> list[str]:
    """Why a step marked a channel bad, from what it remarks: ``bad_channels: Fz (flat)``."""
    for line in remarks:
        step, colon, marked = line.partition(": ")
        for one in marked.split(", ") if colon else []:
            if one.startswith(f"{name} (") and one.endswith(")"):
                return [f"{one[len(name) + 2 : -1]}, says step {step}"]
    return ["marked bad by a step"]


def _spectra(stage: str, loudness: Loudness) -> list[dict[str, Any]]:
    rows = []
    for kind in dict.fromkeys(loudness.kinds):
        low, middle, high = loudness.quartiles(kind)
        rows.append({"stage": stage, "kind": kind, "hz": loudness.hz, "low": low, "middle": middle, "high": high})
    return rows


def _alignment(what: str, alignment: Alignment) -> dict[str, Any]:
    return {
        "what": what,
        "lags_s": alignment.lags_s,
        "response": alignment.response,
        "low": alignment.low,
        "high": alignment.high,
        "limit": alignment.limit,
        "peak": alignment.peak,
        "peak_s": alignment.peak_s,
        "deviations": alignment.deviations,
    }


def heard_courses(events: Sequence[Event], rate_hz: float, samples: int) -> dict[str, np.ndarray]:
    """The amplitude of the sound, and the onsets of sounds and words, in each sample of a recording.

    Returns:
        [samples] for "sound", where all sounds can be read, and for "onsets", where there are events.
    """
    courses = {}
    sounds = [event for event in events if isinstance(event, Sound)]
    envelope = np.zeros(samples)
    try:
        for sound in sounds:
            _add_amplitude(envelope, sound, rate_hz)
    except (InputError, RuntimeError, OSError):  # of a file that is not there, or of another channel; said when it is heard
        sounds = []
    if sounds:
        courses["sound"] = envelope
    onsets = [round(event.start * rate_hz) for event in events if isinstance(event, Sound | Word)]
    inside = [onset for onset in onsets if 0 <= onset < samples]
    if inside:
        courses["onsets"] = np.bincount(inside, minlength=samples).clip(max=1).astype(float)
    return courses


def _add_amplitude(envelope: np.ndarray, sound: Sound, rate_hz: float) -> None:
    """Add the rectified wave of a sound where it is heard, read a few seconds at a time."""
    import soundfile

    with soundfile.SoundFile(sound.filepath) as file:
        first = min(round(sound.offset * file.samplerate), file.frames)
        left = min(round(sound.offset_stop * file.samplerate), file.frames) - first
        file.seek(first)
        while left > 0:
            wave = np.abs(mono(file.read(min(left, 30 * file.samplerate), dtype="float32", always_2d=True), sound))
            if not len(wave):
                return
            at = sound.heard((first + np.arange(len(wave))) / file.samplerate) * rate_hz
            bins = np.floor(at).astype(int)
            inside = (bins >= 0) & (bins < len(envelope))
            if inside.any():
                begin = int(bins[inside].min())
                sums = np.bincount(bins[inside] - begin, weights=wave[inside])
                envelope[begin : begin + len(sums)] += sums * rate_hz / (sound.speed * file.samplerate)
            first, left = first + len(wave), left - len(wave)
