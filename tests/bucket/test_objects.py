import sys
from pathlib import Path

import pytest

from raybrain.bucket.address import BucketHome
from raybrain.bucket.objects import objects_of
from raybrain.config import InputError

LAB = BucketHome("s3", "lab", "home", Path("/nonexistent"))


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("AWS_ENDPOINT_URL_S3", "nonsense", "AWS_ENDPOINT_URL must be an address like https://HOST:PORT"),
        ("AWS_ENDPOINT_URL_S3", "http://me:hunter2@lab:9000", "without a login"),
        ("AWS_ENDPOINT_URL_S3", "http://lab:port", "must be an address"),
        ("AWS_REGION", "us east", "AWS_REGION must be a name"),
    ],
)
def test_what_the_environment_cannot_mean(variable: str, value: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    objects_of.cache_clear()
    with pytest.raises(InputError, match=reason) as caught:
        objects_of(LAB)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9000", "https://s3.lab.example/x", "http://[::1]:9"])
def test_endpoints(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    objects_of.cache_clear()
    assert objects_of(LAB).place == LAB


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    objects_of.cache_clear()
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(InputError, match=r"pip install 'raybrain\[bucket\]'"):
        objects_of(LAB)


def test_a_key_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    objects_of.cache_clear()
    with pytest.raises(InputError, match=r"cannot open gs://lab/home .*set GOOGLE_APPLICATION_CREDENTIALS"):
        objects_of(BucketHome("gs", "lab", "home", tmp_path))
