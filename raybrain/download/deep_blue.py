"""Deep Blue Data of the University of Michigan: files by ID. The IDs are listed here; each response names its file."""

from functools import partial
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

from raybrain.config import InputError
from raybrain.download.base import Host, RemoteFile
from raybrain.download.http import request
from raybrain.storage import shown

if TYPE_CHECKING:
    import requests

AT_ONCE = 8


class DeepBlue(Host):
    """Some files of a dataset; zip files among them are unpacked.

    Args:
        dataset: its ID, as shown to users.
        ids: the IDs of the files, nine characters each.
        base: the address that file IDs are appended to.
    """

    def __init__(self, dataset: str, ids: tuple[str, ...], base: str = "https://deepblue.lib.umich.edu/data/downloads") -> None:
        self.dataset, self.ids, self.base = dataset, ids, base.rstrip("/")

    @property
    def name(self) -> str:
        """Deep Blue and the dataset's ID."""
        return f"Deep Blue {self.dataset}"

    def files(self) -> list[RemoteFile]:
        """Request the headers of every file, which give its name and size."""
        with self.session() as session, ThreadPool(AT_ONCE) as pool:
            return sorted(pool.map(partial(self._file, session), self.ids), key=lambda file: file.path)

    def _file(self, session: "requests.Session", key: str) -> RemoteFile:
        url = f"{self.base}/{key}"
        with request(session, "HEAD", url, allow_redirects=True, headers={"Accept-Encoding": "identity"}) as response:
            name = _file_name(response.headers.get("Content-Disposition", ""))
            length = response.headers.get("Content-Length")
        if not name:
            raise InputError(f"{shown(url)} does not give the file's name")
        return RemoteFile(name, url, int(length) if length else None, unpack=name.lower().endswith(".zip"))


def _file_name(disposition: str) -> str:
    """The file name in a Content-Disposition header, without folders; empty if there is none."""
    from email.message import Message

    message = Message()
    message["Content-Disposition"] = disposition
    name: Any = message.get_filename("")
    return str(name).replace("\\", "/").rpartition("/")[2]
