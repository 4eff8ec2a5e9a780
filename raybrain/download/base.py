"""Remote files, and the hosts that offer them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests


@dataclass(frozen=True)
class RemoteFile:
    """A file that a host offers.

    Attributes:
        path: its place relative to the study's folder, with forward slashes.
        url: its address.
        bytes: its size; None if the host does not report it.
        checksum: such as "md5:0123..." or "sha256:0123..."; empty if the host reports none.
        unpack: it is an archive, to be unpacked into the folder it lies in and then deleted. Unless everything in it shares one
            top-level folder, it is unpacked into a new folder named after the archive.
        inner: for an archive of archives: a glob pattern for the names of the inner archives to unpack instead.
    """

    path: str
    url: str
    bytes: int | None = None
    checksum: str = ""
    unpack: bool = False
    inner: str = ""


class Host:
    """A server that offers a study's files. One class per protocol; creating one contacts nobody."""

    login: str = ""  # for error messages: how to get access where a login is required

    @property
    def name(self) -> str:
        """The name shown to users."""
        raise NotImplementedError

    def session(self) -> "requests.Session":
        """The HTTP session to request its files with, including credentials.

        Raises:
            InputError: if it needs credentials and none are set.
        """
        from raybrain.download.http import open_session

        return open_session()

    def files(self) -> list[RemoteFile]:
        """All files it offers, sorted by path.

        Raises:
            InputError: if it cannot be reached or refuses the request.
        """
        raise NotImplementedError
