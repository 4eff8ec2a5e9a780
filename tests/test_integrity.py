"""Damage to any kind of file of a home is noticed and mended, or told in one line; it never gives other numbers."""

import os
import pickle
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import raybrain
from raybrain import integrity
from raybrain.answers import Answer
from raybrain.cluster import Cluster
from raybrain.config import InputError
from raybrain.evaluate import rank
from raybrain.integrity import check_archive, check_database, explaining_database, file_digest, is_whole, stamp
from raybrain.prepare import build, extract
from raybrain.prepare.tasks import make_part
from raybrain.storage import read_json, read_remakable, write_json
from raybrain.train import fit
from raybrain.train.fit import Ending, work
from raybrain.train.job import TrainJob, make_place
from raybrain.train.messages import Nobody
from tests.conftest import TINY

SMALL = dict(setting.split("=", 1) for setting in TINY) | {
    **{"train.epochs": 2, "data.studies.synthetic.minutes": 1, "data.studies.synthetic.channels": 8, "encoder.hidden": 16},
    **{"train.batch_size": 8, "train.contrast_size": 8},
}


# single files


def flips(content: bytes) -> Iterator[bytes]:
    """The content with each of its bytes changed, one at a time."""
    for place in range(len(content)):
        for bit in (0x01, 0x40):
            yield content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]


@pytest.mark.parametrize("value", [{"a": 1.25, "b": [1, None, "x"]}, [0.1, -0.0, 1e300], "an id", {}, [], {"checksum": "a"}])
def test_json_is_what_was_written_or_damaged(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, value)
    assert read_json(path) == value
    whole = path.read_bytes()
    noticed = 0
    for content in flips(whole):
        path.write_bytes(content)
        try:
            assert repr(read_json(path)) == repr(value)  # white space says nothing
        except InputError:
            noticed += 1
    assert noticed > len(whole)  # of twice as many
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="damaged file"):
            read_json(path)


def test_json_of_a_time_without_checksums_is_read(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "old.json") == {"a": 1}
    assert read_json(tmp_path / "none.json") is None


def test_what_is_made_again_is_said_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 15})
    path.write_text(path.read_text().replace("15", "16"))
    assert read_remakable(path) is None and read_remakable(path) is None
    assert capfd.readouterr().err == f"raybrain: damaged file {path}; it is made again\n"


