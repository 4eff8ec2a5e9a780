"""The synthetic study: synthetic speech, and synthetic brain signals with a known amount of response to it.

Nothing is downloaded and no MEG or EEG file is written: sounds are written to the cache once, and recordings are computed when
read, bit for bit the same each time. With ``signal=0`` the recordings are the same except for the response to speech.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from raybrain.config import InputError
from raybrain.events import Event, Phoneme, Sound, Word
from raybrain.recording import Recording
from raybrain.studies.base import Facts, Study
from raybrain.studies.synthetic.artefacts import Artefacts

if TYPE_CHECKING:
    import mne

    from raybrain.studies.synthetic.brain import Array, Sensors
    from raybrain.studies.synthetic.speech import StoryPart

BIOSEMI = (16, 32, 64, 128, 256)  # sizes of caps whose electrode positions mne knows


class Synthetic(Study, name="synthetic", shorthand="device"):
    """Subjects who each hear one synthetic story.

    Attributes:
        device: "meg" or "eeg".
        subjects: the number of subjects.
        minutes: the duration of the story.
        channels: the number of channels.
        rate_hz: the sampling rate.
        signal: scales the response to speech: 0 is pure noise, 1 is decodable.
        seed: of the story and of the brain signals.
        artefacts: what is planted on top of the noise.
    """

    facts: ClassVar[Facts] = Facts(licence="none needed: made here", language="en", device="MEG or EEG")

    device: Literal["meg", "eeg"] = "meg"
    subjects: int = Field(default=4, ge=1, le=999)
    minutes: float = Field(default=6.0, ge=0.2, le=240)
    channels: int = Field(default=32, ge=8, le=512)
    rate_hz: float = Field(default=250.0, ge=50, le=10_000)
    signal: float = Field(default=1.0, ge=0)
    seed: int = Field(default=0, ge=0)
    artefacts: Artefacts = Artefacts()

    @model_validator(mode="after")
    def _enough_places(self) -> "Synthetic":
        if self.device == "eeg" and self.channels > max(BIOSEMI):
            raise ValueError(
                f"device=eeg has positions for {max(BIOSEMI)} channels (found channels={self.channels}); type device=meg"
            )
        return self

    @property
    def expected(self) -> Facts:
        """What is going to be synthesised."""
        return replace(
            self.facts,
            recordings=self.subjects,
            subjects=self.subjects,
            channels=self.channels,
            hertz=self.rate_hz,
            hours=self.subjects * self.minutes / 60,
        )

    def fetch(self, cache: Path) -> Path:
        """The folder of the story, which is synthesised if it does not exist."""
        from raybrain.studies.synthetic.speech import story_folder

        return story_folder(cache, self.minutes, self.seed)

    def recordings(self, root: Path) -> list[Recording]:
        """One recording per subject."""
        return [
            Recording(study=f"synthetic-{self.device}", subject=f"{number + 1:02d}", task="story")
            for number in range(self.subjects)
        ]

    def events(self, root: Path, recording: Recording) -> list[Event]:
        """The parts of the story as sounds, with their words and phonemes."""
        parts = self._parts(root)
        events: list[Event] = []
        for part, start in zip(parts, self._starts(parts, recording), strict=True):
            path = str((root / part.file).absolute())
            events.append(Sound(start=start, duration=part.duration, language="en", filepath=path))
            events += [
                Word(
                    start=start + word.start,
                    duration=word.duration,
                    language="en",
                    word=word.word,
                    word_index=word.word_index,
                    sequence=word.sequence,
                )
                for word in part.words
            ]
            events += [
                Phoneme(start=start + spoken.start, duration=spoken.duration, language="en", phoneme=spoken.phoneme)
                for spoken in part.phonemes
            ]
        return sorted(events, key=lambda event: event.start)

    def raw(self, root: Path, recording: Recording) -> "mne.io.BaseRaw":
        """Noise plus ``signal`` times the response, with one bad channel that is not marked as bad."""
        import mne

        from raybrain.studies.synthetic import brain as brain

        number = self._number(recording)
        sensors, info = _sensors(self.device, self.channels, self.rate_hz)
        parts = self._parts(root)
        starts = self._starts(parts, recording)
        samples = int((starts[-1] + parts[-1].duration + 3.0) * self.rate_hz)
        data = brain.noise(sensors, samples, self.rate_hz, self.seed, recording.subject)
        if self.signal:
            data += self.signal * _response(self, root, parts, starts, sensors, samples, recording.subject)
        beside = self.artefacts.plant(data, sensors, self.rate_hz, self.seed, recording.subject)
        brain.break_channel(data, brain.bad_channel(self.channels, number, self.seed), number, self.seed, self.device)
        raw = mne.io.RawArray(data, info, verbose="error")
        for name, (kind, course) in beside.items():
            other = mne.io.RawArray(course[None], mne.create_info([name], self.rate_hz, kind), verbose="error")
            raw.add_channels([other], force_update_info=True)
        return raw

    def sources(self, root: Path, recording: Recording) -> list[Path]:
        """The files of the story."""
        return sorted(path for path in root.iterdir() if path.is_file())

    def _number(self, recording: Recording) -> int:
        known = [other.subject for other in self.recordings(Path())]
        if recording.subject not in known:
            raise InputError(f"no subject {recording.subject!r} in {recording.study}. Allowed: {known[0]} to {known[-1]}")
        return known.index(recording.subject)

    def _parts(self, root: Path) -> "list[StoryPart]":
        from raybrain.studies.synthetic.speech import read_story

        return read_story(root)

    def _starts(self, parts: "list[StoryPart]", recording: Recording) -> list[float]:
        """When each part starts: 2-5 s into the recording, with 1-2 s between parts, differently for each subject."""
        from raybrain.studies.synthetic.speech import keyed_rng

        rng = keyed_rng("lead", self.seed, recording.subject)
        starts = [float(rng.uniform(2.0, 5.0))]
        for part in parts[:-1]:
            starts.append(starts[-1] + part.duration + float(rng.uniform(1.0, 2.0)))
        return starts


def _response(
    study: Synthetic,
    root: Path,
    parts: "list[StoryPart]",
    starts: list[float],
    sensors: "Sensors",
    samples: int,
    subject: str,
) -> "Array":
    """The response to the story at the sensors [channels samples], scaled for ``signal=1``."""
    import numpy as np
    import soundfile

    from raybrain.studies.synthetic import brain as brain
    from raybrain.studies.synthetic.speech import keyed_rng

    sounds = [brain.drives(soundfile.read(root / part.file)[0], part.words, part.phonemes) for part in parts]
    scale = brain.scales(sounds)
    times = np.arange(samples) / study.rate_hz - brain.latency_s(study.seed, subject)
    courses = np.zeros((len(scale), samples))
    for drive, start in zip(sounds, starts, strict=True):
        evoked = brain.evoked(drive, scale, study.seed)
        frames = np.arange(evoked.shape[1]) / brain.FRAME_HZ
        inside = slice(*np.searchsorted(times - start, [0.0, frames[-1]]))
        for row, course in enumerate(evoked):
            courses[row, inside] += np.interp(times[inside] - start, frames, course)
    courses -= courses.mean(axis=1, keepdims=True)
    response = brain.response_topography(sensors, study.seed, subject, len(courses)) @ courses
    rms = np.sqrt(np.mean(response**2))
    gain = float(keyed_rng("gain", study.seed, subject).uniform(0.8, 1.25))
    scaled: Array = response * (gain * brain.RESPONSE[study.device] * brain.UNIT[study.device] / rms)
    return scaled


def _sensors(device: Literal["meg", "eeg"], channels: int, rate_hz: float) -> "tuple[Sensors, mne.Info]":
    """Sensors and the matching mne info."""
    import mne
    import numpy as np

    from raybrain.studies.synthetic.brain import HEAD_M, Sensors

    if device == "eeg":
        return _eeg(channels, rate_hz)
    height = 1 - (np.arange(channels) + 0.5) / channels * 1.25  # from the vertex to below the centre of the head
    angle = np.arange(channels) * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    positions = HEAD_M + 0.12 * np.column_stack([ring * np.cos(angle), ring * np.sin(angle), height])
    names = [f"MAG{number + 1:03d}" for number in range(channels)]
    sensors = Sensors("meg", names, positions)
    info = mne.create_info(names, rate_hz, "mag", verbose="error")
    for channel, position, normal in zip(info["chs"], positions, sensors.normals, strict=True):
        across = np.cross(normal, [0.0, 0.0, 1.0] if abs(normal[2]) < 0.9 else [1.0, 0.0, 0.0])
        across /= np.linalg.norm(across)
        # a point magnetometer: for other types mne would look up the names in the manufacturer's layout
        channel["coil_type"] = 2000
        channel["loc"] = np.concatenate([position, across, np.cross(normal, across), normal])
    info["line_freq"] = 50.0
    return sensors, info


def _eeg(channels: int, rate_hz: float) -> "tuple[Sensors, mne.Info]":
    """The smallest BioSemi cap with enough electrodes, evenly thinned out to the number of channels."""
    import mne
    import numpy as np

    from raybrain.studies.synthetic.brain import Sensors

    cap = next(size for size in BIOSEMI if size >= channels)
    montage = mne.channels.make_standard_montage(f"biosemi{cap}")
    places = montage.get_positions()["ch_pos"]
    points = np.array(list(places.values()))
    keep = [int(points[:, 2].argmax())]
    distance = np.full(cap, np.inf)
    while len(keep) < channels:
        distance = np.minimum(distance, np.linalg.norm(points - points[keep[-1]], axis=1))
        keep.append(int(distance.argmax()))
    names = [name for number, name in enumerate(places) if number in keep]
    info = mne.create_info(names, rate_hz, "eeg", verbose="error")
    info.set_montage(montage, verbose="error")
    info["line_freq"] = 50.0
    positions = np.array([channel["loc"][:3] for channel in info["chs"]])
    return Sensors("eeg", names, positions), info
