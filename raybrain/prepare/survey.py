"""Survey: what is missing, short or odd in a study, recording by recording, without preparing anything."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from raybrain.cluster import Cluster, ray_session
from raybrain.config import InputError
from raybrain.events import Event, Phoneme, Sound, SplitConfig, Word, sentence_blocks
from raybrain.identity import locate
from raybrain.integrity import file_digest
from raybrain.prepare.parallel import each_recording
from raybrain.prepare.plan import Heard, SplitPlan, make_plan, why_empty
from raybrain.prepare.plausible import SLACK_S, misplaced, odd_times
from raybrain.prepare.sound_check import refuse_unheard, sound_remarks
from raybrain.prepare.tasks import Source, guarded
from raybrain.signal.bad_stretches import bad_stretches, described
from raybrain.signal.channels import brain_channels, refuse_blind, usable_channels
from raybrain.signal.odd_signal import lost_sensors, odd_signal
from raybrain.signal.window import SegmentConfig
from raybrain.studies.base import Facts, LeftOut, Study

if TYPE_CHECKING:
    import mne

SHORT_SHARE = 0.5  # of the median duration of recordings of the same task
HOURS_SHARE = 0.1  # of the hours in the study's facts


@dataclass
class RecordingSurvey:
    """The header and events of one recording in numbers, and its problems; zeros where something could not be read.

    What is ``odd`` is used as it is, and perhaps not what was meant.
    """

    recording: str
    seconds: float = 0.0
    channels: int = 0
    bad: int = 0
    hertz: float = 0.0
    sounds: int = 0
    words: int = 0
    sentences: int = 0
    phonemes: int = 0
    problems: list[str] = field(default_factory=list)
    usable: int = 0  # channels that are not bad and whose places are known
    odd: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Survey:
    """The recordings of a study, its problems and what is left out; ``plan`` is None if there are no events to plan with."""

    root: Path
    recordings: list[RecordingSurvey]
    problems: list[str]
    plan: SplitPlan | None
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def odd(self) -> int:
        """The number of things that are odd, and are used as they are."""
        return sum(len(recording.odd) for recording in self.recordings)

    @property
    def wrong(self) -> int:
        """The number of problems, including leaks between splits."""
        leaks = [*self.plan.sentences_in_two_splits, *self.plan.audio_in_two_splits] if self.plan else []
        missed = sum(out.odd for out in self.left_out)
        return len(self.problems) + sum(len(recording.problems) for recording in self.recordings) + len(leaks) + missed


def survey_study(study: Study, cluster: Cluster) -> Survey:
    """Survey every recording of a study, as Ray tasks, and the splits it would have by default.

    Raises:
        InputError: if the study is not on disk.
    """
    study = locate(study, cluster.home)
    root = _root(study, cluster.cache)
    sources = [Source(study, root, recording) for recording in study.recordings(root)]
    by_uid = {source.recording.uid: source.recording for source in sources}
    surveyed: list[RecordingSurvey] = []
    heard: list[Heard] = []
    logs = cluster.home / "check"

    def task(source: Source) -> dict[str, Any]:
        return {"survey": survey_recording(source, logs)}

    with ray_session(cluster):
        for row in each_recording(sources, task, logs, f"check: {study.name}"):
            unknown = RecordingSurvey(row["uid"], problems=[row["error"]])
            recording, events = row.get("survey", (unknown, ()))
            surveyed.append(recording)
            if events:
                heard.append(Heard(by_uid[recording.recording], events, study.blocks_by))
    surveyed.sort(key=lambda recording: recording.recording)
    _mark_short(surveyed, {source.recording.uid: source.recording.task for source in sources})
    subjects = [source.recording.subject for source in sources]
    problems = _against_facts(study, surveyed, subjects)
    plan, empty = _plan(heard) if heard else (None, [])
    problems += empty
    if plan:
        _mark_unused(surveyed, plan)
    return Survey(root, surveyed, problems, plan, study.left_out(root))


def _root(study: Study, cache: Path) -> Path:
    """The study's folder; a study with hosts is not downloaded."""
    if not study.hosts:
        return study.fetch(cache)
    root = cache / study.name
    if not root.is_dir():
        raise InputError(f"{study.name} is not in {root}; type raybrain studies fetch {study.typed}")
    return root


