"""WebDAV: a folder and all that is below it, for people with an account."""

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit
from xml.etree import ElementTree

from raybrain.config import InputError
from raybrain.download.base import Host, RemoteFile
from raybrain.download.http import ask, open_session, shown

if TYPE_CHECKING:
    import requests

DAV = "{DAV:}"


class WebDAV(Host):
    """A folder behind a user name and a password, which come from two environment variables or are asked for.

    Args:
        title: what people call it.
        folder: its path on the server.
        base: address of the server.
        variables: names of the two environment variables.
    """

    def __init__(self, title: str, folder: str, base: str, variables: tuple[str, str]) -> None:
        self.title, self.variables = title, variables
        self.url = f"{base.rstrip('/')}/{folder.strip('/')}/"
        self._asked: tuple[str, str] | None = None

    @property
    def login(self) -> str:  # type: ignore[override]
        """Which variables to set."""
        return f"set {' and '.join(self.variables)} to those of your account there"

    @property
    def name(self) -> str:
        """The title."""
        return self.title

    def session(self) -> "requests.Session":
        """With user and password."""
        if urlsplit(self.url).scheme != "https" and urlsplit(self.url).hostname not in ("127.0.0.1", "localhost"):
            raise InputError(f"{shown(self.url)} would send a password for all to read; type an https address")
        return open_session(self._credentials())

    def _credentials(self) -> tuple[str, str]:
        user, password = (os.environ.get(variable) for variable in self.variables)
        if user and password:
            return user, password
        if self._asked is None:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise InputError(f"it wants credentials; {self.login}")
            from getpass import getpass

            print(f"{self.title} (to not be asked, {self.login})", file=sys.stderr)
            self._asked = input("user: "), getpass("password: ")
        return self._asked

    def files(self) -> list[RemoteFile]:
        """All files of all folders."""
        with self.session() as session:
            return sorted(self._folder(session, self.url), key=lambda file: file.path)

    def _folder(self, session: "requests.Session", url: str) -> Iterator[RemoteFile]:
        answer = ask(session, "PROPFIND", url, login=self.login, headers={"Depth": "1"})
        try:
            listed = ElementTree.fromstring(answer.content)
        except ElementTree.ParseError:
            raise InputError(f"{shown(url)} answers something that is no WebDAV listing") from None
        for item in listed.iter(f"{DAV}response"):
            at = urljoin(url, item.findtext(f"{DAV}href", "").strip())
            if not at.startswith(self.url) or at.rstrip("/") == url.rstrip("/"):
                continue  # the folder itself; what lies elsewhere gets no credentials
            if item.find(f".//{DAV}resourcetype/{DAV}collection") is not None:
                yield from self._folder(session, f"{at.rstrip('/')}/")
            else:
                size = item.findtext(f".//{DAV}getcontentlength")
                yield RemoteFile(unquote(at.removeprefix(self.url)), at, int(size) if size else None)


class Donders(WebDAV):
    """A collection of the Donders Repository: https://data.ru.nl.

    Args:
        collection: as "dccn/DSC_3011020.09_236_v1".
        base: address of the server.
    """

    def __init__(self, collection: str, base: str = "https://webdav.data.donders.ru.nl") -> None:
        variables = ("RAYBRAIN_DONDERS_USER", "RAYBRAIN_DONDERS_PASSWORD")
        super().__init__(f"Donders Repository {collection}", collection, base, variables)
