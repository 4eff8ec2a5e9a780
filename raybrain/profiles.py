"""Profiles: clusters by name. They are kept in cluster/profiles.toml, each a handful of settings of a Cluster."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raybrain.cluster import Cluster
from raybrain.config import InputError, hint, override, shipped


@dataclass(frozen=True)
class Profile:
    """A cluster by name.

    Attributes:
        about: one line about the machines.
        settings: of a :class:`~raybrain.cluster.Cluster`, those that differ from its defaults.
        file: where it is written.
    """

    about: str
    settings: dict[str, Any]
    file: Path

    def line(self) -> str:
        """What it is for, and its settings as they would be typed."""
        return f"{self.about} ({' '.join(f'{key}={value}' for key, value in self.settings.items())})"


def profiles() -> dict[str, Profile]:
    """All profiles: raybrain's own and those of the current folder, which count where two have one name.

    Raises:
        InputError: if a file cannot be read.
    """
    known: dict[str, Profile] = {}
    for folder in shipped("cluster"):
        known |= _read(folder / "profiles.toml")
    return known


def profile(name: str) -> Profile:
    """The profile of this name, with settings that a Cluster can have.

    Raises:
        InputError: if there is none, or one of its settings is impossible.
    """
    known = profiles()
    if name not in known:
        raise InputError(f"no profile {name!r}{hint(name, known)}; `raybrain list clusters` says what each is")
    try:
        override(Cluster(), known[name].settings)
    except InputError as error:
        raise InputError(f"{known[name].file}, profile {name}: {error}") from None
    return known[name]


def _read(file: Path) -> dict[str, Profile]:
    if not file.is_file():
        return {}
    try:
        tables = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: {error}") from None
    return {name: _profile(name, table, file) for name, table in tables.items()}


def _profile(name: str, table: Any, file: Path) -> Profile:
    if not isinstance(table, dict) or not isinstance(table.get("about"), str):
        raise InputError(f'{file}: {name} is no profile; write [{name}], then about = "..." and settings like workers = 2')
    return Profile(table["about"], {key: value for key, value in table.items() if key != "about"}, file)
