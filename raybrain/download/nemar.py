"""NEMAR: datasets by the version manifests of data.nemar.org, which point to the files in its public bucket."""

from typing import Any
from urllib.parse import quote

from raybrain.config import InputError
from raybrain.download.base import Host, RemoteFile
from raybrain.download.http import ask, shown

KINDS = {"sha256": "sha256", "md5": "md5"}  # small files have git's own hash, which is not that of their content


class Nemar(Host):
    """A dataset.

    Args:
        dataset: as "nm000229".
        version: as "v1.0.0"; the newest if empty.
        base: address of the data service.
    """

    def __init__(self, dataset: str, version: str = "", base: str = "https://data.nemar.org") -> None:
        self.dataset, self.version, self.base = dataset, version, base.rstrip("/")

    @property
    def name(self) -> str:
        """NEMAR, dataset and version."""
        return f"NEMAR {self.dataset}{self.version and f' {self.version}'}"

    def files(self) -> list[RemoteFile]:
        """All files of the version."""
        plain = {"Accept": "application/json"}
        with self.session() as session:
            index = f"{self.base}/{self.dataset}/"
            version = self.version or ask(session, "GET", index, headers=plain).json().get("latest")
            if not version:
                raise InputError(f"{shown(index)} names no version")
            listed = ask(session, "GET", f"{index}{quote(version)}/manifest.json", headers=plain).json()
        return sorted((_file(item, f"{index}{quote(version)}") for item in listed), key=lambda file: file.path)


def _file(item: dict[str, Any], folder: str) -> RemoteFile:
    kind = KINDS.get(item.get("checksum_algorithm") or "")
    return RemoteFile(
        path=item["path"],
        url=f"{folder}/{quote(item['path'])}",  # rather than the url that is listed, which may expire within the hour
        bytes=item.get("size"),
        checksum=f"{kind}:{item['checksum']}" if kind else "",
    )
