"""Address: of a home in a bucket, and the folder that is a node's copy of it. Each can be told from the other."""

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote

from raybrain.config import InputError

SCHEMES = ("s3", "gs")
COPIES = "RAYBRAIN_COPIES"
_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):(?:/+(.*))?")  # a Path has one slash where an address has two
_COPY = re.compile(r"/buckets/(s3|gs)=([^/]+)(?=/|$)")


@dataclass(frozen=True)
class BucketHome:
    """A home in a bucket.

    Attributes:
        scheme: "s3" or "gs".
        bucket: its name.
        prefix: of the home's objects; empty for the whole bucket.
        copy: the folder that is this node's copy.
    """

    scheme: str
    bucket: str
    prefix: str
    copy: Path

    def __str__(self) -> str:
        """The address."""
        return f"{self.scheme}://{self.bucket}{'/' if self.prefix else ''}{self.prefix}"


def home_copy(home: Path) -> Path:
    """The folder to work in: ``home`` itself, or this node's copy if it is the address of a bucket.

    Raises:
        InputError: if it is an address that cannot be a home.
    """
    match = _ADDRESS.fullmatch(str(home))
    if match is None:
        return home
    scheme, (bucket, _, prefix) = match[1].lower(), (match[2] or "").partition("/")
    if scheme not in SCHEMES:
        raise InputError(f"no home can be on {scheme}://; type a folder, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", bucket):
        # what was typed may be a login, so it is not repeated
        raise InputError(f"no bucket can be called so; type {scheme}://BUCKET/FOLDER, with credentials in the environment")
    prefix = "/".join(part for part in prefix.split("/") if part)
    name = f"{scheme}={_packed('/'.join(filter(None, (bucket, prefix))))}"
    if len(name) > 200:
        raise InputError(f"{scheme}://{bucket}/... is longer than the name of a folder may be; type a shorter address")
    return _copies() / "buckets" / name


def place_of(path: Path) -> BucketHome | None:
    """The home in a bucket that ``path`` lies in the copy of; None for one on a disk."""
    match = _COPY.search(str(path))
    return None if match is None else _place(str(path)[: match.end()], match[1], match[2])


def typed_path(path: Path) -> str:
    """A home, or what lies in one, as a person types it: an address for what is in a bucket."""
    place = place_of(path)
    return str(path) if place is None else "/".join([str(place), *path.relative_to(place.copy).parts])


@lru_cache
def _place(copy: str, scheme: str, packed: str) -> BucketHome:
    bucket, _, prefix = unquote(packed.replace("=", "/").replace("~", "%")).partition("/")
    return BucketHome(scheme, bucket, prefix, Path(copy))


def _packed(place: str) -> str:
    """As the name of a folder, without what has a meaning in addresses of files and databases."""
    return "=".join(quote(part, safe="").replace("~", "%7E").replace("%", "~") for part in place.split("/"))


def _copies() -> Path:
    given, cache = os.environ.get(COPIES), os.environ.get("XDG_CACHE_HOME")
    return Path(given or (f"{cache}/raybrain" if cache else "~/.cache/raybrain")).expanduser().absolute()
