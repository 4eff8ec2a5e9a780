"""OSF: projects of the Open Science Framework, through API v2 (https://developer.osf.io).

Without a token, OSF answers a hundred requests an hour, and each folder takes at least one. A personal token lifts the limit.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from raybrain.download.base import Host, RemoteFile
from raybrain.download.http import Bearer, open_session, request

if TYPE_CHECKING:
    import requests

VARIABLE = "RAYBRAIN_OSF_TOKEN"


class OSF(Host):
    """The files of several projects, merged; a path that occurs in more than one is taken from the first.

    Args:
        projects: their IDs, five characters each.
        base: the address of the API.
    """

    login = f"create a token at osf.io/settings/tokens and set {VARIABLE}"

    def __init__(self, *projects: str, base: str = "https://api.osf.io/v2") -> None:
        self.projects, self.base = projects, base.rstrip("/")

    @property
    def name(self) -> str:
        """OSF and the IDs of the projects."""
        return f"OSF {'+'.join(self.projects)}"

    def session(self) -> "requests.Session":
        """A session with a token, if one is set."""
        token = os.environ.get(VARIABLE)
        domain = (urlsplit(self.base).hostname or "").removeprefix("api.")
        return open_session(Bearer(token, domain) if token else None)

    def files(self) -> list[RemoteFile]:
        """All files in all folders."""
        files: dict[str, RemoteFile] = {}
        with self.session() as session:
            for project in self.projects:
                for file in self._folder(session, f"{self.base}/nodes/{project}/files/osfstorage/"):
                    files.setdefault(file.path, file)
        return sorted(files.values(), key=lambda file: file.path)

    def _folder(self, session: "requests.Session", folder: str) -> Iterator[RemoteFile]:
        url: str | None = f"{folder}?page[size]=100"
        while url:
            page = request(session, "GET", url, login=self.login).json()
            for item in page["data"]:
                if item["attributes"]["kind"] == "folder":
                    yield from self._folder(session, item["relationships"]["files"]["links"]["related"]["href"])
                else:
                    yield _file(item)
            url = page["links"].get("next")


def _file(item: dict[str, Any]) -> RemoteFile:
    attributes = item["attributes"]
    hashes = attributes.get("extra", {}).get("hashes", {})
    kind = next((kind for kind in ("sha256", "md5") if hashes.get(kind)), None)
    return RemoteFile(
        path=attributes["materialized_path"].lstrip("/"),
        url=item["links"]["download"],
        bytes=attributes["size"],
        checksum=f"{kind}:{hashes[kind]}" if kind else "",
    )
