"""What can be downloaded: files, and the hosts that list them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests


@dataclass(frozen=True)
class RemoteFile:
    """A file of a host.

    Attributes:
        path: where it belongs, relative to the study's folder, with forward slashes.
        url: where it is.
        bytes: its size, None if the host does not say.
        checksum: as "md5:0123..." or "sha256:0123...", empty if the host gives none.
        unpack: it is an archive, to be unpacked into the folder it belongs to; if it would strew its files there, into one
            with the archive's own name. Only what was in it is kept.
        inner: of an archive of archives, a pattern of the names of those that are wanted; they are unpacked instead.
    """

    path: str
    url: str
    bytes: int | None = None
    checksum: str = ""
    unpack: bool = False
    inner: str = ""


class Host:
    """A place that offers a study's files. One kind for each protocol; made for nothing, asked only when needed."""

    login: str = ""  # for messages: what lets one in where it does not let everybody in

    @property
    def name(self) -> str:
        """What people call it."""
        raise NotImplementedError

    def session(self) -> "requests.Session":
        """What its files are asked for with, credentials included.

        Raises:
            InputError: if it wants credentials and there are none.
        """
        from raybrain.download.http import open_session

        return open_session()

    def files(self) -> list[RemoteFile]:
        """All files it offers, sorted by path.

        Raises:
            InputError: if it cannot be reached, or refuses.
        """
        raise NotImplementedError
