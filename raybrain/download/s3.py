"""S3: public buckets over HTTPS, by the listing that S3 itself gives (list-type=2)."""

from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from raybrain.config import InputError
from raybrain.download.base import Host, RemoteFile
from raybrain.download.http import ask, shown


class S3(Host):
    """The objects of a bucket below a prefix.

    Args:
        title: what people call it.
        base: address of the bucket.
        prefix: what the keys of the objects begin with; paths are what follows it.
    """

    def __init__(self, title: str, base: str, prefix: str) -> None:
        self.title, self.base, self.prefix = title, base.rstrip("/"), prefix

    @property
    def name(self) -> str:
        """The title."""
        return self.title

    def files(self) -> list[RemoteFile]:
        """All objects; those that stand for a folder are left out."""
        found: list[RemoteFile] = []
        asked = {"list-type": "2", "prefix": self.prefix}
        with self.session() as session:
            while True:
                page = _parse(ask(session, "GET", f"{self.base}/", params=asked).content, self.base)
                found += [self._file(item) for item in page.iter("Contents") if not item.findtext("Key", "").endswith("/")]
                following = page.findtext("NextContinuationToken")
                if page.findtext("IsTruncated") != "true" or not following:
                    return sorted(found, key=lambda file: file.path)
                asked["continuation-token"] = following

    def _file(self, item: "ElementTree.Element[Any]") -> RemoteFile:
        key, tag = item.findtext("Key", ""), item.findtext("ETag", "").strip('"')
        whole = len(tag) == 32 and "-" not in tag  # the tag of an object uploaded in parts is not its md5
        return RemoteFile(
            path=key.removeprefix(self.prefix),
            url=f"{self.base}/{quote(key)}",
            bytes=int(item.findtext("Size", "0")),
            checksum=f"md5:{tag}" if whole else "",
        )


def _parse(text: bytes, url: str) -> "ElementTree.Element[Any]":
    try:
        page = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        raise InputError(f"{shown(url)} answers something that is no S3 listing") from None
    for item in page.iter():
        item.tag = item.tag.rpartition("}")[2]
    return page


class OpenNeuro(S3):
    """A dataset of OpenNeuro, the newest version.

    Args:
        dataset: as "ds004408".
        base: address of the bucket.
    """

    def __init__(self, dataset: str, base: str = "https://s3.amazonaws.com/openneuro.org") -> None:
        super().__init__(f"OpenNeuro {dataset}", base, f"{dataset}/")
