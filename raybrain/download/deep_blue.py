"""Deep Blue Data of the University of Michigan: files by id. The ids are all one knows; name and size come with the file."""

from functools import partial
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any

from raybrain.config import InputError
from raybrain.download.base import Host, RemoteFile
from raybrain.download.http import ask, shown

if TYPE_CHECKING:
    import requests

AT_ONCE = 8


class DeepBlue(Host):
    """Some files; zip files among them are unpacked.

    Args:
        dataset: what people call it.
        ids: of the files, nine letters each.
        base: address that ids are added to.
    """

    def __init__(self, dataset: str, ids: tuple[str, ...], base: str = "https://deepblue.lib.umich.edu/data/downloads") -> None:
        self.dataset, self.ids, self.base = dataset, ids, base.rstrip("/")

    @property
    def name(self) -> str:
        """Deep Blue and the dataset."""
        return f"Deep Blue {self.dataset}"

    def files(self) -> list[RemoteFile]:
        """Asks for the headers of every file."""
        with self.session() as session, ThreadPool(AT_ONCE) as pool:
            return sorted(pool.map(partial(self._file, session), self.ids), key=lambda file: file.path)

    def _file(self, session: "requests.Session", key: str) -> RemoteFile:
        url = f"{self.base}/{key}"
        with ask(session, "HEAD", url, allow_redirects=True, headers={"Accept-Encoding": "identity"}) as response:
            name = _file_name(response.headers.get("Content-Disposition", ""))
            length = response.headers.get("Content-Length")
        if not name:
            raise InputError(f"{shown(url)} does not say the name of the file")
        return RemoteFile(name, url, int(length) if length else None, unpack=name.lower().endswith(".zip"))


def _file_name(disposition: str) -> str:
    """The name in a Content-Disposition, without folders; empty if there is none."""
    from email.message import Message

    message = Message()
    message["Content-Disposition"] = disposition
    name: Any = message.get_filename("")
    return str(name).replace("\\", "/").rpartition("/")[2]
