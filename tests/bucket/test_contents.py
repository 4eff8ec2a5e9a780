from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import obstore
import pytest

from raybrain.bucket.address import place_of
from raybrain.bucket.objects import Objects, objects_of
from raybrain.storage import write_json
from tests.bucket.conftest import ADDRESS
from tests.bucket.test_copies import Machine, objects, run
from tests.conftest import Ended


@pytest.fixture
def written(machine: Machine) -> None:
    """A home with a run and the page of a home, and an upload that was cut off."""
    home = place_of(run())
    assert home
    objects_of(home).write_if("home.json", b"{}", None)
    write_json(run() / "result.json", {"loss": 1.5})
    write_json(run().parents[1] / "baselines" / "x.json", 1)
    objects_of(home).write("runs/a-1/last-0123456789ab.pt", b"cut off")


def test_what_it_holds(written: None, raybrain: Callable[..., Ended]) -> None:
    ended = raybrain("home", "--home", ADDRESS, "--json")
    assert [(item["name"], item["files"]) for item in ended.json["items"]] == [("runs/a-1", 1), ("baselines", 1)]
    assert ended.json["home"] == ADDRESS and f"{ADDRESS}: " in ended.out


def test_what_is_damaged(written: None, raybrain: Callable[..., Ended]) -> None:
    assert f"everything in {ADDRESS} is as it was written" in raybrain("home", "verify", "--home", ADDRESS).out
    home = place_of(run())
    assert home
    key = next(name for name in objects() if "result" in name)
    obstore.put(objects_of(home).store, key, b"other")
    ended = raybrain("home", "verify", "--home", ADDRESS)
    assert ended.code == 1 and f"{ADDRESS}/runs/a-1/result.json: its sha256 is another" in ended.out
    obstore.delete(objects_of(home).store, key)
    assert "its object is lost" in raybrain("home", "verify", "--home", ADDRESS).out


def test_what_was_cut_off_is_removed_and_nothing_else(
    written: None, raybrain: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = objects_of(place_of(run()))
    bucket.write("runs/a-1/notes.txt", b"a person's")
    before = objects()
    later(monkeypatch, timedelta(hours=12))
    assert f"nothing is left over in {ADDRESS}" in raybrain("home", "clean", "--yes", "--home", ADDRESS).out, "it may go on"
    later(monkeypatch, timedelta(hours=25))
    assert raybrain("home", "clean", "--home", ADDRESS).code == 0 and objects() == before
    ended = raybrain("home", "clean", "--yes", "--home", ADDRESS, "--json")
    assert ended.json["removed"] == ["runs/a-1/last-0123456789ab.pt"]
    assert objects() == {name: content for name, content in before.items() if name != ended.json["removed"][0]}
    assert (Path(run()) / "result.json").exists()


def later(monkeypatch: pytest.MonkeyPatch, age: timedelta) -> None:
    """All objects of the bucket are as old."""

    def listed(self: Objects) -> Iterator[tuple[str, int, datetime]]:
        store = self.store
        yield from ((item["path"], item["size"], item["last_modified"] - age) for page in obstore.list(store) for item in page)

    monkeypatch.setattr(Objects, "listed", listed)
