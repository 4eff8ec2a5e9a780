"""Dryad: the newest version of a dataset, through API v2 (https://datadryad.org/api).

Anyone may list files, but downloading through the API requires a free API account: its ID and secret are read from the
environment and exchanged for a token.
"""

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

from raybrain.download.base import Host, RemoteFile
from raybrain.download.http import Bearer, Refused, open_session, request

if TYPE_CHECKING:
    import requests

VARIABLES = ("RAYBRAIN_DRYAD_ID", "RAYBRAIN_DRYAD_SECRET")


class Dryad(Host):
    """A dataset; zip files in it are unpacked.

    Args:
        doi: the dataset's, such as "10.5061/dryad.070jc".
        inner: a glob pattern for the zip files to download, whether they are offered directly or inside other zip files; empty
            for all of them.
        base: the address of the API.
    """

    login = f"create an API account at datadryad.org and set {' and '.join(VARIABLES)}"

    def __init__(self, doi: str, inner: str = "", base: str = "https://datadryad.org/api/v2") -> None:
        self.doi, self.inner, self.base = doi.removeprefix("doi:"), inner, base.rstrip("/")

    @property
    def name(self) -> str:
        """Dryad and the DOI."""
        return f"Dryad {self.doi}"

    def session(self) -> "requests.Session":
        """A session with a token, if an account is set."""
        values = [os.environ.get(variable) for variable in VARIABLES]
        if not all(values):
            return open_session()
        account = dict(zip(("client_id", "client_secret"), values, strict=True)) | {"grant_type": "client_credentials"}
        with open_session() as session:
            response = request(session, "POST", urljoin(self.base, "/oauth/token"), login=self.login, data=account)
            try:
                token = response.json()["access_token"]
            except (ValueError, KeyError):
                raise Refused(f"{self.name} issues no token for this account; {self.login}") from None
            return open_session(Bearer(token, urlsplit(self.base).hostname or ""))

    def files(self) -> list[RemoteFile]:
        """The files of the newest version."""
        with open_session() as session:
            dataset = request(
                session, "GET", f"{self.base}/datasets/{quote(f'doi:{self.doi}', safe='')}", login=self.login
            ).json()
            items = list(self._pages(session, urljoin(self.base, f"{_link(dataset, 'stash:version')}/files?per_page=100")))
        wanted = [item for item in items if self.inner and fnmatchcase(item["path"], self.inner)]
        return sorted((self._file(item, nested=not wanted) for item in wanted or items), key=lambda file: file.path)

    def _pages(self, session: "requests.Session", url: str) -> Iterator[dict[str, Any]]:
        while url:
            page = request(session, "GET", url, login=self.login).json()
            yield from (item for item in page["_embedded"]["stash:files"] if item.get("status") != "deleted")
            following = _link(page, "next")
            url = urljoin(self.base, following) if following else ""

    def _file(self, item: dict[str, Any], nested: bool) -> RemoteFile:
        kind, digest = item.get("digestType", "").replace("-", ""), item.get("digest")
        zipped = item["path"].lower().endswith(".zip")
        return RemoteFile(
            path=item["path"],
            url=urljoin(self.base, _link(item, "stash:download") or _link(item, "stash:file-download")),
            bytes=item.get("size"),
            checksum=f"{kind}:{digest}" if kind in ("md5", "sha256") and digest else "",
            unpack=zipped,
            inner=self.inner if zipped and nested else "",
        )


def _link(item: dict[str, Any], relation: str) -> str:
    return str(item.get("_links", {}).get(relation, {}).get("href", ""))
