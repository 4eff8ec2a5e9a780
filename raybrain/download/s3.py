"""S3: public buckets over HTTPS, through the list call of S3 itself (list-type=2)."""

from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from raybrain.config import InputError
from raybrain.download.base import Host, RemoteFile
from raybrain.download.http import request
from raybrain.storage import shown


class S3(Host):
    """The objects of a bucket under a prefix.

    Args:
        title: the name shown to users.
        base: the address of the bucket.
        prefix: the beginning of the objects' keys; paths are what follows it.
    """

    def __init__(self, title: str, base: str, prefix: str) -> None:
        self.title, self.base, self.prefix = title, base.rstrip("/"), prefix

    @property
    def name(self) -> str:
        """The title."""
        return self.title

    def files(self) -> list[RemoteFile]:
        """All objects, without those that stand for a folder."""
        files: list[RemoteFile] = []
        query = {"list-type": "2", "prefix": self.prefix}
        with self.session() as session:
            while True:
                page = _parse(request(session, "GET", f"{self.base}/", params=query).content, self.base)
                files += [self._file(item) for item in page.iter("Contents") if not item.findtext("Key", "").endswith("/")]
                following = page.findtext("NextContinuationToken")
                if page.findtext("IsTruncated") != "true" or not following:
                    return sorted(files, key=lambda file: file.path)
                query["continuation-token"] = following

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
        raise InputError(f"{shown(url)} did not answer with an S3 listing") from None
    for item in page.iter():
        item.tag = item.tag.rpartition("}")[2]
    return page


class OpenNeuro(S3):
    """The newest version of an OpenNeuro dataset.

    Args:
        dataset: its ID, such as "ds004408".
        base: the address of the bucket.
    """

    def __init__(self, dataset: str, base: str = "https://s3.amazonaws.com/openneuro.org") -> None:
        super().__init__(f"OpenNeuro {dataset}", base, f"{dataset}/")