def survey_recording(source: Source, logs: Path) -> tuple[RecordingSurvey, tuple[Event, ...]]:
    """Read one recording's header and events. An error while reading becomes a problem, and that part is skipped.

    The events of a recording whose signal cannot be read are left out of the plan, as they are when it is prepared.
    """
    study, root, recording = source.study, source.root, source.recording
    surveyed = RecordingSurvey(recording.uid)
    events: list[Event] = []

    def signal() -> dict[str, Any]:
        raw = study.raw(root, recording)
        surveyed.problems += _survey_signal(surveyed, raw, study.facts)
        surveyed.odd += odd_signal(raw, brain_channels(raw))
        bad = bad_stretches(raw)
        if bad:
            surveyed.odd.append(f"{described(bad)}: windows there are left out, unless data.segments.over_bad=yes")
        return {}

    def speech() -> dict[str, Any]:
        listed = study.events(root, recording)
        surveyed.sentences = len(sentence_blocks(listed, study.blocks_by))
        surveyed.problems += _survey_events(surveyed, listed)
        absent = sorted({event.filepath for event in listed if isinstance(event, Sound) and not Path(event.filepath).is_file()})
        if absent:
            raise InputError(f"no sound file {absent[0]}" + (f", nor {len(absent) - 1} others" if absent[1:] else ""))
        surveyed.odd += odd_times(listed)
        refuse_unheard(listed)
        surveyed.odd += sound_remarks(listed)
        events.extend(listed)
        return {}

    def further() -> dict[str, Any]:
        surveyed.problems += study.problems(root, recording)
        return {}

    errors = []
    for part in (signal, speech, further):
        errors.append(guarded(part, recording.uid, logs)["error"])
        if errors[-1] and errors[-1] not in surveyed.problems:
            surveyed.problems.append(errors[-1])
    return surveyed, () if errors[0] else tuple(events)


def _survey_signal(surveyed: RecordingSurvey, raw: "mne.io.BaseRaw", facts: Facts) -> list[str]:
    import mne

    with mne.utils.use_log_level("error"):
        picks = brain_channels(raw)
        info = mne.pick_info(raw.info, picks)
        surveyed.usable = int(usable_channels(info).sum())
    surveyed.channels, surveyed.bad = len(picks), len(info["bads"])
    surveyed.hertz = float(raw.info["sfreq"])
    surveyed.seconds = raw.n_times / surveyed.hertz
    problems = []
    if facts.channels and surveyed.channels != facts.channels:
        problems.append(f"{surveyed.channels} channels, not {facts.channels}")
    if facts.hertz and abs(surveyed.hertz - facts.hertz) > 1e-3 * facts.hertz:
        problems.append(f"{surveyed.hertz:g} Hz, not {facts.hertz:g}")
    problems += lost_sensors(info)
    refuse_blind(info)
    return problems


def _survey_events(surveyed: RecordingSurvey, events: Sequence[Event]) -> list[str]:
    words = [event for event in events if isinstance(event, Word)]
    surveyed.sounds, surveyed.words = sum(isinstance(event, Sound) for event in events), len(words)
    surveyed.phonemes = sum(isinstance(event, Phoneme) for event in events)
    late = max((word.start for word in words), default=0.0) - surveyed.seconds
    after = [f"words go on for {late:.1f} s after its end"] if surveyed.seconds and late > SLACK_S else []
    return after + misplaced(events)


def _mark_short(recordings: Sequence[RecordingSurvey], tasks: dict[str, str]) -> None:
    """Add a problem to recordings that are much shorter than the median of the same task."""
    for task in set(tasks.values()):
        alike = [recording for recording in recordings if tasks[recording.recording] == task and recording.seconds]
        usual = median(recording.seconds for recording in alike) if len(alike) > 2 else 0.0
        for recording in alike:
            if recording.seconds < SHORT_SHARE * usual:
                recording.problems.append(
                    f"{recording.seconds:.0f} s long; half of {len(alike)} like it last {usual:.0f} s or more"
                )


def _mark_unused(recordings: Sequence[RecordingSurvey], plan: SplitPlan) -> None:
    """Add a problem to recordings that hold no window, by default."""
    window_s = SegmentConfig().length_s
    for recording in recordings:
        blocks = plan.blocks.get(recording.recording, ())
        longest = max((planned.block.duration for planned in blocks), default=0.0)
        if recording.recording in plan.blocks and longest < window_s:
            recording.problems.append(f"nothing of it can be used: no block is as long as a window of {window_s:g} s")


def _against_facts(study: Study, recordings: Sequence[RecordingSurvey], subjects: Sequence[str]) -> list[str]:
    """Compare the number of recordings and hours with the study's facts, if the whole study was requested."""
    facts, problems = study.facts, []
    if not study.whole:
        return []
    if facts.recordings and len(recordings) != facts.recordings:
        counts = Counter(subjects)
        usual = Counter(counts.values()).most_common(1)[0][0]
        odd = ", ".join(f"{subject} has {count}" for subject, count in sorted(counts.items()) if count != usual)
        detail = f"most subjects have {usual}, but {odd}" if odd else f"{len(counts)} subjects have {usual} each"
        problems.append(f"{len(recordings)} recordings, not {facts.recordings} ({detail})")
    hours = sum(recording.seconds for recording in recordings) / 3600
    if facts.hours and abs(hours - facts.hours) > HOURS_SHARE * facts.hours:
        problems.append(f"{hours:.3g} hours, not {facts.hours:.3g}")
    return problems


def _plan(heard: Sequence[Heard]) -> tuple[SplitPlan, list[str]]:
    """The splits that the study would have by default, and why one of them would be empty."""
    paths = sorted({event.filepath for item in heard for event in item.events if isinstance(event, Sound)})
    digests, config = {path: file_digest(Path(path)) for path in paths}, SplitConfig()
    plan = make_plan(heard, digests, config)
    why = why_empty(plan, heard, digests, config, SegmentConfig().length_s)
    return plan, [why] if why else []
