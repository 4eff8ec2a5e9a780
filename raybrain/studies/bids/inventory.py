"""Inventory of a BIDS folder: its recordings, and everything else in it that could be one, with the reason it is left out.

Not a study itself. A name need not be all that BIDS asks for: entities may come in any order, and others than BIDS knows may
be there, as long as the name says without doubt which subject, session, task and run it is.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raybrain.config import InputError
from raybrain.recording import Recording
from raybrain.studies.base import LeftOut
from raybrain.studies.bids.bids_table import read_table
from raybrain.studies.readers.signal_files import why_absent

DATATYPES = ("eeg", "meg")
OTHERS = ("anat", "beh", "dwi", "emg", "fmap", "func", "ieeg", "micr", "motion", "mrs", "nirs", "perf", "pet", "physio")
READ = (".vhdr", ".edf", ".bdf", ".set", ".fif", ".ds", ".con", ".sqd")  # in upper case too
FOREIGN = (".gdf", ".cnt", ".mff", ".cdt", ".xdf", ".nwb", ".snirf", ".mefd", ".trc", ".nxe", ".rhd", ".lay")
DATA = {".eeg": ".vhdr", ".fdt": ".set"}  # files of numbers, and the header that each belongs to
BESIDE_DATA = (".vmrk", ".json", ".tsv", ".txt", ".md", ".log", ".html", ".pdf", ".png", ".jpg")  # hold no signal
FOLDERS = (".ds", ".mff", ".mefd")
ASIDE = ("derivatives", "code", "sourcedata", "stimuli", "phenotype")  # folders of a dataset that hold no recordings of it
BESIDE = ("markers", "headshape")  # suffixes of sidecars in a format of signal
NOT_SPEECH = ("crosstalk", "calibration")  # acq- entities of MEG files that hold no signal
FREE = ("space", "split")  # entities in which a sidecar may differ from its recording
FEW = 5  # names in a list


@dataclass(frozen=True)
class SignalFile:
    """The file or folder that holds a recording, the first of its parts if it is split; and what its name says."""

    file: Path
    entities: Mapping[str, str]

    @property
    def suffix(self) -> str:
        """The last word of the name: eeg or meg."""
        return suffix_of(self.file.name)

    def identity(self, study: str) -> Recording:
        """Which recording it is of."""
        subject, session, task, run = (self.entities.get(key, "") for key in ("sub", "ses", "task", "run"))
        return Recording(study, subject, session, task, run)


@dataclass(frozen=True)
class Inventory:
    """The recordings of a BIDS folder, sorted, and what is left out, by path."""

    files: dict[Recording, SignalFile]
    left_out: tuple[LeftOut, ...]


def take_inventory(root: Path, study: str, subject: str | None = None) -> Inventory:
    """Look at every sub-* folder and every signal file of a dataset, or of the folder of one ``subject``.

    Nothing is read but the first bytes of small files, which may stand for content that is elsewhere.
    """
    tops = [root / f"sub-{subject}"] if subject is not None else list(_folders(root))
    paths = [path for top in tops for path in _walk(top)]
    if subject is None:
        paths += [path for path in sorted(root.iterdir()) if _format(path) and not path.is_dir()]
    signals = [path for path in paths if _format(path) in (*READ, "bti") and suffix_of(path.name) not in BESIDE]
    left = [out for path in paths if (out := _unreadable(root, path))]
    named: list[SignalFile] = []
    for path in signals:
        out = _misplaced(root, path)
        if out:
            left.append(out)
        else:
            named.append(SignalFile(path, entities(path.name)))
    files, refused = _recordings(root, study, named)
    left += refused
    left += _without_signal(root, paths, signals)
    left += _no_folders(root, subject)
    known = {_top(root, path) for path in signals} | {out.path.split("/")[0] for out in left}
    left += _empty(root, tops, paths, known)
    if subject is None:
        left += _absent_subjects(root, tops)
    return Inventory(dict(sorted(files.items())), tuple(sorted(left, key=lambda out: out.path)))


def entities(name: str) -> dict[str, str]:
    """``sub-01_task-rest_eeg.json`` -> its keys and values, the suffix left out."""
    pairs = (part.partition("-") for part in name.split(".")[0].split("_")[:-1])
    return {key: value for key, _, value in pairs}


def suffix_of(name: str) -> str:
    """``sub-01_task-rest_eeg.json`` -> ``eeg``."""
    return name.split(".")[0].rpartition("_")[2]


def applies(file: Path, own: Mapping[str, str], free: Sequence[str] = FREE) -> bool:
    """Whether a sidecar's name does not speak of another recording than the one whose entities are ``own``."""
    return all(own.get(key) == value or key in free for key, value in entities(file.name).items())


def _folders(root: Path) -> Iterator[Path]:
    """The folders of a dataset that should hold recordings: those of subjects, and others that have no place in BIDS."""
    for path in sorted(root.iterdir()):
        if path.is_dir() and not path.name.startswith(".") and path.name not in ASIDE and not _format(path):
            yield path


