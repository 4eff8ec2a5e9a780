"""Held out: whole subjects, sessions, recordings or stories for valid and test, by name or drawn by a hash of their names."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raybrain.config import InputError, hint
from raybrain.events import Block, Event, Sound, Split, SplitConfig, tied_blocks
from raybrain.recording import Recording

Inside = Mapping[str, Sequence[tuple[Block, Sequence[Event]]]]  # the blocks of each recording, with what is heard in them
MANY = {"subject": "subjects", "session": "sessions", "recording": "recordings", "story": "stories"}
SHOWN = 12  # names in a message


@dataclass(frozen=True, order=True)
class Unit:
    """What goes to one split as a whole.

    Attributes:
        name: unique over all studies.
        aliases: shorter names that a person may type, the usual one first.
        study: of which each one is split on its own; empty for what studies share.
        owner: of whom something must stay to be trained on, where nobody asks for anything else; empty if nobody need.
    """

    name: str
    aliases: tuple[str, ...] = ()
    study: str = ""
    owner: str = ""

    @property
    def short(self) -> str:
        """Its usual name."""
        return self.aliases[0] if self.aliases else self.name

    def called(self, typed: str) -> bool:
        """Whether a person means it, among others perhaps."""
        return typed == self.name or typed in self.aliases


def unit_of(recording: Recording, mode: str) -> Unit:
    """The subject, session or recording that a recording belongs to.

    Raises:
        InputError: if it has no session.
    """
    study, subject, session = recording.study, recording.subject, recording.session
    person = f"{study}/{subject}"
    if mode == "subject":
        return Unit(person, (subject, f"sub-{subject}"), study)
    if mode == "recording":
        return Unit(recording.uid, (recording.uid.removeprefix(f"{study}_"),), study, person)
    if not session:
        raise InputError(f"{recording.uid} is of no session; type data.splits.mode=recording or data.splits.mode=subject")
    return Unit(f"{person}/{session}", (f"{subject}/{session}", session, f"ses-{session}"), study, person)


def stories_of(
    recordings: Sequence[Recording], inside: Inside, digests: Mapping[str, str], same: Iterable[tuple[str, str]]
) -> dict[str, Unit]:
    """The story of each block, by the block's uid.

    What is heard in one task is a story where a study has several tasks; else what is heard in one sound file, or read in one
    recording. Stories that share speech are one.

    Args:
        recordings: all of them.
        inside: their blocks.
        digests: the checksum of each sound file, by path.
        same: pairs of uids of blocks in which the same stretch of audio is heard.
    """
    tasks: dict[str, set[str]] = {}
    for recording in recordings:
        tasks.setdefault(recording.study, set()).add(recording.task)
    ties, first = list(same), dict[str, str]()  # the first block of each story
    names: dict[str, set[tuple[bool, str]]] = {}  # of each block: that of its task comes before those of files
    for recording in recordings:
        task = recording.task if len(tasks[recording.study]) > 1 else ""
        for block, events in inside[recording.uid]:
            files = sorted({event.filepath for event in events if isinstance(event, Sound)})
            keys = [f"{recording.study} {task}"] if task else [digests[file] for file in files] or [recording.uid]
            ties += [(block.uid, first.setdefault(key, block.uid)) for key in keys]
            called = {(False, task)} if task else set() if files else {(True, recording.uid)}
            names.setdefault(block.uid, set()).update(called, {(True, Path(file).stem) for file in files})
    units: dict[str, Unit] = {}
    for group in tied_blocks([[block for block, _ in story] for story in inside.values()], ties):
        ordered = [name for _, name in sorted(set[tuple[bool, str]]().union(*(names[uid] for uid in group)))]
        units |= dict.fromkeys(group, Unit(" ".join(ordered), tuple(ordered)))
    return units


def hold_out(units: Iterable[Unit], config: SplitConfig) -> dict[Unit, Split]:
    """The split of every unit: those named for test and valid, where some are; else so many of each study as the shares say.

    Drawn are the first in order of a hash of the seed and their names, at least one, and never the last one of its owner.

    Raises:
        InputError: if a name is not there, or there are too few to have some in every split.
    """
    free = sorted(set(units), key=lambda unit: _draw(unit.name, config.seed))
    splits: dict[Unit, Split] = {}
    for split, names in (("test", config.test), ("valid", config.valid)):
        for name in names:
            splits |= _named(name, split, free, splits, config.mode)  # type: ignore[arg-type]
    shares: list[tuple[Split, float]] = []
    shares += [] if config.test else [("test", config.test_ratio)]
    shares += [] if config.valid else [("valid", config.valid_ratio)]
    for study in sorted({unit.study for unit in free}):
        mine = [unit for unit in free if unit.study == study]
        splits |= _drawn(mine, shares, {unit: splits[unit] for unit in mine if unit in splits}, config)
    if set(splits) >= set(free):
        raise InputError(f"nothing is left to train on: all {_counted(free, config.mode)} are held out; name fewer of them")
    return {unit: splits.get(unit, "train") for unit in free}


def _draw(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()


def _named(name: str, split: Split, units: Sequence[Unit], before: Mapping[Unit, Split], mode: str) -> dict[Unit, Split]:
    """The units called ``name``."""
    called = [unit for unit in units if unit.called(name)]
    if not called:
        raise InputError(f"data.splits.{split}: no {mode} called {name!r}{hint(name, {unit.short for unit in units})}")
    for unit in called:
        if before.get(unit, split) != split:
            raise InputError(f"{mode} {unit.name} cannot be held out for both test and valid; name it for one of them")
    return dict.fromkeys(called, split)


def _drawn(
    units: Sequence[Unit], shares: Sequence[tuple[Split, float]], named: Mapping[Unit, Split], config: SplitConfig
) -> dict[Unit, Split]:
    """Named units of a study, and units drawn among the others, which come in order of the draw."""
    splits = dict(named)
    left = [unit for unit in units if unit not in splits]
    if shares and len(left) <= len(shares):
        drawn = " and ".join(split for split, _ in shares)
        raise InputError(
            f"data.splits.mode={config.mode} draws {drawn} and leaves some to train on, of at least {len(shares) + 1} "
            f"{MANY[config.mode]}{_of(units)}; found {_counted(left, config.mode)}; {_cure(config)}"
        )
    wanted = [(split, max(1, round(share * len(units)))) for split, share in shares]
    for number, (split, count) in enumerate(wanted):
        keep = len(wanted) - number  # for the splits that come, and to train on
        some = _take(left, min(count, len(left) - keep))
        if not some:
            raise InputError(
                f"no {config.mode}{_of(units)} can be drawn for {split} while each subject has another one to be trained on;"
                f" found {_counted(left, config.mode)} that are left; type data.splits.mode=subject, or name some with"
                f" data.splits.{split}=NAME,..."
            )
        splits |= dict.fromkeys(some, split)
        left = [unit for unit in left if unit not in some]
    removed = _take(left, min(round(config.remove_ratio * len(units)), len(left) - 1))
    return splits | dict.fromkeys(removed, "removed")


def _take(units: Sequence[Unit], count: int) -> list[Unit]:
    """The first ``count`` units, but none that is the last one of its owner."""
    owned = Counter(unit.owner for unit in units)
    taken: list[Unit] = []
    for unit in units:
        if len(taken) < count and (not unit.owner or owned[unit.owner] > 1):
            taken.append(unit)
            owned[unit.owner] -= 1
    return taken


def _of(units: Sequence[Unit]) -> str:
    return f" of {units[0].study}" if units and units[0].study else ""


def _counted(units: Sequence[Unit], mode: str) -> str:
    names = sorted(unit.short for unit in units)
    more = ", ..." if len(names) > SHOWN else ""
    listed = f" ({', '.join(names[:SHOWN])}{more})" if names else ""
    return f"{len(units)} {MANY[mode] if len(units) != 1 else mode}{listed}"


def _cure(config: SplitConfig) -> str:
    other = {"subject": "recording", "session": "recording", "recording": "clean", "story": "clean"}[config.mode]
    return f"type data.splits.mode={other}, or more of data.studies"


def in_two_splits(placed: Iterable[tuple[Unit, Split]]) -> list[str]:
    """The names of units that stand in more than one split; the list should be empty."""
    where: dict[str, set[Split]] = {}
    for unit, split in placed:
        where.setdefault(unit.name, set()).add(split)
    return sorted(name for name, splits in where.items() if len(splits - {"removed"}) > 1)
