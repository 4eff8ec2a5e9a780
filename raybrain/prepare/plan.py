"""SplitPlan: which blocks of which recordings go to which split, and which of them are the same stimulus."""

import bisect
import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from raybrain.events import (
    BY_RECORDING,
    Block,
    BlockStart,
    Event,
    Phoneme,
    Sound,
    Split,
    SplitConfig,
    Word,
    assign_splits,
    audit_splits,
    cut_sounds,
    file_borders,
    merge_blocks,
    sentence_blocks,
    tied_blocks,
)
from raybrain.features.base import Stimulus
from raybrain.prepare.audit import Stretch, audit_audio, same_audio
from raybrain.prepare.held_out import MANY, Inside, hold_out, in_two_splits, stories_of, unit_of
from raybrain.recording import Recording

SAME_S = 0.01  # two recordings of one stimulus may place its events this differently (samples, drift of clocks)
PAPER_SLACK = 0.5  # samples by which a window may outlast its block in the published splits
FEWEST_ITEMS = 30  # different words that can be split
DIGITS = 6  # of a second, that name a stimulus and are all that features see of it


@dataclass(frozen=True)
class Heard:
    """One recording's events, and how its study forms blocks."""

    recording: Recording
    events: tuple[Event, ...]
    blocks_by: BlockStart = "sentence"


@dataclass(frozen=True)
class PlannedBlock:
    """A merged block: its split, the stimulus heard in it, and the time in the recording at which that stimulus starts.

    A window may outlast the block by less than ``slack`` samples.
    """

    block: Block
    split: Split
    stimulus: str
    origin_s: float
    slack: float = 0.0


@dataclass(frozen=True)
class SplitPlan:
    """All blocks of all recordings, all unique stimuli, and what stands in two splits: sentences and stretches of audio.

    ``held_out_in_two_splits`` are those of the subjects, sessions or recordings that are held out; there should be none.
    """

    blocks: dict[str, tuple[PlannedBlock, ...]]
    stimuli: dict[str, Stimulus]
    sentences_in_two_splits: list[str]
    audio_in_two_splits: list[str]
    held_out_in_two_splits: list[str] = field(default_factory=list)


def make_plan(heard: Sequence[Heard], digests: Mapping[str, str], config: SplitConfig) -> SplitPlan:
    """Form and split the blocks of all recordings; name each stimulus by its content.

    Args:
        heard: the events of each recording.
        digests: the checksum of each sound file, by path.
        config: how to form and split blocks.

    Raises:
        InputError: if too little can be held out, or what is named is not there.
    """
    stories = {item.recording.uid: _blocks(item, config) for item in heard}
    inside = {item.recording.uid: _by_block(item.events, stories[item.recording.uid]) for item in heard}
    splits = _splits([item.recording for item in heard], inside, digests, config)
    planned: dict[str, tuple[PlannedBlock, ...]] = {}
    stimuli: dict[str, Stimulus] = {}
    known: dict[str, list[tuple[str, list[float]]]] = {}
    slack = PAPER_SLACK if config.mode == "paper" else 0.0
    for recording in sorted(item.recording for item in heard):
        blocks = []
        for block, events in inside[recording.uid]:
            if not events:
                continue
            origin = min(event.start for event in events)
            stimulus = _stimulus(events, origin)
            key = _key(stimulus, digests, known)
            stimuli.setdefault(key, stimulus)
            blocks.append(PlannedBlock(block, splits[recording.uid][block.uid], key, origin, slack))
        planned[recording.uid] = tuple(blocks)
    names = {digest: path for path, digest in sorted(digests.items(), reverse=True)}
    placed = [(block, splits[uid][block.uid]) for uid, story in stories.items() for block in story]
    heard_in = {replace(part, uid=splits[uid][part.uid]) for uid in inside for part in _stretches([inside[uid]], digests)}
    units = {item.recording.uid: unit_of(item.recording, config.mode) for item in heard if config.mode in BY_RECORDING}
    sides = [(unit, split) for uid, unit in units.items() for split in splits[uid].values()]
    audio = audit_audio(heard_in, names)
    return SplitPlan(planned, stimuli, audit_splits(placed), audio, in_two_splits(sides))


