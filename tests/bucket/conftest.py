"""A bucket in memory, as fast as a dict, for tests of what is done with one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from raybrain.bucket import copies
from raybrain.bucket.objects import objects_of

ADDRESS = "s3://lab/some/home"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Go on as another machine, which has a copy of its own of a bucket in memory."""
    stores: dict[tuple[str, str], MemoryStore] = {}

    def open_store(bucket: str, prefix: str | None = None, **settings: Any) -> MemoryStore:
        return stores.setdefault((bucket, prefix or ""), MemoryStore())

    def go_on(name: str) -> None:
        monkeypatch.setenv("RAYBRAIN_COPIES", str(tmp_path / name))
        copies._known.clear()
        copies.held.clear()

    monkeypatch.setattr("obstore.store.S3Store", open_store)
    objects_of.cache_clear()
    go_on("one")
    yield go_on
    objects_of.cache_clear()
