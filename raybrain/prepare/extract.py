"""Extract: the frames of all features, once per stimulus; those of models by a pool of processes that keep them loaded."""

import os
import pickle
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from raybrain.bucket.copies import fetch
from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.events import Split
from raybrain.features.base import Feature, Stimulus
from raybrain.identity import check_unedited, signature, versions
from raybrain.placement import given_device, model_pool
from raybrain.plain import tree
from raybrain.prepare.moments import class_weights, frame_statistics
from raybrain.prepare.parallel import each
from raybrain.prepare.plan import SplitPlan
from raybrain.prepare.tasks import guarded
from raybrain.storage import together
from raybrain.store import Frames, Store, frames_folder

TASK_S, MODEL_TASK_S = 300.0, 60.0  # seconds of speech per task: a model's frames are large, and kept until the task ends
TRIED, DEATHS = ".tried", 2


@dataclass(frozen=True)
class Corpus:
    """The stimuli of some recordings, each once, with their splits; ``heard`` counts every presentation.

    What anybody heard in the train split is of that split, whoever else heard it.
    """

    stimuli: Mapping[str, Stimulus]
    splits: Mapping[str, Split]
    heard: int

    @classmethod
    def of(cls, plan: SplitPlan, recordings: Iterable[str]) -> "Corpus":
        """The stimuli that these recordings heard."""
        blocks = [block for uid in recordings for block in plan.blocks[uid]]
        trained = {block.stimulus for block in blocks if block.split == "train"}
        splits: dict[str, Split] = {block.stimulus: "train" if block.stimulus in trained else block.split for block in blocks}
        return cls({key: plan.stimuli[key] for key in sorted(splits)}, splits, len(blocks))

    def train(self) -> dict[str, Stimulus]:
        """The stimuli of the train split, sorted by name."""
        return {key: stimulus for key, stimulus in self.stimuli.items() if self.splits[key] == "train"}


def make_feature(feature: Feature, corpus: Corpus, store: Store, cluster: Cluster) -> dict[str, Any]:
    """Extract the frames that are missing, and describe the feature for the manifest.

    Raises:
        InputError: if the studies have no events of a kind the feature needs, or extraction fails for a stimulus; finished
            frames are kept.
    """
    for kind in feature.needs:
        if not any(getattr(stimulus, kind) for stimulus in corpus.stimuli.values()):
            raise InputError(f"feature {feature.name} needs {kind}, and the studies have none; leave it out of data.features")
    frames = frames_folder(cluster.home, feature)
    fetch(frames.folder)
    missing = {key: corpus.stimuli[key] for key in frames.missing(corpus.stimuli)}
    of = f"{len(corpus.stimuli)} stimuli (heard {corpus.heard} times)"
    title = f"prepare: {feature.name} of {of if len(missing) == len(corpus.stimuli) else f'{len(missing)} of {of}'}"
    _extract_all(feature, missing, frames, cluster, store.root / "failed", title)
    fetch(frames.folder)  # other nodes may have made some
    mean, deviation = frame_statistics(feature, frames, corpus.train())
    return {
        "feature": tree(feature),
        "signature": signature(feature),
        "identity": feature.identity(),
        "folder": os.path.relpath(frames.folder, store.root),
        "stimuli": len(corpus.stimuli),
        "heard": corpus.heard,
        "computed": len(missing),
        "size": feature.size,
        "categories": feature.categories,
        "rate_hz": feature.rate_hz,
        "silence": feature.silence,
        "mean": mean.tolist(),
        "deviation": deviation.tolist(),
        "weights": class_weights(feature, frames, corpus.train()).tolist(),
        "files": frames.sizes(corpus.stimuli),
    }


def unchanged(entry: dict[str, Any], frames: Frames) -> bool:
    """Whether all frames listed in a feature's entry of the manifest exist as they were written."""
    return bool(frames.sizes(entry["files"]) == entry["files"])


