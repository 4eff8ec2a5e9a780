"""Recordings pass through Ray Data: one task each, whose end, whatever it is, is that of one recording."""

import os
from pathlib import Path
from typing import Any

import pytest

from raybrain.config import InputError, override
from raybrain.data_config import DataConfig
from raybrain.experiment import Experiment
from raybrain.prepare.parallel import TRIES, each_recording, write_parts
from raybrain.prepare.plan import Heard, make_plan
from raybrain.prepare.tasks import CHUNKED_BYTES, Job, Source, make_part, working_memory
from raybrain.store import Store
from raybrain.studies.synthetic import Synthetic
from tests.prepare.test_build import SMALL


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def data_of(**changes: Any) -> DataConfig:
    settings = {f"data.studies.synthetic.{key}": value for key, value in (SMALL | {"subjects": 3}).items()}
    return override(Experiment(), settings | {key.replace("__", "."): value for key, value in changes.items()}).data


def jobs_of(cache: Path, store: Store, data: DataConfig) -> list[Job]:
    study = data.studies[0]
    root = study.fetch(cache)
    sources = [Source(study, root, recording) for recording in study.recordings(root)]
    heard = [Heard(source.recording, tuple(study.events(root, source.recording))) for source in sources]
    files = {event.filepath for item in heard for event in item.events if hasattr(event, "filepath")}
    plan = make_plan(heard, {file: file for file in files}, data.splits)
    pairs = zip(sources, heard, strict=True)
    return [Job(source, store, data, item.events, plan.blocks[source.recording.uid]) for source, item in pairs]


def content(store: Store) -> dict[str, bytes]:
    return {str(path.relative_to(store.root)): path.read_bytes() for path in sorted(store.root.rglob("data.parquet"))}


@pytest.fixture(scope="module")
def plain(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Job], dict[str, bytes]]:
    """The tables that are made without Ray."""
    jobs = jobs_of(cache, Store(tmp_path_factory.mktemp("plain")), data_of())
    for job in jobs:
        make_part(job)
    return jobs, content(jobs[0].store)


class Broken(Synthetic, name="test_broken"):
    """The synthetic study, with a subject whose recording cannot be read and one whose reader takes its process along."""

    def raw(self, root: Path, recording: Any) -> Any:
        if recording.subject == "02":
            raise InputError("no such thing")
        if recording.subject == "03":
            (root / "tries").open("a").write("x")
            os._exit(1)
        return super().raw(root, recording)


@pytest.mark.slow
def test_a_recording_that_fails_is_one_recording(
    ray_cluster: None, plain: tuple[list[Job], dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it raises or its process dies; what is made is what is made without Ray, to the last bit."""
    import dataclasses

    jobs, expected = plain
    study = Broken(**dict(jobs[0].source.study))
    store, outcomes = Store(tmp_path / "store"), dict[str, Any]()
    broken = [dataclasses.replace(job, source=dataclasses.replace(job.source, study=study), store=store) for job in jobs]
    tries = broken[0].source.root / "tries"
    tries.unlink(missing_ok=True)
    write_parts(broken, tmp_path / "logs", "signals", lambda outcome: outcomes.update({outcome["uid"]: outcome}))
    errors = [outcomes[job.source.recording.uid]["error"] for job in broken]
    assert errors == ["", "no such thing", f"its process was killed {TRIES} times, perhaps for lack of memory"]
    assert len(tries.read_text()) == TRIES
    made = content(store)
    assert made and made == {name: table for name, table in expected.items() if name in made}
    assert not list(store.root.rglob(".*")), "something is left half written"


@pytest.mark.slow
def test_rows_of_recordings(ray_cluster: None, plain: tuple[list[Job], Any], tmp_path: Path) -> None:
    sources = [job.source for job in plain[0]]

    def length(source: Source) -> dict[str, Any]:
        if source.recording.subject == "01":
            raise InputError("not this one")
        return {"bytes": sum(path.stat().st_size for path in source.files().values())}

    rows = {row["uid"]: row for row in each_recording(sources, length, tmp_path, "lengths")}
    first, *others = [rows[source.recording.uid] for source in sources]
    assert first["error"] == "not this one" and "bytes" not in first
    assert all(row["error"] == "" and row["bytes"] > 0 for row in others)


def test_memory_is_that_of_the_whole_recording_only_if_a_step_loads_it(cache: Path, tmp_path: Path) -> None:
    def memory(steps: str) -> int:
        return working_memory(jobs_of(cache, Store(tmp_path), data_of(data__signal__steps=steps))[0])

    size = sum(path.stat().st_size for path in jobs_of(cache, Store(tmp_path), data_of())[0].source.files().values())
    assert memory("notch,resample") == memory("resample") == CHUNKED_BYTES
    assert memory("ica,resample") == CHUNKED_BYTES + 4 * size


def test_a_row_names_a_recording_and_the_bytes_of_its_files(cache: Path, tmp_path: Path) -> None:
    from raybrain.prepare.recordings import RecordingsDatasource

    jobs = jobs_of(cache, Store(tmp_path), data_of())
    source = RecordingsDatasource(jobs)
    tasks = source.get_read_tasks(1)
    assert len(tasks) == len(jobs) == 3
    for job, task in zip(jobs, tasks, strict=True):
        (table,) = task()
        files = list(job.source.files().values())
        assert (table["uid"][0].as_py(), table["bytes"][0].as_py()) == (
            job.source.recording.uid,
            sum(path.stat().st_size for path in files),
        )
        assert task.metadata.input_files == tuple(map(str, files))
    assert source.estimate_inmemory_data_size() == sum(task.metadata.size_bytes for task in tasks)