def _splits(
    recordings: Sequence[Recording], inside: Inside, digests: Mapping[str, str], config: SplitConfig
) -> dict[str, dict[str, Split]]:
    """The split of every block by its uid, by the uid of the recording."""
    stories = [[block for block, _ in story] for story in inside.values()]
    same = list(same_audio(_stretches(inside.values(), digests)))
    if config.mode == "story":
        story_of = stories_of(recordings, inside, digests, same)
        by_story = hold_out(story_of.values(), config)
        everywhere: dict[str, Split] = {uid: by_story[unit] for uid, unit in story_of.items()}
        return dict.fromkeys(inside, everywhere)
    if config.mode not in BY_RECORDING:
        return dict.fromkeys(inside, assign_splits(stories, config, same))
    units = {recording.uid: unit_of(recording, config.mode) for recording in recordings}
    held = hold_out(units.values(), config)
    heard = assign_splits(stories, config, same) if config.new_speech else {}
    return {
        uid: {block.uid: _both(held[units[uid]], heard.get(block.uid)) for block, _ in story} for uid, story in inside.items()
    }


def _both(held: Split, heard: Split | None) -> Split:
    """The split of a block whose recording and whose speech are both split, if that is; nothing if they disagree."""
    return held if heard in (None, held) else "removed"


def why_empty(plan: SplitPlan, heard: Sequence[Heard], digests: Mapping[str, str], config: SplitConfig, window_s: float) -> str:
    """Why a split of ``plan`` has no window of ``window_s`` seconds, and what can be done; empty if all have some."""
    sizes: Counter[str] = Counter()
    for planned in (planned for blocks in plan.blocks.values() for planned in blocks):
        sizes[planned.split] += planned.block.duration > window_s - SAME_S
    empty = [split for split in ("train", "valid", "test") if not sizes[split]]
    if not empty:
        return ""
    if config.mode not in ("clean", "paper"):
        return _why_none_held_out(empty, len(heard), config, window_s)
    stories = {item.recording.uid: _blocks(item, config) for item in heard}
    stretches = _stretches([_by_block(item.events, stories[item.recording.uid]) for item in heard], digests)
    groups = tied_blocks(list(stories.values()), same_audio(stretches) if config.mode != "paper" else ())
    largest = max(groups, key=len)
    total = sum(map(len, groups))
    texts = Counter(text for story in stories.values() for block in story for text in {s.casefold() for s in block.sentences})
    files = Counter(digest for digest, _ in {(stretch.digest, stretch.uid) for stretch in stretches if stretch.uid in largest})
    paths = {digest: path for path, digest in digests.items()}
    text, times = texts.most_common(1)[0]
    repeated = f"{text[:60]!r} is said in {times} of them" if times > 1 else ""
    played = [f"{paths[digest]} is heard in {count} of them" for digest, count in files.most_common(1) if count > 1]
    why = " and ".join(part for part in (repeated, *played) if part)
    tied = (
        f"{len(largest)} of {total} blocks are tied together ({why})"
        if why and len(largest) > 1
        else f"there are only {total} blocks"
    )
    none = f"no {' and no '.join(empty)} segments in {len(heard)} recordings"
    return f"{none}: {tied}, and groups of blocks to split: {len(groups)}; {_cure(heard)}"


def _why_none_held_out(empty: Sequence[str], recordings: int, config: SplitConfig, window_s: float) -> str:
    what = f"what is held out of {MANY[config.mode]}" if "train" not in empty else f"what is left of {MANY[config.mode]}"
    speech = " with speech of that split (new_speech=yes)" if config.new_speech else ""
    cure = "new_speech=no, " if config.new_speech else ""
    return (
        f"no {' and no '.join(empty)} segments in {recordings} recordings: {what} has no block as long as a window of "
        f"{window_s:g} s{speech}; type {cure}others in data.splits.test and data.splits.valid, or another data.splits.seed"
    )