def _no_folders(root: Path, subject: str | None) -> Iterator[LeftOut]:
    """What is called like a subject, or like the one asked for, but is no folder."""
    paths = sorted(root.glob("[sS][uU][bB]-*")) if subject is None else [root / f"sub-{subject}"]
    for path in paths:
        if os.path.lexists(path) and not path.is_dir() and not _format(path):
            yield _out(root, path, why_absent(path, root) or "is a file, not the folder of a subject")


def _format(path: Path) -> str:
    """How a file or folder holds signal: its extension in lower case, with .gz, or "bti"; empty if it does not."""
    name = path.name.lower()
    packed = name.endswith(".gz")
    ending = os.path.splitext(name.removesuffix(".gz"))[1]
    if ending in FOLDERS and not packed:
        return ending
    if path.is_dir():
        is_bti = ending in ("", ".pdf") and "_meg" in name and (path / "config").is_file()
        return "bti" if is_bti else ""
    named = suffix_of(path.name) in DATATYPES and ending and ending not in BESIDE_DATA
    if ending not in (*READ, *FOREIGN, *DATA) and not named:
        return ""
    return ending + (".gz" if packed else "")


def _walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, and the folders that are one recording each; hidden ones are left out, links are followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # not there, not ours to read, or a link that leads to itself
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not _format(path):
            yield from _walk(path)
        else:
            yield path


def _unreadable(root: Path, path: Path) -> LeftOut | None:
    """Why a file of signal cannot be one of the recordings, whatever its name."""
    kind = _format(path)
    if not kind or kind in (*READ, "bti"):
        return None
    if kind in DATA:
        headers = [other for name in os.listdir(path.parent) if _format(other := path.with_name(name)) == DATA[kind]]
        if any(other.stem == path.stem for other in headers) or any(path.name in _head(other) for other in headers):
            return None
        reason = f"holds the data of a recording without its header {path.stem}{DATA[kind]}; get that file too"
    elif kind.endswith(".gz"):
        reason = f"is packed, and signal is not read from packed files; type gunzip {path.name}"
    elif datatype := _other_datatype(root, path):
        return _out(root, path, f"is of the datatype {datatype}; eeg and meg are read", odd=False)
    else:
        reason = f"is in the format {kind}, which is not read; convert it, as with mne_bids.write_raw_bids"
    return _out(root, path, reason)


def _head(header: Path) -> str:
    """The text of a header, which names its data file."""
    try:
        return header.read_bytes()[:4096].decode("latin-1")
    except OSError:
        return ""


def _misplaced(root: Path, path: Path) -> LeftOut | None:
    """Why it is not known which recording a file is, or that it is none."""
    if datatype := _other_datatype(root, path):
        return _out(root, path, f"is of the datatype {datatype}; eeg and meg are read", odd=False)
    reason = _bad_name(path.name) or _bad_place(root, path)
    if reason:
        return _out(root, path, reason)
    own = entities(path.name)
    if own["sub"] == "emptyroom":
        return _out(root, path, "was recorded in an empty room", odd=False)
    if own.get("acq") in NOT_SPEECH:
        return _out(root, path, f"holds the {own['acq']} of the machine, not a recording", odd=False)
    return None


def _bad_name(name: str) -> str:
    """What is wrong with a name, so that it does not say which recording it is."""
    *pairs, suffix = name.split(".")[0].split("_")
    keys = [part.partition("-")[0] for part in pairs]
    if "Sub" in keys or "SUB" in keys:
        return "is called Sub-...; rename it and its folder to sub-..., as BIDS writes it"
    for part in pairs:
        if not re.fullmatch(r"[A-Za-z]+-[\w+-]+", part):
            return f"has {part!r} in its name, which is not KEY-LABEL; labels hold no underscore: rename it"
    if "sub" not in keys:
        return "has no sub-LABEL in its name; rename it to sub-LABEL_task-LABEL_eeg or _meg"
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        return f"has {twice[0]}- twice in its name; rename it"
    if suffix not in DATATYPES:
        return f"has a name that ends in _{suffix}; rename it to end in _eeg or _meg if it is a recording"
    return ""


def _bad_place(root: Path, path: Path) -> str:
    """Whether a file lies in a folder that its name does not speak of."""
    own, folders = entities(path.name), list(path.relative_to(root).parts[:-1])
    subject, session = f"sub-{own['sub']}", f"ses-{own['ses']}" if own.get("ses") else ""
    if folders and folders[-1] == path.name.split(".")[0]:
        folders.pop()  # some machines write a folder of files
    where = "/".join(folders) or "the top folder"
    wanted = "/".join(part for part in (subject, session, suffix_of(path.name)) if part)
    if subject in folders[1:]:
        dataset = "/".join(folders[: folders.index(subject)])
        return f"lies in {where}; if {dataset} is a dataset of its own, type the path of that folder, else move it to {wanted}"
    if not folders or folders[0] != subject:
        cure = f"move it to {wanted}"
        if folders and not (root / subject).exists():
            cure = f"rename {folders[0]} to {subject}, or {cure}"
        elif folders:
            cure = f"rename what is in {folders[0]} for a subject of its own, or {cure}"
        return f"is called {subject} but lies in {where}; {cure}"
    if folders[-1] not in DATATYPES:
        return f"lies in {where}, not in a folder eeg or meg; move it to {wanted}"
    if folders[1:-1] not in ([], [session]):
        return f"lies in {where}, but its name says {session or 'no session'}; rename one of them"
    return ""