def _extract_all(
    feature: Feature, stimuli: Mapping[str, Stimulus], frames: Frames, cluster: Cluster, log: Path, title: str
) -> None:
    run, code = secrets.token_hex(4), versions(feature)

    def extract(row: dict[str, Any]) -> dict[str, Any]:
        some: dict[str, Stimulus] = pickle.loads(row["task"])
        try:
            check_unedited(feature, code)
        except InputError as error:
            return {"uid": min(some), "error": str(error), "count": 0}
        return extract_some(feature, some, frames, given_device(cluster), log, run)

    for left in log.glob(f"{feature.name}-*{TRIED}"):  # by an earlier run that was stopped
        left.unlink(missing_ok=True)
    tasks = list(_tasks(stimuli, MODEL_TASK_S if feature.model else TASK_S))
    pool = model_pool(cluster) if tasks and feature.model else None
    for row in each(tasks, extract, title, pool=pool, total=len(stimuli)):
        if row["error"]:
            words = " ".join(word.word for word in stimuli[row["uid"]].words[:8]) or "no words"
            raise InputError(f"feature {feature.name} of stimulus {row['uid']} ({words}): {row['error']}")


def _tasks(stimuli: Mapping[str, Stimulus], seconds: float) -> Iterator[dict[str, Stimulus]]:
    """Group stimuli into tasks that last about ``seconds`` each."""
    task: dict[str, Stimulus] = {}
    for key, stimulus in stimuli.items():
        task[key] = stimulus
        if sum(grouped.duration for grouped in task.values()) >= seconds:
            yield task
            task = {}
    if task:
        yield task


def extract_some(
    feature: Feature, stimuli: Mapping[str, Stimulus], frames: Frames, device: str, log: Path, run: str = ""
) -> dict[str, Any]:
    """Extract a feature from several stimuli, and write the frames of each as soon as they are computed.

    If extracting them together fails, they are tried one by one: together they may have been too much, and this way the failing
    one is known. A process that takes over from one of the same ``run`` that died does so too, and gives up a stimulus at which
    two processes have died.

    Returns:
        A row with ``count`` stimuli; or with the ``error``, in one line, of the stimulus ``uid``.
    """

    def extract(keys: list[str]) -> dict[str, Any]:
        with together(frames.folder):
            for key, values in zip(keys, feature.extract_many([stimuli[key] for key in keys], device), strict=True):
                frames.write(key, _checked(feature, values))
        return {}

    tried = log / f"{feature.name}-{run}-{min(stimuli)}{TRIED}"  # of this task; the only trace of a process that dies
    before = _read_notes(tried)
    if not before:
        _note(tried, "all")
        with suppress(Exception):  # the failing stimulus raises it again below
            extract(frames.missing(stimuli))
    for key in frames.missing(stimuli):
        if before.count(key) == DEATHS:
            return {"uid": key, "error": f"its process was killed {DEATHS} times, perhaps for lack of memory", "count": 0}
        _note(tried, key)
        row = guarded(partial(extract, [key]), key, log)
        if row["error"]:
            return row | {"count": 0}
    tried.unlink(missing_ok=True)
    return {"uid": "", "error": "", "count": len(stimuli)}


def _read_notes(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except FileNotFoundError:
        return []


def _note(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(f"{line}\n")


def _checked(feature: Feature, frames: np.ndarray) -> np.ndarray:
    """Frames in the type they are stored in.

    Raises:
        InputError: if they contain values that cannot be stored.
    """
    assert frames.ndim == 2 and frames.shape[1] == feature.size, f"{feature.name} gives {frames.shape}, not {feature.size}"
    if not np.isfinite(frames).all():
        raise InputError("gives values that are not numbers")
    if feature.categories:
        assert feature.size == 1, f"{feature.name} numbers its classes in {feature.size} dimensions"
        if frames.size and not 0 <= frames.min() <= frames.max() < feature.categories:
            raise InputError(f"gives class {frames.max():g}, and has {feature.categories}")
    with np.errstate(over="ignore"):
        stored = frames.astype(feature.stored_as)
    if not np.isfinite(stored).all():
        raise InputError(f"reaches {abs(frames).max():.3g}, more than float16 holds; type stored_as=float32")
    return stored
