"""Check: what of a study is missing, short or odd, recording by recording, without preparing anything."""

import itertools
import pickle
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
from raybrain.prepare.parallel import each
from raybrain.prepare.plan import Heard, SplitPlan, make_plan
from raybrain.prepare.tasks import Source, guarded
from raybrain.signal.channels import brain_channels, sensor_positions
from raybrain.storage import file_digest
from raybrain.studies.base import Facts, Study

if TYPE_CHECKING:
    import mne

SLACK_S = 0.5
LONG_SENTENCE = 200  # words; more and sentences are not marked
BAD_SHARE = 0.2
SHORT_SHARE = 0.5  # of the median of its task
HOURS_SHARE = 0.1


@dataclass
class Looked:
    """What a look at one recording's header and events told; zeros where it could not be read."""

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


@dataclass(frozen=True)
class Survey:
    """What a look at a whole study told; ``plan`` is None where there are no events to plan with."""

    root: Path
    recordings: list[Looked]
    problems: list[str]
    plan: SplitPlan | None

    @property
    def wrong(self) -> int:
        """How many problems there are."""
        leaks = [*self.plan.sentences_in_two_splits, *self.plan.audio_in_two_splits] if self.plan else []
        return len(self.problems) + sum(len(looked.problems) for looked in self.recordings) + len(leaks)


def run(study: Study, cluster: Cluster) -> Survey:
    """Look at every recording of a study, as Ray tasks, and at the splits it would have by default.

    Raises:
        InputError: if the study is not there.
    """
    study = locate(study, cluster.home)
    root = _root(study, cluster.cache)
    sources = [Source(study, root, recording) for recording in study.recordings(root)]
    looked: list[Looked] = []
    heard: list[Heard] = []
    logs = cluster.home / "check"

    def task(row: dict[str, Any]) -> dict[str, Any]:
        return {"result": pickle.dumps(look(pickle.loads(row["task"]), logs))}

    with ray_session(cluster):
        for row in each(sources, task, f"check: {study.name}"):
            one, events = pickle.loads(row["result"])
            looked.append(one)
            source = next(source for source in sources if source.recording.uid == one.recording)
            if events:
                heard.append(Heard(source.recording, events, study.blocks_by))
    looked.sort(key=lambda one: one.recording)
    _mark_short(looked, {source.recording.uid: source.recording.task for source in sources})
    subjects = [source.recording.subject for source in sources]
    problems = _against_facts(study, looked, subjects)
    return Survey(root, looked, problems, _plan(heard) if heard else None)


def _root(study: Study, cache: Path) -> Path:
    """Where the study lies; what could be downloaded is not."""
    if not study.hosts:
        return study.fetch(cache)
    root = cache / study.name
    if not root.is_dir():
        raise InputError(f"{study.name} is not in {root}; type raybrain studies fetch {study.typed}")
    return root


def look(source: Source, logs: Path) -> tuple[Looked, tuple[Event, ...]]:
    """Read one recording's header and events. What cannot be read is a problem, and no more is asked of it."""
    study, root, recording = source.study, source.root, source.recording
    looked = Looked(recording.uid)
    events: list[Event] = []

    def signal() -> dict[str, Any]:
        looked.problems += _look_at_signal(looked, study.raw(root, recording), study.facts)
        return {}

    def speech() -> dict[str, Any]:
        found = study.events(root, recording)
        looked.sentences = len(sentence_blocks(found, study.blocks_by))
        looked.problems += _look_at_events(looked, found)
        absent = sorted({event.filepath for event in found if isinstance(event, Sound) and not Path(event.filepath).is_file()})
        if absent:
            raise InputError(f"no sound file {absent[0]}" + (f", nor {len(absent) - 1} others" if absent[1:] else ""))
        events.extend(found)
        return {}

    def further() -> dict[str, Any]:
        looked.problems += study.problems(root, recording)
        return {}

    for part in (signal, speech, further):
        error = guarded(part, recording.uid, logs)["error"]
        if error and error not in looked.problems:
            looked.problems.append(error)
    return looked, tuple(events)