def _other_datatype(root: Path, path: Path) -> str:
    return next((part for part in path.relative_to(root).parts[1:-1] if part in OTHERS), "")


def _recordings(root: Path, study: str, named: Iterable[SignalFile]) -> tuple[dict[Recording, SignalFile], list[LeftOut]]:
    """One file for each recording; left out are recordings that are not whole, and those that are there twice."""
    groups: dict[Recording, dict[tuple[object, ...], list[SignalFile]]] = defaultdict(lambda: defaultdict(list))
    for signal in named:
        rest = {key: value for key, value in signal.entities.items() if key != "split"}
        groups[signal.identity(study)][(*rest.items(), signal.file.name.split(".", 1)[-1], signal.suffix)].append(signal)
    files: dict[Recording, SignalFile] = {}
    left: list[LeftOut] = []
    for recording, forms in groups.items():
        firsts = [sorted(parts, key=_split) for parts in forms.values()]
        for parts in firsts:
            reason = _incomplete(root, parts) or _doubled(parts, [other for other in firsts if other is not parts])
            if reason:
                left += [_out(root, part.file, reason) for part in parts]
            else:
                files[recording] = parts[0]
    return files, left


def _split(signal: SignalFile) -> int:
    number = signal.entities.get("split", "")
    return int(number) if number.isdecimal() else 0


def _incomplete(root: Path, parts: Sequence[SignalFile]) -> str:
    """What is missing of a recording in one or more parts."""
    for part in parts:
        reason = why_absent(part.file, root)
        if reason:
            return reason if len(parts) == 1 else f"belongs to a recording whose part {part.file.name} {reason}"
    numbers = [_split(part) for part in parts]
    if numbers[0] > 1:
        missing = re.sub(r"_split-\d+", f"_split-{1:0{len(parts[0].entities['split'])}}", parts[0].file.name)
        return f"is a later part of a recording whose first part {missing} is missing; get that file too"
    gaps = sorted(set(range(1, numbers[-1] + 1)) - set(numbers)) if numbers[-1] else []
    return f"is part of a recording without its split-{gaps[0]}; get that file too" if gaps else ""


def _doubled(parts: Sequence[SignalFile], others: Sequence[Sequence[SignalFile]]) -> str:
    if not others:
        return ""
    return (
        f"has the same subject, session, task and run as {others[0][0].file.name}, which is all recordings are told apart by; "
        "move one of them out of the dataset, or give them other runs"
    )


def _without_signal(root: Path, paths: Sequence[Path], signals: Sequence[Path]) -> Iterator[LeftOut]:
    """Tables of events of which there is no signal."""
    known: dict[str, list[dict[str, str]]] = defaultdict(list)
    for path in signals:
        known[_top(root, path)].append(entities(path.name))
    for path in paths:
        of_signal = path.name.endswith("_events.tsv") and path.parent.name in DATATYPES
        if of_signal and not any(applies(path, own) for own in known[_top(root, path)]):
            yield _out(root, path, "lists events, but there is no signal file of that name; get or rename it")


def _empty(root: Path, tops: Sequence[Path], paths: Sequence[Path], known: set[str]) -> Iterator[LeftOut]:
    """The folders of subjects that hold nothing ``known`` that could be a recording."""
    inside: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        inside[_top(root, path)].add(path.relative_to(root).parts[1:2][0] if path.parent != root else "")
    for top in tops:
        if top.name.lower().startswith("sub") and top.name not in known:
            kinds = sorted(inside[top.name])
            holds = f"only {', '.join(kinds[:FEW])}" if kinds else "no files"
            odd = not kinds or not set(kinds) <= set(OTHERS)
            cure = "" if kinds else f"; get its files, as with datalad get {top.name}"
            yield _out(root, top, f"holds no EEG or MEG recording ({holds}){cure}", odd)


def _top(root: Path, path: Path) -> str:
    """The folder right below the dataset that a path is in."""
    return path.relative_to(root).parts[0]


def _absent_subjects(root: Path, tops: Sequence[Path]) -> Iterator[LeftOut]:
    """Subjects of participants.tsv that have no folder."""
    table = root / "participants.tsv"
    try:
        listed = [row.text("participant_id") for row in read_table(table, ("participant_id",))] if table.is_file() else []
    except InputError:  # nothing of it is needed
        return
    present = {top.name for top in tops}
    absent = [name for name in listed if name and name not in present and f"sub-{name}" not in present]
    if absent:
        some = ", ".join(absent[:FEW]) + (f" and {len(absent) - FEW} more" if len(absent) > FEW else "")
        yield _out(root, table, f"lists {some}, without a folder in the dataset", odd=False)


def _out(root: Path, path: Path, reason: str, odd: bool = True) -> LeftOut:
    return LeftOut(path.relative_to(root).as_posix(), reason, odd)
