"""Objects: what a bucket can do. Credentials and endpoint come from the environment, as for every tool of that cloud."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from raybrain.bucket.address import BucketHome
from raybrain.config import InputError, first_line

Version = dict[str, Any]  # names one state of an object
HOME = "home.json"  # an object that every home has
PATIENCE = {"max_retries": 12, "retry_timeout": timedelta(seconds=180)}  # a network that is gone for a minute or two
HASTE = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}
LOGIN = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL where it is not Amazon's",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to the file of a key",
}


@dataclass(frozen=True)
class Objects:
    """The objects of one home, by name below its address."""

    place: BucketHome
    store: Any

    def read(self, name: str) -> tuple[bytes, Version] | None:
        """An object and its version; None if there is none."""
        import obstore

        with self._explaining():
            try:
                got = obstore.get(self.store, name)
                return bytes(got.bytes()), _version(got.meta)
            except FileNotFoundError as error:
                self._refuse_bucket(error)
                return None

    def write(self, name: str, content: bytes | Path) -> None:
        """Write an object; it appears when all of it is there."""
        import obstore

        with self._explaining():
            obstore.put(self.store, name, content)

    def write_if(self, name: str, content: bytes, version: Version | None) -> Version | None:
        """Write an object if it is still of this version, or if ``version`` is None still not there; None if it is not so."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._explaining():
            try:
                return _version(obstore.put(self.store, name, content, mode=cast(Any, version or "create")))
            except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
                self._refuse_bucket(error)
                return None

    def fetch(self, name: str, to: Path) -> str | None:
        """Write what an object holds to a file; its sha256, or None if there is no such object."""
        import obstore

        digest = hashlib.sha256()
        with self._explaining(), suppress(FileNotFoundError):
            got = obstore.get(self.store, name)
            with open(to, "wb") as file:
                for chunk in got.stream(min_chunk_size=2**22):
                    file.write(chunk)
                    digest.update(chunk)
            return digest.hexdigest()
        return None

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; those that are gone already do not matter."""
        import obstore

        for name in names:
            with self._explaining(), suppress(FileNotFoundError):
                obstore.delete(self.store, name)

    def listed(self) -> Iterator[tuple[str, int, datetime]]:
        """Every object that a listing shows: its name, bytes, and when it was written."""
        import obstore

        with self._explaining():
            for page in obstore.list(self.store):
                yield from ((item["path"], item["size"], item["last_modified"]) for item in page)

    def written_at(self, name: str) -> datetime:
        """When an object was written, by the clock of the bucket; long ago if there is none."""
        import obstore

        with self._explaining():
            try:
                return obstore.head(self.store, name)["last_modified"]
            except FileNotFoundError:
                return datetime.fromisoformat("1970-01-01T00:00:00+00:00")

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Turn what goes wrong with a bucket into one line."""
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError):
            raise InputError(f"no permission for {self.place}; {LOGIN[self.place.scheme]}") from None
        except BaseError as error:
            if "169.254.169.254" in str(error) or "metadata.google" in str(error):  # where a machine of a cloud has its own
                raise InputError(f"no credentials for {self.place}; {LOGIN[self.place.scheme]}") from None
            raise InputError(
                f"{self.place} does not answer ({_reason(error)}); the same command goes on when it does"
            ) from None

    def _refuse_bucket(self, error: Exception) -> None:
        if "NoSuchBucket" in str(error) or "bucket does not exist" in str(error):
            raise InputError(
                f"no bucket {self.place.bucket!r} for {self.place}; make it first, or type another --home"
            ) from None


@lru_cache
def objects_of(place: BucketHome, patient: bool = True) -> Objects:
    """The objects of a home.

    Args:
        place: its address.
        patient: whether to wait for a bucket that does not answer, for minutes.

    Raises:
        InputError: if the package for it is missing.
    """
    try:
        import obstore.store as stores
    except ImportError:
        raise InputError(f"a home on {place.scheme}:// needs a package; type pip install 'raybrain[bucket]'") from None
    retries = PATIENCE if patient else HASTE
    common: dict[str, Any] = {"prefix": place.prefix or None, "retry_config": retries}
    if place.scheme == "gs":
        with _explained_settings(place):
            return Objects(place, stores.GCSStore(place.bucket, **common))
    endpoint, region = _amazon()
    settings: Mapping[str, Any] = {"region": region, "client_options": {"allow_http": endpoint.startswith("http://")}}
    if endpoint:
        settings = {**settings, "endpoint": endpoint}
    with _explained_settings(place):
        return Objects(place, stores.S3Store(place.bucket, **settings, **common))


def _amazon() -> tuple[str, str]:
    """The endpoint, empty for Amazon's own, and the region.

    Raises:
        InputError: if the environment holds what can be neither.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    if endpoint and not re.fullmatch(r"https?://(\[[0-9a-fA-F:]+\]|[\w.-]+)(:\d{1,5})?(/[\w./-]*)?", endpoint):
        raise InputError("AWS_ENDPOINT_URL must be an address like https://HOST:PORT, without a login")
    if not re.fullmatch(r"[\w-]+", region):
        raise InputError("AWS_REGION must be a name like us-east-1")
    return endpoint, region


def file_system(place: BucketHome) -> tuple[Any, str]:
    """A home as a file system of Arrow, for Ray, and the path of the home in there. It holds no credentials."""
    from pyarrow import fs

    root = f"{place.bucket}/{place.prefix}".rstrip("/")
    if place.scheme == "gs":
        return fs.GcsFileSystem(), root
    endpoint, region = _amazon()
    return fs.S3FileSystem(region=region, endpoint_override=endpoint or None), root


def begin_home(place: BucketHome) -> None:
    """Make a home in a bucket, if there is none at its address.

    Raises:
        InputError: if it cannot be written, with what to do about it.
    """
    objects_of(place, patient=False).write_if(HOME, b"{}", None)


def is_home(place: BucketHome) -> bool:
    """Whether there is a home at an address."""
    return objects_of(place, patient=False).read(HOME) is not None


@contextmanager
def _explained_settings(place: BucketHome) -> Iterator[None]:
    from obstore.exceptions import BaseError

    try:
        yield
    except BaseError as error:
        raise InputError(f"cannot open {place} ({_reason(error)}); {LOGIN[place.scheme]}") from None


def _version(known: Mapping[str, Any]) -> Version:
    return {name: known[name] for name in ("e_tag", "version") if known.get(name)}


def _reason(error: BaseException) -> str:
    """What an error of the library says, without addresses and what it tried before."""
    line = first_line(error)
    status = re.search(r"status code: ([^:]+)", line)
    return status[1].strip() if status else line.rpartition(" - ")[2].strip() or line