def _look_at_signal(looked: Looked, raw: "mne.io.BaseRaw", facts: Facts) -> list[str]:
    import mne

    with mne.utils.use_log_level("error"):
        picks = brain_channels(raw)
        _, known = sensor_positions(mne.pick_info(raw.info, picks))
    names = {raw.ch_names[pick] for pick in picks}
    looked.channels, looked.bad = len(picks), len(names & set(raw.info["bads"]))
    looked.hertz = float(raw.info["sfreq"])
    looked.seconds = raw.n_times / looked.hertz
    problems = []
    if facts.channels and looked.channels != facts.channels:
        problems.append(f"{looked.channels} channels, not {facts.channels}")
    if facts.hertz and abs(looked.hertz - facts.hertz) > 1e-3 * facts.hertz:
        problems.append(f"{looked.hertz:g} Hz, not {facts.hertz:g}")
    if looked.bad > BAD_SHARE * looked.channels:
        problems.append(f"{looked.bad} of {looked.channels} channels are bad")
    if not known.all():
        problems.append(f"nobody knows where {len(known) - known.sum()} of {len(known)} sensors lie")
    return problems


def _look_at_events(looked: Looked, events: Sequence[Event]) -> list[str]:
    sounds = sorted((event for event in events if isinstance(event, Sound)), key=lambda sound: sound.start)
    words = [event for event in events if isinstance(event, Word)]
    looked.sounds, looked.words = len(sounds), len(words)
    looked.phonemes = sum(isinstance(event, Phoneme) for event in events)
    problems = []
    late = max((word.start for word in words), default=0.0) - looked.seconds
    if looked.seconds and late > SLACK_S:
        problems.append(f"words go on for {late:.1f} s after its end")
    early = sum(event.start < -SLACK_S for event in events)
    if early:
        problems.append(f"{early} events before it begins")
    heard = [word for word in words if word.modality == "audio"]
    outside = sum(not any(s.start - SLACK_S <= word.start <= s.stop + SLACK_S for s in sounds) for word in heard)
    if outside:
        problems.append(f"{outside} of {len(heard)} words lie in no sound")
    over = sum(one.stop - other.start > SLACK_S for one, other in itertools.pairwise(sounds))
    if over:
        problems.append(f"{over} sounds start before the one before them ends")
    if words[1:] and not any(word.sequence or word.word_index for word in words):
        problems.append(
            f"{len(words)} words without a sentence and a word_index: each is a sentence of its own, and all blocks that share "
            "a word are in the same split"
        )
    endless = next((word.sequence for word in words if word.word_index >= LONG_SENTENCE), "")
    if endless:
        problems.append(f"a sentence of more than {LONG_SENTENCE} words ({endless[:40]}...): are sentences marked?")
    return problems


def _mark_short(recordings: Sequence[Looked], tasks: dict[str, str]) -> None:
    """Say which recordings are much shorter than those of the same task usually are."""
    for task in set(tasks.values()):
        alike = [one for one in recordings if tasks[one.recording] == task and one.seconds]
        usual = median(one.seconds for one in alike) if len(alike) > 2 else 0.0
        for one in alike:
            if one.seconds < SHORT_SHARE * usual:
                one.problems.append(f"{one.seconds:.0f} s long; half of {len(alike)} like it last {usual:.0f} s or more")


def _against_facts(study: Study, recordings: Sequence[Looked], subjects: Sequence[str]) -> list[str]:
    """How much there is, if all of it was asked for."""
    facts, problems = study.facts, []
    if not study.whole:
        return []
    if facts.recordings and len(recordings) != facts.recordings:
        each_has = Counter(subjects)
        usual = Counter(each_has.values()).most_common(1)[0][0]
        odd = ", ".join(f"{subject} has {count}" for subject, count in sorted(each_has.items()) if count != usual)
        told = f"most subjects have {usual}, but {odd}" if odd else f"{len(each_has)} subjects have {usual} each"
        problems.append(f"{len(recordings)} recordings, not {facts.recordings} ({told})")
    hours = sum(one.seconds for one in recordings) / 3600
    if facts.hours and abs(hours - facts.hours) > HOURS_SHARE * facts.hours:
        problems.append(f"{hours:.3g} hours, not {facts.hours:.3g}")
    return problems


def _plan(heard: Sequence[Heard]) -> SplitPlan:
    """Which blocks would go where, if the splits were left as they are."""
    paths = sorted({event.filepath for item in heard for event in item.events if isinstance(event, Sound)})
    return make_plan(heard, {path: file_digest(Path(path)) for path in paths}, SplitConfig())
