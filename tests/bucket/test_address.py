import os
from pathlib import Path

import pytest

from raybrain.bucket.address import home_copy, place_of, typed_path
from raybrain.cluster import Cluster, home_path
from raybrain.config import InputError

ADDRESSES = ["s3://lab", "s3://lab/home", "gs://lab_2/a/b", "s3://lab/a=b ~c%/ü"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_path_in_a_copy_tells_the_address(address: str) -> None:
    home = home_copy(Path(address))
    assert home.is_absolute() and len(home.relative_to(home.parents[1]).parts) == 2
    for path in (home, home / "runs" / "a-b" / "result.json"):
        assert str(place_of(path)) == address
        assert place_of(path).copy == home
    assert typed_path(home) == address and typed_path(home / "runs" / "a") == f"{address}/runs/a"


def test_a_folder_is_no_bucket(tmp_path: Path) -> None:
    assert home_copy(tmp_path) == tmp_path and place_of(tmp_path) is None and typed_path(tmp_path) == str(tmp_path)
    assert home_copy(Path("buckets/s3")) == Path("buckets/s3")


def test_copies_lie_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYBRAIN_COPIES", str(tmp_path))
    monkeypatch.setenv("RAYBRAIN_HOME", "s3://lab/home/")
    assert home_path() == Cluster().home == tmp_path / "buckets" / "s3=lab=home"
    assert Cluster(home=Path("s3://other")).home == tmp_path / "buckets" / "s3=other"
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("hdfs://lab/home", "no home can be on hdfs://; type a folder, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"),
        ("https://lab.example/x", "no home can be on https://"),
        ("s3://", "no bucket can be called so; type s3://BUCKET/FOLDER"),
        ("gs://Lab/x", "no bucket can be called so; type gs://BUCKET/FOLDER"),
        ("s3://user:hunter2@lab/x", "credentials in the environment"),
        (f"s3://lab/{'x' * 300}", "type a shorter address"),
    ],
)
def test_what_cannot_be_a_home(address: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        Cluster(home=Path(address))
    assert reason in str(caught.value) and "\n" not in str(caught.value) and "hunter2" not in str(caught.value)


def test_memory_maps_are_not_in_a_bucket() -> None:
    with pytest.raises(InputError, match="memory maps lie on a disk of each node"):
        Cluster(scratch=Path("s3://lab/maps"))
