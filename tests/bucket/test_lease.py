import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from raybrain.bucket import lease as leases
from raybrain.bucket.lease import Lease
from raybrain.cluster import home_path
from raybrain.config import InputError
from raybrain.ownership import exclusive, owned, owner_of, unowned
from raybrain.storage import write_json
from tests.bucket.conftest import ADDRESS

Machine = Callable[[str], None]


def run() -> Path:
    return home_path(Path(ADDRESS)) / "runs" / "a-1"


class Busy(Exception):
    pass


def refuse(line: str) -> None:
    raise Busy(line)


def test_one_owner_on_all_machines(machine: Machine) -> None:
    with owned(run(), "train", refuse):
        write_json(run() / "history.json", [1])
        machine("two")
        with (
            pytest.raises(Busy, match=f"process {os.getpid()} on .* \\(train, since .*\\) works on"),
            owned(run(), "tune", refuse),
        ):
            pass
        with unowned(run()) as free:
            assert not free
        machine("one")
    machine("two")
    with owned(run(), "tune", refuse):
        assert (run() / "history.json").exists(), "as the last owner left it"
        assert owner_of(run()).purpose == "tune"


def test_of_two_one_wins(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have seen that nobody owns it."""
    first, second = Lease(run(), {"pid": 1}), Lease(run(), {"pid": 2})
    seen = first.objects.read(first.key)
    assert second.take()
    with monkeypatch.context() as patch:
        answers = iter([seen])
        patch.setattr(leases.Objects, "read", lambda objects, name: next(answers, None))
        assert not first.take()
    assert leases.last_owner(run()) == {"pid": 2}


def test_a_dead_owner_is_taken_over(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Lease(run(), {"pid": 1})
    assert dead.take()
    dead._over.set()  # it is killed: nobody renews it
    machine("two")
    with unowned(run()) as free:
        assert not free
    later(monkeypatch, leases.LEASE_S + 1)
    with owned(run(), "tune", refuse):
        assert dead.lost is False
        with pytest.raises(InputError, match=f"{ADDRESS}/runs/a-1 was taken over"):
            stalled(dead).check()


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The clock of the bucket goes on."""
    real = leases.Objects.written_at

    def written_at(self: leases.Objects, name: str) -> object:
        return real(self, name) + timedelta(seconds=seconds * (name == leases.CLOCK))

    monkeypatch.setattr(leases.Objects, "written_at", written_at)


def stalled(lease: Lease) -> Lease:
    """As a process that stood still for longer than a lease lasts."""
    lease._over.clear()
    lease._renewed -= leases.LEASE_S
    return lease


def test_a_killed_owner_on_the_same_machine_is_not_waited_for(machine: Machine) -> None:
    with owned(run(), "train", refuse):
        owner = leases.last_owner(run())
    dead = Lease(run(), owner)
    assert dead.take()
    dead._over.set()
    with owned(run(), "tune", refuse):
        assert owner_of(run()).purpose == "tune"
    machine("two")
    assert dead.take(dead=True)
    dead._over.set()
    with pytest.raises(Busy), owned(run(), "tune", refuse):
        pass


def test_one_at_a_time_changes_what_all_share(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raybrain.ownership.LOOK_S", 0.01)
    path = run().parents[1] / "stores" / "abc" / "manifest.json"
    other = Lease(path, {"pid": 1})
    assert other.take()
    machine("two")
    threading.Timer(0.2, other.give_back).start()
    begun = time.monotonic()
    with exclusive(run().parents[1] / "stores" / "abc" / "manifest.json"):
        assert time.monotonic() - begun > 0.1


def test_an_owner_that_lost_its_lease_publishes_nothing(machine: Machine) -> None:
    with owned(run(), "train", refuse):
        write_json(run() / "history.json", [1])
        mine = leases.held[run()].__self__  # type: ignore[attr-defined]
        version = mine.objects.read(mine.key)[1]
        mine.objects.write_if(mine.key, b'{"holder": "another"}', version)
        mine._renewed -= leases.LEASE_S
        with pytest.raises(InputError, match="was taken over"):
            write_json(run() / "history.json", [1, 2])


def test_a_lease_is_renewed_while_it_is_held(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWAL_S", 0.01)
    lease = Lease(run(), {"pid": 1})
    assert lease.take()
    versions = set()
    while len(versions) < 3:
        versions.add(lease.objects.read(lease.key)[0])
    lease.give_back()
    assert Lease(run(), {"pid": 2}).take()


def test_an_owner_that_loses_its_lease_while_it_publishes_changes_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first try to replace the manifest takes long; meanwhile another machine takes over and publishes."""
    with owned(run(), "train", refuse):
        write_json(run() / "history.json", [1])
        mine = leases.held[run()].__self__  # type: ignore[attr-defined]
        write_if = leases.Objects.write_if

        def late(self: leases.Objects, name: str, content: bytes, version: Any) -> Any:
            if name.endswith("files.json"):
                monkeypatch.setattr(leases.Objects, "write_if", write_if)
                self.write_if(mine.key, b'{"holder": "another"}', self.read(mine.key)[1])
                self.write_if(name, b"{}", version)
                mine._renewed -= leases.LEASE_S
            return write_if(self, name, content, version)

        monkeypatch.setattr(leases.Objects, "write_if", late)
        with pytest.raises(InputError, match="was taken over"):
            write_json(run() / "history.json", [1, 2])
        assert mine.objects.read("runs/a-1/files.json")[0] == b"{}"


def test_a_folder_that_another_machine_looks_after_is_not_taken_by_its_last_owner(machine: Machine) -> None:
    with owned(run(), "train", refuse):
        pass
    machine("two")
    with unowned(run()) as free:
        assert free and owner_of(run()).purpose == "train"
        machine("one")
        with pytest.raises(Busy), owned(run(), "train", refuse):
            pass


def test_a_bucket_that_does_not_answer_leaves_no_lock(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: Lease, dead: bool = False) -> bool:
        raise InputError("does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(Lease, "take", away)
        with pytest.raises(InputError, match="does not answer"), unowned(run()):
            pass
    with unowned(run()) as free:
        assert free
