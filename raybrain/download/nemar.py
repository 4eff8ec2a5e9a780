"""NEMAR: datasets through the version manifests of data.nemar.org, which point to files in its public bucket."""

from typing import Any
from urllib.parse import quote

from raybrain.config import InputError
from raybrain.download.base import Host, RemoteFile
from raybrain.download.http import request
from raybrain.storage import shown

KINDS = {"sha256": "sha256", "md5": "md5"}  # small files have git's own hash, which is not one of their content


class Nemar(Host):
    """A dataset.

    Args:
        dataset: its ID, such as "nm000229".
        version: such as "v1.0.0"; empty for the newest.
        base: the address of the data service.
    """

    def __init__(self, dataset: str, version: str = "", base: str = "https://data.nemar.org") -> None:
        self.dataset, self.version, self.base = dataset, version, base.rstrip("/")

    @property
    def name(self) -> str:
        """NEMAR, the dataset's ID and the version."""
        return f"NEMAR {self.dataset}{self.version and f' {self.version}'}"

    def files(self) -> list[RemoteFile]:
        """All files of the version."""
        plain = {"Accept": "application/json"}
        with self.session() as session:
            index = f"{self.base}/{self.dataset}/"
            version = self.version or request(session, "GET", index, headers=plain).json().get("latest")
            if not version:
                raise InputError(f"{shown(index)} names no version")
            entries = request(session, "GET", f"{index}{quote(version)}/manifest.json", headers=plain).json()
        return sorted((_file(item, f"{index}{quote(version)}") for item in entries), key=lambda file: file.path)


def _file(item: dict[str, Any], folder: str) -> RemoteFile:
    kind = KINDS.get(item.get("checksum_algorithm") or "")
    return RemoteFile(
        path=item["path"],
        url=f"{folder}/{quote(item['path'])}",  # not the listed URL, which may expire within the hour
        bytes=item.get("size"),
        checksum=f"{kind}:{item['checksum']}" if kind else "",
    )
