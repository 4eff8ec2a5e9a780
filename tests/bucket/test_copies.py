import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import obstore
import pytest

from raybrain.bucket import copies
from raybrain.bucket.address import place_of
from raybrain.bucket.copies import fetch, folders_in, remove
from raybrain.bucket.objects import objects_of
from raybrain.cluster import home_path
from raybrain.config import InputError
from raybrain.storage import aside, aside_folder, drafted, put_in_place, read_json, set_aside, together, write_json
from raybrain.store.frames import Frames
from raybrain.store.parts import Store
from raybrain.train.record import RunRecord
from tests.bucket.conftest import ADDRESS
from tests.store.test_parts import written
from tests.sweeps import LR, Bench, history_of, space

Machine = Callable[[str], None]


def run(name: str = "a-1") -> Path:
    return home_path(Path(ADDRESS)) / "runs" / name


def objects() -> dict[str, bytes]:
    """All that is in the bucket."""
    store = objects_of(place_of(run())).store
    names = [item["path"] for page in obstore.list(store) for item in page]
    return {name: bytes(obstore.get(store, name).bytes()) for name in names}


def test_what_one_machine_writes_another_one_reads(machine: Machine) -> None:
    write_json(run() / "result.json", {"loss": 1.5})
    with aside(run() / "deep" / "best.pt") as temporary:
        temporary.write_bytes(b"weights")
    first = (run() / "result.json").stat()
    machine("two")
    assert not run().exists()
    assert folders_in(run().parent) == [run()]
    assert read_json(run() / "result.json") == {"loss": 1.5}
    assert (run() / "result.json").stat().st_mtime_ns == first.st_mtime_ns, "so that a record of the file stays true"
    assert not (run() / "deep" / "best.pt").exists(), "weights are large, and fetched where they are needed"
    fetch(run())
    assert (run() / "deep" / "best.pt").read_bytes() == b"weights"


def test_a_file_written_anew_replaces_that_of_other_machines(machine: Machine) -> None:
    write_json(run() / "history.json", [1])
    machine("two")
    fetch(run())
    write_json(run() / "history.json", [1, 2])
    machine("one")
    assert read_json(run() / "history.json") == [1]
    fetch(run())
    assert read_json(run() / "history.json") == [1, 2]
    kept = [name for name in objects() if "history" in name]
    assert len(kept) == 1, "what nothing names any more is deleted"


def test_a_file_removed_on_one_machine_is_removed_on_all(machine: Machine) -> None:
    write_json(run() / "failure.json", "why")
    write_json(run() / "result.json", 1)
    machine("two")
    fetch(run())
    remove(run() / "failure.json")
    (run() / "lock").touch()
    machine("one")
    (run() / "lock").touch()
    (run() / "ray").mkdir()
    (run() / "ray" / "state").touch()
    fetch(run())
    assert sorted(path.name for path in run().iterdir()) == ["lock", "ray", "result.json"], "what is the node's own stays"


def test_a_damaged_file_is_set_aside_everywhere(machine: Machine) -> None:
    store = run().parents[1] / "stores" / "abc"
    write_json(store / "parts" / "x.json", 1)
    (store / "damaged").mkdir()
    set_aside(store / "parts" / "x.json", store / "damaged" / "x.json")
    fetch(store)
    assert (store / "damaged" / "x.json").exists(), "here it can be looked at"
    machine("two")
    fetch(run().parents[1] / "stores" / "abc")
    assert not list(run().parents[1].glob("stores/abc/*"))


def test_a_damaged_copy_is_fetched_again(machine: Machine) -> None:
    write_json(run() / "result.json", 1)
    (run() / "result.json").write_text("{")
    fetch(run())
    assert read_json(run() / "result.json") == 1


