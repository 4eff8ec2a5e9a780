"""What a subject heard, as plain values: events, the blocks they form, and the split of those blocks.

Times are seconds from the start of the recording. A block is the unit of splitting: a sentence (or a sound), merged with its
neighbours until it is long enough for training windows. See Défossez et al. 2023, Methods, "Datasets" and its section on
splits: a block's split depends on what was said alone, so a sentence falls on one side for every subject.
"""

import bisect
import hashlib
import itertools
import math
import random
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from raybrain.config import Config, InputError

Split = Literal["train", "valid", "test", "removed"]
BlockStart = Literal["sentence", "sound"]
SplitMode = Literal["clean", "paper", "subject", "session", "recording", "story"]
BY_RECORDING = ("subject", "session", "recording")  # modes in which all of a recording goes to one split
HELD_OUT = f"mode={', mode='.join(BY_RECORDING)} or mode=story"
EDGE_S = 1e-6  # two times closer than this are the same time
LONG_PAUSE_S = 5.0  # longer than from one sound to the next


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happens from ``start`` for ``duration`` seconds."""

    start: float
    duration: float
    modality: str = "audio"
    language: str = ""

    def __post_init__(self) -> None:
        if self.duration < 0:
            raise InputError(f"a {type(self).__name__.lower()} at {self.start:.3f} s lasts {self.duration:.3f} s: below zero")

    @property
    def stop(self) -> float:
        """The end in seconds."""
        return self.start + self.duration


@dataclass(frozen=True, kw_only=True)
class Sound(Event):
    """A stretch of an audio file; ``offset`` seconds of the file lie before it.

    ``speed`` is how many seconds of the file pass in a second of the recording: 1, but for the drift between the clocks of
    the player and the recorder. Start, offset and speed are the affine map from the file to the recording. ``channel`` is
    counted from 1; 0 stands for the mean of all channels of the file.
    """

    filepath: str
    offset: float = 0.0
    speed: float = 1.0
    channel: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.speed <= 0:
            raise InputError(f"the sound {self.filepath} at {self.start:.3f} s has speed {self.speed:g}: not above zero")

    @property
    def offset_stop(self) -> float:
        """The second of the file at which the stretch ends."""
        return self.offset + self.duration * self.speed

    def heard(self, file_s: float) -> float:
        """When second ``file_s`` of the file is heard, in seconds of the recording."""
        return self.start + (file_s - self.offset) / self.speed


@dataclass(frozen=True, kw_only=True)
class Word(Event):
    """A spoken word: its text, its 0-based place in its sentence, and the sentence.

    ``pseudo``: it is no word of the language, but sounds like one. The published splits go by all words but these.
    """

    word: str
    word_index: int = 0
    sequence: str = ""
    sequence_uid: str = ""
    pseudo: bool = False


@dataclass(frozen=True, kw_only=True)
class Phoneme(Event):
    """A spoken phoneme."""

    phoneme: str


@dataclass(frozen=True)
class Block:
    """A stretch of a recording that goes to one split as a whole. ``uid`` names what was said in it: its ``sentences``.

    An infinite ``duration`` stands for "to the end of the recording".

    ``heard`` are the sentences its words belong to. An aligner may miss a sentence's first word: then no block starts there,
    and a neighbour's block, whose words name it, holds that sentence too.
    """

    start: float
    duration: float
    sentences: tuple[str, ...]
    heard: tuple[str, ...] = ()

    @property
    def uid(self) -> str:
        """What was said, as one text."""
        return ",".join(self.sentences)

    @property
    def stop(self) -> float:
        """The end in seconds."""
        return self.start + self.duration


class SplitConfig(Config):
    """How blocks are formed and split.

    Attributes:
        mode: "paper" gives the published splits; "clean" hashes case-folded text and keeps together all blocks, of any
            recording and study, that share a sentence or a stretch of audio. The published blocks differ a little, too (see
            ``sentence_blocks`` and ``merge_blocks``), and a window may outlast its block by half a sample. The others hold out
            whole subjects, sessions, recordings or stories. What is held out but a story is tested on speech that others were
            trained on.
        test: the names of what is held out for testing, such as subjects (``01`` or ``STUDY/01``), sessions (``2`` of everybody
            or ``01/2`` of one subject), recordings, or sound files and tasks of stories; drawn by hash where none is named.
        valid: likewise for the valid split.
        new_speech: test held-out subjects, sessions or recordings on speech that is new as well: of each side only what was
            said on that side is kept.
        seed: of the hash that sends each block, or each subject and so on, to a split.
        test_ratio: share of the blocks, subjects and so on that are tested on.
        valid_ratio: share of those that tell when to stop training, and which trial of a sweep is best.
        remove_ratio: share of those that are left out.
        min_block_s: sentences are joined into blocks of at least this length.
    """

    mode: SplitMode = "clean"
    test: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    new_speech: bool = False
    seed: int = 12
    test_ratio: float = Field(default=0.2, gt=0, lt=1)
    valid_ratio: float = Field(default=0.1, gt=0, lt=1)
    remove_ratio: float = Field(default=0.0, ge=0, lt=1)
    min_block_s: float = Field(default=6.0, ge=0)

    @field_validator("test", "valid")
    @classmethod
    def _in_one_spelling(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({name.strip() for name in names} - {""}))

    @model_validator(mode="after")
    def _something_to_hold_out(self) -> Self:
        for name in ("test", "valid"):
            if getattr(self, name) and self.mode in ("clean", "paper"):
                raise InputError(f"{name} names what is held out, and mode={self.mode} holds out sentences; type {HELD_OUT}")
        if self.new_speech and self.mode not in BY_RECORDING:
            raise InputError(f"mode={self.mode} splits what was said already; type new_speech=no, or mode=subject")
        if both := sorted(set(self.test) & set(self.valid)):
            raise InputError(f"{', '.join(both)} cannot be held out for both test and valid; type it for one of them")
        return self

    @property
    def shares_speech(self) -> bool:
        """Whether the same speech is trained on and tested by design: whoever is held out hears what others hear."""
        return self.mode in BY_RECORDING and not self.new_speech

    @model_validator(mode="after")
    def _leave_some(self) -> Self:
        total = self.test_ratio + self.valid_ratio + self.remove_ratio
        if total >= 1:
            raise InputError(
                f"test_ratio, valid_ratio and remove_ratio add up to {total:g}; less than 1 leaves some to train on"
            )
        return self


def sentence_blocks(events: Sequence[Event], by: BlockStart = "sentence", mode: SplitMode = "clean") -> list[Block]:
    """Blocks that start at each first word of a sentence and end where the next one starts.

    With ``by="sound"`` they start at each sound, or each first word of what is read, and ``sequence_uid`` names what was said
    in them even where it is repeated.

    In the "paper" mode the last block goes on to the end of the recording, and names of blocks leave out pseudo-words. In
    others the last block ends with the last event, and those by sound end after a long pause too, since what was heard in
    between might have been left out.

    Raises:
        InputError: if nothing starts a block, or two words of a sentence have the same place in it.
    """
    events = sorted(events, key=lambda event: event.start)
    _check_places([event for event in events if isinstance(event, Word)])
    starts = [event for event in events if _starts_block(event, by)]
    if not starts:
        what = "sound" if by == "sound" else "word with word_index 0"
        kinds = Counter(type(event).__name__.lower() for event in events)
        listed = ", ".join(f"{count} {kind}s" for kind, count in kinds.items()) or "no events"
        raise InputError(f"no {what} starts a block (found {listed}); splits need the words of each sentence")
    end = math.inf if mode == "paper" else max(event.stop for event in events)
    names = Counter(event.sequence_uid for event in starts if isinstance(event, Word))
    blocks = []
    for first, stop in zip(starts, [*(event.start for event in starts[1:]), end], strict=True):
        if stop - first.start <= EDGE_S:
            continue
        inside = _between(events, first.start, stop)
        if by == "sound" and mode != "paper":
            stop = min(stop, max(event.stop for event in inside) + LONG_PAUSE_S)
        words = [event for event in inside if isinstance(event, Word)]
        named = first.sequence_uid if isinstance(first, Word) else next((word.sequence_uid for word in words), "")
        spoken = words if mode != "paper" else [word for word in words if not word.pseudo]
        uid = named if named and (by == "sound" or names[named] == 1) else _spoken(spoken, inside, first.start, stop)
        heard = dict.fromkeys(word.sequence for word in words if word.sequence)
        blocks.append(Block(first.start, stop - first.start, (uid,), tuple(heard)))
    return blocks


def _between(events: Sequence[Event], start: float, stop: float) -> Sequence[Event]:
    """The events, sorted by their start, that start from ``start`` on and before ``stop``."""
    low, high = (bisect.bisect_left(events, time, key=lambda event: event.start) for time in (start, stop))
    return events[low:high]


def _check_places(words: Sequence[Word]) -> None:
    """Refuse sentences in which a word has the place of the word before it: both would be one candidate in the ranking."""
    for one, other in itertools.pairwise(words):
        same = one.sequence and (one.sequence, one.word_index) == (other.sequence, other.word_index)
        if same and one.word.casefold() != other.word.casefold():
            raise InputError(
                f"{one.word!r} at {one.start:.3f} s and {other.word!r} at {other.start:.3f} s both have word_index "
                f"{one.word_index} in the sentence {one.sequence[:60]!r}; number the words of a sentence 0, 1, 2, ..."
            )


def _starts_block(event: Event, by: BlockStart) -> bool:
    if isinstance(event, Word):
        return event.word_index == 0 and (by == "sentence" or event.modality == "visual")
    return by == "sound" and isinstance(event, Sound)


def _spoken(words: Sequence[Word], inside: Sequence[Event], start: float, stop: float) -> str:
    """The words that end in a block; the sounds ``inside`` it where there are none."""
    texts = [word.word for word in words if word.stop <= stop + EDGE_S]
    if texts:
        return " ".join(texts)
    return ",".join(event.filepath for event in inside if isinstance(event, Sound)) + f"@{start}"


def merge_blocks(
    blocks: Sequence[Block], min_block_s: float, mode: SplitMode = "clean", borders: Sequence[float] = ()
) -> list[Block]:
    """Join consecutive blocks until each lasts ``min_block_s``; the first one starts at 0. None spans any of the ``borders``.

    The published splits count the first one's length from 0 too, and want each to last longer than that.
    """
    merged: list[Block] = []
    group: list[Block] = []
    for block in sorted(blocks, key=lambda block: block.start):
        place = bisect.bisect_right(borders, block.start + EDGE_S)
        if group and place > bisect.bisect_right(borders, group[0].start + EDGE_S):
            merged.append(_joined(group))
            group = []
        if place < len(borders) and borders[place] < block.stop:
            block = replace(block, duration=borders[place] - block.start)
        group.append(block)
        if mode == "paper":
            enough = block.stop - (group[0].start if merged else 0.0) > min_block_s + EDGE_S
        else:
            enough = block.stop - group[0].start >= min_block_s
        if enough:
            merged.append(_joined(group))
            group = []
    if group:
        merged.append(_joined(group))
    if merged:
        merged[0] = replace(merged[0], start=0.0, duration=merged[0].stop)
    return merged


def file_borders(events: Iterable[Event]) -> list[float]:
    """The times at which another sound file begins than the one before."""
    sounds = sorted((event for event in events if isinstance(event, Sound)), key=lambda sound: sound.start)
    return [later.start for earlier, later in itertools.pairwise(sounds) if later.filepath != earlier.filepath]


def _joined(group: Sequence[Block]) -> Block:
    sentences = tuple(sentence for block in group for sentence in block.sentences)
    heard = tuple(dict.fromkeys(sentence for block in group for sentence in block.heard))
    return Block(group[0].start, group[-1].stop - group[0].start, sentences, heard)


def uid_split(uid: str, config: SplitConfig) -> Split:
    """The split of a block by what was said in it: a number in [0, 1) drawn from its uid against the ratios."""
    draw = random.Random(int(hashlib.sha256(uid.encode()).hexdigest(), 16) + config.seed).random()
    for name, ratio in (("test", config.test_ratio), ("valid", config.valid_ratio), ("removed", config.remove_ratio)):
        if draw < ratio:
            return name  # type: ignore[return-value]
        draw -= ratio
    return "train"


def assign_splits(
    stories: Collection[Sequence[Block]], config: SplitConfig, same_audio: Iterable[tuple[str, str]] = ()
) -> dict[str, Split]:
    """The split of every merged block's uid, over all recordings of all studies at once.

    Args:
        stories: the blocks of each recording.
        config: how to split; whatever the mode, by what was said.
        same_audio: pairs of uids of blocks in which the same stretch of audio is heard; all but "paper" keeps them together.
    """
    blocks = {block.uid: block for story in stories for block in story}
    if config.mode == "paper":
        return {uid: uid_split(uid, config) for uid in blocks}
    together = _together(stories, same_audio)
    names: dict[str, str] = {}  # of all that is tied together: the first, in order of text, of what names a block
    for block in blocks.values():
        for text in map(_text, block.sentences):
            names[together[text]] = min(text, names.get(together[text], text))
    return {uid: uid_split(names[together[_text(block.sentences[0])]], config) for uid, block in blocks.items()}


def tied_blocks(stories: Collection[Sequence[Block]], same_audio: Iterable[tuple[str, str]] = ()) -> list[set[str]]:
    """The uids of blocks in groups that must go to one split as a whole, since what was said or heard ties them together."""
    together = _together(stories, same_audio)
    groups: dict[str, set[str]] = {}
    for block in (block for story in stories for block in story):
        groups.setdefault(together[_text(block.sentences[0])], set()).add(block.uid)
    return list(groups.values())


def _together(stories: Collection[Sequence[Block]], same_audio: Iterable[tuple[str, str]]) -> dict[str, str]:
    blocks = {block.uid: block for story in stories for block in story}
    ties = [(blocks[one].sentences[0], blocks[other].sentences[0]) for one, other in same_audio]
    spoken = [(*block.sentences, *block.heard) for story in stories for block in story]
    return _shared([*spoken, *ties])


def _text(sentence: str) -> str:
    return sentence.strip().casefold()


def _shared(blocks: Sequence[Sequence[str]]) -> dict[str, str]:
    """For each sentence, one that stands for all those that some blocks tie together with it."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for sentences in blocks:
        first, *others = (_text(sentence) for sentence in sentences)
        for other in others:
            low, high = sorted((root(first), root(other)))
            parent[high] = low
    return {_text(sentence): root(_text(sentence)) for sentences in blocks for sentence in sentences}


