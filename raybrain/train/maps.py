"""Maps: what training reads, as arrays on a disk of this node: one folder for signals and segments, one for each feature.

Whoever asks first makes a folder while the others wait; then all workers and trials share it. A folder is named by its
content, so trials that differ in features share the signal, and those that differ in signals share the features.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from raybrain.bucket.copies import fetch
from raybrain.config import InputError
from raybrain.features.scale import FeatureScale
from raybrain.integrity import is_whole, say_damaged, stamp
from raybrain.signal.window import SegmentConfig, Window
from raybrain.storage import aside_folder, locked, read_json, read_remakable, write_json
from raybrain.store import Part, Store, brain_digest, feature_digest

VERSION = 4  # raise it when maps are written in another way
META = "meta.json"  # says what the arrays of a map mean
SPLITS = ("train", "valid", "valid_words", "test")


def brain_map(store: Store, uids: list[str], digest: str, folder: Path) -> Path:
    """The map of some recordings: signals, sensors, and the segments of all of them.

    Args:
        store: prepared data.
        uids: the recordings to use.
        digest: names their content (Prepared.brain).
        folder: where maps lie; best on a disk of this node.
    """
    return _made(folder, f"brain-{digest}", lambda path: _write_brain(store, sorted(uids), digest, path))


def feature_map(store: Store, name: str, digest: str, folder: Path) -> Path:
    """The map of a feature: the scaled frames of all stimuli, and where each stimulus begins.

    Args:
        store: prepared data.
        name: of the feature in the store's manifest.
        digest: names its content (Prepared.features).
        folder: where maps lie; best on a disk of this node.
    """
    return _made(folder, f"{name}-{digest}", lambda path: _write_feature(store, name, digest, path))


def are_whole(brain: str, features: Mapping[str, str], folder: Path) -> bool:
    """Whether all maps that a training reads are on this node, and whole. The damaged ones are named, for people.

    Args:
        brain: names the content of signals and segments (Prepared.brain).
        features: names of the features, each with a digest of its content (Prepared.features).
        folder: where maps lie.
    """
    names = [f"brain-{brain}", *(f"{name}-{digest}" for name, digest in features.items())]
    whole = [_is_whole(folder / name) for name in names]  # all are looked at
    return all(whole)


def _made(folder: Path, name: str, write: Callable[[Path], None]) -> Path:
    """The folder called ``name``, whole: written aside, by one process at a time, unless it is there."""
    path = folder / name
    if _is_whole(path):
        return path
    with locked(path):
        if not _is_whole(path):  # nobody else has made it meanwhile
            for left in folder.glob(f".{name}-*"):  # of a process that was killed: who writes here holds the lock
                shutil.rmtree(left, ignore_errors=True)
            with aside_folder(path) as temporary:
                write(temporary)
    return path


def _is_whole(path: Path) -> bool:
    """Whether a map is there, was written as this version of raybrain does it, and is not damaged."""
    meta = read_remakable(path / META)
    if meta is None or meta.get("version") != VERSION:
        return False
    damaged = [name for name, known in meta["files"].items() if not is_whole(path / name, known)]
    for name in damaged:
        say_damaged(path / name)
    return not damaged


def read_meta(folder: Path) -> dict[str, Any]:
    """What a map says of its arrays."""
    meta: dict[str, Any] = read_json(folder / META)
    return meta


def _keep_meta(folder: Path, meta: Mapping[str, Any]) -> None:
    """Say what the arrays of a map mean, and what they are known by."""
    files = {path.name: stamp(path) for path in sorted(folder.glob("*.npy"))}
    write_json(folder / META, {"version": VERSION, "files": files, **meta})


def _write_brain(store: Store, uids: list[str], digest: str, folder: Path) -> None:
    """Write signals, sensors and segments.

    Raises:
        InputError: if they are not those that the digest names: somebody prepared them anew meanwhile.
    """
    fetch(store.root)
    data = store.manifest["data"]
    parts = [part for uid in uids if (part := store.part(uid)) and store.verified(part)]
    if len(parts) < len(uids):
        damaged = sorted(set(uids) - {part.uid for part in parts})
        raise InputError(f"damaged data of {damaged[0]} in {store.root}; run the same command again: they are prepared again")
    window = Window.of(SegmentConfig.model_validate(data["segments"]), data["signal"]["rate_hz"])
    begins = _write_signal(store, parts, folder)
    columns, described = _segment_columns(store, parts, begins)
    subjects = sorted({(part.study, part.subject) for part in parts})
    subject = np.array([subjects.index((part.study, part.subject)) for part in parts])
    arrays, layouts = _layouts(parts)
    for name, array in {**arrays, "subject": subject, **columns}.items():
        np.save(folder / f"{name}.npy", array)
    meta = {
        "rate_hz": window.rate_hz,
        "tmin_s": window.tmin_s,
        "samples": window.samples,
        "baseline_samples": window.baseline_samples,
        "recordings": uids,
        "subjects": [list(subject) for subject in subjects],
        "layouts": layouts,
        **described,
    }
    _keep_meta(folder, meta)
    if brain_digest([part for uid in uids if (part := store.part(uid))]) != digest:  # now, after all was read
        raise _prepared_anew(store)


def _prepared_anew(store: Store) -> InputError:
    return InputError(f"the data in {store.root} were prepared anew while they were used; run the same command again")


def _write_signal(store: Store, parts: list[Part], folder: Path) -> np.ndarray:
    """Write the signal of all recordings, padded to the widest; return the row at which each begins."""
    begins = np.cumsum([0] + [part.samples for part in parts])
    width = max(len(part.channels) for part in parts)
    out = np.lib.format.open_memmap(folder / "signal.npy", mode="w+", dtype=np.float32, shape=(int(begins[-1]), width))
    for part, begin in zip(parts, begins, strict=False):
        at, scaler = int(begin), part.scaler
        for chunk in store.brain(part.uid):
            out[at : at + len(chunk), : chunk.shape[1]] = scaler.divided(chunk)
            at += len(chunk)
        assert at == begin + part.samples, f"{part.uid} has {at - begin} samples, not {part.samples}"
    out.flush()
    return begins


def _layouts(parts: list[Part]) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Each recording's centre and layout, each layout's positions, padded to the widest; and what else is known of layouts.

    Recordings with channels of the same names at the same positions on the flattened head have one layout.
    """
    width = max(len(part.channels) for part in parts)
    centre = np.zeros((len(parts), width), np.float32)
    numbers: dict[tuple[Any, ...], int] = {}
    positions, valid, layout = [], [], []
    for row, part in enumerate(parts):
        count = len(part.channels)
        centre[row, :count] = part.scaler.divided_centre
        place, known = np.zeros((width, 2), np.float32), np.zeros(width, bool)
        place[:count], known[:count] = part.positions, part.valid
        key = (tuple(part.channels), place.tobytes(), known.tobytes())
        if key not in numbers:
            numbers[key] = len(numbers)
            positions.append(place)
            valid.append(known)
        layout.append(numbers[key])
    described = [
        {"channels": list(names), "places": _mean_places([p for p, of in zip(parts, layout, strict=True) if of == number])}
        for (names, *_), number in numbers.items()
    ]
    arrays = {"centre": centre, "layout": np.array(layout), "positions": np.stack(positions), "valid": np.stack(valid)}
    return arrays, described