@pytest.mark.parametrize("size", [0, 1, 100, 3 * 2**10])
def test_a_stamp_goes_with_a_file_and_not_with_its_place(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "BLOCK", 2**10)
    path = tmp_path / "array.npy"
    path.write_bytes(os.urandom(size))
    known = stamp(path)
    assert len(known["crc32"]) == -(-size // 2**10)
    os.utime(path, (1, 1))
    assert is_whole(path.rename(tmp_path / "moved.npy"), known)
    assert not is_whole(path, known)


def test_a_stamp_is_compared_once_in_a_process_and_again_when_a_file_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "array.npy"
    path.write_bytes(b"abc")
    known = stamp(path)
    assert is_whole(path, known)
    with monkeypatch.context() as patch:
        patch.setattr(integrity, "stamp", lambda path: pytest.fail(f"{path} was read again"))
        assert is_whole(path, known)
    path.write_bytes(b"abd")
    assert not is_whole(path, known)


def test_a_checkpoint_is_what_was_written_or_damaged() -> None:
    import io

    state = {"model": {"w": torch.arange(3.0)}, "epoch": 2}
    file = io.BytesIO()
    torch.save(state, file)
    noticed = 0
    for content in flips(file.getvalue()):
        try:
            check_archive(content)
            again = torch.load(io.BytesIO(content), weights_only=True)
        except Exception:
            noticed += 1
            continue
        assert again["epoch"] == 2 and torch.equal(again["model"]["w"], state["model"]["w"])
    assert noticed > 100


def test_a_damaged_database_is_told_with_its_cure(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    check_database(path, "")  # whoever opens it makes it
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE runs (name TEXT)")
        database.executemany("INSERT INTO runs VALUES (?)", [("x" * 100,)] * 1000)
    database.close()
    check_database(path, "")
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(InputError, match=rf"^damaged database {path} \(.+\); type this$") as error:
        check_database(path, "type this")
    assert "\n" not in str(error.value)


def test_a_database_that_cannot_be_opened_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.mkdir()
    with pytest.raises(InputError, match=rf"^cannot open {path} \(unable to open database file\)$"):
        check_database(path, "type this")


def test_what_sqlite_says_to_a_library_is_told_in_a_line(tmp_path: Path) -> None:
    """With the cure only where the file is damaged; whatever else goes wrong is not SQLite's."""
    path = tmp_path / "runs.db"
    sqlite3.connect(path).close()

    def fail(name: str) -> None:
        cause = sqlite3.OperationalError(f"it is {name}")
        cause.sqlite_errorcode = getattr(sqlite3, name)
        with explaining_database(path, "type this"):
            try:
                raise cause
            except sqlite3.OperationalError as error:
                raise RuntimeError("the library failed") from error

    for name in ("SQLITE_CORRUPT", "SQLITE_CORRUPT_VTAB", "SQLITE_NOTADB"):
        with pytest.raises(InputError, match=rf"^damaged database {path} \(it is {name}\); type this$"):
            fail(name)
    for name in ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR_READ"):
        with pytest.raises(InputError, match=rf"^cannot open {path} \(it is {name}\)$"):
            fail(name)
    with pytest.raises(KeyError), explaining_database(path, "type this"):
        raise KeyError("of our own")


# a home


@dataclass(frozen=True)
class Numbers:
    """What may never be another."""

    table: pd.DataFrame
    controls: pd.DataFrame
    history: list[dict[str, float]]
    weights: str

    @classmethod
    def of(cls, answer: Answer) -> "Numbers":
        timing = ("seconds", "data_wait")
        history = [{key: value for key, value in row.items() if key not in timing} for row in answer.trained.history]
        weights = file_digest(answer.trained.job.record.model / "model.safetensors")
        return cls(answer.table, answer.evaluation.controls, history, weights)

    def same(self, other: "Numbers") -> bool:
        tables = self.table.equals(other.table) and self.controls.equals(other.controls)
        return tables and self.history == other.history and self.weights == other.weights


def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ray would do elsewhere is done here, in a moment."""

    def train(job: TrainJob, *others: Any) -> Ending:
        return work(job, make_place(job.cluster, 0, 1, torch.device("cpu")), Nobody())

    def ranked(job: TrainJob) -> rank._Kept:
        rank.are_whole(job.brain, job.features, job.cluster.maps)
        ranks = rank.rank_shard(job, 0, 1).sort_values(["recording", "sentence", "word_index"], ignore_index=True)
        rank.rank_baseline(job)
        (controls, absent), (lags, no_lags) = rank.rank_controls(job), rank.rank_lags(job)
        return rank._Kept(ranks, controls, rank.rank_context(job), lags, absent + no_lags)

    def each(items: Any, task: Any, title: str, **others: Any) -> Iterator[Any]:
        yield from (task({"task": pickle.dumps(item)}) for item in items)

    def each_recording(sources: Any, task: Any, *others: Any) -> Iterator[Any]:
        yield from ({"uid": source.recording.uid, "error": ""} | task(source) for source in sources)

    def write_parts(jobs: Any, logs: Path, title: str, show: Callable[[Any], None]) -> None:
        for job in jobs:
            show({"uid": job.source.recording.uid, "error": ""} | make_part(job))

    monkeypatch.setattr(fit, "fit", train)
    monkeypatch.setattr(rank, "_rank", ranked)
    monkeypatch.setattr(rank, "_baseline_alone", rank.rank_baseline)
    monkeypatch.setattr(build, "each_recording", each_recording)
    monkeypatch.setattr(build, "write_parts", write_parts)
    monkeypatch.setattr(extract, "each", each)


def answered(home: Path) -> Numbers:
    return Numbers.of(raybrain.answer(raybrain.recipe("quickstart", SMALL), Cluster(home=home)))


@pytest.fixture(scope="module")
def whole(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Numbers]]:
    """A home in which a tiny model was trained, and what came of that."""
    home = tmp_path_factory.mktemp("whole") / "home"
    with pytest.MonkeyPatch.context() as monkeypatch:
        in_this_process(monkeypatch)
        yield home, answered(home)


Damage = Callable[[Path], object]


def flip(path: Path) -> None:
    """A byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def digit(path: Path) -> None:
    """The first digit of the last number."""
    text = path.read_text()
    place = [match.start() for match in re.finditer(r"(?<=\s)\d", text)][-1]
    path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def delete(path: Path) -> None:
    path.unlink()


def kept_time(damage: Damage) -> Damage:
    def damage_in_secret(path: Path) -> None:
        stat = path.stat()
        damage(path)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    damage_in_secret.__name__ = f"{damage.__name__}, time kept"  # type: ignore[attr-defined]
    return damage_in_secret


ALL: list[Damage] = [flip, kept_time(flip), cut, kept_time(cut), delete]
TEXT: list[Damage] = [*ALL, digit, kept_time(digit)]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        pattern: of its path in a home.
        damages: that are tried.
        gone: what is removed besides, so that the file is read.
        line: the one line that is told where it cannot be mended.
        unread: kinds of damage that nobody notices as the file is not read, or says nothing that counts.
    """

    pattern: str
    damages: list[Damage]
    gone: tuple[str, ...] = ()
    line: str = ""
    unread: tuple[str, ...] = ()


RUN, MAPS = ("runs",), ("runs", "maps")
KINDS = [
    *(Kind(f"runs/*/{name}.json", TEXT) for name in ("result", "sizes", "experiment", "test_controls")),
    Kind("runs/*/history.json", TEXT, gone=("runs/*/result.json",)),
    *(Kind(f"runs/*/{name}.json", ALL) for name in ("tracking", "evaluated", "pictured")),
    Kind("runs/*/test_ranks.parquet", ALL),
    Kind("baselines/*.parquet", ALL),
    Kind("baselines/*.json", TEXT),
    Kind("runs/*/model/model.json", TEXT),
    Kind("runs/*/model/model.safetensors", ALL),
    Kind("runs/*/best.pt", ALL, gone=("runs/*/test_controls.json",)),
    Kind("runs/*/last.pt", ALL, gone=("runs/*/result.json",), line=r"damaged checkpoint .*last.pt; type rm -r .* trains anew"),
    *(Kind(f"maps/brain-*/{name}.npy", ALL, RUN) for name in ("signal", "start", "centre", "candidate", "split")),
    Kind("maps/brain-*/meta.json", TEXT, RUN),
    Kind("maps/mel-*/frames.npy", ALL, RUN),
    Kind("maps/mel-*/meta.json", TEXT, RUN),
    Kind("stores/*/manifest.json", TEXT, RUN),
    Kind("stores/*/parts/*.json", TEXT, RUN),
    *(Kind(f"stores/*/{table}/*/data.parquet", ALL, MAPS) for table in ("brain", "segments", "events")),
    Kind("features/mel-*/*.parquet", ALL, MAPS),
    Kind("studies/*/story.json", TEXT, ("stores", "maps", "runs", "features")),
    Kind("studies/*/part-01.wav", ALL, ("stores", "maps", "runs", "features")),
    Kind("mlflow.db", ALL, line=r"database .*mlflow.db \(.*\); type mv .* logged again", unread=("flip", "flip, time kept")),
]
CASES = [(kind, damage) for kind in KINDS for damage in kind.damages]


def outcome_of(home: Path, kind: Kind, damage: Damage, capfd: pytest.CaptureFixture[str], numbers: Numbers) -> str:
    """What becomes of a damaged home: never other numbers, and damage is told in a line."""
    for pattern in kind.gone:
        for path in list(home.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    file = sorted(path for path in home.glob(kind.pattern) if not path.name.endswith(".lock"))[-1]
    damage(file)
    capfd.readouterr()
    try:
        found = answered(home)
    except InputError as error:
        assert kind.line and re.search(kind.line, str(error)) and "\n" not in str(error)
        return f"one line: {str(error).partition(';')[0]}"
    assert found.same(numbers)
    lines = [line for line in capfd.readouterr().err.splitlines() if "damaged" in line]
    name = damage.__name__  # type: ignore[attr-defined]
    if name == "delete":
        return "made again" if file.exists() else "not needed"
    if name in kind.unread:
        return lines[0] if lines else "the same numbers"
    assert lines, "nobody noticed"
    return lines[0]


@pytest.mark.slow
def test_damage_is_mended_or_told_and_never_gives_other_numbers(
    whole: tuple[Path, Numbers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """All in one test, as each case takes a second; with RAYBRAIN_DAMAGE=FILE the matrix is written there."""
    home, numbers = whole
    rows, wrong = [], []
    for number, (kind, damage) in enumerate(CASES):
        monkeypatch.setattr(integrity, "_compared", set())  # as in a new process
        monkeypatch.setattr(integrity, "_checked", set())
        copy = tmp_path / f"home {number}"
        shutil.copytree(home, copy)
        name = damage.__name__  # type: ignore[attr-defined]
        try:
            outcome = outcome_of(copy, kind, damage, capfd, numbers)
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
            wrong.append(f"{kind.pattern}, {name}: {outcome}")
        rows.append(f"| {kind.pattern} | {name} | {outcome.replace(str(copy), 'HOME')} |")
        shutil.rmtree(copy)
    assert not wrong, "\n".join(wrong)
    if target := os.environ.get("RAYBRAIN_DAMAGE"):
        Path(target).write_text("\n".join(["| file | damage | outcome |", "|---|---|---|", *rows]) + "\n")