def test_what_only_a_node_has_damaged_is_fetched_and_not_made_again(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(run().parents[1] / "stores" / "abc")
    part, frames = written(store, "rec"), Frames(run().parents[1] / "features" / "mel-1")
    frames.write("story", np.ones((3, 2), np.float32))
    before = objects()
    for path in (store.table_path("brain", "rec"), frames.path("story")):
        content, stat = bytearray(path.read_bytes()), path.stat()
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a disk does it
    assert store.verified(part) and next(store.brain("rec")).any()
    assert frames.missing(["story"]) == []
    assert objects() == before
    assert capsys.readouterr().err.count("; it is fetched again") == 2


def test_an_upload_that_is_cut_off_is_not_seen(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed when the object is there and the manifest does not name it yet."""
    write_json(run() / "history.json", [1])

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("raybrain.bucket.copies.PublishedFolder.change", killed)
        with pytest.raises(KeyboardInterrupt):
            write_json(run() / "history.json", [1, 2])
        with pytest.raises(KeyboardInterrupt):
            write_json(run() / "result.json", "done")
    assert read_json(run() / "history.json") == [1] and not (run() / "result.json").exists()
    machine("two")
    fetch(run())
    assert read_json(run() / "history.json") == [1] and not (run() / "result.json").exists()


def test_files_of_one_part_appear_together(machine: Machine) -> None:
    root = home_path(Path(ADDRESS)) / "stores" / "abc"
    with together(root):
        with drafted(root / "brain" / "x.parquet") as temporary:
            temporary.write_bytes(b"signal")
            put_in_place(temporary, root / "brain" / "x.parquet")
        write_json(root / "parts" / "x.json", {"uid": "x"})
        assert not (root / "parts" / "x.json").exists() and not objects()
    assert (root / "brain" / "x.parquet").read_bytes() == b"signal"
    assert set(json.loads(objects()["stores/abc/files.json"])) == {"brain/x.parquet", "parts/x.json"}


def test_a_folder_replaces_another_one(machine: Machine) -> None:
    for names in (["a", "b"], ["b", "c"]):
        with aside_folder(run() / "model") as temporary:
            for name in names:
                (temporary / name).write_text(f"{name} of {names}")
    machine("two")
    fetch(run() / "model")
    assert {path.name: path.read_text() for path in (run() / "model").iterdir()} == {
        "b": "b of ['b', 'c']",
        "c": "c of ['b', 'c']",
    }


def test_two_machines_write_at_once(machine: Machine) -> None:
    """Neither loses what the other one wrote between its look at the manifest and its own change of it."""
    write_json(run() / "a.json", 1)
    machine("two")
    write_json(run() / "b.json", 2)
    known = dict(copies._known)
    assert "c.json" not in next(iter(known.values()))[0]
    machine("one")
    write_json(run() / "c.json", 3)
    copies._known.clear()
    machine("two")
    copies._known.update(known)
    write_json(run() / "d.json", 4)
    assert set(json.loads(objects()["runs/a-1/files.json"])) == {"a.json", "b.json", "c.json", "d.json"}


def test_listings_are_never_asked_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obstore.list", lambda *args, **settings: pytest.fail("a listing may not show what is there"))
    for name in ("a-1", "a-2", "b-1"):
        write_json(run(name) / "result.json", name)
    machine("two")
    assert [path.name for path in folders_in(run().parent, "a-*")] == ["a-1", "a-2"]


def test_a_folder_that_was_deleted_in_the_bucket_is_gone(machine: Machine) -> None:
    write_json(run() / "result.json", 1)
    store = objects_of(place_of(run())).store
    obstore.delete(store, [name for name in objects() if name.startswith("runs/a-1/")])
    assert folders_in(run().parent) == [run()] and not (run() / "result.json").exists()
    write_json(run() / "result.json", 2)
    machine("two")
    fetch(run())
    assert read_json(run() / "result.json") == 2


def test_a_lost_and_a_damaged_object_are_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raybrain.bucket.copies.WAIT_S", 0)
    write_json(run() / "result.json", 1)
    key = next(name for name in objects() if "result" in name)
    store = objects_of(place_of(run())).store
    machine("two")
    obstore.put(store, key, b"other")
    with pytest.raises(InputError, match=f"damaged object {ADDRESS}/{key}"):
        fetch(run())
    obstore.delete(store, key)
    with pytest.raises(InputError, match=f"{ADDRESS}/runs/a-1/result.json is lost"):
        fetch(run())


def test_what_stays_on_a_node(machine: Machine) -> None:
    home = home_path(Path(ADDRESS))
    for name in ("claims/x.json", "maps/x/meta.json", "speeds/x.json", "runs/a-1/owner.json", "sweeps/x/optuna.db"):
        write_json(home / name, 1)
    assert not objects()


def test_a_file_that_another_process_wrote_meanwhile_is_removed(machine: Machine) -> None:
    write_json(run() / "result.json", 1)
    known = dict(copies._known)
    copies._known.clear()  # as another process of this machine
    write_json(run() / "failure.json", "why")
    copies._known.update(known)
    remove(run() / "failure.json")
    assert set(json.loads(objects()["runs/a-1/files.json"])) == {"result.json"}


def test_a_training_waits_that_another_machine_brought_to_the_end_of_a_generation(machine: Machine) -> None:
    fixed = {"train.epochs": 8, "train.patience": 8}
    asked = space(parameters={"optim.lr": LR}, trials=8, sampler="qmc", scheduler="pbt:2", fixed=fixed)
    sweep = Bench(home_path(Path(ADDRESS)) / "sweep", asked)
    member = sweep.ledger.next()
    assert member
    machine("two")
    RunRecord(run(member.job.record.path.name)).keep_history(history_of([0.5, 0.4]))
    machine("one")
    assert sweep.ledger.ended(member) == "waits"