def _mean_places(parts: list[Part]) -> list[list[float] | None]:
    """Where each sensor lies, in the mean over recordings: heads do not lie all the same way in the helmet of a MEG."""
    places = [[place for part in parts if (place := part.places[channel])] for channel in range(len(parts[0].channels))]
    return [np.mean(known, axis=0).tolist() if known else None for known in places]


def _segment_columns(store: Store, parts: list[Part], begins: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All segments of all recordings, column by column; and the candidates and stimuli that columns number.

    Candidates are numbered in order of (study, split, sentence, word_index), stimuli in order of name.
    """
    rows = [
        (number, part.study, int(begins[number]), row)
        for number, part in enumerate(parts)
        for row in store.segments(part.uid).to_pylist()
    ]
    named = {
        (study, row["split"], row["sentence"], row["word_index"]): row["word"]
        for _, study, _, row in rows
        if row["anchor"] == "word"
    }
    candidates = sorted(named)
    number_of = {key: number for number, key in enumerate(candidates)}
    stimuli = sorted({row["stimulus"] for *_, row in rows})
    place_of = {key: place for place, key in enumerate(stimuli)}
    split = [f"{r['split']}_words" if r["split"] == "valid" and r["anchor"] == "word" else r["split"] for *_, r in rows]
    columns = {
        "recording": np.array([number for number, *_ in rows]),
        "start": np.array([begin + row["start_sample"] for _, _, begin, row in rows]),
        "split": np.array([SPLITS.index(name) for name in split]),
        "candidate": np.array(
            [number_of.get((study, r["split"], r["sentence"], r["word_index"]), -1) for _, study, _, r in rows]
        ),
        "stimulus": np.array([place_of[row["stimulus"]] for *_, row in rows]),
        "stimulus_s": np.array([row["stimulus_s"] for *_, row in rows], dtype=np.float64),
    }
    described = [
        {"study": study, "split": split, "sentence": sentence, "word_index": index, "word": named[key]}
        for key in candidates
        for study, split, sentence, index in [key]
    ]
    return columns, {"candidates": described, "stimuli": stimuli}


def _write_feature(store: Store, name: str, digest: str, folder: Path) -> None:
    """Write all stimuli of a feature, scaled, silence first; and where each begins and how many frames it has."""
    fetch(store.root / "manifest.json")
    entry, frames = store.manifest["features"][name], store.frames(name)
    fetch(frames.folder)
    if feature_digest(name, entry) != digest:
        raise _prepared_anew(store)
    lengths = {key: frames.length(key) for key in sorted(entry["files"])}
    begins = np.cumsum([1, *lengths.values()])
    scale = FeatureScale.of(entry)
    shape = (int(begins[-1]), entry["size"])
    out = np.lib.format.open_memmap(folder / "frames.npy", mode="w+", dtype=np.float32, shape=shape)
    out[0] = scale.quiet
    for (key, length), begin in zip(lengths.items(), begins, strict=False):
        out[begin : begin + length] = scale.scaled(frames.read(key))
    out.flush()
    meta = {
        "name": scale.name,
        "rate_hz": scale.rate_hz,
        "weights": list(scale.weights),
        "stimuli": {key: [int(begin), length] for (key, length), begin in zip(lengths.items(), begins, strict=False)},
    }
    _keep_meta(folder, meta)
