"""WebDAV: a folder and everything below it, for users with an account."""

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit
from xml.etree import ElementTree

from raybrain.config import InputError
from raybrain.download.base import Host, RemoteFile
from raybrain.download.http import open_session, request
from raybrain.storage import shown

if TYPE_CHECKING:
    import requests

DAV = "{DAV:}"


class WebDAV(Host):
    """A folder protected by a user name and a password, read from two environment variables or else typed at a prompt.

    Args:
        title: the name shown to users.
        folder: its path on the server.
        base: the address of the server.
        variables: the names of the two environment variables.
    """

    def __init__(self, title: str, folder: str, base: str, variables: tuple[str, str]) -> None:
        self.title, self.variables = title, variables
        self.url = f"{base.rstrip('/')}/{folder.strip('/')}/"
        self._typed: tuple[str, str] | None = None

    @property
    def login(self) -> str:  # type: ignore[override]
        """Which environment variables to set."""
        return f"set {' and '.join(self.variables)} to the user name and password of your account"

    @property
    def name(self) -> str:
        """The title."""
        return self.title

    def session(self) -> "requests.Session":
        """A session with user name and password."""
        if urlsplit(self.url).scheme != "https" and urlsplit(self.url).hostname not in ("127.0.0.1", "localhost"):
            raise InputError(f"{shown(self.url)} would send a password unencrypted; use an https address")
        return open_session(self._credentials())

    def _credentials(self) -> tuple[str, str]:
        user, password = (os.environ.get(variable) for variable in self.variables)
        if user and password:
            return user, password
        if self._typed is None:
            if not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise InputError(f"it requires a login; {self.login}")
            from getpass import getpass

            print(f"{self.title} (to skip this prompt, {self.login})", file=sys.stderr)
            self._typed = input("user: "), getpass("password: ")
        return self._typed

    def files(self) -> list[RemoteFile]:
        """All files in all folders."""
        with self.session() as session:
            return sorted(self._folder(session, self.url), key=lambda file: file.path)

    def _folder(self, session: "requests.Session", url: str) -> Iterator[RemoteFile]:
        response = request(session, "PROPFIND", url, login=self.login, headers={"Depth": "1"})
        try:
            listing = ElementTree.fromstring(response.content)
        except ElementTree.ParseError:
            raise InputError(f"{shown(url)} did not answer with a WebDAV listing") from None
        for item in listing.iter(f"{DAV}response"):
            address = urljoin(url, item.findtext(f"{DAV}href", "").strip())
            if not address.startswith(self.url) or address.rstrip("/") == url.rstrip("/"):
                continue  # the folder itself; addresses outside of it get no credentials
            if item.find(f".//{DAV}resourcetype/{DAV}collection") is not None:
                yield from self._folder(session, f"{address.rstrip('/')}/")
            else:
                size = item.findtext(f".//{DAV}getcontentlength")
                yield RemoteFile(unquote(address.removeprefix(self.url)), address, int(size) if size else None)


class Donders(WebDAV):
    """A collection of the Donders Repository: https://data.ru.nl.

    Args:
        collection: its path, such as "dccn/DSC_3011020.09_236_v1".
        base: the address of the server.
    """

    def __init__(self, collection: str, base: str = "https://webdav.data.donders.ru.nl") -> None:
        variables = ("RAYBRAIN_DONDERS_USER", "RAYBRAIN_DONDERS_PASSWORD")
        super().__init__(f"Donders Repository {collection}", collection, base, variables)
