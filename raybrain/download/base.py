"""What can be downloaded: files, and the hosts that list them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """A file of a host.

    Attributes:
        path: where it belongs, relative to the study's folder, with forward slashes.
        url: where it is.
        bytes: its size, None if the host does not say.
        checksum: as "md5:0123..." or "sha256:0123...", empty if the host gives none.
        unpack: it is an archive, to be unpacked into the folder it belongs to.
    """

    path: str
    url: str
    bytes: int | None = None
    checksum: str = ""
    unpack: bool = False


class Host:
    """A place that offers a study's files. One kind for each protocol."""

    @property
    def name(self) -> str:
        """What people call it."""
        raise NotImplementedError

    def files(self) -> list[RemoteFile]:
        """All files it offers, sorted by path.

        Raises:
            InputError: if it cannot be reached, or refuses.
        """
        raise NotImplementedError