def audit_splits(placed: Iterable[tuple[Block, Split]]) -> list[str]:
    """The sentences (case-folded) that stand in more than one split; the list should be empty.

    Args:
        placed: the blocks of all recordings, each with its split.
    """
    where: dict[str, set[Split]] = {}
    for block, split in placed:
        for sentence in (*block.sentences, *block.heard):
            where.setdefault(_text(sentence), set()).add(split)
    return sorted(sentence for sentence, names in where.items() if len(names - {"removed"}) > 1)


def cut_sounds(events: Iterable[Event], blocks: Sequence[Block], margin_s: float = 0.1) -> list[Sound]:
    """The sounds cut at the borders of ``blocks``, so that no model with context hears across a split.

    A border within ``margin_s`` of a sound's start or end does not cut it.
    """
    borders = sorted({time for block in blocks for time in (block.start, block.stop)})
    pieces = []
    for sound in events:
        if not isinstance(sound, Sound):
            continue
        low = bisect.bisect_right(borders, sound.start + margin_s)
        inside = borders[low : bisect.bisect_left(borders, sound.stop - margin_s, lo=low)]
        edges = [sound.start, *(b for a, b in zip([-1.0, *inside], inside, strict=False) if b - a > EDGE_S), sound.stop]
        for start, stop in itertools.pairwise(edges):
            offset = sound.offset + (start - sound.start) * sound.speed
            pieces.append(replace(sound, start=start, duration=stop - start, offset=offset))
    return pieces
