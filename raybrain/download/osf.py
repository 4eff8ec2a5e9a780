"""OSF: projects of the Open Science Framework, by its API v2 (https://developer.osf.io).

Everybody is let in, but only a hundred times an hour; each folder is asked for once or more. A token of one's own lifts that.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from raybrain.download.base import Host, RemoteFile
from raybrain.download.http import Bearer, ask, open_session

if TYPE_CHECKING:
    import requests

VARIABLE = "RAYBRAIN_OSF_TOKEN"


class OSF(Host):
    """The storage of some projects, laid over one another; a path that several have is taken from the first.

    Args:
        projects: five letters each.
        base: address of the API.
    """

    login = f"make a token at osf.io/settings/tokens and set {VARIABLE}"

    def __init__(self, *projects: str, base: str = "https://api.osf.io/v2") -> None:
        self.projects, self.base = projects, base.rstrip("/")

    @property
    def name(self) -> str:
        """OSF and the projects."""
        return f"OSF {'+'.join(self.projects)}"

    def session(self) -> "requests.Session":
        """With a token, if there is one."""
        token = os.environ.get(VARIABLE)
        domain = (urlsplit(self.base).hostname or "").removeprefix("api.")
        return open_session(Bearer(token, domain) if token else None)

    def files(self) -> list[RemoteFile]:
        """All files of all folders."""
        found: dict[str, RemoteFile] = {}
        with self.session() as session:
            for project in self.projects:
                for file in self._folder(session, f"{self.base}/nodes/{project}/files/osfstorage/"):
                    found.setdefault(file.path, file)
        return sorted(found.values(), key=lambda file: file.path)

    def _folder(self, session: "requests.Session", folder: str) -> Iterator[RemoteFile]:
        url: str | None = f"{folder}?page[size]=100"
        while url:
            page = ask(session, "GET", url, login=self.login).json()
            for item in page["data"]:
                if item["attributes"]["kind"] == "folder":
                    yield from self._folder(session, item["relationships"]["files"]["links"]["related"]["href"])
                else:
                    yield _file(item)
            url = page["links"].get("next")


def _file(item: dict[str, Any]) -> RemoteFile:
    said = item["attributes"]
    hashes = said.get("extra", {}).get("hashes", {})
    kind = next((kind for kind in ("sha256", "md5") if hashes.get(kind)), None)
    return RemoteFile(
        path=said["materialized_path"].lstrip("/"),
        url=item["links"]["download"],
        bytes=said["size"],
        checksum=f"{kind}:{hashes[kind]}" if kind else "",
    )