def _cure(heard: Sequence[Heard]) -> str:
    words = [event for item in heard for event in item.events if isinstance(event, Word)]
    single = len({word.word.casefold() for word in words})
    if words and all(word.word_index == 0 for word in words) and single >= FEWEST_ITEMS:
        starts = [sorted(event.start for event in item.events if isinstance(event, Word)) for item in heard]
        gaps = [later - earlier for story in starts for earlier, later in itertools.pairwise(story) if later > earlier]
        window_s = max(math.floor(8 * min(gaps, default=1.0)) / 10, 0.1)
        return (
            f"these are isolated words: split by item, each of the {single} words to one split, with data.splits.min_block_s=0 "
            f"data.segments.tmin_s=0 data.segments.tmax_s={window_s:g} data.segments.stride_s=0.1"
        )
    return "more different speech is needed, or another data.splits.seed, or shorter data.splits.min_block_s and data.segments"


def _blocks(item: Heard, config: SplitConfig) -> list[Block]:
    blocks = sentence_blocks(item.events, item.blocks_by, config.mode)
    if item.blocks_by == "sound":
        return blocks
    borders = file_borders(item.events) if config.mode == "story" else ()
    return merge_blocks(blocks, config.min_block_s, config.mode, borders)


def _stretches(stories: Iterable[Sequence[tuple[Block, Sequence[Event]]]], digests: Mapping[str, str]) -> set[Stretch]:
    """What is heard of which file in each block, to the millisecond."""
    return {
        Stretch(digests[event.filepath], round(event.offset, 3), round(event.offset_stop, 3), block.uid)
        for story in stories
        for block, events in story
        for event in events
        if isinstance(event, Sound)
    }


def _by_block(events: Sequence[Event], blocks: Sequence[Block]) -> list[tuple[Block, list[Event]]]:
    """Each block with its events: words and phonemes that start in it, and sounds, cut at the borders, that lie in it.

    A sound that starts just before the first word of its block was not cut there, so its middle decides.
    """
    pieces: list[Event] = [*cut_sounds(events, blocks), *(event for event in events if not isinstance(event, Sound))]
    inside: list[list[Event]] = [[] for _ in blocks]
    starts = [block.start for block in blocks]
    for event in sorted(pieces, key=lambda event: event.start):
        time = (event.start + event.stop) / 2 if isinstance(event, Sound) else event.start + SAME_S / 2
        number = bisect.bisect_right(starts, time) - 1
        if number >= 0 and time < blocks[number].stop:
            inside[number].append(event)
    return list(zip(blocks, inside, strict=True))


def _stimulus(events: Sequence[Event], origin: float) -> Stimulus:
    moved = [_named(replace(event, start=event.start - origin)) for event in events]
    return Stimulus(
        duration=max(event.stop for event in moved),
        sounds=tuple(event for event in moved if isinstance(event, Sound)),
        words=tuple(event for event in moved if isinstance(event, Word)),
        phonemes=tuple(event for event in moved if isinstance(event, Phoneme)),
    )


def _named(event: Event) -> Event:
    """What a stimulus's name stands for, and no more: two of one name are the same to every feature, in any store."""
    event = replace(event, start=round(event.start, DIGITS), duration=round(event.duration, DIGITS))
    if isinstance(event, Sound):
        return replace(event, offset=round(event.offset, DIGITS))
    return replace(event, sequence_uid="", pseudo=False) if isinstance(event, Word) else event


def _key(stimulus: Stimulus, digests: Mapping[str, str], known: dict[str, list[tuple[str, list[float]]]]) -> str:
    """Sixteen hexadecimal digits that name what is heard, whatever the recording, path or sampling rate.

    A stimulus in which all times are within SAME_S of those of a ``known`` one is that one: so people whose clocks drift
    apart share it while the drift of one block stays below that, 20 s at 485 ppm.
    """
    sounds, words, phonemes = stimulus.sounds, stimulus.words, stimulus.phonemes
    what = [
        [(digests[s.filepath], s.modality, s.language, *([s.channel] if s.channel else [])) for s in sounds],
        [(w.word, w.word_index, w.sequence, w.modality, w.language) for w in words],
        [(p.phoneme, p.modality, p.language) for p in phonemes],
    ]
    when = [time for event in (*sounds, *words, *phonemes) for time in (event.start, event.duration)]
    when += [second for sound in sounds for second in (sound.offset, sound.offset_stop)]
    alike = known.setdefault(json.dumps(what), [])
    for key, times in alike:
        if all(abs(here - there) < SAME_S for here, there in zip(when, times, strict=True)):
            return key
    key = hashlib.sha256(json.dumps([what, when]).encode()).hexdigest()[:16]
    alike.append((key, when))
    return key
